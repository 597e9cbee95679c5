"""Files that must be regular ones: a pipe, a device or a socket in the place of one is refused, and not waited for."""

from __future__ import annotations

import errno
import os
import stat


class NotRegularError(OSError):
    """What is there is no regular file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(errno.EINVAL, "this is not a regular file", os.fspath(path))


def open_regular(path: str | os.PathLike[str], flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
    """A descriptor of the regular file at `path`, a link followed. Raises `NotRegularError` before anything is read or
    written, and other errors as `os.open` does."""
    # To open a pipe would wait for its other end, and a terminal would become that of the process.
    harmless = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(path, flags | harmless, mode)
    except IsADirectoryError:
        raise NotRegularError(path) from None
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a device without a driver
            raise NotRegularError(path) from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegularError(path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_regular(path: str | os.PathLike[str], most: int) -> bytes:
    """The content of the regular file at `path`, `most` bytes of it at most. Raises as `open_regular`."""
    with open(open_regular(path), "rb") as file:
        return file.read(most)
