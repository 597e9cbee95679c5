"""One run as the command line shows it: who answers, progress, output, the summary, the exit status."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter, time
from typing import TYPE_CHECKING, Literal

import msgspec
import typer

from apxm import api
from apxm.analysis.measure import measure
from apxm.analysis.metrics import LinkPhases, Metrics
from apxm.cli import exits
from apxm.cli.interruption import Interruption
from apxm.cli.values import read_arguments
from apxm.config.runs import Journaling
from apxm.config.selection import Resolved, Selection, resolve
from apxm.errors import ApxmError, UsageError
from apxm.journal.ids import new_run_id
from apxm.operations.types import text_form
from apxm.program.invocation import select_flow
from apxm.program.model import Program
from apxm.reports.calls import CallLines
from apxm.reports.files import OutputFile
from apxm.reports.output import ProgramOutput
from apxm.reports.progress import INTERVAL_S, ProgressLine
from apxm.reports.streams import OutputClosedError
from apxm.reports.structs import run_json
from apxm.reports.summary import failure_lines, stopped_lines, summary_line
from apxm.reports.terminal import note, show_diagnostics, show_warning
from apxm.runtime.budget import DEFAULT_MAX_TOKENS
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import real_loop
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Status, Trace
from apxm.source import Diagnostic, printable

if TYPE_CHECKING:
    from apxm.runtime.recording import Recorder

_EXIT_STATUS = {
    Status.SUCCEEDED: 0,
    Status.FAILED: exits.FAILED,
    Status.PAUSED: exits.PAUSED,
    Status.STOPPED: exits.STOPPED,
}


@dataclass(frozen=True)
class Invocation:
    """What the command line says about a run, whatever it runs."""

    values: list[str]
    named: list[str]
    selection: Selection
    flow: str | None = None
    options: RunOptions = field(default_factory=RunOptions)
    """All but what the terminal adds."""
    journaling: Journaling = field(default_factory=Journaling)
    json: bool = False
    quiet: bool = False
    verbose: bool = False


@dataclass(frozen=True)
class Linked:
    """A program, and what it took to get it."""

    program: Program
    origin: tuple[str, Literal["source", "artifact"]] | None = None
    """Its absolute path, and what is there."""
    warnings: tuple[Diagnostic, ...] = ()
    compile_ms: float = 0.0
    artifact_ms: float = 0.0


@dataclass(frozen=True)
class Shown:
    """How a run is shown, whatever it runs. Raises `UsageError` for what contradicts itself."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    """Whether each call is told of."""
    metrics_file: OutputFile | None = None

    def __post_init__(self) -> None:
        if self.quiet and self.verbose:
            raise UsageError("--quiet says only what went wrong, --verbose tells of each call: give one of them")


class Terminal:
    """The output of a run, and what is said beside it."""

    def __init__(self, shown: Shown) -> None:
        self.shown = shown
        self.progress = ProgressLine(wanted=not shown.quiet)
        self.output = ProgramOutput(self.progress)
        self.run: Run | None = None
        self.emit = None if shown.json else self._emit
        self.observer = CallLines(self._tell) if shown.verbose else None

    def _emit(self, line: str) -> None:
        self.output.line(line)
        if self.output.failure is not None and self.run is not None:
            self.run.stop(Status.INTERRUPTED)

    def _tell(self, text: str) -> None:
        """`text` is escaped."""
        self.progress.clear()
        note(text)

    def warn(self, text: str) -> None:
        if not self.shown.quiet:
            self.progress.clear()
            show_warning(text)


def run_program(linked: Linked, invocation: Invocation, metrics_file: OutputFile | None = None) -> None:
    """Runs a flow to its end, reports, and leaves with the exit status."""
    begun = perf_counter()
    flow = select_flow(linked.program, invocation.flow)
    arguments = read_arguments(flow, invocation.values, invocation.named)
    loaded = LoadedProgram(linked.program)
    configured = resolve(invocation.selection)
    terminal = Terminal(Shown(invocation.json, invocation.quiet, invocation.verbose, metrics_file))
    seed = invocation.selection.seed or 0
    options = replace(
        invocation.options, seed=seed, output=terminal.emit, warn=terminal.warn, observer=terminal.observer
    )
    pool = BackendPool(configured.backends, configured.default)
    run = Run(loaded, flow, arguments, pool, options)
    run_id = new_run_id(time())
    recorder = api.journal_of(
        invocation.journaling,
        run_id,
        linked.origin,
        loaded,
        flow,
        arguments,
        pool,
        invocation.selection,
        options,
        show_warning,
    )
    with closing(recorder, invocation.journaling):
        if not invocation.quiet:
            announce(configured, run, linked.warnings)
            if recorder:
                note(f"run {run_id} is journaled")
        validation_ms = api.milliseconds(perf_counter() - begun)
        phases = LinkPhases(linked.compile_ms, linked.artifact_ms, validation_ms)
        status = show_run(run, recorder, pool, phases, run_id, terminal)
    raise typer.Exit(exit_status(status, recorder))


@contextmanager
def closing(recorder: Recorder | None, journaling: Journaling) -> Generator[None]:
    """Closes the journal at the end, and says so where that fails."""
    try:
        yield
    finally:
        if recorder is not None:
            from apxm.journaling import finish

            if lost := finish(recorder, journaling):
                if journaling.required:
                    note(str(lost), "error")
                else:
                    show_warning(str(lost))


def exit_status(status: int, recorder: Recorder | None) -> int:
    """That of a run which ended with `status`, once its journal is closed: without one that is required it is
    stopped."""
    lost = recorder is not None and recorder.required and recorder.failure is not None
    return exits.STOPPED if lost and not status else status


def show_run(
    run: Run, recorder: Recorder | None, pool: BackendPool, phases: LinkPhases, run_id: str, terminal: Terminal
) -> int:
    """Runs it to its end and reports. Returns the exit status."""
    terminal.run = run
    begun = perf_counter()
    with asyncio.Runner(loop_factory=real_loop) as runner:
        trace, signal_number = runner.run(_execute(run, recorder, pool, terminal.progress))
    phases = msgspec.structs.replace(phases, runtime_ms=api.milliseconds(perf_counter() - begun))
    metrics = measure(trace, phases, pool.info)
    _report(trace, signal_number, metrics, run_id, terminal, recorder)
    return 128 + signal_number if trace.status is Status.INTERRUPTED else _EXIT_STATUS[trace.status]


def announce(configured: Resolved, run: Run, warnings: tuple[Diagnostic, ...]) -> None:
    for notice in configured.notices:
        note(notice)
    default = configured.backends[configured.default].info.name
    for info in dict.fromkeys(info for info in run.backends if info.name != default):
        note(printable(f"model: {info.description} (backend {info.name}), where the program names it"))
    if run.limits_answers:
        note(f"budget: answers to calls without a max_tokens have at most {DEFAULT_MAX_TOKENS:,} tokens")
    for warning in configured.warnings:
        show_warning(warning)
    show_diagnostics(warnings)


def _report(
    trace: Trace, signal_number: int, metrics: Metrics, run_id: str, terminal: Terminal, recorder: Recorder | None
) -> None:
    """The result first, as it is what was paid for; then, even where that failed, whatever else there is."""
    output, shown = terminal.output, terminal.shown
    failure = recorder.failure if recorder else None
    if shown.json:
        output.json(run_json(trace, metrics, run_id))
    elif trace.status is Status.SUCCEEDED and trace.flow.result is not None:
        output.line(text_form(trace.value))
    unwritten = output.failure
    if shown.metrics_file:
        try:
            shown.metrics_file.write(metrics.to_json().encode())
        except ApxmError as error:
            unwritten = unwritten or error
    if isinstance(unwritten, OutputClosedError) and not signal_number:
        raise unwritten
    for line in failure_lines(trace):
        note(line, "error")
    for line in stopped_lines(trace):
        note(line, "error")
    if failure is not None and not (trace.stopped and trace.stopped.kind == "journal"):
        note(str(failure), "error")
    if not shown.quiet:
        note(summary_line(metrics))
        if recorder and not failure and trace.status is not Status.SUCCEEDED:
            note(f"`apxm resume {run_id}` goes on from here")
    if unwritten is not None and not isinstance(unwritten, OutputClosedError):
        raise unwritten


async def _execute(run: Run, recorder: Recorder | None, pool: BackendPool, progress: ProgressLine) -> tuple[Trace, int]:
    """The trace, and the signal that ended the run early, or 0."""
    try:
        with _drawn(run, progress), Interruption(run) as interruption:
            return await run.execute(recorder), interruption.signal_number
    finally:
        await pool.close()


@contextmanager
def _drawn(run: Run, progress: ProgressLine) -> Generator[None]:
    """Draws the progress of the run again and again, and clears it at the end."""
    loop = asyncio.get_running_loop()

    def draw() -> None:
        nonlocal timer
        progress.draw(run.progress())
        timer = loop.call_later(INTERVAL_S, draw)

    timer = loop.call_later(INTERVAL_S, draw) if progress.active else None
    try:
        yield
    finally:
        if timer:
            timer.cancel()
        progress.clear()
