"""The file of a `replay` backend: a line of JSON for each answer, so that people can read it, edit it and compare it.

Whoever adds a line holds the file's lock and appends it whole; whoever puts the lines in order replaces the file in one
step, under the same lock. So neither two runs at once nor a process that is killed leave half of an answer behind.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import ModuleType

import msgspec
from msgspec import Struct

from apxm.backends.protocol import ModelAnswer, ModelRequest
from apxm.errors import ApxmError, ConfigurationError
from apxm.files import OutputFile
from apxm.regular import open_regular
from apxm.source import printable
from apxm.writing import write_all

LARGEST = 256 * 1024 * 1024
"""Bytes of a file that is read."""


class Recorded(Struct, frozen=True, omit_defaults=True):
    """One answer to one request of one operation of a program."""

    operation: str
    """The operation's stable path: of equal requests at several places each has an answer of its own, whichever comes
    first."""
    request: ModelRequest
    answer: ModelAnswer


_decode = msgspec.json.Decoder(Recorded).decode
_encode = msgspec.json.Encoder().encode


def _turns(operation: str) -> list[str | int]:
    """What a path is sorted by: the tenth turn of a loop comes behind the second."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", operation)]


def request_key(request: ModelRequest) -> bytes:
    """Equal for equal requests."""
    return _encode(request)


class Recording:
    """The answers in a file."""

    def __init__(self, path: str) -> None:
        """Reads nothing yet."""
        self.path = path
        self.answers: dict[tuple[bytes, str], Recorded] = {}
        """By request and operation."""
        self._read_to = 0
        """Where the last whole line ends."""
        self._ended = True
        """Whether that is the end of a line; editors leave it out."""
        self._seen: tuple[int, ...] = ()
        """What `_state` was when the file was last read or written here."""
        self._added = False

    def read(self) -> None:
        """Reads what is there. Raises `ConfigurationError`, also where there is no such file."""
        try:
            descriptor = open_regular(self.path)
        except OSError as error:
            raise self._unusable(error) from None
        try:
            self._read(descriptor)
        finally:
            os.close(descriptor)

    def read_or_make(self) -> None:
        """Reads what is there, and proves that more can be written. Raises `ConfigurationError`."""
        with self._locked():
            pass

    def add(self, recorded: Recorded) -> Recorded:
        """Writes an answer down and gives it back; where another run was first, gives that one's. Raises
        `ConfigurationError` where it cannot be written."""
        key = request_key(recorded.request), recorded.operation
        with self._locked() as descriptor:
            if key not in self.answers:
                try:
                    os.ftruncate(descriptor, self._read_to)  # half of a line, of a process that was killed
                    line = _encode(recorded) + b"\n"
                    self._read_to += write_all(descriptor, line if self._ended else b"\n" + line)
                    self._ended = True
                    self._seen = _state(descriptor)
                except OSError as error:
                    raise self._unusable(error) from None
                self.answers[key] = recorded
                self._added = True
        return self.answers[key]

    def sort(self) -> None:
        """Puts the lines in an order that does not depend on who was answered first, if any were added here."""
        if not self._added:
            return
        with suppress(ApxmError), self._locked(), OutputFile(self.path) as file:  # unsorted it says the same
            found = sorted(self.answers.values(), key=lambda each: (_turns(each.operation), request_key(each.request)))
            file.write(b"".join(_encode(each) + b"\n" for each in found))
            self._added = False

    @contextmanager
    def _locked(self) -> Generator[int]:
        """The file's descriptor, under its lock, with all read that is in it."""
        locks = _locks(self.path)
        while True:
            try:
                descriptor = open_regular(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            except OSError as error:
                raise self._unusable(error) from None
            try:
                locks.flock(descriptor, locks.LOCK_EX)
                if self._is_at(descriptor):  # else it was replaced meanwhile, and this lock guards nothing
                    self._read(descriptor)
                    yield descriptor
                    return
            finally:
                os.close(descriptor)

    def _is_at(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _read(self, descriptor: int) -> None:
        """Reads all of it, unless nobody else wrote: others may have put its lines in another order, and a file that
        replaced it may have its inode."""
        seen = _state(descriptor)
        if seen == self._seen:
            return
        if os.fstat(descriptor).st_size > LARGEST:
            raise ConfigurationError(f"the file is larger than {LARGEST // 1024**2} MiB", where=printable(self.path))
        with open(descriptor, "rb", closefd=False) as file:
            lines = file.readlines()
        self._read_to, self._ended = 0, True
        for number, line in enumerate(lines, 1):
            self._ended = line.endswith(b"\n")
            if not line.strip():
                self._read_to += len(line)
                continue
            try:
                recorded = _decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                if not self._ended:
                    self._ended = True
                    break  # its writer was killed
                raise ConfigurationError(
                    f"this line is no recorded answer: {error}", where=printable(f"{self.path}:{number}"),
                    hint="undo what was done to it, or delete it, and the answer is recorded anew",
                ) from None  # fmt: skip
            self._read_to += len(line)
            self.answers.setdefault((request_key(recorded.request), recorded.operation), recorded)
        self._seen = seen

    def _unusable(self, error: OSError) -> ConfigurationError:
        what = "there is no such file" if isinstance(error, FileNotFoundError) else str(error.strerror)
        return ConfigurationError(what, where=printable(self.path))


def _state(descriptor: int) -> tuple[int, ...]:
    """Changes with whatever is written to a file."""
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns


def _locks(path: str) -> ModuleType:
    try:
        import fcntl
    except ImportError:  # Windows
        raise ConfigurationError(
            "this system has no file locks (flock), which recording needs", where=printable(path)
        ) from None
    return fcntl
