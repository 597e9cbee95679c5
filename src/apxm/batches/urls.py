"""Inputs and outputs by URL, such as ``s3://bucket/rows.jsonl``: through fsspec, and the file systems for it that are
installed.

What is appended, locked and looked at after a kill is a file here, as no store of objects does these. So an output with
a URL is written here, in a folder of the user's own, and put there now and then and at the end, whole. Where it is
another one there than this machine has put, it is taken from there first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import IO, Any, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Struct

from apxm.config.files import make_folder, user_folder
from apxm.errors import ApxmError, ConfigurationError, UsageError
from apxm.source import printable

T = TypeVar("T")
_URL = re.compile("[A-Za-z][A-Za-z0-9+.-]+://")
_LEAST_S = 60.0
"""Between two times that an output is put to its URL; and of all time that takes a twentieth at most."""
_SHARE = 20
_AT = ".at"
"""What the name of the file ends with that says what is there."""


def is_url(path: str) -> bool:
    return _URL.match(path) is not None


def plain_path(path: str) -> str:
    """The path that a ``file://`` URL names; anything else as it is."""
    parts = urlsplit(path) if path.lower().startswith("file://") else None
    return path if parts is None else unquote(parts.path)


def _reached(url: str, refusal: str, use: Callable[[Any, str], T]) -> T:
    """What `use` gives, of the file system of a URL and the path there. Raises `ConfigurationError` where there is no
    such file system, `FileNotFoundError`, and `UsageError`, which begins with the `refusal`, for anything else."""
    where = printable(url)
    try:
        fsspec: Any = import_module("fsspec.core")  # which has no types
    except ImportError:
        raise ConfigurationError(
            "URLs are opened by fsspec, which is not installed", where=where, hint="pip install 'apxm[fsspec]'"
        ) from None
    try:
        system, path = fsspec.url_to_fs(url)
    except ImportError as error:
        raise ConfigurationError(
            f"what opens such URLs is not installed: {error}", where=where, hint="pip install s3fs, gcsfs, adlfs, …"
        ) from None
    except ValueError as error:
        raise UsageError(f"no file system is known for this: {error}", where=where) from None
    try:
        return use(system, path)
    except (FileNotFoundError, ApxmError):
        raise
    except Exception as error:  # each file system has its own
        raise UsageError(f"{refusal}: {type(error).__name__}: {error}", where=where) from None


def open_url(url: str) -> tuple[IO[bytes], int | None]:
    """The file at a URL, and its size where that is known. Raises `UsageError`, and `ConfigurationError` where what
    opens it is not installed."""

    def opened(system: Any, path: str) -> tuple[IO[bytes], int | None]:
        file = system.open(path, "rb")
        return file, getattr(file, "size", None)

    try:
        return _reached(url, "the input cannot be read", opened)
    except FileNotFoundError:
        raise UsageError("there is no such file", where=printable(url)) from None


class _Put(Struct):
    """What this machine knows to be at the URL."""

    key: str
    """Of what is there, by its file system: another one when that has changed."""
    size: int
    changed: int
    """Of the copy here, when that was put there."""


class OutputAt:
    """An output at a URL, and the copy of it that is written here."""

    def __init__(self, url: str, beside: Sequence[str]) -> None:
        """The names of the files beside it end with what is in `beside`."""
        self._url = url
        self._ends = (*beside, "")
        digest = blake2b(url.encode(), digest_size=12).hexdigest()
        folder = make_folder(user_folder("data") / "batches" / digest, "the output cannot be written here", 0o700)
        self.path = str(folder / (os.path.basename(urlsplit(url).path) or "output"))
        self._put_at = monotonic()
        self._took = 0.0

    def fetch(self) -> None:
        """Makes the copy here what is at the URL, where that is not what this machine has put there. Raises
        `UsageError` where there and here are results that the other lacks."""

        def key(system: Any, path: str) -> str | None:
            system.invalidate_cache()
            return str(system.ukey(path)) if system.exists(path) else None

        refusal = "it cannot be read"
        there, put = _reached(self._url, refusal, key), self._put()
        if put is not None and put.key == there:
            return
        if there is None:
            if put is not None:  # it was taken away: as where the file itself is, that begins anew
                for end in (*self._ends, _AT):
                    Path(self.path + end).unlink(missing_ok=True)
            return
        here = self._state()
        if here is not None and here[0] and (put is None or here != (put.size, put.changed)):
            raise UsageError(
                "this output was changed by somebody else, and here are results that it lacks",
                where=printable(self._url),
                hint=f"they are in {self.path}; take that away, or give another --output",
            )
        for end in self._ends:
            with suppress(FileNotFoundError):
                _reached(self._url + end, refusal, lambda system, path, end=end: system.get_file(path, self.path + end))
        self._note(there)

    def put(self) -> None:
        """Puts the copy, and what is beside it, to the URL. Raises `UsageError`."""
        began = monotonic()
        key = ""
        for end in self._ends:

            def write(system: Any, path: str, end: str = end) -> str:
                system.makedirs(os.path.dirname(path), exist_ok=True)
                system.put_file(self.path + end, path)
                system.invalidate_cache()
                return str(system.ukey(path))

            key = _reached(self._url + end, f"it cannot be written, and is in {self.path}", write)
        self._note(key)
        self._put_at = monotonic()
        self._took = self._put_at - began

    @property
    def is_due(self) -> bool:
        """Whether it is time to put it there again, while more comes."""
        return monotonic() - self._put_at >= max(_LEAST_S, _SHARE * self._took)

    def _put(self) -> _Put | None:
        try:
            return msgspec.json.decode(Path(self.path + _AT).read_bytes(), type=_Put)
        except (OSError, msgspec.MsgspecError):
            return None

    def _note(self, key: str) -> None:
        size, changed = self._state() or (0, 0)
        Path(self.path + _AT).write_bytes(msgspec.json.encode(_Put(key, size, changed)))

    def _state(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns
