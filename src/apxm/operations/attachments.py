"""What a model gets beside text."""

from __future__ import annotations

from base64 import b64encode
from hashlib import blake2b

from msgspec import Struct

PDF = "application/pdf"


class Attachment(Struct, frozen=True, omit_defaults=True, dict=True):
    """A file or an image of a request. Only its digest is part of that: not what it holds."""

    name: str
    """The base name of its file; empty for an image at a URL."""
    digest: str = ""
    """Of what the file holds."""
    media_type: str = ""
    """Of an image in a file, or a PDF; a file of text stands in the prompt."""
    url: str = ""
    """Of an image that the endpoint is to read itself."""
    at: int = 0
    """Behind how many characters of the prompt it stands, where it is no text."""

    @classmethod
    def of(cls, name: str, data: bytes, media_type: str = "", at: int = 0) -> Attachment:
        made = cls(name, blake2b(data, digest_size=16).hexdigest(), media_type, at=at)
        vars(made)["_data"] = data
        return made

    @property
    def is_image(self) -> bool:
        return bool(self.url) or self.media_type.startswith("image/")

    @property
    def is_pdf(self) -> bool:
        return self.media_type == PDF

    @property
    def source(self) -> str:
        """The URL of an image, or one that holds it or a PDF whole."""
        return self.url or f"data:{self.media_type};base64,{b64encode(vars(self)['_data']).decode()}"
