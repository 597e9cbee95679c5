"""Standard output and standard error of the command: whatever is written is written whole, or an error says so.

Python's own streams lose the rest where the system takes a part only: always where they are unbuffered, and where the
descriptor does not block. Loaded by every command, so it loads nothing itself.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from apxm.errors import ApxmError, OutputClosedError
from apxm.writing import write_all

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def prepare_streams() -> None:
    """Replaces the streams of this process by those of this file. Characters that their encoding lacks are escaped."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # The caller closed it. The event loop aborts the process where a file of its own gets one of these numbers,
            # and what is meant for it must not go there. Reading finds the end; writing fails, as it would have.
            descriptor = os.open(os.devnull, os.O_RDONLY)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115  # lives on
    _escape(sys.stdin)
    sys.stdout = _whole(sys.stdout, _StandardOutput)
    sys.stderr = _whole(sys.stderr, _StandardError)


def _escape(stream: Any) -> None:
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def _whole(stream: Any, kind: type[io.FileIO]) -> TextIO:
    """`stream`, written by `kind`; as it is where it is no file of the system, but a console of Windows or a buffer."""
    _escape(stream)
    buffer = getattr(stream, "buffer", None)
    if not isinstance(getattr(buffer, "raw", buffer), io.FileIO):
        return stream
    stream.flush()
    raw = kind(stream.fileno(), "wb", closefd=False)
    # Over a raw file, as Python itself does with -u, so nothing is left to be written when the interpreter ends.
    return io.TextIOWrapper(raw, stream.encoding, "backslashreplace", write_through=True)  # pyright: ignore[reportArgumentType]  # typeshed wants a buffer


class _StandardOutput(io.FileIO):
    def write(self, data: ReadableBuffer) -> int:
        """Raises `OutputClosedError`, and `ApxmError` where the system refuses for another reason."""
        try:
            return write_all(self.fileno(), data)
        except OSError as error:
            # Of a terminal that was closed the system says EIO, and does not call it a terminal any more.
            gone = error.errno == errno.EIO and stat.S_ISCHR(os.fstat(self.fileno()).st_mode)
            if gone or error.errno == errno.EPIPE:
                raise OutputClosedError from None
            raise ApxmError(f"standard output cannot be written: {error.strerror}") from None


class _StandardError(io.FileIO):
    def write(self, data: ReadableBuffer) -> int:
        """Where nobody is left to be told, as on a terminal that was closed, nothing happens."""
        with suppress(OSError):
            write_all(self.fileno(), data)
        return memoryview(data).nbytes
