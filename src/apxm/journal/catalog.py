"""What lies in a folder of journals, read without changing it, and without belief in what is not checked."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from zlib import crc32

from msgspec import Struct
from msgspec.structs import replace

from apxm.errors import JournalDamagedError, JournalError, UsageError
from apxm.journal import index, log, per_run
from apxm.journal.folder import unusable
from apxm.journal.format import End, decode_header, decode_record
from apxm.journal.index import Chunk, Part, Piece
from apxm.journal.lock import is_held, is_locked
from apxm.journal.per_run import RunFiles
from apxm.journal.rows import Edited, Header, History, TimedRow
from apxm.regular import open_regular
from apxm.source import printable

LOCK = "takeover.lock"
"""Its `flock` is held by a process while it takes a run over or removes runs."""
_DIGITS = 10
_TRIES = 5
"""How often a log may be removed while it is read: each time there is one less, or one in its place."""


@dataclass
class Log:
    """A log as it lies there, by its index and, where that ends, by itself."""

    path: Path
    size_bytes: int = 0
    """With its index."""
    written: float = 0.0
    """When it was last written, in unix time."""
    is_held: bool = False
    """Whether a process writes to it."""
    error: JournalError | None = None
    """Why it cannot be read."""
    salt: int = 0
    chunks: list[Chunk] = field(default_factory=list[Chunk])
    tail: Part = field(default_factory=lambda: Part(log.HEAD.size, log.HEAD.size, 0, {}, {}))
    """What the index lacks."""

    @classmethod
    def read(cls, path: Path, name: bytes = b"") -> Log:
        """`name` is the only one that matters: of a log without it only the tail is looked at. Raises `OSError` where
        it is not there."""
        read = cls(path)
        try:
            descriptor = open_regular(path)
        except FileNotFoundError:
            raise
        except OSError as error:
            read.error = JournalDamagedError(f"this is no log of runs: {error.strerror}", where=printable(str(path)))
            return read
        try:
            # First: what is written behind this is of somebody who has it now.
            read.is_held = is_locked(descriptor)
            known = _index(path)
            state = os.fstat(descriptor)
            read.size_bytes, read.written = state.st_size + len(known), state.st_mtime
            read._look(descriptor, known, state.st_size, name)
        except JournalError as error:
            read.error = error
        except OSError as error:
            read.error = JournalError(f"the log cannot be read: {error.strerror}", where=printable(str(path)))
        finally:
            os.close(descriptor)
        return read

    def _look(self, descriptor: int, known: bytes, size: int, name: bytes) -> None:
        salt = index.salt_of(known)
        try:
            self.salt = log.read_head(self.path, log.read_range(descriptor, 0, log.HEAD.size))
        except JournalDamagedError:
            if salt is None:  # the index has it as well
                raise
            self.salt = salt
        end, session = log.HEAD.size, 0
        if salt == self.salt:
            for chunk in index.chunks(known, end):
                end, session = chunk.end, chunk.session
                if name in chunk.body.tobytes() or chunk.has_programs:
                    self.chunks.append(chunk)
        self.tail = index.scanned(log.read_range(descriptor, end, size), end, self.salt, session)

    @cached_property
    def pieces(self) -> list[Piece]:
        """In the order in which they were written."""
        found: list[Piece] = []
        for chunk in self.chunks:
            pieces = chunk.pieces()
            if chunk.session != self.tail.session:
                for piece in pieces:
                    piece.open = False  # of a process that wrote before the last one
            found += pieces
        return [*found, *self.tail.pieces.values()]

    def programs(self) -> dict[str, bytes]:
        """Artifacts by digest."""
        found: dict[str, bytes] = {}
        for chunk in self.chunks:
            if chunk.has_programs:
                found |= chunk.programs()
        return found | self.tail.programs


def _index(path: Path) -> bytes:
    try:
        descriptor = open_regular(index.index_of(path))
    except OSError:
        return b""
    try:
        return log.read_range(descriptor, 0, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def logs_in(folder: Path, name: str = "") -> list[Log]:
    """All logs, the oldest first; none where there is no folder. Raises `JournalError`."""
    for _ in range(_TRIES):
        paths = _paths_in(folder)
        with suppress(FileNotFoundError):
            return [Log.read(path, name.encode()) for path in sorted(_newest(paths).values())]
    raise JournalError("its files change while they are read", where=printable(str(folder)))


def replaced_in(folder: Path) -> list[Path]:
    """Logs in whose place there is another one, with the rows that are kept."""
    paths = _paths_in(folder)
    newest = _newest(paths)
    return [path for path in paths if newest[generation_of(path)[0]] != path]


def generation_of(path: Path) -> tuple[str, int]:
    """A log's name, and how often it was written anew."""
    name, _, generation = path.name.removesuffix(log.SUFFIX).partition(".")
    return name, int(generation) if generation.isdecimal() and len(generation) < _DIGITS else 0


