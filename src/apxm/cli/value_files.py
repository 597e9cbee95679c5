"""Values that files hold, or standard input does: ``--arg NAME=@FILE``, ``--arg NAME=@-`` and ``--args FILE``."""

from __future__ import annotations

import json
import sys
from codecs import BOM_UTF8
from typing import cast

from apxm.errors import UsageError
from apxm.operations.json_text import parse_json
from apxm.operations.types import LARGEST_TEXT, Value
from apxm.reading import read_named
from apxm.source import shortened

STANDARD_INPUT = "-"
"""Stands for it where a file is named."""
_MIB = 1024 * 1024


class ValueFiles:
    """The files that the values of one run are read from."""

    def __init__(self) -> None:
        self._asked_by: str | None = None
        """Which option has read standard input."""

    def text(self, path: str, option: str) -> str:
        """The text of a file, or of standard input, which `option` names. Raises `UsageError`."""
        if path == STANDARD_INPUT:
            content = self._standard_input(option)
        elif path:
            content = read_named(path, LARGEST_TEXT + len(BOM_UTF8) + 1)
        else:
            raise UsageError(f"{option} names no file: it is empty", hint="@- is standard input, @@ a literal @")
        content = content.removeprefix(BOM_UTF8)
        where = place(path)
        if len(content) > LARGEST_TEXT:
            most = f"{LARGEST_TEXT // _MIB} MiB"
            raise UsageError(f"this is larger than {most}, the most that a value can be", where=where)
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            byte = f"the byte 0x{content[error.start]:02x}"
            raise UsageError(f"{byte} here is not UTF-8", where=f"{where}:{line}", hint="save it as UTF-8") from None

    def parsed(self, path: str, option: str) -> Value:
        """The JSON that a file or standard input holds. Raises `UsageError`, with line and column where it is none."""
        text, where = self.text(path, option), place(path)
        if not text.strip():
            raise UsageError("this is empty, expected JSON", where=where)
        try:
            return parse_json(text)
        except json.JSONDecodeError as error:
            why = f"{error.msg[0].lower()}{error.msg[1:]}"
            raise UsageError(f"this is not JSON: {why}", where=f"{where}:{error.lineno}:{error.colno}") from None
        except RecursionError:
            raise UsageError("this JSON nests too deeply", where=where) from None
        except ValueError as error:
            raise UsageError(f"this JSON holds a number that is none here: {error}", where=where) from None

    def parsed_object(self, path: str, option: str) -> dict[str, Value]:
        """The JSON object that a file or standard input holds. Raises `UsageError`."""
        found = self.parsed(path, option)
        if not isinstance(found, dict):
            kind = "an array" if isinstance(found, list) else shortened(json.dumps(found), 40)
            raise UsageError(f"a JSON object with the flow's parameters is expected, not {kind}", where=place(path))
        return cast(dict[str, Value], found)

    def _standard_input(self, option: str) -> bytes:
        if self._asked_by is not None:
            raise UsageError(f"standard input can be read once, and both {self._asked_by} and {option} ask for it")
        self._asked_by = option
        if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison]  # it is where it was closed (`<&-`)
            raise UsageError(f"standard input is closed, and {option} asks for it")
        return sys.stdin.buffer.read(LARGEST_TEXT + len(BOM_UTF8) + 1)


def place(path: str) -> str:
    """A file as messages name it."""
    return "standard input" if path == STANDARD_INPUT else path
