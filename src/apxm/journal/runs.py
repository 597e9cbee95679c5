"""The runs in a folder of journals: find one, list them."""

from __future__ import annotations

from contextlib import suppress
from difflib import get_close_matches
from operator import attrgetter
from pathlib import Path

from msgspec import Struct

from apxm.errors import JournalError, JournalVersionError, UsageError
from apxm.journal import per_run
from apxm.journal.catalog import Log, Run, find, history_of, logs_in, read_run, runs_of
from apxm.journal.ids import is_run_id, start_of
from apxm.journal.index import Heading, Piece
from apxm.journal.lock import is_held
from apxm.journal.per_run import RunFiles
from apxm.journal.rows import History
from apxm.source import printable


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


class Listed(Struct, frozen=True):
    """A run, and what it is ordered by."""

    order: tuple[str, float, str]
    """The second in its id, the unix time in its journal, its id."""
    summary: RunSummary


def list_runs(folder: Path) -> list[RunSummary]:
    """The newest first. Raises `JournalError` where the folder cannot be read, never because of a file in it. A log
    that cannot be read is in the list by its own name."""
    return [listed.summary for listed in sorted(_listed(folder), key=attrgetter("order"), reverse=True)]


def earlier_runs(folder: Path, program: str, flow: str, most: int) -> list[History]:
    """What is journaled of the last runs of a flow that ended well, `most` at most, the newest first; `program` is the
    file as their headers name it. Those are left out that an earlier version wrote, or that cannot be read. Raises
    `JournalError` where the folder cannot be read."""
    logs = logs_in(folder)
    runs = runs_of(logs)
    listed = [each for run_id, run in runs.items() if (each := _of_logs(run_id, run))]
    found: list[History] = []
    for run in (each.summary for each in sorted(listed, key=attrgetter("order"), reverse=True)):
        if len(found) == most:
            break
        if (run.program, run.flow, run.status) == (program, flow, "succeeded"):
            with suppress(JournalError, FileNotFoundError):  # damaged, or pruned meanwhile
                found.append(read_run(run.id, runs[run.id], logs).history)
    return found


def find_run(folder: Path, wanted: str) -> str:
    """The id of the run that `wanted` names: an id, the begin or the end of a single one, or ``last`` for the one that
    began last. Raises `UsageError`."""
    if is_run_id(wanted) and _is_there(folder, wanted):
        return wanted
    orders = sorted(listed.order for listed in _listed(folder))
    ids = [run_id for _, _, run_id in orders]
    if wanted == "last" and ids:
        return ids[-1]
    if wanted in ids:
        return wanted
    found = [run_id for run_id in ids if wanted and (run_id.startswith(wanted) or run_id.endswith(wanted))]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"{wanted!r} may be any of {len(found)} runs", hint=f"type more of it; the last one is {found[-1]}"
        )
    if near := get_close_matches(wanted, ids, 1, cutoff=0.3):
        hint = f"did you mean {near[0]}?"
    else:
        hint = f"the last one is {ids[-1]}" if ids else "there are none"
    raise UsageError(f"there is no run {wanted!r} in {printable(str(folder))}", hint=hint)


def ids_in(folder: Path) -> list[str]:
    """Those of all runs."""
    return [run_id for _, _, run_id in sorted(listed.order for listed in _listed(folder))]


def show_run(folder: Path, run_id: str) -> tuple[RunSummary, History]:
    """A run, and all that it has journaled. Raises `JournalError`."""
    found = find(folder, run_id)
    history = found.history
    if found.per_run is not None:
        size = per_run.runs_in(folder)[run_id].size_bytes
    else:
        size = sum(piece.size for _, piece in runs_of(logs_in(folder, run_id))[run_id].pieces)
    over = history.ended.status if history.ended else "interrupted"
    return RunSummary(
        id=run_id,
        program=history.header.path,
        flow=history.header.flow,
        started=start_of(run_id),
        status="running" if found.owned else over,
        operations=len(history.results),
        size_bytes=size,
    ), history


def _is_there(folder: Path, run_id: str) -> bool:
    if RunFiles(folder, run_id).journal.exists():
        return True
    run = runs_of(logs_in(folder, run_id)).get(run_id)
    return run is not None and any(piece.rows for _, piece in run.pieces)


def _listed(folder: Path) -> list[Listed]:
    logs = logs_in(folder)
    runs = runs_of(logs)
    listed = [found for run_id, run in runs.items() if (found := _of_logs(run_id, run))]
    listed += [_broken(each) for each in logs if each.error is not None]
    old = [run for run in per_run.runs_in(folder).values() if run.has_journal and run.run_id not in runs]
    return listed + [found for run in old if (found := _of_files(run))]


def _of_logs(run_id: str, run: Run) -> Listed | None:
    """The entry of a run that logs have; None where they have no row of it."""
    heading: Heading | None = None
    operations, status, last, size = 0, "interrupted", -1, 0
    whole = True
    for _, piece in sorted(run.pieces, key=_first) if len(run.pieces) > 1 else run.pieces:
        size += piece.size
        if not piece.rows:
            continue
        heading = heading or piece.heading
        whole = whole and piece.first == last + 1
        last = piece.last
        operations = piece.operations if piece.edited else operations + piece.operations
        status = piece.status or "interrupted"
    if last < 0:
        return None
    second = start_of(run_id)
    if heading is None or not whole:
        return Listed((second, 0.0, run_id), RunSummary(run_id, None, None, second, "damaged", None, size))
    if run.owned:
        status = "running"
    summary = RunSummary(run_id, heading.path, heading.flow, second, status, operations, size)
    return Listed((second, heading.started, run_id), summary)


def _first(found: tuple[Log, Piece]) -> int:
    return found[1].first


def _broken(each: Log) -> Listed:
    """A log that cannot be read, whose name looks like that of a run."""
    name = each.path.name.partition(".")[0]
    second = start_of(name) if is_run_id(name) else ""
    status = "unreadable" if isinstance(each.error, JournalVersionError) else "damaged"
    return Listed((second, each.written, name), RunSummary(name, None, None, second, status, None, each.size_bytes))


def _of_files(run: RunFiles) -> Listed | None:
    """The entry of a run that an earlier version wrote; None where it is being removed."""
    second = start_of(run.run_id)
    try:
        header, records = per_run.read(run.journal)
    except JournalError as error:
        if not run.journal.exists():
            return None
        status = "unreadable" if isinstance(error, JournalVersionError) else "damaged"
        return Listed(
            (second, run.written, run.run_id), RunSummary(run.run_id, None, None, second, status, None, run.size_bytes)
        )
    history = history_of(header, records)
    over = history.ended.status if history.ended else "interrupted"
    status = "running" if is_held(run.lock) else over
    summary = RunSummary(run.run_id, header.path, header.flow, second, status, len(history.results), run.size_bytes)
    return Listed((second, header.started, run.run_id), summary)
