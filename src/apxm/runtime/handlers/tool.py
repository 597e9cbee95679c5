"""The call of a tool: one kind of waiting operation, from operands to the arguments of the tool, and back from what it
gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from apxm.errors import ConfigurationError, OperationError
from apxm.operations.plain import kind_of
from apxm.operations.types import Type, Value, check_size, parse_type
from apxm.program.nodes import Operate
from apxm.runtime.expressions import evaluator
from apxm.runtime.handlers.model import literal
from apxm.runtime.loops import limit_ns
from apxm.runtime.retries import pause_ns
from apxm.runtime.waiting import Binding, Call, Provider, WaitingOperation
from apxm.tools.simulated import SimulatedTool
from apxm.tools.tool import Arguments, Tool, ToolAnswer, read_answer


class ToolCall(WaitingOperation):
    """One call of a tool in a plan."""

    __slots__ = ("_arguments", "_result", "readonly", "tool")

    def __init__(self, node: Operate, records: Mapping[str, Type]) -> None:
        self._arguments = evaluator(node.arguments[0], node.operands)
        self._result = parse_type(node.result, records)
        self.tool = cast(str, literal(node, "tool"))
        self.readonly = literal(node, "readonly") is True
        self.provider = "tool", self.tool, self.readonly
        timeout: float | None = literal(node, "timeout")
        self.timeout_ns = None if timeout is None else limit_ns(timeout)
        self.retries = cast("int | None", literal(node, "retries")) if self.readonly else None
        self.priority = node.priority

    def bind(self, run: Binding) -> Provider:
        return ToolProvider(run.tools.get(self.tool, self._result), self.readonly, run)

    def request(self, values: list[Value], form: object) -> Arguments:
        del form
        arguments = self._arguments(values)
        if not isinstance(arguments, dict):
            found = kind_of(arguments)
            raise OperationError("wrong_type", f"the arguments of tool {self.tool!r} are an object, found {found}")
        check_size(arguments)
        return cast(Arguments, arguments)

    def value(self, answer: ToolAnswer, request: Arguments) -> Value:
        del request
        return read_answer(answer, self._result, self.tool)


class ToolProvider(Provider):
    """A tool as a run uses it."""

    kind = "tool"

    def __init__(self, tool: Tool, readonly: bool, run: Binding) -> None:
        self.name = tool.name
        self.virtual = simulated = isinstance(tool, SimulatedTool)
        self.timeout_ns = limit_ns(tool.timeout_s)
        self.begin = getattr(tool, "begin", None)
        self.call = getattr(tool, "call", None)
        # What changes the world must not do it again because a process ended before it knew.
        self.records_started = not (readonly or simulated)
        self._random = run.random
        self._toolbox = run.tools
        self._declared = run.declarations.get(tool.name)

    async def missing(self, operations: Sequence[Any], alone: bool) -> Sequence[ConfigurationError]:
        """Also where nothing else is needed: a call that fails may have done something already."""
        del operations, alone
        return [
            ConfigurationError(f"tool {flaw.tool!r}: {flaw.message}", where=flaw.where)
            for flaw in await self._toolbox.flaws([(self.name, self._declared)])
        ]

    def answer(self, call: Call, outcome: Any) -> ToolAnswer | OperationError:
        del call
        return outcome

    def retry(self, call: Call, error: OperationError, now: int) -> int | None:
        del error, now
        return pause_ns(len(call.earlier), self._random) if len(call.earlier) < (call.operation.retries or 0) else None
