"""The files and images that calls of a flow send: any that the user's own code names."""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path

from apxm.operations.attachments import Attachment
from apxm.operations.types import Value
from apxm.program.program import Program
from apxm.runtime.content import HELD, ContentFiles, not_too_large, refused


class OwnFiles(ContentFiles):
    """A file is read whenever a call sends it: code may have written it just before."""

    def __init__(self) -> None:
        super().__init__(os.getcwd())

    def image(self, path: str, at: int, *, written: bool) -> Attachment:
        del written  # nobody else than the user writes a URL
        return super().image(path, at, written=True)

    def _content(self, path: str) -> bytes:
        if path.startswith(HELD):
            return _held(path)
        try:
            return super()._content(path)
        finally:
            self._read.pop(path, None)

    def _allowed(self, path: str) -> Path:
        return Path(path) if path else super()._allowed(path)


def _held(url: str) -> bytes:
    """What a URL holds. Raises `OperationError`."""
    kind, _, text = url.partition(",")
    try:
        if not kind.endswith(";base64"):
            raise ValueError("it has no `;base64,`")
        return not_too_large(url, b64decode(text, validate=True))
    except ValueError as error:
        raise refused(url, f"is no URL that holds a file: {error}", "give the bytes themselves") from None


class GuestFiles(ContentFiles):
    """Those of a program of AIS that a flow of Python calls: it reads what it may read anyway, and whatever is named in
    what it is given."""

    def __init__(self, program: Program) -> None:
        origin = program.origin
        self._all: list[Value] = []
        super().__init__(os.path.dirname(origin[0]) if origin else os.getcwd(), self._all)

    def give(self, arguments: Sequence[Value]) -> None:
        self._all += arguments
        vars(self).pop("_named", None)  # which is looked for when it is asked for

    def _content(self, path: str) -> bytes:
        self._read.pop(path, None)
        return super()._content(path)
