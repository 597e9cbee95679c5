"""One run as the command line shows it: who answers, progress, output, the summary, the exit status."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from shlex import quote
from signal import SIGINT
from time import perf_counter
from typing import NoReturn

import typer

from apxm.analysis.metrics import LinkPhases
from apxm.cli import exits
from apxm.cli.control import reachable
from apxm.cli.interruption import Interruption, told_by_signal
from apxm.cli.options import AnyRun, Inputs
from apxm.cli.output import write
from apxm.cli.progress import INTERVAL_S, LINES_EACH_S, LONG_S, MOST_SHOWN, ProgressLine
from apxm.cli.run_files import RunFiles
from apxm.cli.terminal import is_terminal, note, show_diagnostics, show_warning, tell
from apxm.cli.values import read_arguments
from apxm.config.invocation import Invocation
from apxm.config.selection import ResolvedBackends, resolve
from apxm.errors import ApxmError, OutputClosedError, Problems, UsageError
from apxm.operations.types import text_form
from apxm.program.invocation import select_flow
from apxm.program.program import Program
from apxm.reports.call_log import CallLines
from apxm.reports.progress import RunState, run_state, state_lines
from apxm.reports.structs import run_json
from apxm.reports.summary import failure_lines, stopped_lines, summary_line
from apxm.runtime.budget import DEFAULT_MAX_TOKENS
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.loops import real_loop
from apxm.runtime.observing import CallObserver, Observers
from apxm.runtime.recording import Recorder
from apxm.runtime.result_text import TextPart
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Status, Trace
from apxm.session import Result, Session
from apxm.source import Diagnostic, printable

_EXIT_STATUS = {
    Status.SUCCEEDED: 0,
    Status.FAILED: exits.FAILED,
    Status.PAUSED: exits.PAUSED,
    Status.STOPPED: exits.STOPPED,
}


class Terminal:
    """The output of a run, which may share a terminal with what is said beside it."""

    def __init__(
        self,
        shown: AnyRun,
        files: RunFiles | None = None,
        failed: Callable[[Trace], list[str]] = failure_lines,
    ) -> None:
        """`failed` says what of a run failed. Raises `UsageError` for what contradicts itself."""
        if shown.quiet and shown.verbose:
            raise UsageError("--quiet says only what went wrong, --verbose tells of each call: give one of them")
        if shown.stream and shown.json:
            raise UsageError("--json prints one object at the end, --stream shows text as it comes: give one of them")
        self.shown = shown
        self.failed = failed
        self.files = files
        self.progress = ProgressLine(wanted=not shown.quiet)
        self.failure: ApxmError | None = None
        """Why nothing more can be written; `OutputClosedError` where the reader went away."""
        self.run: Run | None = None
        self.owned = False
        """Whether both streams are a script's own."""
        self._open = False
        """Whether standard output stands within a line."""

    def listening(self, told: Invocation) -> Invocation:
        """The same, with this terminal as the one that listens to the run."""
        return told.but(
            {
                "output": None if self.shown.json else self._emit,
                "on_text": self._show if self.shown.stream else None,
                "warn": self._warn,
                "observer": self._observer(),
            }
        )

    def _observer(self) -> CallObserver | None:
        lines = CallLines(self._tell) if self.shown.verbose else None
        keeps = None if self.files is None else self.files.observer
        if lines is None or keeps is None:
            return lines or keeps
        return Observers((lines, keeps))

    @property
    def tells_by_lines(self) -> bool:
        """Whether lines say how far the run is, where no terminal shows it."""
        return not (self.shown.quiet or self.shown.verbose or self.progress.moves or self.owned)

    def write(self, text: str, json: bool = False, end: str = "\n") -> None:
        """Writes to standard output as the function does, but keeps a failure: what else there is to save comes
        first."""
        if self.failure is not None:
            return
        self.progress.clear()
        try:
            write(text, json, end)
        except ApxmError as error:
            self.failure = error
        self._open = not end

    def end_line(self) -> None:
        """Ends a text of which no more comes."""
        if self._open:
            self.write("")

    def _emit(self, line: str, end: str = "\n") -> None:
        self.write(line, end=end)
        if self.failure is not None and self.run is not None:
            self.run.stop(Status.INTERRUPTED)

    def _show(self, part: TextPart) -> None:
        self.progress.active = False  # it would be drawn over the text
        if part.anew:
            self.end_line()
            self._warn("the answer above broke off and was asked for again: it begins anew")
        self._emit(part.text, end="")

    def _tell(self, text: str) -> None:
        """`text` is escaped."""
        self._make_room()
        note(text)

    def _warn(self, text: str) -> None:
        if not self.shown.quiet:
            self._make_room()
            show_warning(text)

    def _make_room(self) -> None:
        self.progress.clear()
        if self._open and is_terminal(sys.stdout) and is_terminal(sys.stderr):
            tell("\n")