def _newest(paths: Iterable[Path]) -> dict[str, Path]:
    newest: dict[str, Path] = {}
    for path in sorted(paths, key=generation_of):
        newest[generation_of(path)[0]] = path
    return newest


def _paths_in(folder: Path) -> list[Path]:
    try:
        return [folder / entry for entry in os.listdir(folder) if entry.endswith(log.SUFFIX)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unusable(folder, error) from None


class Run(Struct, gc=False):
    """What the logs have of a run."""

    pieces: list[tuple[Log, Piece]]

    @property
    def owned(self) -> bool:
        """Whether a process has it."""
        if len(self.pieces) == 1:
            ((each, piece),) = self.pieces
            return each.is_held and piece.open
        last: dict[Path, tuple[Log, Piece]] = {found.path: (found, piece) for found, piece in self.pieces}
        return any(found.is_held and piece.open for found, piece in last.values())


def runs_of(logs: Iterable[Log]) -> dict[str, Run]:
    """By id."""
    runs: dict[str, Run] = {}
    for each in logs:
        for piece in each.pieces:
            if (run := runs.get(piece.run_id)) is None:
                runs[piece.run_id] = Run([(each, piece)])
            else:
                run.pieces.append((each, piece))
    return runs


@dataclass(frozen=True)
class Found:
    """All that there is of a run."""

    header: Header
    """As the run began."""
    history: History
    end: End
    owned: bool
    """Whether a process has it."""
    per_run: RunFiles | None = None
    """The files that have it, where an earlier version wrote them."""


def is_known(folder: Path, run_id: str) -> bool:
    """Whether there is anything of the run. Raises `JournalError`."""
    if run_id in per_run.runs_in(folder):
        return True
    return any(piece.run_id == run_id for each in logs_in(folder, run_id) for piece in each.pieces)


def find(folder: Path, run_id: str) -> Found:
    """Raises `UsageError` where there is no such run, `JournalError` where it cannot be read."""
    for _ in range(_TRIES):
        logs = logs_in(folder, run_id)
        run = runs_of(logs).get(run_id)
        if run is None or not any(piece.rows for _, piece in run.pieces):
            break
        with suppress(FileNotFoundError):
            return read_run(run_id, run, logs)
    files = RunFiles(folder, run_id)
    if not files.journal.exists():
        broken = next((each.error for each in logs_in(folder) if each.error is not None), None)
        hint = "" if broken is None else f"it may be in a log that cannot be read: {broken}"
        raise UsageError(f"there is no run {run_id} in {printable(str(folder))}", hint=hint or None)
    header, records = per_run.read(files.journal)
    if header.run_id != run_id:
        raise JournalError(
            f"this is the journal of run {printable(header.run_id)}", where=printable(str(files.journal))
        )
    return Found(header, history_of(header, records), End(-1, 0), is_held(files.lock), files)


def read(folder: Path, run_id: str) -> History:
    """What there is of a run, for looking only. Raises as `find`."""
    return find(folder, run_id).history


def read_run(run_id: str, run: Run, logs: list[Log]) -> Found:
    """A run of those that the logs have. Raises `JournalDamagedError`, and `FileNotFoundError` where a log was removed
    meanwhile."""
    where = run.pieces[0][0].path
    rows: dict[int, tuple[int, bytes]] = {}
    for path in dict.fromkeys(each.path for each, _ in run.pieces):
        for number, checksum, content in _rows(run_id, [p for each, p in run.pieces if each.path == path], path, logs):
            if rows.setdefault(number, (checksum, content)) != (checksum, content):
                raise _damaged(run_id, where, f"there are two of row {number}")
    last = max(piece.last for _, piece in run.pieces)
    header: Header | None = None
    records: list[TimedRow] = []
    before = 0
    programs = _Programs(run_id, where, logs)
    for number in range(last + 1):
        if number not in rows:
            raise _damaged(run_id, where, f"row {number} is missing")
        checksum, content = rows[number]
        if crc32(content, before) != checksum:
            raise _damaged(run_id, where, f"row {number} does not match its checksum")
        before = checksum
        try:
            if header is None:
                header = decode_header(content)
                header = replace(header, program=programs[header.program_digest])
            else:
                records.append(_with_program(decode_record(content), programs))
        except JournalDamagedError:
            raise
        except JournalError as error:
            raise _damaged(run_id, where, f"row {number} is not a valid one: {error.message}") from None
    if header is None or header.run_id != run_id:
        raise _damaged(run_id, where, "it has no header")
    _refuse_lost_end(run_id, run, last)
    return Found(header, history_of(header, records), End(last, before), run.owned)


def _rows(run_id: str, pieces: list[Piece], path: Path, logs: list[Log]) -> Iterator[tuple[int, int, bytes]]:
    """Number, checksum and content of each row of a run that a log has."""
    salt = next(each.salt for each in logs if each.path == path)
    descriptor = open_regular(path)
    try:
        for begin, end in _ranges(pieces):
            data = log.read_range(descriptor, begin, end)
            for batch in log.scan(data, begin, salt, to_the_end=False):
                if isinstance(batch, log.Batch):
                    for entry in batch.entries():
                        if entry.kind == log.ROW and entry.run_id == run_id:
                            at = entry.at - begin
                            yield entry.number, entry.checksum, data[at : at + entry.length]
    finally:
        os.close(descriptor)


def _ranges(pieces: list[Piece]) -> Iterator[tuple[int, int]]:
    """Those of a file that have all of the pieces, none of them twice."""
    begin = end = 0
    for piece in sorted(pieces, key=lambda piece: piece.begin):
        if piece.begin > end:
            if end:
                yield begin, end
            begin, end = piece.begin, piece.end
        elif not end:
            begin, end = piece.begin, piece.end
        else:
            end = max(end, piece.end)
    yield begin, end


class _Programs:
    """The artifacts in logs, by digest: first those of the index, and then, where one is not there, all there are."""

    def __init__(self, run_id: str, where: Path, logs: list[Log]) -> None:
        self._run_id = run_id
        self._where = where
        self._logs = logs
        self._found: dict[str, bytes] = {}

    def __getitem__(self, digest: str) -> bytes:
        for search in (Log.programs, _scanned_programs):
            for each in self._logs:
                if digest not in self._found and each.error is None:
                    self._found |= search(each)
        if digest not in self._found:
            raise _damaged(self._run_id, self._where, f"its program is missing, of SHA-256 {printable(digest)}")
        return self._found[digest]


def _scanned_programs(found: Log) -> dict[str, bytes]:
    data = found.path.read_bytes()
    programs: dict[str, bytes] = {}
    for batch in log.scan(data[log.HEAD.size :], log.HEAD.size, found.salt):
        if isinstance(batch, log.Batch):
            for entry in batch.entries():
                if entry.kind == log.PROGRAM:
                    artifact = data[entry.at : entry.at + entry.length]
                    programs[sha256(artifact).hexdigest()] = artifact
    return programs


def _with_program(record: TimedRow, programs: _Programs) -> TimedRow:
    if not isinstance(row := record.row, Edited):
        return record
    return TimedRow(record.time, replace(row, program=programs[row.program_digest]))


def _refuse_lost_end(run_id: str, run: Run, last: int) -> None:
    """A place that is damaged may have had rows behind all those that are left. An index would say so, and so would
    whoever let go of the run."""
    each, piece = next(found for found in reversed(run.pieces) if found[1].last == last)
    if not piece.released and piece is each.tail.pieces.get(run_id):
        for gap in each.tail.gaps:
            if gap.start >= piece.end:
                raise _damaged(run_id, each.path, "its last rows may have been where the log is damaged")


def history_of(header: Header, records: list[TimedRow]) -> History:
    history = History(header)
    for record in records:
        history.add(record)
    return history


def _damaged(run_id: str, where: Path, found: str) -> JournalDamagedError:
    return JournalDamagedError(f"the journal of run {run_id} is damaged: {found}", where=printable(str(where)))
