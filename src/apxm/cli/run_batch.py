"""A batch as the command line shows it: what answers, how far it is, what came of it, how it goes on."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from apxm.analysis.static import latencies
from apxm.batches.batch import DEFAULT_AT_ONCE, Batch, BatchOptions
from apxm.batches.columns import refuse_columns, unused_columns
from apxm.batches.estimate import estimated, survey
from apxm.batches.foreman import Foreman
from apxm.batches.index import Index
from apxm.batches.inputs import open_input
from apxm.batches.journals import Journals
from apxm.batches.once import Once
from apxm.batches.output import BESIDE, Output, done_in
from apxm.batches.ray_engine import RayEngine
from apxm.batches.rows import Row, Source
from apxm.batches.saving import Saving
from apxm.batches.spending import BESIDE as SPENT
from apxm.batches.spending import BatchBudget, Spending
from apxm.batches.tally import Tally
from apxm.batches.text import batch_progress, batch_summary, estimate_text
from apxm.batches.urls import OutputAt, is_url
from apxm.batches.work import ProgramWork, Work, program_work
from apxm.batches.worker import Order
from apxm.cli import exits
from apxm.cli.control import reachable
from apxm.cli.inputs import is_artifact
from apxm.cli.interruption import Interruption
from apxm.cli.output import write
from apxm.cli.progress import INTERVAL_S, ProgressLine, terminal_width
from apxm.cli.session import announce
from apxm.cli.terminal import note, show_warning
from apxm.cli.values import read_json_arguments, read_known
from apxm.config.invocation import Invocation
from apxm.config.profiles import known_price, known_profile
from apxm.config.selection import ResolvedBackends, resolve
from apxm.errors import ApxmError, UsageError
from apxm.journal.ids import new_run_id
from apxm.operations.types import Value
from apxm.program import codec
from apxm.program.invocation import select_flow
from apxm.reports.structs import as_json
from apxm.reports.summary import count
from apxm.runtime.budget import NOTHING, as_amount
from apxm.runtime.gates import Gate, found_limits
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import real_loop
from apxm.runtime.trace import Status
from apxm.session import Session
from apxm.source import Diagnostic, printable, shortened
from apxm.tools.toolbox import Toolbox

if TYPE_CHECKING:
    from apxm.files import OutputFile
    from apxm.reports.page.batched import BatchPage

PYTHON = re.compile(r"(.+\.py)(?::([^:/]+))?")
"""A file of Python, and which flow of it."""
_PLAIN_INTERVAL_S = 5.0
"""How often a line says how far it is where there is no terminal."""
_MOST_WARNINGS = 20


class Asked(NamedTuple):
    """What the command is told beside what each run is."""

    file: str
    input: str
    output: str
    format: str | None
    shared: tuple[str, ...]
    """Parameters that all inputs have, as ``NAME=VALUE``."""
    level: int
    at_once: int | None
    options: BatchOptions
    ordered: bool
    retry_failed: bool
    overwrite: bool
    dedupe: bool
    max_total_tokens: int | None
    max_cost: float | None
    dry_run: bool
    profile: str | None
    json: bool
    quiet: bool
    redacts: bool
    """Whether its page has no texts."""
    engine: str
    address: str | None
    """Of the cluster."""
    workers: int | None


def run_batch(asked: Asked, said: Mapping[str, Any], page: OutputFile | None = None) -> int:
    """Runs it to its end, and returns the exit status. `said` is what each run is told, by name; `page` gets a page of
    all runs."""
    warnings = _Warnings(asked.quiet)
    _refuse_engine(asked, page)
    make, shared, told, found = _program(asked, said)
    limited = asked.max_total_tokens is not None or asked.max_cost is not None
    budget = BatchBudget(max_total_tokens=asked.max_total_tokens, max_cost=asked.max_cost) if limited else None
    told = told.but({"warn": warnings.show, "budget": budget})
    with _opened(asked) as source, Once() as once, asyncio.Runner(loop_factory=real_loop) as runner:
        configured = resolve(told.selection)
        pool = once.of(configured.pool()) if asked.dedupe else configured.pool()
        work = make.here(told, pool, configured.tools)
        refuse_columns(source, work.parameters, shared, work.signature)
        work.takes(holds_text=source.holds_text, is_table=source.columns is not None)
        at_once = asked.at_once or pool.backends[pool.default].limits.max_concurrency or DEFAULT_AT_ONCE
        options = replace(asked.options, at_once=at_once)
        if asked.dry_run:
            shown = _Shown(asked, configured, source, once, warnings, found)
            runner.run(_foretell(asked, work, source, options, shared, pool, shown, told))
            return 0
        foreman = None
        if asked.engine == "ray":
            work = foreman = _on_ray(asked, work, make, told, configured, pool, source, warnings, budget)
        shown = _Shown(asked, configured, source, foreman or once, warnings, found)
        return runner.run(_run(asked, work, source, options, shared, pool, shown, budget, page))


_Make = Callable[[Invocation, BackendPool, Toolbox], Work]
"""Makes the work of a batch of what its runs are told."""


class _Makes(NamedTuple):
    here: _Make
    elsewhere: Callable[[], _Make]
    """Gives one that can be pickled."""


def _refuse_engine(asked: Asked, page: OutputFile | None) -> None:
    if asked.engine not in ("local", "ray"):
        raise UsageError(f"there is no engine {asked.engine!r}", hint="--engine local or ray")
    for option, given in (("--address", asked.address), ("--workers", asked.workers)):
        if given is not None and asked.engine != "ray":
            raise UsageError(f"{option} is for --engine ray")
    if asked.engine == "ray" and page is not None:
        raise UsageError("--report sees the runs of this process, and not those of --engine ray")


def _on_ray(
    asked: Asked, work: Work, make: _Makes, told: Invocation, configured: ResolvedBackends, pool: BackendPool,
    source: Source, warnings: _Warnings, budget: BatchBudget | None,
) -> Foreman:  # fmt: skip
    """The work, as workers of a Ray cluster do it."""

    def order() -> Order:
        assert configured.inventory is not None
        return Order(
            make=make.elsewhere(),
            told=dataclasses.replace(told, options=dataclasses.replace(told.options, warn=None, budget=None)),
            inventory=configured.inventory,
            variables=configured.inventory.variables,
            limits=None if budget is None else (budget.max_tokens, budget.max_money),
            dedupe=asked.dedupe,
            holds_text=source.holds_text,
            is_table=source.columns is not None,
        )

    return Foreman(work, pool.gates, budget, RayEngine(order, asked.address, asked.workers), warnings.show)


def _program(
    asked: Asked, said: Mapping[str, Any]
) -> tuple[_Makes, Mapping[str, Value], Invocation, tuple[Diagnostic, ...]]:
    """What makes the work, the values that all inputs share, what the runs are told, and what the compiler warns of."""
    if (python := PYTHON.fullmatch(asked.file)) is not None:
        from apxm.flows.batched import FlowWork, flow_in, flow_work

        path = os.path.abspath(python[1])
        flow = flow_in(python[1], python[2] or said["flow"])
        shared = read_json_arguments(asked.shared)
        own = Invocation.of({**flow.said, **{key: value for key, value in said.items() if value is not None}})
        name = flow.function.__name__

        def elsewhere() -> _Make:
            return partial(flow_work, path, Path(path).read_bytes(), name, shared)

        return _Makes(partial(FlowWork, flow, shared), elsewhere), shared, own, ()
    told, found = Invocation.of(said), tuple[Diagnostic, ...]()
    if is_artifact(asked.file) or asked.file.endswith(".apxmobj"):
        from apxm import api

        program = api.load(asked.file)
    else:
        from apxm.cli.sources import compile_file

        compiled = compile_file(asked.file, asked.level, flow_named=told.flow is not None).compilation
        program, found = compiled.program, compiled.warnings
    selected = select_flow(program, told.flow)
    shared = read_known(selected, (), asked.shared)
    here = partial(ProgramWork, LoadedProgram(program), selected, shared)
    name = selected.qualified_name
    return _Makes(here, lambda: partial(program_work, codec.encode(program), name, shared)), shared, told, found


async def _foretell(
    asked: Asked,
    work: Work,
    source: Source,
    options: BatchOptions,
    shared: Mapping[str, object],
    pool: BackendPool,
    shown: _Shown,
    told: Invocation,
) -> None:
    """Says what is left to do, and what that may take; asks nothing, and changes nothing. Raises what the batch would
    before its first call."""
    index = Index()
    batch = Batch(work, source, options, Tally(), index)
    try:
        session = work.session(await batch.sample())
        identity = _identity(work, source, batch, shared, shown.configured, session)
        if not asked.overwrite:
            done_in(_output_here(asked)[0], identity, index, batch.sampled)
        found = survey(batch.rows(), work, index, options.limit, again=asked.retry_failed)
    finally:
        index.close()
        await shown.configured.tools.close()
        await pool.close()
    profile = known_profile(asked.profile, told.selection)
    needs = partial(work.needs, profile=profile)
    calls_at_once = pool.backends[pool.default].limits.max_concurrency
    estimate = estimated(found, needs, known_price(told.selection), options.at_once, calls_at_once)
    write(as_json(estimate) if asked.json else estimate_text(estimate, options.at_once), asked.json)
    if not asked.quiet:
        note(printable(f"latencies: {latencies(profile)}"))


@contextmanager
def _opened(asked: Asked) -> Generator[Source]:
    source = open_input(asked.input, asked.format)
    try:
        yield source
    finally:
        source.close()


async def _run(
    asked: Asked,
    work: Work,
    source: Source,
    options: BatchOptions,
    shared: Mapping[str, object],
    pool: BackendPool,
    shown: _Shown,
    budget: BatchBudget | None,
    page: OutputFile | None,
) -> int:
    tally, index = Tally(), Index()
    batch = Batch(work, source, options, tally, index)
    tools = shown.configured.tools
    output = journals = spending = remote = None
    try:
        session = work.session(await batch.sample())
        await session.link()
        shown.begin(session, work, source)
        identity = _identity(work, source, batch, shared, shown.configured, session)
        path, remote = _output_here(asked)
        output = Output(path, identity, overwrite=asked.overwrite)
        output.read(index, batch.sampled)
        shown.spending = spending = Spending(output, tally, budget)
        anew = output.drop_failed(index) if asked.retry_failed else set[str]()
        if session.wants_journal:
            journals = Journals(output, index, anew)
            work.keep(journals)
        batch_id = new_run_id(time())
        watcher = _watcher(work, session, asked) if page is not None else None
        written = spending.written if remote is None else partial(_written, spending, remote, shown)
        saving = Saving(output, index if asked.ordered else None, tally, journals, written)
        shown.gates = list(pool.gates.values())
        async with reachable(batch_id, asked.file, shown.gates), _workers(work, batch, asked, pool):
            tally.begin()
            with shown.drawing(tally), Interruption(batch) as interrupted:
                await saving.run(batch)
        if asked.ordered and batch.ended is None:
            output.arrange(index)
    except ApxmError:
        if spending is not None:
            shown.end(tally, batch, index)
        raise
    finally:
        if spending is not None:
            spending.close()
        if journals is not None:
            journals.close(remove=batch.ended is None and not tally.failed + tally.kept_failed)
        if output is not None:
            output.close()
            if remote is not None:
                remote.put()
        await tools.close()
        await pool.close()
    shown.end(tally, batch, index)
    index.close()
    if page is not None and watcher is not None:
        ended = "stopped" if batch.uncovered is not None else "failed" if tally.failed else "succeeded"
        status = "interrupted" if interrupted.signal_number else ended
        page.write(watcher.made(batch_id, status, session.run.backends, batch.at_once))
    if interrupted.signal_number:
        return 128 + interrupted.signal_number
    if batch.uncovered is not None:
        return exits.STOPPED
    return exits.FAILED if tally.failed or tally.kept_failed else 0


def _output_here(asked: Asked) -> tuple[str, OutputAt | None]:
    """The file that the output is written to, and who puts it where it belongs, where that is a URL."""
    if not is_url(asked.output):
        return asked.output, None
    remote = OutputAt(asked.output, (BESIDE, SPENT))
    if not asked.overwrite:
        remote.fetch()
    return remote.path, remote


def _written(spending: Spending, remote: OutputAt, shown: _Shown) -> None:
    """Results are on the disk. That they cannot be put elsewhere is no reason to end: they are here."""
    spending.written()
    if remote.is_due:
        try:
            remote.put()
        except ApxmError as error:
            shown.warn(str(error))


@asynccontextmanager
async def _workers(work: Work, batch: Batch, asked: Asked, pool: BackendPool) -> AsyncGenerator[None]:
    """While it is open there is somebody to do the work: as many inputs are open as keep all of them busy."""
    if not isinstance(work, Foreman):
        yield
        return
    async with work.running() as workers:
        if asked.at_once is None and pool.backends[pool.default].limits.max_concurrency is None:
            batch.at_once = DEFAULT_AT_ONCE * workers
        yield


def _watcher(work: Work, session: Session, asked: Asked) -> BatchPage:
    from apxm.reports.page.batched import BatchPage

    watcher = BatchPage(session.flow.qualified_name.lstrip("."), redacts=asked.redacts)
    work.watch(watcher)
    return watcher


def _identity(
    work: Work,
    source: Source,
    batch: Batch,
    shared: Mapping[str, object],
    configured: ResolvedBackends,
    session: Session,
) -> dict[str, Any]:
    """All that the answers depend on; the batch has read its sample."""
    return {
        **work.identity, "arguments": dict(shared), "input": source.format, **_answering(configured, session),
        "columns": _columns(source, batch.sampled),
    }  # fmt: skip


def _columns(source: Source, sampled: list[Row]) -> list[str]:
    """The columns by the header, else those that each of the first rows has."""
    if source.columns is not None:
        return sorted(source.columns)
    common = [set(row.values) for row in sampled if row.flaw is None]
    return sorted(set[str].intersection(*common)) if common else []


def _answering(configured: ResolvedBackends, session: Session) -> dict[str, Any]:
    """What the answers depend on, of each backend that may answer."""
    names = dict.fromkeys(info.name for info in session.run.backends)
    found: dict[str, Any] = {"backends": list(names)}
    for name in names:
        found |= {f"{what} of backend {name}": said for what, said in configured.settings[name].answers_by.items()}
    return found


class _Warnings:
    """What the runs warn of, each once: a thousand inputs may all say the same."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self.line = ProgressLine(wanted=not quiet)
        self._told = set[str]()

    def show(self, text: str) -> None:
        if self._quiet or text in self._told or len(self._told) >= _MOST_WARNINGS:
            return
        self._told.add(text)
        self.line.clear()
        show_warning(text)
        if len(self._told) == _MOST_WARNINGS:
            show_warning("there may be more warnings, which are not shown")