def run_program(
    program: Program,
    inputs: Inputs,
    told: Invocation,
    shown: AnyRun,
    files: RunFiles | None = None,
    phases: LinkPhases = LinkPhases(),  # noqa: B008  # it is frozen
    warnings: tuple[Diagnostic, ...] = (),
    failed: Callable[[Trace], list[str]] = failure_lines,
) -> None:
    """Runs a flow to its end, reports, and leaves with the exit status. `phases` and `warnings` are of what gave the
    program, `failed` says what of it failed."""
    begun = perf_counter()
    flow = select_flow(program, told.flow)
    terminal = Terminal(shown, files, failed)
    problems = Problems()
    read = partial(read_arguments, flow, inputs.values or [], inputs.arg or [], inputs.args, program.record_types)
    arguments = problems.of(read, [])
    loaded = LoadedProgram(program)
    with asyncio.Runner(loop_factory=real_loop) as runner:
        with problems:
            configured = resolve(told.selection)
            session = Session(
                loaded, flow, arguments, terminal.listening(told), configured.pool(),
                tools=configured.tools, begun=begun, phases=phases,
            )  # fmt: skip
            link(session, runner)
        session.open_journal(show_warning)
        with closing(session):
            if not shown.quiet:
                announce(configured, session, warnings)
                if session.recorder:
                    note(f"run {session.run_id} is journaled")
            status = show(session, terminal, runner)
    leave(session, status)


def link(session: Session, runner: asyncio.Runner) -> None:
    """Raises `LinkError`, or the only error, where the run needs what is not there. Servers of tools that were begun
    for that stay there for the run, in the loop of the `runner`."""

    async def linked() -> None:
        try:
            await session.link()
        except BaseException:
            await session.tools.close()
            raise

    runner.run(linked())


@contextmanager
def closing(session: Session) -> Generator[None]:
    """Closes the journal at the end, and says so where that fails."""
    try:
        yield
    finally:
        if lost := session.close():
            if session.lost:
                note(str(lost), "error")
            else:
                show_warning(str(lost))


def leave(session: Session, status: int) -> NoReturn:
    """Leaves with the `status` of the run, once its journal is closed: without one that is required it is stopped."""
    raise typer.Exit(status or (exits.STOPPED if session.lost else 0))


def show(
    session: Session,
    terminal: Terminal,
    runner: asyncio.Runner,
    interruption: Callable[[Run], Interruption] = Interruption,
) -> int:
    """Runs it to its end, in the loop in which it was linked, and reports. Returns the exit status. `interruption` says
    what a signal does to it."""
    terminal.run = session.run
    session.prepared()
    trace, signal_number = runner.run(_execute(session, terminal, interruption))
    _report(session, session.result(trace), signal_number, terminal)
    if trace.status is Status.INTERRUPTED:
        return 128 + (signal_number or SIGINT)
    return _EXIT_STATUS[trace.status]


