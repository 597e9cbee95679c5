"""The Python API: compile or load a program, run it, look at what came of it.

import apxm

program = apxm.compile("workflow.ais")
result = apxm.run(program, topic="bees")
print(result.value, result.metrics.work_span.speedup)
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from reprlib import Repr
from time import perf_counter, time
from typing import TYPE_CHECKING, Any, Literal, ParamSpec

from apxm.analysis.metrics import LinkPhases, Metrics
from apxm.backends.protocol import BackendInfo
from apxm.config.runs import Journaling
from apxm.config.selection import Selection, resolve
from apxm.errors import ApxmError, ConfigurationError, JournalError, UsageError
from apxm.journal.ids import new_run_id
from apxm.operations.types import Value
from apxm.program import codec
from apxm.program.invocation import arguments_for, assign, select_flow
from apxm.program.model import Flow, Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import PROCESS, BackendPool
from apxm.runtime.loops import real_loop
from apxm.runtime.options import OnError, RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.stopped import Stopped
from apxm.runtime.trace import Failure, Status, Trace
from apxm.source import SourceFile, shortened
from apxm.version import VERSION

if TYPE_CHECKING:
    from apxm.analysis.preview import Preview
    from apxm.runtime.recording import Recorder

logger = logging.getLogger("apxm")
P = ParamSpec("P")

Path = str | os.PathLike[str]

_SHORT = Repr()
"""Of a value: on the rest of a line, however large it is."""
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 34
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist = 1, 2, 3


@dataclass(frozen=True, repr=False)
class Result:
    """What a run leaves behind."""

    trace: Trace
    """Everything that happened, with its instants."""
    link_phases: LinkPhases
    backend: BackendInfo
    run_id: str
    """Of this run; `apxm.resume` takes it where the run was journaled."""

    def __repr__(self) -> str:
        short = shortened(_SHORT.repr(self.value), _SHORT.maxother)  # never all of it: it may be large
        return f"Result({self.run_id!r}, {self.status.value}, value={short})"

    @property
    def status(self) -> Status:
        return self.trace.status

    @property
    def value(self) -> Value:
        """What the flow returned; None unless the run succeeded, or where the flow has no result."""
        return self.trace.value

    @property
    def printed(self) -> list[str]:
        """The lines that the program printed, in program order."""
        return self.trace.printed

    @property
    def failures(self) -> list[Failure]:
        """The operations that failed."""
        return self.trace.failures

    @property
    def stopped(self) -> Stopped | None:
        """Why the run ended before its end, by a limit for instance; None where it did not."""
        return self.trace.stopped

    @cached_property
    def metrics(self) -> Metrics:
        """The run in numbers; docs/metrics.md defines them."""
        from apxm.analysis.measure import measure

        return measure(self.trace, self.link_phases, self.backend)


class RunFailed(ApxmError):  # noqa: N818  # it tells of a run, not of a mistake of the caller
    """A run did not succeed; `result` holds all that finished."""

    def __init__(self, result: Result) -> None:
        failures = result.failures
        if failures:
            first, more = failures[0], len(failures) - 1
            others = f" (and {more} more)" if more else ""
            then = f"; {result.stopped.message}" if result.stopped else ""
            super().__init__(
                f"{first.operation} failed ({first.kind}): {first.message}{others}{then}", where=first.where
            )
        else:
            why = f": {result.stopped.message}" if result.stopped else ""
            super().__init__(f"the run ended as {result.status.value}{why}")
        self.result = result

    @property
    def stopped(self) -> Stopped | None:
        """Which limit ended the run, how much of it was used and what was pending; None where the program failed."""
        return self.result.stopped


def compile(path: Path, *, level: int = 1) -> Program:
    """The program in the AIS file at `path`; `level` is the optimization level, 0 to 2.

    Raises `SourceError` with all errors of the file. Warnings go to the logger `apxm`.
    """
    from apxm.language.parser import read_source

    program = _compile(read_source(os.fspath(path)), level)
    program.came_from(os.fspath(path), "source")
    return program


def compile_text(text: str, *, name: str = "<text>", level: int = 1) -> Program:
    """The program in `text`; `name` stands for the file in messages."""
    return _compile(SourceFile(name, text), level)


def load(path: Path) -> Program:
    """The program in the artifact at `path`. Executes nothing. Raises `ArtifactError`, and `UsageError` where the file
    cannot be read."""
    program = codec.read(path)
    program.came_from(os.fspath(path), "artifact")
    return program


def save(program: Program, path: Path) -> None:
    """Writes `program` as an artifact, in one step: `path` holds what it held before, or all of it."""
    from apxm.reports.files import OutputFile

    with OutputFile(os.fspath(path)) as file:
        file.write(codec.encode(program))


async def run_async(
    program: Program,
    arguments: Mapping[str, Value] | None = None,
    /,
    *,
    flow: str | None = None,
    backend: str | None = None,
    model: str | None = None,
    latency: str | None = None,
    slowdown: str | None = None,
    faults: str | None = None,
    seed: int | None = None,
    max_concurrency: int | None = None,
    timeout_s: float | None = None,
    on_error: OnError = "finish",
    max_total_tokens: int | None = None,
    max_cost: float | None = None,
    journal: bool | None = None,
    journal_dir: Path | None = None,
    journal_sync: str = "full",
    require_journal: bool = False,
    config: Path | None = None,
    backends: BackendPool | None = None,
    output: Callable[[str], None] | None = None,
    **values: Value,
) -> Result:
    """Runs a flow of `program` to its end, by default its entry, inside the caller's event loop.

    The flow's parameters are given by name, as keywords or in `arguments`; a parameter that is called like one of the
    options here can only be given in `arguments`. The options are those of the command line (docs/cli.md). `backends`
    replaces the configured ones, and is left open; `output` is called with each line the program prints, and what it
    raises ends the run and is raised from here.

    Raises `RunFailed`, with all that finished, unless the run succeeded. Cancelling it cancels everything in flight.
    """
    begun = perf_counter()
    _refuse_misuse(program, arguments)
    chosen = select_flow(program, flow)
    inputs = arguments_for(chosen, assign(chosen, (), _together(arguments or {}, values)))
    options = RunOptions(
        max_concurrency=max_concurrency,
        timeout_s=timeout_s,
        on_error=on_error,
        max_total_tokens=max_total_tokens,
        max_cost=max_cost,
        seed=0 if seed is None else seed,
        output=output,
        warn=warn,
    )
    selection = Selection(
        backend=backend,
        model=model,
        latency=latency,
        slowdown=slowdown,
        faults=faults,
        seed=seed,
        file=None if config is None else os.fspath(config),
    )
    if backends is not None and selection != Selection(seed=seed):
        raise UsageError("`backends` stands for a configuration: give none beside it")
    journaling = Journaling(wanted=journal, folder=journal_dir, sync=journal_sync, required=require_journal)
    pool = backends or _configured(selection)
    loaded = LoadedProgram(program)
    run_id = new_run_id(time())
    options = _watched(options, run_id)
    async with AsyncExitStack() as stack:
        if backends is None:
            stack.push_async_callback(pool.close)
        run = Run(loaded, chosen, inputs, pool, options)
        recorder = journal_of(
            journaling, run_id, program.origin, loaded, chosen, inputs, pool, selection, options, warn
        )
        if recorder is not None:
            logger.info(
                "run %s is journaled in %s; %s goes on with it", run_id, recorder.path, _resuming(run_id, journaling)
            )
        return await _executed(run, pool, run_id, recorder, journaling, begun)


async def resume_async(
    run_id: str,
    *,
    max_concurrency: int | None = None,
    timeout_s: float | None = None,
    on_error: OnError | None = None,
    max_total_tokens: int | None = None,
    max_cost: float | None = None,
    journal_dir: Path | None = None,
    journal_sync: str = "full",
    require_journal: bool = False,
    config: Path | None = None,
    as_recorded: bool = False,
    edited: bool | Program = False,
    redo: Sequence[str] = (),
    assume: Mapping[str, Value] | None = None,
    backends: BackendPool | None = None,
    output: Callable[[str], None] | None = None,
) -> Result:
    """Goes on with a journaled run that has no process any more, however it ended: what is finished is kept.

    Limits that are not given are those the run began with; the other options are those of ``apxm resume``
    (docs/cli.md). `edited` goes on with the program as its file is now, or with another `Program`: answers to requests
    that are still the same are kept. `preview_resume` tells what it will ask.

    Raises `UsageError` where there is no such run, `JournalError` where it cannot be gone on with, and `RunFailed` as
    `run` does.
    """
    from apxm.journaling import reopen

    begun = perf_counter()
    journaling = Journaling(folder=journal_dir, sync=journal_sync, required=require_journal)
    earlier = reopen(
        journaling,
        run_id,
        VERSION,
        config=config,
        as_recorded=as_recorded,
        as_edited=edited,
        redo=redo,
        assume=assume,
    )
    recorder = earlier.recorder
    for warning in earlier.warnings:
        warn(warning.render())
    try:
        kept = earlier.kept(
            max_concurrency=max_concurrency, on_error=on_error, max_total_tokens=max_total_tokens, max_cost=max_cost
        )
        options = _watched(RunOptions(timeout_s=timeout_s, output=output, warn=warn, **kept), recorder.run_id)
        pool = backends or _configured(earlier.selection)
        earlier.refuse_another_backend(pool.default)
        run = Run(LoadedProgram(earlier.program), earlier.flow, earlier.inputs, pool, options)
    except BaseException:
        recorder.close()
        raise
    logger.info("run %s goes on, journaled in %s; finished calls: %d", run_id, recorder.path, recorder.finished)
    async with AsyncExitStack() as stack:
        if backends is None:
            stack.push_async_callback(pool.close)
        return await _executed(run, pool, recorder.run_id, recorder, journaling, begun)


def preview_resume(
    run_id: str,
    *,
    max_total_tokens: int | None = None,
    max_cost: float | None = None,
    journal_dir: Path | None = None,
    config: Path | None = None,
    as_recorded: bool = False,
    edited: bool | Program = False,
    backends: BackendPool | None = None,
) -> Preview:
    """What `resume` with the same options will ask, and what that may cost. Asks nothing, and changes nothing.

    Raises what `resume` raises before it asks.
    """
    from apxm.journaling import reopen

    journaling = Journaling(folder=journal_dir)
    earlier = reopen(journaling, run_id, VERSION, config=config, as_recorded=as_recorded, as_edited=edited)
    try:
        pool = backends or _configured(earlier.selection)
        earlier.refuse_another_backend(pool.default)
        options = RunOptions(**earlier.kept(max_total_tokens=max_total_tokens, max_cost=max_cost))
        return earlier.preview(LoadedProgram(earlier.program), pool, options)
    finally:
        earlier.recorder.close()


_STOPPED_ITERATION = ("coroutine raised StopIteration",)
"""What Python makes of a `StopIteration` that leaves a coroutine: for whoever is outside, it is none of its own."""


def _blocking(function: Callable[P, Coroutine[Any, Any, Result]]) -> Callable[P, Result]:
    """The same for callers without an event loop. It raises `UsageError` inside of one."""
    name = function.__name__.removesuffix("_async")

    @wraps(function)
    def blocking(*arguments: P.args, **options: P.kwargs) -> Result:
        _refuse_a_running_loop(name)
        with asyncio.Runner(loop_factory=real_loop) as runner:
            try:
                return runner.run(function(*arguments, **options))
            except RuntimeError as error:
                if error.args == _STOPPED_ITERATION and isinstance(error.__cause__, StopIteration):
                    raise error.__cause__ from None
                raise

    blocking.__name__ = blocking.__qualname__ = name
    return blocking


run = _blocking(run_async)
resume = _blocking(resume_async)


async def _executed(
    run: Run, pool: BackendPool, run_id: str, recorder: Recorder | None, journaling: Journaling, begun: float
) -> Result:
    validated = perf_counter()
    try:
        trace = await run.execute(recorder)
    finally:
        if recorder is not None:
            from apxm.journaling import finish

            if lost := await asyncio.to_thread(finish, recorder, journaling):  # it waits for the disk
                warn(str(lost))
    if recorder is not None and recorder.required and recorder.failure is not None and trace.stopped is None:
        # Lost with its very last rows. What the run has given is kept, and so is its value.
        trace.status, trace.stopped = Status.STOPPED, Stopped("journal", reason=str(recorder.failure))
    phases = LinkPhases(
        validation_ms=milliseconds(validated - begun), runtime_ms=milliseconds(perf_counter() - validated)
    )
    result = Result(trace, phases, pool.info, run_id)
    if result.status is not Status.SUCCEEDED:
        raise RunFailed(result)
    return result


def journal_of(
    journaling: Journaling,
    run_id: str,
    origin: tuple[str, Literal["source", "artifact"]] | None,
    loaded: LoadedProgram,
    flow: Flow,
    inputs: Sequence[Value],
    pool: BackendPool,
    selection: Selection,
    options: RunOptions,
    warn: Callable[[str], None],
) -> Recorder | None:
    """The journal of a new run; None where it has none. `origin` is the program's absolute path and kind; `warn` is
    told where there should be one and cannot be."""
    wanted = journaling.wanted
    if wanted is None:
        wanted = journaling.required or any(not pool.get(name)[0].info.simulated for name in loaded.backends)
    if not wanted:
        return None
    from apxm.journaling import begin  # loads SQLite

    try:
        return begin(
            journaling, run_id, origin, loaded.program, flow, inputs, selection, options, pool.default, VERSION
        )
    except (JournalError, ConfigurationError) as error:
        if journaling.required:
            raise
        warn(f"this run has no journal, so nothing of it can be resumed: {error}")
        return None


def _resuming(run_id: str, journaling: Journaling) -> str:
    """The call that goes on with a run."""
    folder = "" if journaling.folder is None else f", journal_dir={os.fspath(journaling.folder)!r}"
    return f"apxm.resume({run_id!r}{folder})"


def _watched(options: RunOptions, run_id: str) -> RunOptions:
    """With each call logged, where somebody reads the log at DEBUG."""
    if not logger.isEnabledFor(logging.DEBUG):
        return options
    from apxm.reports.calls import CallLog

    return replace(options, observer=CallLog(logger, run_id))


def warn(text: str) -> None:
    logger.warning("%s", text)


def milliseconds(seconds: float) -> float:
    return round(seconds * 1e3, 3)


def _refuse_a_running_loop(name: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(
        f"apxm.{name} cannot be called inside a running event loop", hint=f"await apxm.{name}_async(…) there"
    )


def _refuse_misuse(program: object, arguments: object) -> None:
    """What the command line takes, and Python does not: a file in place of the program, values in order."""
    if not isinstance(program, Program):
        raise UsageError(
            f"a program is expected, not a {type(program).__name__}",
            hint="make one with apxm.compile(PATH) or apxm.load(PATH)",
        )
    if arguments is not None and not isinstance(arguments, Mapping):
        raise UsageError(
            f"a flow's parameters are given by name, not as a {type(arguments).__name__}",
            hint="for example apxm.run(program, topic=…)",
        )


def _together(arguments: Mapping[str, Value], values: Mapping[str, Value]) -> Mapping[str, Value]:
    if twice := sorted(arguments.keys() & values.keys()):
        raise UsageError(f"{twice[0]} is given twice: in the mapping, and as a keyword")
    return {**arguments, **values}


def _compile(source: SourceFile, level: int) -> Program:
    from apxm.compiler.pipeline import compile_source

    # Without an entry a program can still be run by naming a flow; `run` says so where none is named.
    compilation = compile_source(source, level=level, needs_entry=False)
    for warning in compilation.warnings:
        warn(warning.render())
    return compilation.program


def _configured(selection: Selection) -> BackendPool:
    resolved = resolve(selection)
    for notice in resolved.notices:
        logger.info("%s", notice)
    for warning in resolved.warnings:
        warn(warning)
    return BackendPool(resolved.backends, resolved.default, PROCESS)