class _Shown:
    """What is said on standard error while it goes on."""

    def __init__(
        self,
        asked: Asked,
        configured: ResolvedBackends,
        source: Source,
        once: Once | Foreman,
        warnings: _Warnings,
        found: tuple[Diagnostic, ...],
    ) -> None:
        self._asked = asked
        self.configured = configured
        self._source = source
        self._line = warnings.line
        self.warn = warnings.show
        self._found = found
        self._once = once
        self.gates: Sequence[Gate] = ()
        """Those that its calls may have to pass."""
        self.spending: Spending | None = None

    def begin(self, session: Session, work: Work, source: Source) -> None:
        if self._asked.quiet:
            return
        announce(self.configured, session, self._found)
        if unused := unused_columns(source, work.parameters):
            note(printable(f"columns that are no parameter's: {shortened(', '.join(unused), 200)}"))

    @contextmanager
    def drawing(self, tally: Tally) -> Generator[None]:
        """Draws how far it is: on a terminal on one line, elsewhere as a line now and then."""
        loop = asyncio.get_running_loop()
        interval = INTERVAL_S if self._line.active else _PLAIN_INTERVAL_S

        def draw() -> None:
            nonlocal timer
            width = terminal_width() if self._line.active else sys.maxsize
            text = batch_progress(tally, self._left(tally), self._once.shared, found_limits(self.gates), width)
            if self._line.active:
                self._line.say(text)
            else:
                note(text)
            timer = loop.call_later(interval, draw)

        timer = None if self._asked.quiet else loop.call_later(interval, draw)
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
            self._line.clear()

    def _left(self, tally: Tally) -> float | None:
        return tally.left(self._source, self._asked.options.limit)

    def end(self, tally: Tally, batch: Batch, index: Index) -> None:
        """Sums up."""
        gone = index.gone if batch.read_all else 0
        all_used = NOTHING if self.spending is None else self.spending.used
        if self._asked.json:
            summary = {
                "output": self._asked.output, "succeeded": tally.succeeded, "failed": tally.failed,
                "kept": tally.kept, "kept_failed": tally.kept_failed, "gone": gone, "calls": tally.calls,
                "equal_calls": self._once.shared, "tokens": tally.tokens,
                "cost": tally.cost if tally.is_priced else None, "seconds": round(tally.seconds, 3),
                "all_tokens": all_used.tokens, "all_cost": as_amount(all_used.money),
                "complete": batch.ended is None,
            }  # fmt: skip
            write(as_json(summary), json=True)
        if self._asked.quiet:
            return
        note(batch_summary(tally, self._once.shared))
        if gone:
            lines = "a line is" if gone == 1 else f"{gone:,} lines are"
            note(printable(f"{lines} in {self._asked.output} of inputs that are not there any more"))
        if batch.hopeless:
            note(printable(f"the last runs all failed, so no more were begun: {batch.hopeless}"), "error")
        if (first := batch.uncovered) is not None and first.left is not None:
            begun = "1 input that was" if tally.uncovered == 1 else f"{tally.uncovered:,} inputs that were"
            note(printable(f"line {first.row.line:,}: {first.left.message}; {begun} begun, and those behind, are left"))
            option = "--max-total-tokens" if first.left.kind == "tokens" else "--max-cost"
            note(f"the budget of the batch is used up: the same command with a larger {option} goes on from here")
        elif batch.ended is not None:
            again = ", with --retry-failed also with what failed" if tally.failed + tally.kept_failed else ""
            what = "interrupted" if batch.ended is Status.INTERRUPTED else "ended early"
            note(f"{what}: the same command goes on from here{again}")
        elif failed := tally.failed + tally.kept_failed:
            note(f"{count(failed, 'input')} failed: the same command with --retry-failed does them again")
