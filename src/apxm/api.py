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
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from contextvars import ContextVar
from functools import wraps
from inspect import signature
from time import perf_counter, time
from types import FunctionType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from apxm.backends.numbers import count
from apxm.config.invocation import Invocation
from apxm.config.selection import Selection, resolve
from apxm.errors import ApxmError, ConfigurationError, Problems, UsageError, hint_for
from apxm.journal.ids import is_run_id, new_run_id
from apxm.operations.types import Value
from apxm.program import codec
from apxm.program.invocation import arguments_for, assign, select_flow
from apxm.program.program import Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.inner_loops import aside
from apxm.runtime.limits import PROCESS, BackendPool
from apxm.runtime.loops import real_loop
from apxm.runtime.options import OnError
from apxm.runtime.shared_budget import SharedBudget
from apxm.runtime.stopped import Stopped
from apxm.runtime.trace import Status
from apxm.session import Result, Session
from apxm.source import SourceFile
from apxm.tools.functions import mark_of, name_of
from apxm.tools.toolbox import NO_TOOLS, Toolbox

if TYPE_CHECKING:
    from apxm.analysis.preview import Preview
    from apxm.batches.batch import BatchOnError
    from apxm.batches.iterating import BatchResult
    from apxm.runtime.result_text import TextPart

logger = logging.getLogger("apxm")
P = ParamSpec("P")
T = TypeVar("T")

Path = str | os.PathLike[str]
Functions = Mapping[str, Callable[..., Any]] | Sequence[Callable[..., Any]]
"""Functions that are tools: by their names there, or by their own."""


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


INSIDE: ContextVar[Callable[[ProgramFlow, Sequence[Value]], Value] | None] = ContextVar("apxm inside", default=None)
"""What calls a flow of a program here, where that is part of a run that goes on; None where it is a run of its own."""


class ProgramFlow:
    """A flow of a program, as a function of Python: it takes its arguments in order or by name, and gives its result.

    In a flow of Python a call is part of that one's run; anywhere else it is a run, as by `run`. Raises `UsageError`
    for arguments that it does not take, and what the run of it raises.
    """

    def __init__(self, program: Program, name: str | None) -> None:
        """Raises `UsageError` where the program has no such flow."""
        self.program = program
        self.flow = select_flow(program, name)
        self.__name__ = self.flow.name
        self.__qualname__ = self.flow.qualified_name

    def __repr__(self) -> str:
        return f"<flow {self.flow.qualified_name} of {self.program!r}>"

    @property
    def tools(self) -> dict[str, Callable[..., Any]]:
        """The functions that its program may call, of the module that has made it."""
        return module_tools(self.program)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        inside = INSIDE.get()
        given = assign(self.flow, arguments, named)
        if inside is None:
            return run(self.program, given, flow=self.flow.qualified_name).value
        return inside(self, arguments_for(self.flow, given, self.program.record_types))

    def batch(self, items: Iterable[Any], **options: Any) -> Iterator[BatchResult]:
        """As `batch_async`, for callers without an event loop: what is in flight goes on in a thread between two
        results."""
        from apxm.batches.iterating import in_thread

        results = self.batch_async(items, **options)
        return in_thread(lambda: results)

    def batch_async(
        self,
        items: Iterable[Any],
        *,
        max_concurrency: int | None = None,
        ordered: bool = True,
        on_error: BatchOnError = "continue",
        dedupe: bool = True,
        **options: Any,
    ) -> AsyncGenerator[BatchResult]:
        """Runs it for each of many items, which are mappings of its parameters, or values of the only one: at most
        `max_concurrency` at once, each a run of its own, without a journal. `options` are those of `run`.

        Gives a `BatchResult` for each, in their order or as they come. An item that fails is one of them; `on_error`
        says whether more are begun then, `dedupe` whether equal calls at temperature 0 are made once.
        `max_total_tokens` and `max_cost` are what all of them may use together; where that is used up `BatchStopped` is
        raised at the end. Raises `UsageError`, now or before the first call.
        """
        from apxm.batches.batch import BatchOptions
        from apxm.batches.iterating import refuse_items, results
        from apxm.batches.work import unjournaled

        if INSIDE.get() is not None:
            raise UsageError("a batch is no part of a run", hint="in a flow, call the program for each(items)")
        refuse_items(items)
        known = signature(run_async).parameters.keys() - {"arguments", "values", "flow", "output", "on_text", "run_id"}
        if unknown := sorted(options.keys() - known):
            raise UsageError(
                f"a batch has no option {unknown[0]!r}", hint=hint_for(unknown[0], known, "docs/batches.md")
            )
        most = None if max_concurrency is None else count(max_concurrency, "the concurrency")
        limits = {name: options.pop(name) for name in ("max_total_tokens", "max_cost") if options.get(name) is not None}
        if limits and options.get("budget") is not None:
            raise UsageError(
                f"{next(iter(limits))} is a budget of the batch, and `budget` is another one", hint="give one"
            )
        if limits:
            options["budget"] = SharedBudget(**limits)
        told = unjournaled(Invocation.of({**options, "warn": warn}))
        functions = {**module_tools(self.program), **by_name(options.get("tools"))}
        opening = opened(options.get("backends"), told.selection, functions, Problems())
        chosen = BatchOptions(ordered=ordered, on_error=on_error)
        return results(self.program, self.flow, items, told, opening, chosen, most, dedupe)


