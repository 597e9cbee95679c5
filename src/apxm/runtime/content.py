"""The files and images that a run reads for its calls, and which of them it may read.

A program may come from a stranger, and what it reads goes to an endpoint. So it reads what lies in its own folder, and
what the user named as an argument; docs/design/0025-streaming-and-content.md says why.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import cast

from apxm.errors import OperationError
from apxm.operations.attachments import PDF, Attachment
from apxm.operations.types import Value
from apxm.program.program import Flow
from apxm.regular import read_regular
from apxm.source import printable, shortened

LARGEST = 20 * 1024 * 1024
"""Bytes of a file that is sent."""
IMAGE = "image"
_URLS = ("http://", "https://")
HELD = "data:"
"""What a URL begins with that holds what it names."""
_SIGNATURES = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))


class ContentFiles:
    """Those of one run. Each is read once, whatever becomes of it meanwhile."""

    def __init__(self, folder: str, given: Sequence[Value] = (), directory: str | None = None) -> None:
        """`folder` is the program's. Texts in the values that the user has `given` name paths, relative ones from
        `directory` on."""
        self._folder = folder
        self._given = given
        self._directory = os.getcwd() if directory is None else directory
        self._read: dict[str, bytes] = {}

    @classmethod
    def of(
        cls, origin: str | None, flow: Flow, arguments: Sequence[Value], directory: str | None = None
    ) -> ContentFiles:
        """Those of a run of a program whose file is `origin`; without one its folder is the `directory`, by default the
        process's."""
        folder = os.path.dirname(origin) if origin else directory or os.getcwd()
        pairs = zip(flow.parameters, arguments, strict=False)
        given = [argument for parameter, argument in pairs if parameter.required or argument != parameter.default]
        return cls(folder, given, directory)

    @cached_property
    def _named(self) -> frozenset[str]:
        """The texts that the user gave."""
        texts: set[str] = set()
        seen: set[int] = set()
        left: list[Value] = [*self._given]
        while left:
            found = left.pop()
            if isinstance(found, str):
                texts.add(found)
                continue
            if id(found) in seen:
                continue  # values may share their parts
            seen.add(id(found))
            if isinstance(found, list):
                left += cast(list[Value], found)
            elif isinstance(found, dict):
                left += cast(dict[str, Value], found).values()
        return frozenset(texts)

    def file(self, path: str, at: int) -> tuple[str, Attachment]:
        """What a file of text holds, or no text and a PDF, to stand at a place of a prompt. Raises `OperationError`."""
        data = self._content(path)
        if data.startswith(b"%PDF-"):
            return "", Attachment.of(name_of(path), data, PDF, at)
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            hint = "`image(…)` takes images" if _media_type(data) else "anything else is to be made one of these first"
            raise refused(path, f"is no text in UTF-8 (byte {error.start}), and no PDF", hint) from None
        return text, Attachment.of(name_of(path), data)

    def image(self, path: str, at: int, *, written: bool) -> Attachment:
        """An image, to stand at a place of a prompt; `written` says that its path is a literal of the program. Raises
        `OperationError`."""
        if path.startswith(_URLS):
            if not written and path not in self._named:
                raise refused(
                    path, "is a URL that the program makes up",
                    "it may be written out, or given as an argument: else it could carry anything to anywhere",
                )  # fmt: skip
            return Attachment("", url=path, at=at)
        data = self._content(path)
        media_type = _media_type(data)
        if media_type is None:
            raise refused(path, "is no image: expected PNG, JPEG, GIF or WebP", "`file(…)` takes text and PDF")
        return Attachment.of(name_of(path), data, media_type, at)

    def _content(self, path: str) -> bytes:
        if path not in self._read:
            try:
                data = read_regular(self._allowed(path), LARGEST + 1)
            except (OSError, ValueError) as error:  # ValueError: a NUL in the path
                reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                raise refused(path, f"cannot be read: {reason}") from None
            self._read[path] = not_too_large(path, data)
        return self._read[path]

    def _allowed(self, path: str) -> Path:
        if not path:
            raise refused(path, "is empty, expected the path of a file")
        if path in self._named:
            return Path(self._directory, path)
        found = os.path.realpath(os.path.join(self._folder, path))
        if not Path(found).is_relative_to(os.path.realpath(self._folder)):
            raise refused(
                path, f"lies outside of the program's folder, {printable(str(self._folder))}",
                "a program reads other files only where they are given to it as arguments",
            )  # fmt: skip
        return Path(found)


class UnreadFiles(ContentFiles):
    """Stands for those of a run that is only looked at, or sends none: nothing is read, and no folder asked for."""

    def __init__(self) -> None:
        super().__init__("", directory="")

    def file(self, path: str, at: int) -> tuple[str, Attachment]:
        del at
        return "(what the file holds is not in the journal)", Attachment(name_of(path))

    def image(self, path: str, at: int, *, written: bool) -> Attachment:
        del written
        return Attachment(name_of(path), at=at)


NO_FILES = UnreadFiles()
"""Those of a run that sends none."""


def name_of(path: str) -> str:
    """What a file is called where it is sent; empty for a URL."""
    return "" if path.startswith((*_URLS, HELD)) else os.path.basename(path)


def _media_type(data: bytes) -> str | None:
    """By what it holds: a name says what somebody called it."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return next((media_type for signature, media_type in _SIGNATURES if data.startswith(signature)), None)


def not_too_large(path: str, data: bytes) -> bytes:
    """What a file holds. Raises `OperationError`."""
    if len(data) > LARGEST:
        raise refused(path, f"is larger than {LARGEST // 1024 // 1024} MiB")
    return data


def refused(path: str, why: str, hint: str | None = None) -> OperationError:
    """Why something cannot be sent."""
    return OperationError("content", f"{printable(shortened(path, 100))!r} {why}", hint=hint)
