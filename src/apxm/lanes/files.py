"""The files and images that calls of a flow send: any that the user's own code names."""

from __future__ import annotations

import os
from pathlib import Path

from apxm.operations.attachments import Attachment
from apxm.runtime.content import ContentFiles


class OwnFiles(ContentFiles):
    """A file is read whenever a call sends it: code may have written it just before."""

    def __init__(self) -> None:
        super().__init__(os.getcwd())

    def image(self, path: str, at: int, *, written: bool) -> Attachment:
        del written  # nobody else than the user writes a URL
        return super().image(path, at, written=True)

    def _content(self, path: str) -> bytes:
        self._read.pop(path, None)
        return super()._content(path)

    def _allowed(self, path: str) -> Path:
        return Path(path) if path else super()._allowed(path)
