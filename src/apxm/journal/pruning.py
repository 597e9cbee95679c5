"""The removal of old runs, which gives back the space that they took up."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from apxm.errors import JournalBusyError
from apxm.journal import index, log, per_run
from apxm.journal.catalog import LOCK, Log, generation_of, logs_in, replaced_in, runs_of
from apxm.journal.folder import unusable
from apxm.journal.lock import FileLock, is_at, is_held, lock_file
from apxm.journal.per_run import RunFiles
from apxm.journal.segment import sync_folder
from apxm.journal.store import store_of
from apxm.regular import open_regular

KEEP_DAYS = 30.0
KEEP_BYTES = 1024**3
_DAY_S = 86_400.0
_DRAFT_S = 3600.0
"""After which nobody is at work on a draft any more."""
_BATCH = 1024 * 1024
"""Bytes of contents that are put into one batch where a log is written anew."""


@dataclass
class KeptRun:
    """What there is of a run."""

    run_id: str
    size_bytes: int = 0
    written: float = 0.0
    """When something was last written of it, in unix time."""
    removable: bool = True
    """Whether no process has it, nor a log that it is in."""
    logs: dict[Path, None] = field(default_factory=dict[Path, None])
    per_run: RunFiles | None = None


def prunable(folder: Path, *, now: float, keep_days: float = KEEP_DAYS, keep_bytes: int = KEEP_BYTES) -> list[KeptRun]:
    """The runs that were last written to more than `keep_days` ago and, the oldest first, as many more as have to go
    before the rest fits into `keep_bytes`. Never one that is running, nor what is no file of ours. Raises
    `JournalError`."""
    store_of(folder).rest()
    return _prunable(logs_in(folder), per_run.runs_in(folder), now, keep_days, keep_bytes)


def prune(folder: Path, *, now: float, keep_days: float = KEEP_DAYS, keep_bytes: int = KEEP_BYTES) -> list[KeptRun]:
    """Removes what is `prunable`, and tells what it removed. Raises `JournalError`."""
    store_of(folder).rest()
    for path in folder.glob(f"*{log.DRAFT}"):
        with suppress(OSError):
            if now - path.stat().st_mtime > _DRAFT_S:
                path.unlink()
    logs = logs_in(folder)
    if not _prunable(logs, per_run.runs_in(folder), now, keep_days, keep_bytes) and not _leftovers(folder, logs):
        return []
    # Nobody takes a run over meanwhile.
    lock = FileLock(folder / LOCK)
    try:
        with ExitStack() as stack:
            for path in replaced_in(folder):
                _unlink(path)  # by one who was killed behind that
            free = {each.path for each in logs_in(folder) if _locked(each.path, stack)}
            logs = logs_in(folder)
            for each in logs:
                each.is_held = each.path not in free
            gone = _prunable(logs, per_run.runs_in(folder), now, keep_days, keep_bytes)
            _remove(folder, [each for each in logs if not each.is_held], gone)
            return [run for run in gone if run.per_run is None or _remove_files(run.per_run)]
    except OSError as error:
        raise unusable(folder, error) from None
    finally:
        lock.remove()


def _prunable(
    logs: list[Log], old: dict[str, RunFiles], now: float, keep_days: float, keep_bytes: int
) -> list[KeptRun]:
    runs: dict[str, KeptRun] = {}
    for run_id, found in runs_of(logs).items():
        run = runs[run_id] = KeptRun(run_id)
        for each, piece in found.pieces:
            run.size_bytes += piece.size
            run.written = max(run.written, piece.written)
            run.removable &= not each.is_held
            run.logs[each.path] = None
    for files in old.values():
        run = runs.setdefault(files.run_id, KeptRun(files.run_id))
        run.per_run = files
        run.size_bytes += files.size_bytes
        run.written = max(run.written, files.written)
        run.removable &= files.ours
    ordered = sorted(runs.values(), key=lambda run: (run.written, run.run_id))
    left = sum(run.size_bytes for run in ordered)
    gone: list[KeptRun] = []
    for run in ordered:
        if not run.removable or not (left > keep_bytes or now - run.written > keep_days * _DAY_S):
            continue
        if run.per_run is None or not is_held(run.per_run.lock):
            gone.append(run)
            left -= run.size_bytes
    return gone


def _locked(path: Path, stack: ExitStack) -> bool:
    """Locks a log that nobody has, until the `stack` is unwound."""
    with suppress(OSError):
        descriptor = open_regular(path, os.O_RDWR)
        stack.callback(os.close, descriptor)
        return lock_file(descriptor, tries=1) and is_at(descriptor, path)
    return False


def _remove(folder: Path, logs: Iterable[Log], gone: Iterable[KeptRun]) -> None:
    """Removes the rows of runs from logs that are locked."""
    names = {run.run_id for run in gone}
    for each in logs:
        if each.error is not None:
            continue
        left = {piece.run_id for piece in each.pieces if piece.rows} - names
        if not left:
            _unlink(each.path)
        elif names & {piece.run_id for piece in each.pieces}:
            _write_anew(folder, each, left)


def _write_anew(folder: Path, old: Log, left: set[str]) -> None:
    """A log in the place of another one, with the rows of the runs that are `left`. One that is damaged stays as it is:
    of runs that may have lost their ends nothing else would tell."""
    data = old.path.read_bytes()
    name, generation = generation_of(old.path)
    path, part = old.path.with_name(f"{name}.{generation + 1}{log.SUFFIX}"), old.path.with_suffix(log.DRAFT)
    written = log.HEAD.pack(log.MAGIC, log.FORMAT_VERSION, old.salt)
    for entries in _kept(data, old.salt, left):
        if entries is None:
            return
        written += log.encode(entries, old.salt)
    found = index.scanned(written[log.HEAD.size :], log.HEAD.size, old.salt, 0)
    try:
        _write(index.index_of(path), index.head(old.salt) + index.chunk(found))
        _write(part, written)
        os.rename(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        index.index_of(path).unlink(missing_ok=True)
        raise
    sync_folder(folder)
    _unlink(old.path)


def _write(path: Path, data: bytes) -> None:
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _kept(data: bytes, salt: int, left: set[str]) -> Iterator[list[log.Entry] | None]:
    """Batches of the rows that are left, and of all programs; None where the log is damaged."""
    entries: list[log.Entry] = []
    size = 0
    for batch in log.scan(data[log.HEAD.size :], log.HEAD.size, salt):
        if isinstance(batch, log.Gap):
            if batch.end < len(data):
                yield None
            continue
        for entry in batch.entries():
            if entry.kind == log.PROGRAM or (entry.kind == log.ROW and entry.run_id in left):
                content = data[entry.at : entry.at + entry.length]
                entries.append(log.Entry(entry.kind, entry.run_id, entry.number, entry.checksum, content))
                size += len(content)
        if size >= _BATCH:
            yield entries
            entries, size = [], 0
    yield entries


def _leftovers(folder: Path, logs: Iterable[Log]) -> bool:
    """Whether there is a log without any run, or one in whose place there is another."""
    empty = any(each.error is None and not each.is_held and not any(p.rows for p in each.pieces) for each in logs)
    return empty or bool(replaced_in(folder))


def _unlink(path: Path) -> None:
    with suppress(OSError):  # what is no file there is nobody's, and is in nobody's way
        index.index_of(path).unlink()
    path.unlink(missing_ok=True)  # last: an index without a log is nothing


def _remove_files(files: RunFiles) -> bool:
    """Removes a run's files under the run's lock, so that nobody takes it over meanwhile."""
    try:
        lock = FileLock(files.lock, files.run_id)
    except JournalBusyError:
        return False
    try:
        files.remove()
    finally:
        lock.release()
    return True
