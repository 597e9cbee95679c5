"""Files that a command promises to write: refused before the work begins, replaced in one step when it is done."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from types import TracebackType

from apxm.errors import UsageError
from apxm.source import printable


class OutputFile:
    """A file that appears complete or not at all.

    Entering it proves that the place can be written, so a run that costs money does not end in an error that could have
    been seen at its start. Leaving without `write` leaves what was there before.
    """

    def __init__(self, path: str) -> None:
        self._shown = printable(path)
        # A device or a pipe is written in place: replacing it would destroy it.
        self._in_place = os.path.exists(path) and not os.path.isfile(path)
        self._path = path if self._in_place else os.path.realpath(path)
        self._draft: str | None = None

    def __enter__(self) -> OutputFile:
        if os.path.isdir(self._path):
            raise UsageError(f"cannot write {self._shown}: it is a directory")
        if self._in_place:
            return self
        draft = f"{self._path}.{secrets.token_hex(4)}.part"
        try:
            os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            if os.path.exists(self._path):
                shutil.copymode(self._path, draft)
        except OSError as error:
            raise self._refusal(error) from error
        self._draft = draft
        return self

    def write(self, data: bytes) -> None:
        """Puts `data` in place of whatever the file held."""
        try:
            with open(self._draft or self._path, "wb") as file:
                file.write(data)
            if self._draft:
                os.replace(self._draft, self._path)
                self._draft = None
        except OSError as error:
            raise self._refusal(error) from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._draft:
            with suppress(FileNotFoundError):
                os.unlink(self._draft)

    def _refusal(self, error: OSError) -> UsageError:
        return UsageError(f"cannot write {self._shown}: {error.strerror}")
