"""``apxm run FILE.py``: a script of Python, unedited, as one run."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import fields
from time import perf_counter
from types import FrameType
from typing import Any, NoReturn, cast

import msgspec

from apxm.cli.inputs import refuse_overwriting
from apxm.cli.interruption import Interruption, signals_as_ctrl_c
from apxm.cli.options import AnyRun, Inputs, NewRun
from apxm.cli.run_files import RunFiles, named_files
from apxm.cli.session import Terminal, announce, closing, leave, link, show
from apxm.cli.terminal import note, show_warning
from apxm.config.invocation import Invocation
from apxm.config.selection import ResolvedBackends, resolve
from apxm.errors import JournalError, UsageError
from apxm.journaling import JournaledRun
from apxm.lanes.edits import GOES_ON, EditedError, has_moved
from apxm.lanes.lane import LANE
from apxm.reports.summary import count
from apxm.rewriting.promises import HERE, found_again
from apxm.runtime.loops import real_loop
from apxm.runtime.trace import Trace
from apxm.scripts.script import Script, ScriptRun
from apxm.scripts.session import ScriptSession
from apxm.source import printable

_NOT_OF_SCRIPTS = {
    "json": ("--json", "standard output is the script's own; --emit-metrics FILE writes the numbers of the run"),
    "stream": ("--stream", "standard output is the script's own, and it has no result that could come in parts"),
    "on_error": ("--on-error", "what a call that fails means is for the script to say: it gets an exception"),
    "max_open_turns": ("--max-open-turns", "a script has no turns; --max-concurrency limits its calls"),
    "arg": ("--arg", "what stands behind the script is given to it as it is"),
    "args": ("--args", "what stands behind the script is given to it as it is"),
    "flow": ("--flow", "a script runs from its first line to its last"),
}
"""Options of `apxm run` that mean nothing to a script: how they are written, and why."""


_MOST_NAMED = 5
_JOURNALED = "is journaled"


def run_script(path: str, inputs: Inputs, new: NewRun, shown: AnyRun, each: Sequence[str]) -> NoReturn:
    """Runs a script to its end, and leaves with the exit status."""
    _refuse_what_means_nothing(inputs, new, shown)
    begun = perf_counter()
    script = Script(path, tuple(inputs.values or ()), tuple(each))
    refuse_overwriting({"the script": path}, named_files(shown), shown.config)
    told = Invocation.of(vars(new) | vars(shown))
    with ExitStack() as stack:
        stack.enter_context(signals_as_ctrl_c())
        terminal = Terminal(shown, RunFiles(shown, stack), _nothing)
        configured = resolve(told.selection)
        told = terminal.listening(told).but({"output": None})
        session = ScriptSession.of(script, told, configured.pool(), configured.tools, begun=begun)
        status = _shown(session, terminal, configured, stack)
    leave(session, status)


def resume_script(earlier: JournaledRun, shown: AnyRun, told: Invocation, as_changed: bool, dry_run: bool) -> NoReturn:
    """Goes on with the run of a script, and leaves with the exit status."""
    _refuse_what_means_nothing(shown)
    if dry_run:
        raise UsageError("what a script will ask is known when it asks, so there is no --dry-run of it")
    begun = perf_counter()
    recorder = earlier.recorder
    with ExitStack() as stack:
        directory = _go_where_it_began(earlier)
        noted = msgspec.convert(earlier.noted.get("script"), dict[str, Any])
        each = msgspec.convert(noted.get("each", []), tuple[str, ...])
        heads = msgspec.convert(noted.get("heads", []), list[list[str]])
        each = (
            tuple(found_again(place, head, alike) for place, (head, *alike) in zip(each, heads, strict=False)) or each
        )
        script = Script(
            earlier.path, cast("tuple[str, ...]", earlier.inputs), each, cast("str | None", noted.get("named"))
        )
        try:
            if as_changed or has_moved(noted, script.noted):
                recorder.as_changed()
        except EditedError:
            raise JournalError(
                f"the script was edited since run {recorder.run_id} began",
                where=printable(earlier.path),
                hint=f"--as-changed {GOES_ON}",
            ) from None
        terminal = Terminal(shown, RunFiles(shown, stack), _nothing)
        configured = resolve(told.selection)
        pool = configured.pool()
        earlier.refuse_another_backend(pool.default)
        told = terminal.listening(told).but({"output": None})
        session = ScriptSession.of(script, told, pool, configured.tools, begun=begun, recorder=recorder)
        if not shown.quiet and directory is not None:
            note(printable(f"in {directory}, where it began"))
        status = _shown(session, terminal, configured, stack)
    leave(session, status)


def _shown(session: ScriptSession, terminal: Terminal, configured: ResolvedBackends, stack: ExitStack) -> int:
    terminal.progress.active, terminal.owned = False, True  # the terminal is the script's
    runner = stack.enter_context(asyncio.Runner(loop_factory=real_loop))
    link(session, runner)
    resumed = session.recorder is not None
    if not resumed:
        session.open_journal(show_warning)
    stack.enter_context(closing(session))
    if not terminal.shown.quiet:
        announce(configured, session, ())
        if session.recorder is not None:
            finished = f"goes on: {count(len(session.recorder.answered), 'call')} finished"
            note(f"run {session.run_id} {finished if resumed else _JOURNALED}")
        session.when_journaled = lambda: note(f"run {session.run_id} {_JOURNALED}")
    status = show(session, terminal, runner, _Interruption)
    run = cast(ScriptRun, session.run)
    if run.refusal is not None:
        raise run.refusal
    if not terminal.shown.quiet and run.ended_by_itself:
        _tell_idle(session.script)
    if status == 128 + signal.SIGINT and run.ended_in_order:  # it caught what Ctrl-C raised
        return run.exit_status
    return status if status > 1 else run.exit_status or status


def _tell_idle(script: Script) -> None:
    """Says which promises changed nothing."""
    idle = list(HERE.reached.idle(script.promises.named))
    more = f", and {len(idle) - _MOST_NAMED} more" if len(idle) > _MOST_NAMED else ""
    if idle:
        note(printable(f"promised, and never run in lanes: {', '.join(idle[:_MOST_NAMED])}{more}"))


class _Interruption(Interruption):
    """As of any run. Where the script itself is at work, it hears of a signal as it would without us."""

    def _stop(self, number: int, frame: FrameType | None) -> None:
        super()._stop(number, frame)
        if LANE.get() is not None:
            raise KeyboardInterrupt


def _nothing(trace: Trace) -> list[str]:
    """What the script raised was told when it did."""
    del trace
    return []


def _refuse_what_means_nothing(*groups: Inputs | NewRun | AnyRun) -> None:
    for group in groups:
        for field in fields(group):
            if field.name in _NOT_OF_SCRIPTS and getattr(group, field.name) != field.default:
                option, why = _NOT_OF_SCRIPTS[field.name]
                raise UsageError(f"{option} means nothing to a script of Python: {why}")


def _go_where_it_began(earlier: JournaledRun) -> str | None:
    """Changes the directory to that in which a run began; None where that is this one. Raises `JournalError`."""
    directory = cast("str | None", earlier.noted.get("directory"))
    if directory is None or os.path.realpath(directory) == os.path.realpath(os.getcwd()):
        return None
    try:
        os.chdir(directory)
    except OSError as error:
        raise JournalError(
            f"the run began in a directory that cannot be entered now: {error.strerror}", where=printable(directory)
        ) from None
    return directory
