"""A call of a model that may call tools: rounds of one call of the model and those of the tools that it asks for.

It is the dialogue of AIS (docs/design/0023-tools.md). A tool that is a function of Python runs in a lane of its own
behind the model's call; one that is configured is called as by `inv`.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any, NamedTuple, cast

import msgspec

from apxm.backends.dialogue import OfferedTool
from apxm.effects.libraries import Known, known
from apxm.errors import ConfigurationError, UsageError
from apxm.flows.calling import alone, cached_in_run, prepared
from apxm.flows.twins import TOUCHING
from apxm.lanes.lane import LANE, MOST_OPEN, EachRun, Lane
from apxm.lanes.marks import PURE
from apxm.lanes.places import site_of
from apxm.lanes.run import RUN, LaneRun, Site
from apxm.operations.catalog import OPERATIONS
from apxm.operations.labels import fold_label
from apxm.operations.plain import plain
from apxm.operations.types import JSON, Value
from apxm.program.expressions import Literal, Operand
from apxm.program.nodes import Operate
from apxm.runtime.handlers.offer import Fit, Offer
from apxm.runtime.handlers.tool import ToolCall
from apxm.runtime.waiting import WaitingOperation
from apxm.tools.functions import Signature, mark_of, signature_of
from apxm.tools.models import written
from apxm.tools.simulated import SimulatedTool
from apxm.tools.tool import CallTool

_PLACE = "call"
"""What the calls of tools of one round are called in paths: ``answer:5#2/call[0]``."""


class FunctionTool(NamedTuple):
    """A function of Python that a model may call."""

    function: Callable[..., Any]
    signature: Signature
    readonly: bool

    @property
    def offered(self) -> OfferedTool:
        return OfferedTool(self.signature.name, self.signature.schema, self.signature.description)

    @property
    def fit(self) -> Fit:
        return self.signature.fitting

    def call(self, run: LaneRun, lane: Lane, arguments: Value, site: Site) -> Value:
        """What it gives. What it raises is its caller's to hear."""
        if not self.readonly:
            lane.take_turn()
        return run.step(
            lane, self.signature.name, lambda: self._called(run, lane, arguments), arguments, site, not self.readonly
        )

    def _called(self, run: LaneRun, lane: Lane, arguments: Value) -> Value:
        given = self.signature.own(arguments)
        if inspect.iscoroutinefunction(self.function):
            found = run.awaited(lane, self.function(**given))
        else:
            found = TOUCHING.call(self.function)(**given)
        try:
            return plain(msgspec.to_builtins(found, enc_hook=written), JSON, "it")
        except (TypeError, ValueError) as unfit:
            raise UsageError(
                f"what the tool {self.signature.name!r} gave is nothing that a model can be told: {unfit}",
                hint="let it return text, or what can be written as JSON",
            ) from None


class ConfiguredTool(NamedTuple):
    """A tool of the configuration that a model may call."""

    offered: OfferedTool
    operation: WaitingOperation

    def fit(self, arguments: Value) -> Value:
        """Whoever is called checks them."""
        return arguments

    def call(self, run: LaneRun, lane: Lane, arguments: Value, site: Site) -> Value:
        lane.take_turn()
        return run.answer(run.ask(lane, self.operation, [arguments], "inv", site))


Tool = FunctionTool | ConfiguredTool


def converse(
    prompt: object,
    context: Sequence[object],
    options: dict[str, Any],
    tools: Sequence[Callable[..., Any] | str],
    max_rounds: int,
    frame: FrameType,
) -> Any:
    """The answer of a model that may call tools, from the lane that `frame` runs in."""
    lane = LANE.get()
    if lane is None:
        return alone("ask", frame, lambda: converse(prompt, context, options, tools, max_rounds, frame))
    run, site = RUN.get(), site_of(lane, frame)
    found = tuple(_configured(run, lane, each) if isinstance(each, str) else function_tool(each) for each in tools)
    offer = _offer(found)
    operation, values = prepared("ask", prompt, context, options, offer, max_rounds)
    by_name = {tool.offered.name: tool for tool in found}
    rounds: list[Value] = []
    while True:
        asked = run.ask(lane, operation, [*values, list(rounds)], "ask", site)
        answered = cast("dict[str, Any]", run.answer(asked))
        if not answered["calls"]:
            answer = answered["answer"]
            return answer if operation.made is None else operation.made(answer)
        path = f"{run.trace.path_of(0, asked.node)}/"
        results = _round(run, lane, path, site.line, answered["calls"], by_name, frame)
        rounds.append({"text": answered["text"], "calls": answered["calls"], "results": results})


