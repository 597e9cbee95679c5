"""Files that a command promises to write: refused before the work begins, written where open(2) would write."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
from contextlib import suppress
from types import TracebackType

from apxm.errors import ApxmError, OutputClosedError, UsageError
from apxm.source import printable
from apxm.writing import write_all

_MOST_LINKS = 40
"""The most links that are followed, as Linux has it."""
_LONGEST_NAME = 240
"""Bytes of a file's name that the name of its draft begins with; more than 255 is refused by most systems."""


class OutputFile:
    """A file that appears complete or not at all, where it is a regular one.

    Entering it proves that the place can be written, so a run that costs money does not end in an error that could have
    been seen at its start. Leaving without `write` leaves what was there before.

    A regular file is replaced in one step. Where that would be another file than the one that is there (of another
    owner, with a second name, mounted by itself) or its folder takes no new one, it is written in place. So is what is
    no regular file. A descriptor of this process, such as /dev/stdout, is written on from where it is: opened again,
    it would be written from its beginning, over what is there.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._target = path
        """What a draft replaces: `path` without links."""
        self._draft: str | None = None
        self._descriptor: int | None = None
        self._is_standard_output = False

    def __enter__(self) -> OutputFile:
        try:
            self._prepare()
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise UsageError(self._refusal(error)) from error
        return self

    def write(self, data: bytes) -> None:
        """Puts `data` in place of whatever the file held. Raises `ApxmError`, `OutputClosedError` for /dev/stdout."""
        try:
            if self._descriptor is not None:
                write_all(self._descriptor, data)
            elif self._draft is None or not self._replace(self._draft, data):
                _write(self._path, data)
        except BrokenPipeError as error:
            raise OutputClosedError if self._is_standard_output else ApxmError(self._refusal(error)) from error
        except OSError as error:
            raise ApxmError(self._refusal(error)) from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._drop_draft()
        if self._descriptor is not None:
            os.close(self._descriptor)

    def _prepare(self) -> None:
        """Makes ready to write, and leaves all as it is. Raises the `OSError` that open(2) would."""
        if not self._path:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        number = own_descriptor(self._path)
        if number is not None:
            self._descriptor = _duplicate(self._path, number)
            self._is_standard_output = number == 1
            return
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            found = None
            if self._path.endswith(os.sep):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)) from None
        if found is None or stat.S_ISREG(found.st_mode):
            self._prepare_regular(found)
        elif stat.S_ISFIFO(found.st_mode):
            # Opened when there is something to write, since that waits for a reader.
            if not os.access(self._path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        else:
            self._descriptor = os.open(self._path, os.O_WRONLY | getattr(os, "O_NOCTTY", 0))

    def _prepare_regular(self, found: os.stat_result | None) -> None:
        if found is not None:
            # Asked of the system itself: who may follow which link, and write what, it knows best.
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT))
        self._target = os.path.realpath(self._path)
        if found is not None and (found.st_nlink > 1 or not _is_file(self._target, found)):
            return
        try:
            self._draft = _make_draft(self._target)
            if found is not None:
                _make_alike(self._draft, self._target, found)
        except OSError:
            if found is None:
                raise
            self._drop_draft()

    def _replace(self, draft: str, data: bytes) -> bool:
        """Whether it could. A file that is mounted by itself is replaced by nothing."""
        _write(draft, data)
        try:
            os.replace(draft, self._target)
        except OSError:
            return False
        self._draft = None
        return True

    def _drop_draft(self) -> None:
        if self._draft is not None:
            with suppress(OSError):
                os.unlink(self._draft)
            self._draft = None

    def _refusal(self, error: OSError | ValueError) -> str:
        if isinstance(error, IsADirectoryError):
            why = "it is a directory"
        else:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        return f"cannot write {printable(self._path)}: {why}"


def own_descriptor(path: str) -> int | None:
    """N where `path` leads to a descriptor of this process, as /dev/stdout and /dev/fd/N do; else None."""
    for _ in range(_MOST_LINKS):
        folder, name = os.path.split(path)
        folder = os.path.realpath(folder or os.curdir)
        if name.isdecimal() and _DESCRIPTORS.fullmatch(folder.replace(os.path.realpath("/proc/self"), "/proc/self", 1)):
            return int(name)
        link = os.path.join(folder, name)
        if not os.path.islink(link):
            break
        path = os.path.join(folder, os.readlink(link))
    return None


_DESCRIPTORS = re.compile(r"/proc/self(/task/[0-9]+)?/fd|/dev/fd")


def _duplicate(path: str, number: int) -> int:
    """Not opened anew: it keeps its place, and whether it appends."""
    import fcntl  # only POSIX has it, as it has such paths

    if hasattr(os, "O_PATH"):
        os.close(os.open(path, os.O_PATH))  # whether the links to it may be followed
    if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return os.dup(number)


def _is_file(path: str, found: os.stat_result) -> bool:
    """Whether `path` names the file that was found. What /proc calls a link may name none, or another one."""
    try:
        return os.path.samestat(os.stat(path), found)
    except OSError:
        return False


def _make_draft(target: str) -> str:
    folder, name = os.path.split(target)
    beginning = os.fsencode(name)[:_LONGEST_NAME].decode(errors="ignore")
    draft = os.path.join(folder, f"{beginning}.{secrets.token_hex(4)}.part")
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    return draft


def _make_alike(draft: str, target: str, found: os.stat_result) -> None:
    """Gives it the owner and the mode of the file that it will replace. Raises `OSError` where that is not allowed."""
    made = os.stat(draft)
    if (made.st_uid, made.st_gid) != (found.st_uid, found.st_gid):
        os.chown(draft, found.st_uid, found.st_gid)
    shutil.copystat(target, draft)


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
