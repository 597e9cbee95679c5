"""The runs in a folder of journals: find one, list them, remove old ones."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from operator import itemgetter
from pathlib import Path

from msgspec import Struct

from apxm.errors import JournalBusyError, JournalError, JournalVersionError, UsageError
from apxm.journal.folder import KeptRun, RunFiles, runs_in, unusable
from apxm.journal.ids import start_of
from apxm.journal.lock import RunLock, is_held
from apxm.journal.reading import read
from apxm.journal.rows import History
from apxm.source import printable

KEEP_DAYS = 30.0
KEEP_BYTES = 1024**3
_DAY_S = 86_400.0

Begun = tuple[str, float, str]
"""When a run began: the second in its id, the unix time in its journal, its id."""


class RunSummary(Struct, frozen=True):
    """One run, as a list shows it."""

    id: str
    program: str | None
    """The program's file, as it was given; None where the journal cannot be read."""
    flow: str | None
    started: str
    """ISO 8601, UTC."""
    status: str
    """``running`` where a process owns it, ``interrupted`` where none does though it is not over, else how it ended;
    ``damaged`` or, written by a later version, ``unreadable``."""
    operations: int | None
    """How many operations have a result."""
    size_bytes: int


def list_runs(folder: Path) -> list[RunSummary]:
    """The newest first. Raises `JournalError` where the folder cannot be read, never because of a file in it."""
    listed = [_listed(run) for run in runs_in(folder) if run.has_journal]
    begun = [entry for entry in listed if entry]
    return [run for _, run in sorted(begun, key=itemgetter(0), reverse=True)]


def find_run(folder: Path, wanted: str) -> KeptRun:
    """The run that `wanted` names: an id, the begin or the end of a single one, or ``last`` for the one that began
    last. Raises `UsageError`."""
    runs = {run.files.run_id: run for run in runs_in(folder) if run.has_journal}
    ids = list(runs)
    if wanted == "last" and ids:
        return _last(runs)
    if wanted in ids:
        return runs[wanted]
    found = [run_id for run_id in ids if wanted and (run_id.startswith(wanted) or run_id.endswith(wanted))]
    if len(found) == 1:
        return runs[found[0]]
    if found:
        raise UsageError(
            f"{wanted!r} may be any of {len(found)} runs",
            hint=f"type more of it; the last one is {_last({run_id: runs[run_id] for run_id in found}).files.run_id}",
        )
    if near := get_close_matches(wanted, ids, 1, cutoff=0.3):
        hint = f"did you mean {near[0]}?"
    else:
        hint = f"the last one is {_last(runs).files.run_id}" if ids else "there are none"
    raise UsageError(f"there is no run {wanted!r} in {printable(str(folder))}", hint=hint)


def _last(runs: Mapping[str, KeptRun]) -> KeptRun:
    """The one that began last. An id tells the second; of several within one the journals tell."""
    second = start_of(max(runs))
    tied = [run for run_id, run in runs.items() if start_of(run_id) == second]
    return max(tied, key=_begun) if len(tied) > 1 else tied[0]


def _begun(run: KeptRun) -> Begun:
    try:
        started = read(run.files.journal).header.started
    except JournalError:
        started = run.written
    return _order(run, started)


def show_run(run: KeptRun) -> tuple[RunSummary, History]:
    """A run, and all that it has journaled. Raises `JournalError`."""
    history = read(run.files.journal)
    return _describe(run, history), history


def prunable(folder: Path, *, now: float, keep_days: float = KEEP_DAYS, keep_bytes: int = KEEP_BYTES) -> list[KeptRun]:
    """The runs that were last written to more than `keep_days` ago and, the oldest first, as many more as have to go
    before the rest fits into `keep_bytes`. Never one that is running, nor what is no file of ours. Raises
    `JournalError`."""
    runs = sorted((run for run in runs_in(folder) if run.ours), key=lambda run: (run.written, run.files.run_id))
    left = sum(run.size_bytes for run in runs)
    gone: list[KeptRun] = []
    for run in runs:
        if (left > keep_bytes or now - run.written > keep_days * _DAY_S) and not is_held(run.files.lock):
            gone.append(run)
            left -= run.size_bytes
    return gone


def prune(folder: Path, *, now: float, keep_days: float = KEEP_DAYS, keep_bytes: int = KEEP_BYTES) -> list[KeptRun]:
    """Removes what is `prunable`, and tells what it removed. Raises `JournalError`."""
    return [run for run in prunable(folder, now=now, keep_days=keep_days, keep_bytes=keep_bytes) if _remove(run.files)]


def _remove(files: RunFiles) -> bool:
    """Removes a run's files under the run's lock, so that nobody takes it over meanwhile."""
    try:
        lock = RunLock(files.lock, files.run_id)
    except JournalBusyError:
        return False
    try:
        # The lock is last, since it guards the others.
        for path in [*files.all_but_lock, files.lock]:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise unusable(files.folder, error) from None
    finally:
        lock.release()
    return True


def _listed(run: KeptRun) -> tuple[Begun, RunSummary] | None:
    """The run's entry in a list, and what it is ordered by; None where it is being removed."""
    try:
        history = read(run.files.journal)
        return _order(run, history.header.started), _describe(run, history)
    except JournalError as error:
        if not run.files.journal.exists():
            return None
        status = "unreadable" if isinstance(error, JournalVersionError) else "damaged"
        run_id = run.files.run_id
        return _order(run, run.written), RunSummary(run_id, None, None, start_of(run_id), status, None, run.size_bytes)


def _order(run: KeptRun, started: float) -> Begun:
    return start_of(run.files.run_id), started, run.files.run_id


def _describe(run: KeptRun, history: History) -> RunSummary:
    over = history.ended.status if history.ended else "interrupted"
    return RunSummary(
        id=run.files.run_id,
        program=history.header.path,
        flow=history.header.flow,
        started=start_of(run.files.run_id),
        status="running" if is_held(run.files.lock) else over,
        operations=len(history.results),
        size_bytes=run.size_bytes,
    )
