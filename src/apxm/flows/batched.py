"""A flow of Python as the program of a batch: each input is a run of its own."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import FunctionType, MethodType
from typing import Any, cast, get_type_hints

import msgspec

from apxm.analysis.profile import Profile
from apxm.analysis.static import Needs
from apxm.batches.journals import RunJournals, journaled
from apxm.batches.output import Problem
from apxm.batches.tally import RunSummary
from apxm.batches.work import Outcome, Watcher, executed, problem_of, told_of
from apxm.config.invocation import Invocation
from apxm.errors import ApxmError, OperationError, UsageError, hint_for
from apxm.explaining.explanation import Given
from apxm.explaining.files import needs_of
from apxm.explaining.lengths import lengths_of
from apxm.flows.flow import Flow
from apxm.flows.twins import TWINS
from apxm.lanes.edits import has_moved, noted
from apxm.lanes.run import Grown
from apxm.lanes.running import LaneSession
from apxm.operations.json_text import parse_json
from apxm.operations.plain import plain
from apxm.operations.types import JSON, Value
from apxm.program.program import FlowParameter, Kind
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.source import shortened
from apxm.tools.toolbox import Toolbox

_GATHERING = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class FlowWork:
    """A flow, as a batch runs it. All runs share its backends and tools."""

    kinds: tuple[Kind, ...] = ("flow",)

    def __init__(
        self, flow: Flow[..., Any], shared: Mapping[str, Value], told: Invocation, pool: BackendPool, tools: Toolbox
    ) -> None:
        self._flow = flow
        self._function = _function_of(flow)
        self._shared = shared
        self._told = told
        self._pool = pool
        self._tools = tools
        self._journals: RunJournals | None = None
        self._watcher: Watcher | None = None
        self._signature = inspect.signature(flow.function)
        taken = [p for p in self._signature.parameters.values() if p.kind not in _GATHERING]
        self._names = [parameter.name for parameter in taken]
        self.parameters: Sequence[FlowParameter] = [
            FlowParameter(name=p.name, type="json", required=p.default is inspect.Parameter.empty) for p in taken
        ]
        try:
            self._types: Mapping[str, Any] = get_type_hints(self._function)
        except (NameError, TypeError, AttributeError):  # written for people only
            self._types = {}
        if unknown := [name for name in shared if name not in self._names]:
            raise UsageError(
                f"{self._function.__name__} has no parameter called {unknown[0]!r}", hint=f"it is {self.signature}"
            )

    @property
    def signature(self) -> str:
        return f"{self._function.__name__}{self._signature}"

    @property
    def identity(self) -> dict[str, Any]:
        file = self._function.__code__.co_filename
        return {"program": noted(file).get("meaning"), "flow": self._function.__qualname__}

    def takes(self, *, holds_text: bool, is_table: bool) -> None:
        self._holds_text, self._is_table = holds_text, is_table

    def keep(self, journals: RunJournals) -> None:
        self._journals, self._told = journals, journaled(self._told)

    def watch(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def arguments(self, values: Mapping[str, object]) -> inspect.BoundArguments:
        given: dict[str, Any] = {}
        for parameter in self.parameters:
            name = parameter.name
            if name in self._shared:
                given[name] = self._made(name, self._shared[name], is_text=False)
            elif name in values and not self._is_missing(name, values[name]):
                given[name] = self._made(name, values[name], is_text=self._holds_text)
            elif parameter.required:
                raise UsageError(f"{self._function.__name__} needs a value for {name}", hint=f"it is {self.signature}")
        bound = self._signature.bind_partial()
        bound.arguments.update(given)
        return bound

    def _is_missing(self, name: str, value: object) -> bool:
        """Whether a table has nothing there, and the parameter could not be that."""
        wanted = self._types.get(name, str)
        if self._holds_text:
            return value == "" and wanted is not str
        return self._is_table and value is None and name in self._types and not _takes_none(wanted)

    def _made(self, name: str, value: object, *, is_text: bool) -> object:
        wanted = self._types.get(name)
        if wanted is None or wanted is Any:
            return value
        if is_text and wanted is not str:
            with suppress(ValueError, RecursionError):  # a date, for instance, or True
                value = parse_json(cast(str, value).strip(), once=True)
        try:
            if (validate := getattr(wanted, "model_validate", None)) is not None:
                return validate(value)
            return msgspec.convert(value, wanted, strict=not is_text)
        except (msgspec.ValidationError, ValueError) as unfit:
            shown = shortened(repr(value), 60)
            raise UsageError(f"{name} is no {_name(wanted)}: {shortened(str(unfit), 200)}; it is {shown}") from None
        except TypeError:  # a type of which no value of JSON is
            return value

    def needs(self, arguments: inspect.BoundArguments, profile: Profile | None) -> Needs:
        lengths = lengths_of(arguments.arguments)
        given = Given(lengths, (1,), profile, None, frozenset(self._names))
        return needs_of(self._function, TWINS, given)

    async def run(self, arguments: inspect.BoundArguments, id: str) -> Outcome:
        session = self.session(arguments, id)
        await session.link()
        if self._journals is not None:
            source = noted(self._function.__code__.co_filename)
            session.noted = {"source": dict(source)}
            earlier = self._journals.open(session, id, self.kinds)
            if earlier is not None and session.recorder is not None and has_moved(_source_of(earlier), source):
                session.recorder.as_changed()
        trace = await executed(session, self._watcher, id)
        run, raised = RunSummary.of(trace), session.raised
        if raised is not None and not isinstance(raised, Exception):
            raise raised
        if isinstance(raised, Exception):
            return Outcome(run, error=_problem(raised))
        if (problem := problem_of(trace)) is not None:
            return Outcome(run, error=problem)
        try:
            return Outcome(run, _plain(session.flow_run.value))
        except (TypeError, ValueError) as unfit:
            return Outcome(run, error=Problem("no_json", f"what the flow gives cannot be written as JSON: {unfit}"))

    def session(self, arguments: inspect.BoundArguments, id: str | None = None) -> LaneSession:
        grown = Grown(self._function.__qualname__, self._function.__code__.co_filename)
        main = partial(self._flow.lanes, *arguments.args, **arguments.kwargs)
        told = told_of(self._told, self._watcher, id)
        return LaneSession(
            LoadedProgram(grown.program), grown.flow, (), told, self._pool,
            tools=self._tools, grown=grown, main=main,
        )  # fmt: skip


def flow_work(
    path: str,
    content: bytes,
    name: str,
    shared: Mapping[str, Value],
    told: Invocation,
    pool: BackendPool,
    tools: Toolbox,
) -> FlowWork:
    """As `FlowWork`, in a process that may be on another machine: where its file is not there as it is here, it is that
    of a file with this content. Whatever else it imports has to be there."""
    try:
        with open(path, "rb") as file:
            is_there = file.read() == content
    except OSError:
        is_there = False
    if not is_there:
        path = os.path.join(tempfile.mkdtemp(prefix="apxm-"), os.path.basename(path))
        with open(path, "wb") as file:
            file.write(content)
    return FlowWork(flow_in(path, name), shared, told, pool, tools)


def flow_in(path: str, name: str | None) -> Flow[..., Any]:
    """The flow called `name` in a file of Python, by default its only one; the file is run as a module. Raises
    `UsageError`, and `ApxmError` where the file is no Python or fails."""
    module_name = os.path.splitext(os.path.basename(path))[0]
    if not os.path.isfile(path):
        raise UsageError("there is no such file", where=path)
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        if isinstance(error, ApxmError):
            raise
        raise ApxmError(f"it cannot be imported: {type(error).__name__}: {error}", where=path) from error
    found = {key: cast("Flow[..., Any]", value) for key, value in vars(module).items() if isinstance(value, Flow)}
    flows = {key: value for key, value in found.items() if _function_of(value).__module__ == module_name}
    if name is None:
        if len(flows) != 1:
            if not flows:
                raise UsageError("it has no flow", where=path, hint="`@apxm.flow` makes a function one")
            hint = f"apxm batch {path}:{next(iter(flows))} … names one"
            raise UsageError(f"it has several flows: {', '.join(flows)}", where=path, hint=hint)
        return next(iter(flows.values()))
    if name not in flows:
        raise UsageError(
            f"it has no flow {name!r}", where=path, hint=hint_for(name, flows, f"it has {', '.join(flows)}")
        )
    return flows[name]


def _function_of(flow: Flow[..., Any]) -> FunctionType:
    function = flow.function
    return cast(FunctionType, function.__func__ if isinstance(function, MethodType) else function)


def _problem(raised: Exception) -> Problem:
    if isinstance(raised, OperationError):
        return Problem(raised.kind, raised.message, where=raised.where)
    return Problem(type(raised).__name__, shortened(str(raised), 2000))


def _plain(value: object) -> Value:
    if hasattr(value, "model_dump"):
        value = cast(Any, value).model_dump(mode="json")
    return plain(msgspec.to_builtins(value), JSON, "it", tuples=True)


def _source_of(earlier: Mapping[str, Value]) -> dict[str, Any]:
    return msgspec.convert(earlier.get("source", {}), dict[str, Any])


def _takes_none(wanted: Any) -> bool:
    try:
        return msgspec.convert(None, wanted) is None
    except (msgspec.ValidationError, TypeError):
        return False


def _name(wanted: Any) -> str:
    return getattr(wanted, "__name__", None) or str(wanted)
