"""One run as the command line shows it: who answers, progress, output, the summary, the exit status."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import typer

from apxm import api
from apxm.analysis.measure import measure
from apxm.analysis.metrics import LinkPhases, Metrics
from apxm.cli import exits
from apxm.cli.interruption import Interruption
from apxm.cli.values import read_arguments
from apxm.config.selection import Resolved, Selection, resolve
from apxm.operations.types import text_form
from apxm.program.invocation import select_flow
from apxm.program.model import Program
from apxm.reports.files import OutputFile
from apxm.reports.output import ProgramOutput
from apxm.reports.progress import INTERVAL_S, ProgressLine
from apxm.reports.structs import json_file, run_json
from apxm.reports.summary import failure_lines, summary_line
from apxm.reports.terminal import note, show_diagnostics, show_warning
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import real_loop
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Status, Trace
from apxm.source import Diagnostic, printable

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
    max_concurrency: int | None = None
    timeout_s: float | None = None
    on_error: str = "finish"
    json: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class Linked:
    """A program, and what it took to get it."""

    program: Program
    warnings: tuple[Diagnostic, ...] = ()
    compile_ms: float = 0.0
    artifact_ms: float = 0.0


def run_program(linked: Linked, invocation: Invocation, metrics_file: OutputFile | None = None) -> None:
    """Runs a flow to its end, reports, and leaves with the exit status."""
    begun = perf_counter()
    flow = select_flow(linked.program, invocation.flow)
    arguments = read_arguments(flow, invocation.values, invocation.named)
    loaded = LoadedProgram(linked.program)
    configured = resolve(invocation.selection)
    progress = ProgressLine(wanted=not invocation.quiet)
    output = ProgramOutput(progress)

    def emit(line: str) -> None:
        output.line(line)
        if output.closed:
            run.stop(Status.INTERRUPTED)

    def warn(text: str) -> None:
        if not invocation.quiet:
            progress.clear()
            show_warning(text)

    printing = None if invocation.json else emit
    seed, on_error = invocation.selection.seed, invocation.on_error
    options = api.run_options(invocation.max_concurrency, invocation.timeout_s, seed, on_error, printing, warn)
    pool = BackendPool(configured.backends, configured.default)
    run = Run(loaded, flow, arguments, pool, options)
    validated = perf_counter()
    if not invocation.quiet:
        _announce(configured, run, linked.warnings)
    with asyncio.Runner(loop_factory=real_loop) as runner:
        trace, signal_number = runner.run(_execute(run, pool, progress))
    ended = perf_counter()
    validation_ms, runtime_ms = api.milliseconds(validated - begun), api.milliseconds(ended - validated)
    phases = LinkPhases(linked.compile_ms, linked.artifact_ms, validation_ms, runtime_ms)
    metrics = measure(trace, phases, api.backend_used(pool.info))
    _report(trace, signal_number, metrics, invocation, output, metrics_file)
    raise typer.Exit(128 + signal_number if trace.status is Status.INTERRUPTED else _EXIT_STATUS[trace.status])


def _announce(configured: Resolved, run: Run, warnings: tuple[Diagnostic, ...]) -> None:
    for notice in configured.notices:
        note(notice)
    default = configured.backends[configured.default].info.name
    for info in dict.fromkeys(info for info in run.backends if info.name != default):
        note(printable(f"model: {info.description} (backend {info.name}), where the program names it"))
    for warning in configured.warnings:
        show_warning(warning)
    show_diagnostics(warnings)


def _report(
    trace: Trace,
    signal_number: int,
    metrics: Metrics,
    invocation: Invocation,
    output: ProgramOutput,
    metrics_file: OutputFile | None,
) -> None:
    """The result before anything that can fail: it is what was paid for."""
    if invocation.json:
        output.line(run_json(trace, metrics))
    elif trace.status is Status.SUCCEEDED and trace.flow.result is not None:
        output.line(text_form(trace.value))
    if metrics_file:
        metrics_file.write(json_file(metrics))
    if output.closed and not signal_number:
        exits.leave_broken_pipe()
    for line in failure_lines(trace):
        note(line, "error")
    if not invocation.quiet:
        note(summary_line(metrics))


async def _execute(run: Run, pool: BackendPool, progress: ProgressLine) -> tuple[Trace, int]:
    """The trace, and the signal that ended the run early, or 0."""
    try:
        with _drawn(run, progress), Interruption(run) as interruption:
            return await run.execute(), interruption.signal_number
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