def module_tools(program: Program) -> dict[str, Callable[..., Any]]:
    """The functions, among the names of the module that has made a program, that are tools which it declares."""
    declared = {capability.name for capability in program.capabilities}
    marks = [(mark_of(found), found) for found in program.module.values() if isinstance(found, FunctionType)]
    return {mark.name: found for mark, found in marks if mark is not None and mark.name in declared}


def by_name(functions: Functions | None) -> Mapping[str, Callable[..., Any]]:
    """Functions by the names by which they are tools. Raises `UsageError` for what is none."""
    if functions is None or isinstance(functions, Mapping):
        return functions or {}
    named: dict[str, Callable[..., Any]] = {}
    for function in functions:
        if not callable(function):
            raise UsageError(f"{function!r} is given as a tool, and is no function")
        if named.setdefault(name_of(function), function) is not function:
            raise UsageError(f"two functions are given as the tool {name_of(function)!r}")
    return named


def _of_caller(program: Program) -> Program:
    """A program of the module that has called the function that calls this."""
    module = sys._getframe(2).f_globals  # pyright: ignore[reportPrivateUsage] - whose tools it may call
    program.belongs_to(module, ProgramFlow)
    return program


def compile(path: Path, *, level: int = 1) -> Program:
    """The program in the AIS file at `path`; `level` is the optimization level, 0 to 2.

    Raises `SourceError` with all errors of the file. Warnings go to the logger `apxm`.
    """
    from apxm.language.parser import read_source

    program = _compile(read_source(os.fspath(path)), level)
    program.came_from(os.fspath(path), "source")
    return _of_caller(program)


def compile_text(text: str, *, name: str = "<text>", level: int = 1) -> Program:
    """The program in `text`; `name` stands for the file in messages."""
    return _of_caller(_compile(SourceFile(name, text), level))


def load(path: Path) -> Program:
    """The program in the artifact at `path`. Executes nothing. Raises `ArtifactError`, and `UsageError` where the file
    cannot be read."""
    program = codec.read(path)
    program.came_from(os.fspath(path), "artifact")
    return _of_caller(program)


