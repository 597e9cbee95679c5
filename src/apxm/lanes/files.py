"""The files and images that calls of a flow send: any that the user's own code names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from apxm.operations.attachments import Attachment
from apxm.operations.types import Value
from apxm.program.program import Program
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
