"""The output of a batch: a line of JSON for each input that is over, appended and never changed, so that the file
itself says what is done.

Beside it lies a file that says of which batch it is, and that is locked while a process writes. The system lets go of
the lock however the process ends.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from types import ModuleType
from typing import IO, Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from apxm.batches.index import Index
from apxm.batches.rows import Row
from apxm.errors import ApxmError, UsageError
from apxm.journal.ids import new_run_id
from apxm.regular import NotRegularError, open_regular, read_regular
from apxm.source import printable, shortened
from apxm.writing import write_all

BESIDE = ".batch"
"""What the name of the file beside an output ends with."""
_ID = "batch"
_VERSION, _FORMAT = "apxm_batch", 1
_HEAD = b'{\n  "apxm_batch"'
"""How the file beside begins: one whose writer was killed holds the begin of what it wrote."""
_NOT_COMPARED = ("columns", _VERSION, _ID)
_MOST_BESIDE = 1 << 20
_ANEW = "give another --output, or begin anew with --overwrite, which loses what is there"


UNFIT = "input"
"""The kind of a failure whose reason is the row alone."""


UNUSABLE = "journal"
"""The kind of a failure whose reason is that the run that was begun for the input cannot go on."""


class NotWrittenError(ApxmError):
    """The output takes no more lines."""

    def __init__(self, message: str, lost: int) -> None:
        super().__init__(message)
        self.lost = lost
        """How many of the lines are not there."""


class Problem(Struct, frozen=True, omit_defaults=True):
    """Why an input failed."""

    kind: str
    """A stable word, as of any failure of an operation; ``input`` where the row itself is of no use."""
    message: str
    operation: str | None = None
    where: str | None = None


class OutputLine(Struct, frozen=True, omit_defaults=True):
    """What came of one input."""

    line: int
    """Where it stood in the input, when it was read."""
    id: str
    """Digest of its content, and which of the inputs that are equal to it."""
    input: Mapping[str, object] | UnsetType = UNSET
    value: object = UNSET
    """What the flow gave; not there where it failed."""
    printed: list[str] = []
    error: Problem | UnsetType = UNSET

    @property
    def failed(self) -> bool:
        return self.error is not UNSET


class _Written(Struct):
    """What is read of such a line."""

    line: int
    id: str
    value: msgspec.Raw | UnsetType = UNSET
    error: Problem | UnsetType = UNSET


_decode = msgspec.json.Decoder(_Written).decode
_encode = msgspec.json.Encoder().encode


def encoded(line: OutputLine) -> bytes:
    """The line, with its end. Raises what `msgspec` does for what is no JSON."""
    return _encode(line) + b"\n"


class Output:
    """An output that this process alone writes, from here until `close`.

    Raises `UsageError` where the file is no output, or is one of another batch, or another process writes it.
    """

    def __init__(self, path: str, identity: Mapping[str, Any], *, overwrite: bool = False) -> None:
        """`identity` is all that the answers depend on, by what messages call it."""
        if not path:
            raise UsageError("the output is empty, expected a file")
        refuse_standard_output(path)
        self.path = path
        self.identity = identity
        self.target = os.path.realpath(path)
        """The file itself, behind links."""
        self._beside_path = self.target + BESIDE
        self._beside = -1
        was_there = os.path.lexists(self.target)
        self._descriptor = self._opened(self.target)
        try:
            self._beside = self._opened(self._beside_path)
            self._lock()
            if not os.path.samestat(os.fstat(self._descriptor), os.stat(self.target)):
                os.close(self._descriptor)  # it was replaced before it was locked
                self._descriptor = self._opened(self.target)
            if overwrite:
                os.ftruncate(self._descriptor, 0)
            self._belong(overwrite=overwrite, was_there=was_there)
            self._size = self._mended()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for descriptor in (self._descriptor, self._beside):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self._beside = -1

    def _opened(self, path: str) -> int:
        try:
            return open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except NotRegularError:
            raise UsageError(
                "this is no regular file, and only such a one can say what is done", where=printable(path)
            ) from None
        except (OSError, ValueError) as error:
            raise UsageError(self._refusal(error)) from None

    def _refusal(self, error: OSError | ValueError) -> str:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        return f"cannot write {printable(self.path)}: {why}"

    def _lock(self) -> None:
        locks = _locks()
        try:
            locks.flock(self._beside, locks.LOCK_EX | locks.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                "another process writes this output", where=printable(self.path), hint="wait for its end, or end it"
            ) from None

    def _belong(self, *, overwrite: bool, was_there: bool) -> None:
        """Sees to it that the output is one of this batch; one that was not there begins anew, and so does one to
        `overwrite`."""
        is_empty = os.fstat(self._descriptor).st_size == 0
        content = b"" if overwrite else os.pread(self._beside, _MOST_BESIDE, 0)
        if not is_empty and not content and os.fstat(self._beside).st_size == 0:
            os.unlink(self._beside_path)  # made just now
        before = _recognized(self.path, self.identity, content, is_empty=is_empty)
        if before is None or not was_there:
            self._begin_anew()
        else:
            self.batch_id = str(before.get(_ID))
            self._columns_before = None if is_empty else before.get("columns")

    def _begin_anew(self) -> None:
        self.batch_id = new_run_id()
        said = {_VERSION: _FORMAT, _ID: self.batch_id, **self.identity}
        try:
            os.ftruncate(self._beside, 0)
            write_all(self._beside, msgspec.json.format(_encode(said)) + b"\n")
            os.fsync(self._beside)
        except OSError as error:
            raise ApxmError(f"cannot write {printable(self._beside_path)}: {error.strerror}") from None
        _sync_folder(self._beside_path)

    batch_id: str
    """Whatever else has the same name was another batch."""
    _columns_before: list[str] | None = None
    """The columns of the inputs whose lines are there; None where there are no lines."""

    def _mended(self) -> int:
        """Where the last whole line ends, behind which nothing is left of what a process that was killed began."""
        size = os.fstat(self._descriptor).st_size
        with open(self._descriptor, "rb", closefd=False) as file:
            end = _last_end(file, size)
            if end == size:
                return size
            file.seek(end)
            rest = file.read()
        try:
            whole = bool(_decode(rest).id)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            whole = False
        if whole:
            return size + write_all(self._descriptor, b"\n")
        os.ftruncate(self._descriptor, end)
        return end

    def read(self, index: Index, rows: Sequence[Row] = ()) -> None:
        """Notes all lines in the index. Raises `UsageError` where one is none, or the first `rows` of the input have
        other columns than those which are done."""
        _note(_lines(self._descriptor), self.path, index)
        _refuse_other_columns(self.path, self._columns_before, self.identity, index, rows)

    def append(self, lines: list[bytes]) -> list[int]:
        """Writes lines and waits for the disk; gives their offsets. Raises `NotWrittenError`; whatever of them fits is
        there then, and no part of a line."""
        ends = list(accumulate(map(len, lines), initial=self._size))
        try:
            write_all(self._descriptor, b"".join(lines))
            getattr(os, "fdatasync", os.fsync)(self._descriptor)
        except OSError as error:
            with suppress(OSError):
                there = os.fstat(self._descriptor).st_size
                self._size = max(end for end in ends if end <= there)
                os.ftruncate(self._descriptor, self._size)
            lost = sum(end > self._size for end in ends)
            raise NotWrittenError(self._refusal(error), lost) from None
        self._size = ends[-1]
        return ends[:-1]

    def drop_failed(self, index: Index) -> set[str]:
        """Takes the lines of inputs that failed away, in one step, so that they are inputs without a line. Gives the
        ids of those whose journals were of no use."""
        unusable = set[str]()

        def kept(file: IO[bytes]) -> Iterator[bytes]:
            del file
            for _, line in _lines(self._descriptor):
                found = _decode(line)
                if isinstance(found.error, UnsetType):
                    yield line
                elif found.error.kind == UNUSABLE:
                    unusable.add(found.id)

        if index.failed:
            self._rewrite(kept)
            index.forget()
            self.read(index)
        return unusable

    def arrange(self, index: Index) -> None:
        """Puts the lines in the order of their inputs, in one step."""

        def arranged(file: IO[bytes]) -> Iterator[bytes]:
            for offset, length in index.places():
                file.seek(offset)
                yield file.read(length)

        if not index.is_in_order:
            self._rewrite(arranged)

    def _rewrite(self, lines: Callable[[IO[bytes]], Iterator[bytes]]) -> None:
        """Replaces the file. The draft is locked by whoever holds the lock of this output."""
        draft = f"{self.target}.part"
        try:
            with open(self._descriptor, "rb", closefd=False) as old, open(draft, "wb") as new:
                new.writelines(lines(old))
                new.flush()
                os.fsync(new.fileno())
            shutil.copymode(self.target, draft)
            os.replace(draft, self.target)
            _sync_folder(self.target)
        except OSError as error:
            with suppress(OSError):
                os.unlink(draft)
            raise ApxmError(self._refusal(error)) from None
        os.close(self._descriptor)
        self._descriptor = self._opened(self.target)
        self._size = os.fstat(self._descriptor).st_size


def refuse_standard_output(path: str) -> None:
    if path == "-":
        raise UsageError("the output is a file, which says what is done: standard output cannot be gone on with")


def done_in(path: str, identity: Mapping[str, Any], index: Index, rows: Sequence[Row]) -> None:
    """Notes the lines of the output at `path` in the index, where there is one, and leaves it as it is. Raises
    `UsageError` as `Output` and its `read` do."""
    refuse_standard_output(path)
    target = os.path.realpath(path)
    if not os.path.lexists(target):
        if not os.access(os.path.dirname(target), os.W_OK | os.X_OK):
            raise UsageError(f"cannot write {printable(path)}: its folder cannot be written to, or is not there")
        return
    try:
        descriptor = open_regular(target)
        content = read_regular(target + BESIDE, _MOST_BESIDE) if os.path.lexists(target + BESIDE) else b""
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {printable(path)}: {getattr(error, 'strerror', None) or error}") from None
    try:
        before = _recognized(path, identity, content, is_empty=os.fstat(descriptor).st_size == 0)
        if before is not None:
            _note((found for found in _lines(descriptor) if found[1].endswith(b"\n")), path, index)
            _refuse_other_columns(path, before.get("columns"), identity, index, rows)
    finally:
        os.close(descriptor)


def _recognized(path: str, identity: Mapping[str, Any], content: bytes, *, is_empty: bool) -> Mapping[str, Any] | None:
    """What the file beside the output says, whose `content` is given; None where the output begins anew. Raises
    `UsageError` where it is no output, or one of another batch."""
    try:
        before = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        before = {}
    is_torn = is_empty and _HEAD.startswith(content[: len(_HEAD)])
    if content and before.get(_VERSION) != _FORMAT and not is_torn:
        raise UsageError("this says nothing of a batch", where=printable(path + BESIDE), hint=_ANEW)
    now: dict[str, Any] = msgspec.json.decode(_encode(identity))
    others = [w for w in now | before if w not in _NOT_COMPARED and before.get(w) != now.get(w)]
    if is_empty and (others or not before):
        return None
    if not content:
        raise UsageError("this file is there, and no batch has written it", where=printable(path), hint=_ANEW)
    if others:
        raise _of_another_batch(path, others[0], before.get(others[0]), now.get(others[0]))
    return before


def _refuse_other_columns(
    path: str, before: list[str] | None, identity: Mapping[str, Any], index: Index, rows: Sequence[Row]
) -> None:
    """Columns are part of what an input is: rows with others are all new. Lines of JSON need not be alike, so that one
    of the first rows which is done tells that they are those of this batch."""
    now = identity.get("columns")
    if index.lines and before not in (None, now) and not any(index.has(row.digest) for row in rows):
        raise _of_another_batch(path, "columns", before, now)


def _of_another_batch(path: str, what: str, before: object, now: object) -> UsageError:
    """Why the output cannot be gone on with: one of the things that identify a batch is another one."""
    shown = (shortened(_encode(each).decode(), 100) for each in (before, now))
    is_digest = what == "program"
    then = f"the {what} was another one" if is_digest else "its {} was {}, and now is {}".format(what, *shown)
    return UsageError(f"this is the output of another batch: {then}", where=printable(path), hint=_ANEW)


def _note(lines: Iterable[tuple[int, bytes]], path: str, index: Index) -> None:
    for number, (offset, line) in enumerate(lines, 1):
        try:
            found = _decode(line)
            if (found.value is UNSET) == (found.error is UNSET):
                raise msgspec.ValidationError("it has neither a value nor an error, or both")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(
                f"this is no line of a batch: {error}", where=printable(f"{path}:{number}"),
                hint="take it away, and its input is done again; or give another --output",
            ) from None  # fmt: skip
        if not index.add(found.id, found.error is not UNSET, offset, len(line)):
            raise UsageError(
                f"this is a second line of input {printable(found.id)}", where=printable(f"{path}:{number}"),
                hint="take one of them away",
            )  # fmt: skip


def _lines(descriptor: int) -> Iterator[tuple[int, bytes]]:
    """All lines, each behind its offset."""
    with open(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        offset = 0
        for line in file:
            yield offset, line
            offset += len(line)


def _last_end(file: IO[bytes], size: int) -> int:
    """Behind the last end of a line; 0 where there is none."""
    at = size
    while at:
        begin = max(0, at - (1 << 16))
        file.seek(begin)
        found = file.read(at - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        at = begin
    return 0


def _sync_folder(path: str) -> None:
    """A name is on the disk when its folder is."""
    with suppress(OSError):
        descriptor = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _locks() -> ModuleType:
    try:
        import fcntl
    except ImportError:  # Windows
        raise UsageError("this system has no file locks (flock), which outputs of batches need") from None
    return fcntl