def save(program: Program, path: Path) -> None:
    """Writes `program` as an artifact, in one step: `path` holds what it held before, or all of it."""
    from apxm.files import OutputFile

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
    simulate_tools: bool | None = None,
    tool_latency: Sequence[str] | None = None,
    max_concurrency: int | None = None,
    max_open_turns: int = 4096,
    timeout_s: float | None = None,
    on_error: OnError = "finish",
    max_total_tokens: int | None = None,
    max_cost: float | None = None,
    budget: SharedBudget | None = None,
    journal: bool | None = None,
    journal_dir: Path | None = None,
    journal_sync: str = "full",
    require_journal: bool = False,
    run_id: str | None = None,
    config: Path | None = None,
    backends: BackendPool | None = None,
    tools: Functions | None = None,
    output: Callable[[str], None] | None = None,
    on_text: Callable[[TextPart], None] | None = None,
    **values: Value,
) -> Result:
    """Runs a flow of `program` to its end, by default its entry, inside the caller's event loop.

    The flow's parameters are given by name, as keywords or in `arguments`; a parameter that is called like one of the
    options here can only be given in `arguments`. The options are those of the command line (docs/cli.md). `backends`
    replaces the configured ones, and is left open; `tools` are functions that go before configured tools of their
    names, and so do those that `apxm.tool` marks in the module which made the program; `output` is called with each
    line the program prints, `on_text` with the text of the result, behind all lines: in parts as they come where the
    result is one call's answer, else whole at the end. What either raises ends the run and is raised from here.
    `run_id` is one of `apxm.new_run_id`, for who wants to know the run before it begins; it has a journal then.

    Raises `UsageError` or `ConfigurationError` for what it needs and does not have, `LinkError` for several things, all
    before the first call; then `RunFailed`, with all that finished, unless the run succeeded. Cancelling it cancels
    everything in flight.
    """
    begun = perf_counter()
    _refuse_misuse(program, arguments)
    _refuse_other_backends(backends)
    chosen = select_flow(program, flow)
    if twice := sorted((arguments or {}).keys() & values.keys()):
        raise UsageError(f"{twice[0]} is given twice: in the mapping, and as a keyword")
    problems = Problems()
    given = {**(arguments or {}), **values}
    inputs = problems.of(lambda: arguments_for(chosen, assign(chosen, (), given), program.record_types), [])
    if run_id is not None:
        refuse_no_new_id(run_id)
    said = {**locals(), "warn": warn, "require_journal": require_journal or run_id is not None}  # to be found by its id
    told = Invocation.of(said)  # each keyword above is called like the field that takes it
    if backends is not None and told.selection != Selection(seed=seed):
        raise UsageError("`backends` stands for a configuration: give none beside it")
    run_id = run_id or new_run_id(time())
    functions = {**module_tools(program), **by_name(tools)}
    async with opened(backends, told.selection, functions, problems) as (pool, toolbox):
        with problems:
            session = Session(
                LoadedProgram(program), chosen, inputs, watched(told, run_id), pool,
                tools=toolbox, run_id=run_id, begun=begun,
            )  # fmt: skip
            await session.link()
        session.open_journal(warn)
        if session.recorder is not None and logger.isEnabledFor(logging.INFO):
            folder = "" if journal_dir is None else f", journal_dir={os.fspath(journal_dir)!r}"
            again = f"apxm.resume({run_id!r}{folder})"
            logger.info("run %s is journaled in %s; %s goes on with it", run_id, session.recorder.path, again)
        return await executed(session)


async def resume_async(
    run_id: str,
    *,
    max_concurrency: int | None = None,
    max_open_turns: int = 4096,
    timeout_s: float | None = None,
    on_error: OnError | None = None,
    max_total_tokens: int | None = None,
    max_cost: float | None = None,
    budget: SharedBudget | None = None,
    journal_dir: Path | None = None,
    journal_sync: str = "full",
    require_journal: bool = False,
    config: Path | None = None,
    as_recorded: bool = False,
    edited: bool | Program = False,
    redo: Sequence[str] = (),
    assume: Mapping[str, Value] | None = None,
    backends: BackendPool | None = None,
    tools: Functions | None = None,
    output: Callable[[str], None] | None = None,
    on_text: Callable[[TextPart], None] | None = None,
) -> Result:
    """Goes on with a journaled run that has no process any more, however it ended: what is finished is kept.

    Limits that are not given are those the run began with; the other options are those of ``apxm resume``
    (docs/cli.md). `edited` goes on with the program as its file is now, or with another `Program`: answers to requests
    that are still the same are kept. `preview_resume` tells what it will ask.

    Raises `UsageError` where there is no such run, `JournalError` where it cannot be gone on with, and `RunFailed` as
    `run` does.
    """
    from apxm.journaling import reopen

    begun, said = perf_counter(), {**locals(), "warn": warn}
    _refuse_other_backends(backends)
    earlier = reopen(
        run_id, Invocation.of(said).journaling,
        config=config, as_recorded=as_recorded, edited=edited, redo=redo, assume=assume,
    )  # fmt: skip
    with closing(earlier.recorder) as recorder:
        for warning in earlier.warnings:
            warn(warning.render())
        told = watched(earlier.told.but(said), recorder.run_id)
        async with opened(backends, told.selection, by_name(tools), Problems()) as (pool, toolbox):
            session = Session.resumed(earlier, told, pool, begun, toolbox)
            await session.link()
            logger.info("run %s goes on, journaled in %s; finished calls: %d", run_id, recorder.path, recorder.finished)
            return await executed(session)


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

    said = locals()
    _refuse_other_backends(backends)
    earlier = reopen(run_id, Invocation.of(said).journaling, config=config, as_recorded=as_recorded, edited=edited)
    with closing(earlier.recorder):
        told = earlier.told.but(said)
        pool = backends or _configured(told.selection)[0]
        return Session.resumed(earlier, told, pool, perf_counter()).preview()


