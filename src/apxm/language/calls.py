"""What a call calls, and whether its arguments fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from apxm.language.declarations import DeclaredAgent, DeclaredCapability, DeclaredFlow
from apxm.language.elsewhere import AGENTS, CALLS, LATER_FUNCTIONS, method_advice
from apxm.language.report import Report
from apxm.language.signatures import UNKNOWN, Matched, Signature, match_arguments
from apxm.language.syntax import (
    CallExpression,
    Constant,
    DictDisplay,
    Expression,
    Flow,
    FlowCall,
    Identifier,
    ListDisplay,
    OperationCall,
)
from apxm.operations.catalog import OPERATIONS
from apxm.operations.definition import Family, Operation, Parameter
from apxm.operations.effects import Effect
from apxm.operations.types import Type
from apxm.source import Span

_SIGNATURES = {operation.name: Signature.of(operation) for operation in OPERATIONS.values()}


class Expressions(Protocol):
    """The part of `apxm.language.expressions` that calls need for their arguments."""

    def value(self, expression: Expression) -> Type: ...
    def fit(self, expression: Expression, expected: Type, what: str) -> Type: ...
    def fit_literal(self, expression: Expression, expected: Type, what: str) -> Type: ...
    def is_bound(self, name: str) -> bool: ...
    def is_blank(self, expression: Expression) -> bool: ...


@dataclass
class Resolved:
    """What the calls of a program turned out to be."""

    calls: dict[CallExpression, OperationCall | FlowCall] = field(
        default_factory=dict[CallExpression, OperationCall | FlowCall]
    )
    flow_calls: dict[Flow, list[tuple[CallExpression, DeclaredFlow]]] = field(
        default_factory=dict[Flow, list[tuple[CallExpression, DeclaredFlow]]]
    )
    """The calls of other flows in each flow, those with wrong arguments too."""


class Calls:
    """The calls in one flow."""

    def __init__(
        self,
        agents: dict[str, DeclaredAgent],
        agent: DeclaredAgent,
        flow: Flow,
        resolved: Resolved,
        expressions: Expressions,
        report: Report,
    ) -> None:
        self._agents = agents
        self._agent = agent
        self._resolved = resolved
        self._callees = resolved.flow_calls.setdefault(flow, [])
        self._expressions = expressions
        self._report = report

    def type_of(self, call: CallExpression) -> Type:
        """The result type, `NONE` included."""
        callee = self._find(call)
        match callee:
            case Operation():
                return self._operation(call, callee)
            case DeclaredFlow():
                return self._flow(call, callee)
            case DeclaredCapability():
                # refused where it is declared
                self._check(call, callee.signature)
                return callee.result
            case None:
                for argument in (*call.arguments, *(named.value for named in call.named)):
                    self._expressions.value(argument)
                return UNKNOWN

    # --- what is called

    def _find(self, call: CallExpression) -> Operation | DeclaredFlow | DeclaredCapability | None:
        if len(call.callee) == 2:
            return self._find_elsewhere(*call.callee)
        name = call.callee[0]
        if (operation := OPERATIONS.get(name.text)) is not None:
            return operation
        if (found := self._agent.callables.get(name.text)) is not None:
            return found
        owner = next((a for a in self._agents.values() if isinstance(a.callables.get(name.text), DeclaredFlow)), None)
        if self._expressions.is_bound(name.text):
            message = f"`{name.text}` is a value, and only operations and flows can be called"
            self._report.error("unknown-operation", message, name.span)
            return None
        if owner is None and name.text in LATER_FUNCTIONS:
            self._report.not_yet(f"{name.text}(…)", name.span)
            return None
        if owner is not None:
            advice = f"agent `{owner.agent.name.text}` has it: `{owner.agent.name.text}.{name.text}(…)`"
        else:
            advice = self._report.near(name.text, self._agent.callables) or CALLS.get(name.text.lower())
            advice = advice or self._report.near(name.text, OPERATIONS)
        self._report.error("unknown-operation", f"there is no operation or flow `{name.text}`", name.span, advice)
        return None

    def _find_elsewhere(self, agent_name: Identifier, flow_name: Identifier) -> DeclaredFlow | None:
        agent = self._agents.get(agent_name.text)
        if agent is None and self._expressions.is_bound(agent_name.text):
            span = Span(agent_name.span.source, agent_name.span.start, flow_name.span.end)
            message = f"`{agent_name.text}` is a value, and only agents have something that can be called"
            advice = method_advice(agent_name.text, flow_name.text)
            self._report.error("unknown-operation", message, span, advice)
            return None
        if agent is None:
            advice = self._report.near(agent_name.text, self._agents) or AGENTS.get(agent_name.text.lower())
            self._report.error("unknown-agent", f"there is no agent `{agent_name.text}`", agent_name.span, advice)
            return None
        found = agent.callables.get(flow_name.text)
        if isinstance(found, DeclaredFlow):
            return found
        advice = self._report.near(flow_name.text, [flow.flow.name.text for flow in agent.flows])
        message = f"agent `{agent_name.text}` has no flow `{flow_name.text}`"
        self._report.error("unknown-flow", message, flow_name.span, advice)
        return None

    # --- its arguments

    def _operation(self, call: CallExpression, operation: Operation) -> Type:
        matched, operands = self._check(call, _SIGNATURES[operation.name])
        given = matched.given
        self._check_emptiness(operation, matched)
        defaults = self._agent.defaults
        options = {
            p.name: value
            for p in operation.parameters
            if not p.by_position and (value := given.get(p.name) or defaults.get(p.name)) is not None
        }
        positional = tuple(given[p.name] for p in operation.positional if p.name in given)
        self._resolved.calls[call] = OperationCall(
            operation=operation, arguments=positional + matched.variadic, options=options
        )
        if not operation.available:
            self._report.not_yet(operation.name, call.callee[0].span)
        if operation.effect is Effect.OTHER or UNKNOWN in operands:
            return UNKNOWN  # what a later version defines, and what is reported already, fits everywhere
        return operation.result_for(operands, by_key="key" in given)

    def _flow(self, call: CallExpression, callee: DeclaredFlow) -> Type:
        matched, _ = self._check(call, callee.signature)
        arguments = [matched.given.get(p.name.text, p.default) for p in callee.flow.parameters]
        self._resolved.calls[call] = FlowCall(
            agent=callee.agent, flow=callee.flow, arguments=tuple(a for a in arguments if a is not None)
        )
        self._callees.append((call, callee))
        return callee.result

    def _check(self, call: CallExpression, signature: Signature) -> tuple[Matched, list[Type]]:
        """The arguments by parameter, and the types of the variadic ones."""
        matched = match_arguments(call, signature, self._report)
        for parameter in signature.parameters:
            if (argument := matched.given.get(parameter.name)) is not None:
                self._check_argument(argument, parameter, signature.name)
        operands = [self._expressions.value(argument) for argument in matched.variadic]
        for argument in matched.others:
            self._expressions.value(argument)
        return matched, operands

    def _check_argument(self, argument: Expression, parameter: Parameter, owner: str) -> None:
        name = f"`{parameter.name}` of `{owner}`"
        fit = self._expressions.fit_literal if parameter.literal else self._expressions.fit
        found = fit(argument, parameter.type, name)
        if found == UNKNOWN or not parameter.literal:
            return
        if not is_literal(argument):
            message = f"{name} must be known before the run, so it has to be written out here"
            self._report.error("not-literal", message, argument.span)
        elif isinstance(argument, Constant):
            self._check_bounds(argument, parameter, name)

    def _check_bounds(self, argument: Constant, parameter: Parameter, name: str) -> None:
        value = argument.value
        if isinstance(value, str):
            if parameter.choices and value not in parameter.choices:
                choices = ", ".join(f'"{choice}"' for choice in parameter.choices)
                message = f'{name} is one of {choices}, and this is "{value}"'
                self._report.error(
                    "unknown-choice", message, argument.span, self._report.near(value, parameter.choices)
                )
            return
        low, high, above = parameter.minimum, parameter.maximum, parameter.above
        if low is not None and high is not None and not low <= value <= high:
            self._out_of_range(argument, f"{name} goes from {low} to {high}")
        elif low is not None and value < low:
            self._out_of_range(argument, f"{name} is at least {low}")
        elif above is not None and value <= above:
            self._out_of_range(argument, f"{name} is more than {above}")

    def _out_of_range(self, argument: Constant, allowed: str) -> None:
        self._report.error("out-of-range", f"{allowed}, and this is {argument.value}", argument.span)

    def _check_emptiness(self, operation: Operation, matched: Matched) -> None:
        first = matched.given.get(operation.positional[0].name) if operation.positional else None
        if first is None or not self._expressions.is_blank(first):
            return
        if operation.family is Family.MODEL and not matched.variadic:
            message = f"this `{operation.name}` has an empty prompt and no context, so there is nothing to ask"
            self._report.error("empty-prompt", message, first.span)
        elif operation.family is Family.TOOL and isinstance(first, Constant):
            self._report.error("empty-name", "the name of a capability is empty", first.span)


def is_literal(expression: Expression) -> bool:
    match expression:
        case Constant():
            return True
        case ListDisplay():
            return all(map(is_literal, expression.items))
        case DictDisplay():
            return all(map(is_literal, expression.values))
        case _:
            return False