def _round(
    run: LaneRun,
    lane: Lane,
    path: str,
    line: int,
    calls: Sequence[Mapping[str, Any]],
    tools: Mapping[str, Tool],
    frame: FrameType,
) -> list[Value]:
    """What the tools give, in the order of the calls; of one that the model got wrong, what is wrong. Each is called in
    a lane of its own: those that only read overlap."""
    results: dict[int, Value] = {}

    def body(numbered: tuple[int, Mapping[str, Any]]) -> None:
        index, call = numbered
        own = LANE.get()
        assert own is not None
        if not call["tool"]:
            results[index] = call["error"]
            return
        site = Site(f"{own.path_prefix}{call['tool']}", line)
        results[index] = tools[call["tool"]].call(run, own, call["arguments"], site)

    loop = EachRun(lane, frame.f_code, _PLACE, body, body.__code__, MOST_OPEN)
    loop.prefix, loop.indices = path, ""
    loop.run(enumerate(calls))
    return [results[index] for index in range(len(calls))]


@cached_in_run
def function_tool(function: Callable[..., Any]) -> FunctionTool:
    """A function as a tool. Raises `UsageError` where a model could not call it."""
    mark = mark_of(function)
    reads = getattr(function, PURE, False) is True or known(function) is Known.NOTHING
    return FunctionTool(function, signature_of(function), reads or (mark is not None and mark.readonly))


@cached_in_run
def _offer(tools: tuple[Tool, ...]) -> Offer:
    """What a model may call. Raises `UsageError` where two have one name."""
    names = Counter(fold_label(tool.offered.name) for tool in tools)
    if twice := [name for name, count in names.items() if count > 1]:
        raise UsageError(f"two tools are called {twice[0]!r}", hint='@apxm.tool(name="…") gives one another name')
    return Offer([tool.offered for tool in tools], {tool.offered.name: tool.fit for tool in tools})


def refuse_tools(tools: object, max_rounds: object) -> None:
    if not isinstance(tools, list | tuple):
        raise UsageError(f"`ask`: tools= is a list of functions and names, not a {type(tools).__name__}")
    for each in cast("Sequence[object]", tools):
        if not ((callable(each) and getattr(each, "__hash__", None)) or isinstance(each, str)):
            raise UsageError(
                f"`ask`: {each!r} in tools= is no tool", hint="give functions, or names of configured tools"
            )
    parameter = next(p for p in OPERATIONS["ask"].parameters if p.name == "max_rounds")
    if not isinstance(max_rounds, int) or isinstance(max_rounds, bool):
        raise UsageError(f"`ask`: max_rounds= is a number of rounds, not {max_rounds!r}")
    if (limit := parameter.limit_passed_by(max_rounds)) is not None:
        raise UsageError(f"`ask`: max_rounds= {limit}, and this is {max_rounds}")


def _configured(run: LaneRun, lane: Lane, name: str) -> ConfiguredTool:
    """A tool of the configuration, found when it is first offered. Raises `ConfigurationError`."""
    found = run.tools_by_name.get(name)
    if found is None:
        found = run.tools_by_name[name] = _found(run, lane, name)
    return found


def _found(run: LaneRun, lane: Lane, name: str) -> ConfiguredTool:
    node = Operate(
        operation="inv", operands=(0,), arguments=(Operand(0),), options={"tool": Literal(name)}, result="json"
    )
    tool = run.toolbox.get(name, JSON)
    if isinstance(tool, SimulatedTool):  # nobody has looked at what it would be
        offered = OfferedTool(name, '{"type":"object"}')
    else:
        if flaws := run.awaited(lane, run.toolbox.flaws([(name, None)])):
            raise ConfigurationError(f"tool {name!r}: {flaws[0].message}", where=flaws[0].where)
        offered = run.awaited(lane, cast(CallTool, tool).offered())
    return ConfiguredTool(msgspec.structs.replace(offered, name=name.replace(".", "_")), ToolCall(node, {}))