def announce(configured: ResolvedBackends, session: Session, warnings: tuple[Diagnostic, ...]) -> None:
    note(configured.notice)
    default = session.pool.info.name
    for info in dict.fromkeys(info for info in session.run.backends if info.name != default):
        note(printable(f"model: {info.description} (backend {info.name}), where the program names it"))
    if session.run.tools and session.tools.simulated:
        names = ", ".join(session.run.tools)
        note(printable(f"tools: simulated, so nothing is really called ({names}); --real-tools calls them"))
    if session.run.limits_answers:
        note(f"budget: answers to calls without a max_tokens have at most {DEFAULT_MAX_TOKENS:,} tokens")
    if session.told.options.on_text is not None and not session.run.streams_result:
        note("the result is not the answer of one call, so --stream shows it whole at the end")
    for warning in configured.warnings:
        show_warning(warning)
    show_diagnostics(warnings)


def _report(session: Session, result: Result, signal_number: int, terminal: Terminal) -> None:
    """The result first, as it is what was paid for; then, even where that failed, whatever else there is."""
    shown, trace = terminal.shown, result.trace
    recorder = session.recorder
    failure = recorder.failure if recorder else None
    if shown.json:
        terminal.write(run_json(trace, result.metrics, result.run_id), json=True)
    elif trace.status is Status.SUCCEEDED and trace.flow.result is not None:
        terminal.write("" if shown.stream else text_form(trace.value))
    else:
        terminal.end_line()
    unwritten = terminal.failure
    if terminal.files:
        failed = terminal.files.write(session, result)
        unwritten = unwritten or failed
    if isinstance(unwritten, OutputClosedError) and not signal_number:
        raise unwritten
    for line in (*terminal.failed(trace), *stopped_lines(trace)):
        note(line, "error")
    if failure is not None and not (trace.stopped and trace.stopped.kind == "journal"):
        note(str(failure), "error")
    if not shown.quiet:
        note(summary_line(result.metrics))
        if recorder and not failure and trace.status is not Status.SUCCEEDED:
            note(printable(_way_on(recorder)))
    if unwritten is not None and not isinstance(unwritten, OutputClosedError):
        raise unwritten


def _way_on(recorder: Recorder) -> str:
    """How a run that ended early goes on, which takes somebody's word for what became of its `unknown` operations."""
    command, unknown = f"apxm resume {recorder.run_id}", recorder.unknown
    if not unknown:
        return f"`{command}` goes on from here"
    redo = " ".join(f"--redo {quote(path)}" for path in unknown)
    them = "it" if len(unknown) == 1 else "them"
    return (
        f"{', '.join(unknown)} began, and nobody knows what came of {them}: `{command} {redo}` makes {them} again and "
        f"goes on from here; `--assume {quote(unknown[0])}=VALUE` instead says what it gave"
    )


async def _execute(
    session: Session, terminal: Terminal, interruption: Callable[[Run], Interruption]
) -> tuple[Trace, int]:
    """The trace, and the signal that ended the run early, or 0."""
    try:
        gates = list(session.pool.gates.values())
        state = partial(_state, session.run)
        async with reachable(session.run_id, session.program.program.names.file, gates, state):
            with _drawn(session.run, terminal), told_by_signal(state), interruption(session.run) as interrupted:
                return await session.execute(), interrupted.signal_number
    finally:
        await session.tools.close()
        await session.pool.close()


def _state(run: Run, least_s: float = 0.0) -> RunState:
    """What a run is doing, with the calls that have taken so long."""
    longest = [each for each in run.longest(MOST_SHOWN) if each.since_ns >= least_s * 1e9]
    return run_state(run.progress(), longest)


@contextmanager
def _drawn(run: Run, terminal: Terminal) -> Generator[None]:
    """Shows again and again how far the run is, on a terminal over itself, and clears that at the end. Elsewhere it is
    a line now and then, where nothing else tells."""
    loop, progress = asyncio.get_running_loop(), terminal.progress
    interval = INTERVAL_S if progress.active else LINES_EACH_S

    def draw() -> None:
        nonlocal timer
        if progress.active:
            progress.draw(_state(run, LONG_S))
        elif not progress.moves:  # else the terminal was given to something else
            note(state_lines(_state(run), sys.maxsize)[0])
        timer = loop.call_later(interval, draw)

    timer = loop.call_later(interval, draw) if progress.active or terminal.tells_by_lines else None
    try:
        yield
    finally:
        if timer:
            timer.cancel()
        progress.clear()