_STOPPED_ITERATION = ("coroutine raised StopIteration",)
"""What Python makes of a `StopIteration` that leaves a coroutine: for whoever is outside, it is none of its own."""


def _blocking(function: Callable[P, Coroutine[Any, Any, Result]]) -> Callable[P, Result]:
    """A function for callers without an event loop; it raises `UsageError` inside of one."""
    name = function.__name__.removesuffix("_async")

    @wraps(function)
    def called(*arguments: P.args, **options: P.kwargs) -> Result:
        return to_the_end(function(*arguments, **options), f"apxm.{name}")

    called.__name__ = called.__qualname__ = name
    return called


def to_the_end(running: Coroutine[Any, Any, T], name: str, hint: str | None = None) -> T:
    """What comes of `running`, for a caller without an event loop, who called `name`. Raises `UsageError` inside of
    one, but for that of a notebook, whose cells may block it."""
    if in_notebook():
        with aside():
            return _run_alone(running)
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        running.close()
        hint = hint or f"await {name}_async(…) there"
        raise UsageError(f"{name} cannot be called inside a running event loop", hint=hint)
    return _run_alone(running)


def _run_alone(running: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=real_loop) as runner:
        try:
            return runner.run(running)
        except RuntimeError as error:
            if error.args == _STOPPED_ITERATION and isinstance(error.__cause__, StopIteration):
                raise error.__cause__ from None
            raise


def in_notebook() -> bool:
    """Whether the code here is that of a notebook's cell."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")


run = _blocking(run_async)
resume = _blocking(resume_async)


@asynccontextmanager
async def opened(
    given: BackendPool | None,
    selection: Selection,
    functions: Mapping[str, Callable[..., Any]] | None,
    problems: Problems,
) -> AsyncGenerator[tuple[BackendPool, Toolbox]]:
    """The backends that are `given`, else those that are configured, and the tools; what was opened here is closed at
    the end. Where that cannot be used, the `problems` there were before are told with it."""
    try:
        pool, tools = _configured(selection) if given is None else (given, NO_TOOLS)
    except (UsageError, ConfigurationError):
        with problems:
            raise
    if functions and not selection.simulate_tools:
        tools = tools.but(functions)
    try:
        yield pool, tools
    finally:
        await tools.close()
        if given is None:
            await pool.close()


async def executed(session: Session) -> Result:
    session.prepared()
    try:
        trace = await session.execute()
    finally:
        if session.recorder is not None and (lost := await session.closed()):
            warn(str(lost))
    if session.lost and trace.stopped is None:
        # Lost with its very last rows. What the run has given is kept, and so is its value.
        trace.status, trace.stopped = Status.STOPPED, Stopped("journal", reason=str(session.lost))
    result = session.result(trace)
    if result.status is not Status.SUCCEEDED:
        raise RunFailed(result)
    return result


def watched(told: Invocation, run_id: str) -> Invocation:
    """The invocation, with each call logged where somebody reads the log at DEBUG."""
    if not logger.isEnabledFor(logging.DEBUG):
        return told
    from apxm.reports.call_log import CallLog

    return told.but({"observer": CallLog(logger, run_id)})


def warn(text: str) -> None:
    logger.warning("%s", text)


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


def refuse_no_new_id(run_id: object) -> None:
    """Raises `UsageError` for what cannot be the id of a new run."""
    if not isinstance(run_id, str) or not is_run_id(run_id):
        raise UsageError(f"{run_id!r} is no id of a run", hint="apxm.new_run_id() gives one for a new run")


def _refuse_other_backends(backends: object) -> None:
    if backends is not None and not isinstance(backends, BackendPool):
        raise UsageError(
            f"`backends` is a BackendPool, not a {type(backends).__name__}",
            hint='for example BackendPool({"mine": backend}, "mine")',
        )


def _compile(source: SourceFile, level: int) -> Program:
    from apxm.compiler.pipeline import compile_source

    # Without an entry a program can still be run by naming a flow; `run` says so where none is named.
    compilation = compile_source(source, level=level, needs_entry=False)
    for warning in compilation.warnings:
        warn(warning.render())
    return compilation.program


def _configured(selection: Selection) -> tuple[BackendPool, Toolbox]:
    resolved = resolve(selection)
    logger.info("%s", resolved.notice)
    for warning in resolved.warnings:
        warn(warning)
    return resolved.pool(PROCESS), resolved.tools
