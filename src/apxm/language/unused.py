"""Calls that nothing anyone could see depends on: from -O1 on they are not made.

A call is needed if it has an effect, or if its result reaches a `return` of the flow, something with an effect, or the
selector of a construct that is needed. A construct is needed as soon as anything in it is, or its value; what its arms
return is needed only for that value. The pass `remove-unused` goes by the same rules, so it leaves out what was warned
of and nothing else, but for what inlining lets it see: model calls that only serve the result of a flow, where that
result is not used.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field

from apxm.language.calls import has_effect
from apxm.language.findings import Findings
from apxm.language.report import Report
from apxm.language.syntax import (
    Addition,
    Block,
    CallExpression,
    CallStatement,
    Comparison,
    DictDisplay,
    Expression,
    FieldOf,
    Flow,
    FlowCall,
    FormatText,
    Let,
    ListDisplay,
    Name,
    OperationCall,
    Return,
    Statement,
    Switch,
)

Calls = Mapping[CallExpression, OperationCall | FlowCall]


def flows_with_effects(callees_first: list[Flow], findings: Findings) -> set[Flow]:
    """The flows that do something, themselves or through those they call."""
    found: set[Flow] = set()
    for flow in callees_first:
        if flow in findings.with_effects or any(callee.flow in found for _, callee in findings.flow_calls[flow]):
            found.add(flow)
    return found


@dataclass(frozen=True)
class _Wording:
    message: str
    help: str


_REMOVED = _Wording("this call will not be made", "use the result, or leave the call out; only at -O0 is it made")
_KEPT = _Wording("this call is made in vain", "use the result, or leave the call out; from -O1 on it is not made")


def warn_of_unused(
    flow: Flow,
    calls: Calls,
    tail: Container[Switch],
    with_effects: Container[Flow],
    report: Report,
    *,
    removed: bool = True,
) -> None:
    """Reports the calls of `flow` that nothing needs; one inside the arguments of another goes with that one.

    `removed` says whether what compiles this leaves them out.
    """
    wording = _REMOVED if removed else _KEPT
    needs = _Needs(calls, tail, with_effects)
    needs.block(flow.body, needs.root, None)
    needs.root.mark()
    for unit in needs.calls:
        if not unit.needed and not (unit.consumer and unit.consumer.call and not unit.consumer.needed):
            assert unit.call is not None
            message = f"{wording.message}: its result reaches no `return`, no `print` and no other effect"
            report.warning("unused-result", message, unit.call.callee[-1].span, wording.help)


@dataclass(eq=False)
class _Unit:
    """A call, a binding, a `return` or a construct, and what it takes to have it."""

    call: CallExpression | None = None
    consumer: _Unit | None = None
    """Of a call inside an expression: what the expression is for."""
    needs: list[_Unit] = field(default_factory=list["_Unit"])
    needed: bool = False

    def mark(self) -> None:
        waiting = [self]
        while waiting:
            unit = waiting.pop()
            if not unit.needed:
                unit.needed = True
                waiting += unit.needs


class _Needs:
    """The units of one flow, and which needs which."""

    def __init__(self, calls: Calls, tail: Container[Switch], with_effects: Container[Flow]) -> None:
        self.root = _Unit()
        """The flow as a whole: it needs what it returns and what has an effect."""
        self.calls: list[_Unit] = []
        self._resolved = calls
        self._tail = tail
        self._with_effects = with_effects
        self._bound: list[dict[str, _Unit]] = []

    def block(self, block: Block, destination: _Unit, construct: _Unit | None) -> None:
        """`destination` is what the block's `return` gives its value to, `construct` what the block is part of."""
        self._bound.append({})
        for statement in block.statements:
            self._statement(statement, destination, construct)
        self._bound.pop()

    def _statement(self, statement: Statement, destination: _Unit, construct: _Unit | None) -> None:
        match statement:
            case CallStatement(call=value, target=target) | Let(value=value, target=target):
                unit = self._unit(construct)
                self._use(value, unit, construct)
                if target is not None:
                    self._bound[-1][target.text] = unit
            case Return(value=value):
                if value is not None:
                    unit = self._unit(construct)
                    self._use(value, unit, construct)
                    destination.needs.append(unit)
            case Switch():
                unit = self._unit(construct)
                self._use(statement.selector, unit, construct)
                value = self._unit(unit)
                for body in _blocks(statement):
                    self.block(body, destination if statement in self._tail else value, unit)
                if statement.target is not None:
                    self._bound[-1][statement.target.text] = value
            case _:
                raise AssertionError("refused by the checker")

    def _unit(
        self, construct: _Unit | None, call: CallExpression | None = None, consumer: _Unit | None = None
    ) -> _Unit:
        unit = _Unit(call, consumer)
        if construct is not None:
            unit.needs.append(construct)
        return unit

    def _use(self, expression: Expression, consumer: _Unit, construct: _Unit | None) -> None:
        """Makes `consumer` need all that `expression` is made of."""
        if isinstance(expression, CallExpression):
            unit = self._unit(construct, expression, consumer)
            self.calls.append(unit)
            consumer.needs.append(unit)
            call = self._resolved[expression]
            effect = has_effect(call.operation) if isinstance(call, OperationCall) else call.flow in self._with_effects
            if effect:
                self.root.needs.append(unit)
            for argument in (*expression.arguments, *(named.value for named in expression.named)):
                self._use(argument, unit, construct)
        elif isinstance(expression, Name):
            found = next((block[expression.text] for block in reversed(self._bound) if expression.text in block), None)
            if found is not None:
                consumer.needs.append(found)
        else:
            for part in _parts(expression):
                self._use(part, consumer, construct)


def _blocks(switch: Switch) -> Iterator[Block]:
    for case in switch.cases:
        yield case.body
    if switch.default is not None:
        yield switch.default


def _parts(expression: Expression) -> tuple[Expression, ...]:
    match expression:
        case FormatText(parts=parts) | ListDisplay(items=parts) | DictDisplay(values=parts):
            return parts
        case Addition(operands=parts) | Comparison(operands=parts):
            return parts
        case FieldOf(value=value):
            return (value,)
        case _:
            return ()
