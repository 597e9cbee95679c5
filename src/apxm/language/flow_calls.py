"""What a call calls, and whether its arguments fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

from apxm.language import syntax
from apxm.language.arguments import MatchedArguments, match_arguments
from apxm.language.checked import FlowCall, OperationCall
from apxm.language.declarations import DeclaredAgent, DeclaredCapability, DeclaredFlow, Findings
from apxm.language.elsewhere import AGENTS, CALLS, method_advice
from apxm.language.later import OPERATIONS as LATER_OPERATIONS
from apxm.language.literals import is_literal
from apxm.language.offered_tools import offered_tools
from apxm.language.records import resolve
from apxm.language.report import UNKNOWN
from apxm.language.tool_calls import FlowToolCalls
from apxm.operations.catalog import OPERATIONS
from apxm.operations.definition import Callee, Family, Operation, Parameter
from apxm.operations.effects import Effect
from apxm.operations.functions import FUNCTIONS
from apxm.operations.labels import fold_label
from apxm.operations.texts import pattern_flaw
from apxm.operations.types import NONE, STR, TOOLS, TYPE, Type
from apxm.source import Span


class FlowCalls(FlowToolCalls):
    """The expressions of one flow, calls included."""

    def __init__(self, findings: Findings, agent: DeclaredAgent, flow: syntax.Flow) -> None:
        super().__init__(findings)
        self._agent = agent
        self._callees = findings.flow_calls.setdefault(flow, [])
        self._content: dict[syntax.Expression, tuple[Operation, syntax.Expression]] = {}
        """The images and files among the context of calls: their operation, and their path."""

    def _call(self, call: syntax.CallExpression) -> Type:
        callee = self._find(call)
        match callee:
            case Operation(family=Family.CONTENT):
                self._check(call, callee)
                message = f"`{callee.name}(…)` may only stand among the context of a model call: it is no value"
                advice = f'write it behind the prompt, as in `ask("…", {callee.name}(…))`, in each call that needs it'
                self._report.error("misplaced-content", message, call.span, advice)
                return UNKNOWN
            case Operation(family=Family.TOOL):
                return self._inv(call, callee)
            case Operation():
                return self._operation(call, callee)
            case DeclaredFlow():
                return self._flow(call, callee)
            case DeclaredCapability():
                return self._capability(call, callee)
            case None:
                for argument in call.expressions:
                    self.value(argument)
                return UNKNOWN

    # --- what is called

    def _find(self, call: syntax.CallExpression) -> Operation | DeclaredFlow | DeclaredCapability | None:
        if len(call.callee) == 2:
            return self._find_elsewhere(*call.callee)
        name = call.callee[0]
        if (operation := OPERATIONS.get(name.text)) is not None:
            return operation
        if (found := self._agent.callables.get(name.text)) is not None:
            return found
        owner = next(
            (a for a in self._findings.agents.values() if isinstance(a.callables.get(name.text), DeclaredFlow)), None
        )
        if self.is_bound(name.text):
            message = f"`{name.text}` is a value, and only operations and flows can be called"
            self._report.error("unknown-operation", message, name.span)
            return None
        if owner is None and name.text in LATER_OPERATIONS:
            self._report.not_yet(f"{name.text}(…)", name.span)
            return None
        if owner is not None:
            advice = f"agent `{owner.agent.name.text}` has it: `{owner.agent.name.text}.{name.text}(…)`"
        elif name.text in self._findings.capabilities:
            advice = f'another agent declares it as a capability: declare it here too, or write `inv("{name.text}", …)`'
        else:
            advice = self._report.near(name.text, self._agent.callables) or CALLS.get(name.text.lower())
            advice = advice or self._report.near(name.text, OPERATIONS)
        self._report.error("unknown-operation", f"there is no operation or flow `{name.text}`", name.span, advice)
        return None

    def _find_elsewhere(self, agent_name: syntax.Identifier, flow_name: syntax.Identifier) -> DeclaredFlow | None:
        agent = self._findings.agents.get(agent_name.text)
        if agent is None and self.is_bound(agent_name.text):
            span = Span(agent_name.span.source, agent_name.span.start, flow_name.span.end)
            message = f"`{agent_name.text}` is a value, and only agents have something that can be called"
            advice = method_advice(agent_name.text, flow_name.text)
            self._report.error("unknown-operation", message, span, advice)
            return None
        if agent is None:
            advice = self._report.near(agent_name.text, self._findings.agents) or AGENTS.get(agent_name.text.lower())
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

    def _operation(self, call: syntax.CallExpression, operation: Operation) -> Type:
        matched, operands = self._check(call, operation)
        given = matched.given
        self._check_emptiness(operation, matched)
        defaults = self._agent.defaults
        schema = given.get("schema")
        answer = None if schema is None else self._types[schema]
        if schema is not None and "choices" in given:
            message = f"`{operation.name}` takes either `schema` or `choices`, and this call has both"
            self._report.error("duplicate-argument", message, schema.span)
        options = {
            name: value
            for name in operation.options
            if name not in ("schema", "tools") and (value := given.get(name) or defaults.get(name)) is not None
        }
        listed = given.get("tools") or (defaults.get("tools") if "tools" in operation.by_name else None)
        tools = () if listed is None else offered_tools(listed, self._findings)
        if listed is None and "max_rounds" in given:
            message = "`max_rounds` is of calls of tools, and this `ask` has no `tools`"
            self._report.error("bad-tools", message, given["max_rounds"].span)
        positional = tuple([given[p.name] for p in operation.operands if p.name in given])
        content = [self._content.get(argument) for argument in matched.variadic]
        variadic = [found[1] if found else each for found, each in zip(content, matched.variadic, strict=True)]
        self._findings.calls[call] = OperationCall(
            operation=operation,
            arguments=(*positional, *variadic),
            options=options,
            answer=answer,
            tools=tools,
            content_kinds=tuple(found[0].name if found else "" for found in content) if any(content) else (),
        )
        if not operation.available:
            self._report.not_yet(operation.name, call.callee[0].span)
        if operation.family is Family.VALUE:
            return self._function(call, operation, [*positional, *matched.variadic])
        if answer is not None:
            return answer
        if operation.effect is Effect.OTHER or UNKNOWN in operands:
            return UNKNOWN  # what a later version defines, and what is reported already, fits everywhere
        return operation.result_for(operands, by_key="key" in given)

    def _function(
        self, call: syntax.CallExpression, operation: Operation, arguments: Sequence[syntax.Expression]
    ) -> Type:
        function = FUNCTIONS[operation.name]
        (signature, *others) = function.signatures
        if not function.takes(len(arguments)) or not (others or signature.is_generic):
            return function.result or UNKNOWN  # its arguments were looked at one by one
        types = [UNKNOWN if (found := self._types[argument]) == NONE else found for argument in arguments]
        expected = " or ".join(f"`{way.taken}`" for way in function.signatures)
        return self.applied(function.name, types, call, f"takes {expected}")

    def _flow(self, call: syntax.CallExpression, callee: DeclaredFlow) -> Type:
        matched, _ = self._check(call, callee.callee)
        arguments = [matched.given.get(p.name.text, p.default) for p in callee.flow.parameters]
        self._findings.calls[call] = FlowCall(
            agent=callee.agent, flow=callee.flow, arguments=tuple(a for a in arguments if a is not None)
        )
        self._callees.append((call, callee))
        return callee.callee.result

    def _check(self, call: syntax.CallExpression, callee: Callee) -> tuple[MatchedArguments, list[Type]]:
        """The arguments by parameter, and the types of the variadic ones."""
        matched = match_arguments(call, callee, self._report)
        swapped = _text_for_list(matched, callee)
        if swapped is not None:
            message = "found a text, expected a list"
            order = ", ".join(parameter.name for parameter in callee.positional)
            self._report.error("wrong-type", message, swapped.span, f"the call is `{callee.name}({order})`")
        for name, argument in matched.given.items():
            if swapped is None:
                self._check_argument(argument, callee.by_name[name], callee.name)
            else:
                self.value(argument)
        takes_content = callee.variadic is not None and callee.variadic.content
        operands = [
            self._content_type(argument) if takes_content and _is_content(argument) else self.value(argument)
            for argument in matched.variadic
        ]
        for argument in matched.others:
            self.value(argument)
        return matched, operands

    def _content_type(self, argument: syntax.CallExpression) -> Type:
        """The type of an image or a file, where one may stand."""
        operation = OPERATIONS[argument.callee[0].text]
        matched, _ = self._check(argument, operation)
        if (path := matched.given.get(operation.positional[0].name)) is None:
            return UNKNOWN
        self._content[argument] = operation, path
        return operation.result

    def _check_argument(self, argument: syntax.Expression, parameter: Parameter, owner: str) -> None:
        name = f"`{parameter.name}` of `{owner}`"
        if parameter.type == TYPE:
            self._types[argument] = self._written_type(argument, name)
            return
        if parameter.type == TOOLS:
            self._types[argument] = TOOLS
            offered_tools(argument, self._findings)
            return
        fit = self.fit_literal if parameter.literal else self.fit
        found = fit(argument, parameter.type, name)
        if parameter.is_pattern and isinstance(argument, syntax.Constant) and isinstance(argument.value, str):
            flaw = pattern_flaw(argument.value)
            if flaw is not None:
                advice = (
                    "expressions are RE2's: they refer to nothing matched before, and look neither ahead nor behind"
                )
                self._report.error("bad-pattern", flaw, argument.span, advice)
        if found == UNKNOWN or not parameter.literal:
            return
        if not is_literal(argument):
            message = f"{name} must be known before the run, so it has to be written out here"
            self._report.error("not-literal", message, argument.span)
        elif parameter.name == "choices":
            self._check_choices(argument, name)
        elif isinstance(argument, syntax.Constant):
            value = argument.value
            if (limit := parameter.limit_passed_by(value)) is None:
                return
            if isinstance(value, str):
                advice = self._report.near(value, parameter.choices)
                self._report.error("unknown-choice", f'{name} {limit}, and this is "{value}"', argument.span, advice)
            else:
                self._report.error("out-of-range", f"{name} {limit}, and this is {value}", argument.span)

    def _written_type(self, argument: syntax.Expression, what: str) -> Type:
        """The type that an argument writes, which the grammar takes for a value."""
        written = _as_type_name(argument)
        if written is not None:
            return resolve(written, self._findings.records, self._report)
        message = f"found a value, expected a type for {what}, such as `Person` or `list[str]`"
        advice = "its fields are declared beside the agents: `type Name { field: str }`"
        self._report.error("unknown-type", message, argument.span, advice)
        return UNKNOWN

    def _check_choices(self, argument: syntax.Expression, what: str) -> None:
        labels = _texts(argument)
        if not labels:
            self._report.error("bad-choices", f"{what} has no text to choose", argument.span)
        folded: set[str] = set()
        for item, label in zip(argument.expressions, labels, strict=False):
            if not label.strip():
                self._report.error("bad-choices", f"{what} has a text of blanks", item.span)
            elif fold_label(label) in folded:
                message = f"{what} has this text twice, as capital and small letters are equal there"
                self._report.error("bad-choices", message, item.span)
            folded.add(fold_label(label))

    def _choices_of_call(self, call: syntax.CallExpression) -> tuple[str, ...]:
        found = self._findings.calls.get(call)
        choices = found.options.get("choices") if isinstance(found, OperationCall) else None
        return () if choices is None else _texts(choices)

    def _check_emptiness(self, operation: Operation, matched: MatchedArguments) -> None:
        first = matched.given.get(operation.positional[0].name) if operation.positional else None
        if first is None or not self.is_blank(first):
            return
        if operation.family is Family.MODEL and not matched.variadic:
            message = f"this `{operation.name}` has an empty prompt and no context, so there is nothing to ask"
            self._report.error("empty-prompt", message, first.span)


def _text_for_list(matched: MatchedArguments, callee: Callee) -> syntax.Constant | None:
    """The text that is given first where a list comes before a text, as in ``join(", ", xs)``."""
    match callee.positional:
        case (Parameter(name=first, type=type_), Parameter(type=second)) if type_.is_list and second == STR:
            given = matched.given.get(first)
            return given if isinstance(given, syntax.Constant) and isinstance(given.value, str) else None
        case _:
            return None


def _is_content(expression: syntax.Expression) -> TypeGuard[syntax.CallExpression]:
    if not isinstance(expression, syntax.CallExpression) or len(expression.callee) != 1:
        return False
    operation = OPERATIONS.get(expression.callee[0].text)
    return operation is not None and operation.family is Family.CONTENT


def _texts(display: syntax.Expression) -> tuple[str, ...]:
    """The texts of a list that is written out."""
    return tuple(str(item.value) for item in display.expressions if isinstance(item, syntax.Constant))


def _as_type_name(written: syntax.Expression) -> syntax.TypeName | None:
    """An expression read as a type; None where it is none."""
    match written:
        case syntax.Name(text=text):
            return syntax.TypeName(span=written.span, name=text)
        case syntax.TypeOrNull(type=inner):
            found = _as_type_name(inner)
            return (
                None
                if found is None
                else syntax.TypeName(span=written.span, name=found.name, element=found.element, optional=True)
            )
        case syntax.Item(value=syntax.Name(text=text), index=inner):
            found = _as_type_name(inner)
            return None if found is None else syntax.TypeName(span=written.span, name=text, element=found)
        case _:
            return None
