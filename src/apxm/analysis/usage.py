"""How many LLM tokens the calls of a flow will take, as far as the program tells: its texts, and `max_tokens`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, inf

from apxm.analysis.branches import Branches
from apxm.backends.protocol import NO_LIMITS
from apxm.backends.simulated import CHARACTERS_PER_TOKEN, IMAGE_TOKENS
from apxm.operations.catalog import ANSWERS_AS, CONTENT_KINDS, OPERATIONS, ROUNDS
from apxm.operations.definition import Family
from apxm.operations.functions import FUNCTIONS, Function
from apxm.operations.schemas import answer_format, arguments_schema
from apxm.operations.types import BOOL, FLOAT, INT, STR, Value, parse_type, text_form
from apxm.program.expressions import (
    Apply,
    Cast,
    DictOf,
    Expression,
    Field,
    ListOf,
    Literal,
    Logic,
    Operand,
    Settled,
    Sum,
    TextForm,
    TextOf,
    ToFloat,
)
from apxm.program.frames import HIGH, LOW, Scenario
from apxm.program.nodes import Compute, Enter, Exit, Input, Operate, Output
from apxm.program.openers import Opener
from apxm.program.program import AnyNode
from apxm.runtime.trace import OperationRecord, Trace

TYPICAL_ANSWER = 256
"""Tokens of an answer where nothing better is known."""
_NUMBER = 8
"""Characters of a number that is computed."""
_FILE = 8_000.0
"""Characters of a file of text where nothing better is known."""
_UNKNOWN = {LOW: 0.0, HIGH: inf}
"""Characters of what a tool gives, and of what a frame is given that may be given what an earlier one made."""
_CONTEXT = len("\n\nContext 1: ")


def calls_model(node: AnyNode) -> bool:
    return isinstance(node, Operate) and OPERATIONS[node.operation].family is Family.MODEL


def calls_tool(node: AnyNode) -> bool:
    operation = OPERATIONS.get(node.operation) if isinstance(node, Operate) else None
    return operation is not None and operation.family is Family.TOOL


def model_calls(trace: Trace) -> list[OperationRecord]:
    """The operations of a run that waited for a model, and not for a tool."""
    tools = {
        (number, index)
        for number, plan in enumerate(trace.program.plans)
        for index, node in enumerate(plan.nodes)
        if calls_tool(node)
    }
    return [r for r in trace.operations if not tools or (trace.frames[r.frame].plan, r.node) not in tools]


Limit = Callable[[Operate], float]
"""Most tokens of an answer to a call that has no `max_tokens`; `inf` where nothing limits it."""


Typical = Callable[[int, Operate], float | None]
"""The tokens that one answer is expected to have, by its frame and node; None where nobody knows."""


def _unknown(_frame: int, _node: Operate) -> None:
    return None


def _unlimited(_node: Operate) -> float:
    return inf


def answer_tokens(node: Operate, scenario: Scenario, typical: float | None, limit: Limit = _unlimited) -> float:
    """The tokens of one answer: one at least, `max_tokens` at most, or else its `limit`."""
    own = node.options.get("max_tokens")
    most = float(own.value) if isinstance(own, Literal) else limit(node)
    if scenario is LOW:
        return min(1.0, most)
    return most if scenario is HIGH else min(most, TYPICAL_ANSWER if typical is None else typical)


class Sizes:
    """The length in characters of every value, in one scenario."""

    def __init__(
        self,
        graph: Branches,
        scenario: Scenario,
        arguments: Sequence[Value],
        typical: Typical = _unknown,
        known: Mapping[int, str] | None = None,
        limit: Limit = _unlimited,
    ) -> None:
        """`known` are answers that are there already, by the number of their node."""
        self._limit = limit
        self._graph = graph
        self._known = known or {}
        self._scenario = scenario
        self._arguments = arguments
        self._typical = typical
        self._found = [0.0] * graph.size
        for number in graph.order:
            self._found[number] = self._size(number)

    def prompt_tokens(self, frame: int, node: Operate) -> float:
        """The tokens of all that one call sends."""
        instruction = OPERATIONS[node.operation].instruction
        system = node.options.get("system")
        length = sum(self._of(argument, frame, node) for argument in node.arguments)
        kinds = node.options.get(CONTENT_KINDS)
        length += sum(map(self._content, kinds.value if isinstance(kinds, Literal) else ()))
        length += _CONTEXT * (len(node.arguments) - 1)
        length += len(instruction) if instruction else 0
        length += self._of(system, frame, node) if system else 0
        length += self._schema_length(node)
        length += self._offered(frame, node)
        return length if length == inf else ceil(length / CHARACTERS_PER_TOKEN)

    def _content(self, kind: str) -> float:
        """The characters of what is sent for a path; nothing where the operand is a value."""
        if kind == "image":
            tokens = NO_LIMITS.image_tokens if self._scenario is HIGH else IMAGE_TOKENS
            return float(tokens * CHARACTERS_PER_TOKEN)
        return self._scenario.choose([0.0, inf if self._scenario is HIGH else _FILE]) if kind else 0.0

    def _schema_length(self, node: Operate) -> int:
        """Characters of the schema that its answer is asked for by; 0 where that is any text."""
        choices = node.options.get("choices")
        answer = node.options.get(ANSWERS_AS)
        written = answer.value if isinstance(answer, Literal) else node.result
        if written == str(STR) and choices is None:
            return 0
        labels = choices.value if isinstance(choices, Literal) else ()
        return len(answer_format(parse_type(written, self._graph.record_types), labels).schema)

    def _offered(self, frame: int, node: Operate) -> float:
        """Characters of the tools that it offers, and of what these were called for so far."""
        tools, rounds = node.options.get("tools"), node.options.get(ROUNDS)
        if not isinstance(tools, Literal) or rounds is None:
            return 0.0
        offered = [tool for tool in self._graph.program.capabilities if tool.name in tools.value]
        schemas = [arguments_schema(tool.arguments(self._graph.record_types)) for tool in offered]
        told = [text for tool in offered for text in (tool.name, tool.description)]
        return sum(map(len, (*schemas, *told))) + self._of(rounds, frame, node)

    def _size(self, number: int) -> float:
        graph = self._graph
        if number in self._known:
            return len(self._known[number])
        frame, index = graph.place(number)
        node = graph.node(frame, index)
        match node:
            case Operate():
                if calls_model(node):
                    typical = self._typical(frame, node)
                    return CHARACTERS_PER_TOKEN * answer_tokens(node, self._scenario, typical, self._limit)
                if calls_tool(node):
                    return _UNKNOWN.get(self._scenario, CHARACTERS_PER_TOKEN * TYPICAL_ANSWER)
                return sum(self._of(argument, frame, node) + 1 for argument in node.arguments)
            case Compute(value=value) | Output(value=value) | Enter(value=value):
                return 0.0 if value is None else self._of(value, frame, node)
            case Exit():
                arms = graph.outputs(frame, node)
                return self._scenario.choose([self._found[arm] for arm in arms]) if arms else 0.0
            case Input():
                return self._entering(frame, index)
            case _:
                return 0.0

    def _entering(self, frame: int, port: int) -> float:
        record = self._graph.frames[frame]
        if record.parent < 0:
            return float(len(text_form(self._arguments[port]))) if port < len(self._arguments) else 0.0
        opener = self._graph.node(record.parent, record.opener)
        assert isinstance(opener, Opener)
        later = self._graph.counts.get((record.parent, record.opener))
        if port == opener.own_input or (port in opener.carried and later is not None and later.most != 1):
            return _UNKNOWN.get(self._scenario, self._start(frame, port))
        return self._start(frame, port)

    def _start(self, frame: int, port: int) -> float:
        """What the first turn gets, or all get, from outside."""
        return self._found[self._graph.before[self._graph.number(frame, port)][0]]

    def _of(self, expression: Expression, frame: int, node: AnyNode) -> float:
        match expression:
            case Literal(value=value):
                return len(text_form(value))
            case Operand(index=index):
                return self._found[self._graph.number(frame, node.operands[index])]
            case TextOf(parts=parts):
                return sum(self._of(part, frame, node) for part in parts)
            case Sum():
                return _NUMBER
            case ListOf(items=items):
                return 2 + sum(self._of(item, frame, node) + 3 for item in items)
            case DictOf(keys=keys, values=values):
                return 2 + sum(map(len, keys)) + sum(self._of(value, frame, node) + 6 for value in values)
            case Settled(index=index):
                return self._found[self._graph.number(frame, node.after[index])]
            case Apply(function=name, arguments=arguments):
                return self._applied(FUNCTIONS[name], [self._of(argument, frame, node) for argument in arguments])
            case Logic():
                return _NUMBER
            case Field(of=of) | ToFloat(of=of) | Cast(of=of) | TextForm(of=of):
                return self._of(of, frame, node)

    def _applied(self, function: Function, sizes: Sequence[float]) -> float:
        if function.result in (INT, FLOAT, BOOL):
            return _NUMBER
        if self._scenario is LOW:
            return 0.0
        return inf if self._scenario is HIGH and function.grows else sum(sizes)
