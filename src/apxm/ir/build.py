"""Checked tree → module."""

from __future__ import annotations

import json
from collections import Counter
from typing import TypeVar

from apxm.errors import InternalError
from apxm.ir.core import NO_FUSE, PATH, Block, Op, SSAValue
from apxm.ir.operations import OPERATE_OPS
from apxm.ir.structure import CallOp, FlowOp, Module, ReturnOp, SwitchOp, YieldOp, arm_path
from apxm.ir.values import CastOp, ConstantOp, DictOp, FieldOp, ListOp, SumOp, TextFormOp, TextOp, converted
from apxm.language import syntax
from apxm.language.literals import constant_value
from apxm.language.syntax import CheckedTree, FlowCall, OperationCall
from apxm.operations.catalog import CONTENT_KINDS
from apxm.operations.definition import Family
from apxm.operations.labels import fold_label
from apxm.operations.types import (
    BUILT_IN,
    JSON,
    LITERAL_TYPES,
    VERDICT,
    Type,
    Value,
    assignable,
    list_of,
    optional,
    parse_type,
)

AnyOp = TypeVar("AnyOp", bound=Op)

_WRITTEN_OUT = (Family.MODEL, Family.OUTPUT)
"""Families of operations that take the text forms of their arguments."""


def build_module(checked: CheckedTree) -> Module:
    flows = [_FlowBuilder(checked, agent, flow).build() for agent in checked.tree.agents for flow in agent.flows]
    return Module(flows, checked.records.values())


class _FlowBuilder:
    """Builds one flow, block by block; `block`, `prefix` and `occurrences` are those of the innermost."""

    def __init__(self, checked: CheckedTree, agent: syntax.Agent, flow: syntax.Flow) -> None:
        self.checked = checked
        self.agent = agent
        self.flow = flow
        self.values: dict[str, SSAValue] = {}
        """The values of names. No name shadows another, so one table does for all blocks."""
        self.block = Block()
        self.prefix = ""
        self.occurrences: Counter[str] = Counter()

    def build(self) -> FlowOp:
        flow = self.flow
        result = None if flow.result is None else self.type(flow.result)
        parameters = {parameter.name.text: self.type(parameter.type) for parameter in flow.parameters}
        defaults = {
            parameter.name.text: constant_value(parameter.default, parameters[parameter.name.text])
            for parameter in flow.parameters
            if parameter.default is not None
        }
        built = FlowOp(
            self.agent.name.text,
            flow.name.text,
            parameters,
            defaults,
            result,
            is_entry=flow is self.checked.entry,
            may_fuse=all(annotation.text != NO_FUSE for annotation in flow.annotations),
        )
        self.values.update(zip(parameters, built.body.arguments, strict=True))
        self.block = built.body
        given = self.statements(flow.body, result)
        self.add(ReturnOp(given), flow.body.statements[-1] if flow.body.statements else flow)
        return built

    def add(self, op: AnyOp, origin: syntax.Syntax) -> AnyOp:
        op.origin = origin
        self.block.ops.append(op)
        return op

    def name(self, op: Op, called: str, target: syntax.Identifier | None) -> None:
        """Gives `op` its path: the name it is bound to, else which of its kind it is in the block."""
        if target is None:
            self.occurrences[called] += 1
            op.attributes[PATH] = f"{self.prefix}{called}#{self.occurrences[called]}"
            return
        op.attributes[PATH] = self.prefix + target.text
        if op.value is not None:
            op.value.hint = target.text

    # --- statements ------------------------------------------------------------------------------------------------

    def statements(self, block: syntax.Block, result: Type | None) -> SSAValue | None:
        """What the block gives, as a `result`; None where that is None."""
        given: SSAValue | None = None
        for statement in block.statements:
            match statement:
                case syntax.CallStatement():
                    self.bind(statement.target, self.call(statement.call, statement.target))
                case syntax.Let(value=syntax.CallExpression() as call):
                    self.bind(statement.target, self.call(call, statement.target))
                case syntax.Let():
                    self.bind(statement.target, self.expression(statement.value))
                case syntax.Return():
                    # The bare arm of a construct that gives nothing is there for its effect alone.
                    given = None if statement.value is None else self.expression(statement.value)
                case syntax.Switch():
                    value = self.switch(statement)
                    self.bind(statement.target, value)
                    if statement in self.checked.tail:
                        given = value
                case _:
                    raise InternalError(f"{statement.span.place}: {type(statement).__name__} passed the checker")
        if result is None:
            return None
        if given is None:
            raise InternalError(f"a block of {self.flow.name.text} gives no {result}")
        return self.fitted(given, result, block)

    def bind(self, target: syntax.Identifier | None, value: SSAValue | None) -> None:
        if target is not None and value is not None:
            self.values[target.text] = value

    def switch(self, switch: syntax.Switch) -> SSAValue | None:
        result = self.checked.results.get(switch)
        selector = self.value(switch.selector)
        if selector.type == VERDICT:  # which is compared by its label
            selector = self.add(FieldOp(selector, "label"), switch.selector).result
        labels = [fold_label(str(case.label.value)) for case in switch.cases]
        bodies = [case.body for case in switch.cases]
        if switch.default is not None:
            bodies.append(switch.default)
        built = self.add(SwitchOp(selector, labels, [Block() for _ in bodies], result), switch)
        self.name(built, "switch", switch.target)
        around = self.block, self.prefix, self.occurrences
        for arm, body, label in zip(built.regions, bodies, [*labels, None], strict=False):
            self.block, self.prefix, self.occurrences = arm, arm_path(built.path, label) + "/", Counter()
            self.add(YieldOp(self.statements(body, result)), body)
        self.block, self.prefix, self.occurrences = around
        return built.value

    # --- expressions -----------------------------------------------------------------------------------------------

    def value(self, expression: syntax.Expression) -> SSAValue:
        value = self.expression(expression)
        if value is None:
            raise InternalError(f"{expression.span.place}: an expression without a value passed the checker")
        return value

    def expression(self, expression: syntax.Expression) -> SSAValue | None:
        """The expression's value; None for a call of something that gives nothing."""
        match expression:
            case syntax.Constant(value=value):
                return self.add(ConstantOp(value, LITERAL_TYPES[type(value)]), expression).result
            case syntax.Name(text=text):
                return self.values[text]
            case syntax.FormatText(parts=parts):
                return self.add(TextOp([self.shown(part) for part in parts]), expression).result
            case syntax.ListDisplay(items=items):
                element = self.checked.types[expression].element or JSON
                built = [self.fitted(self.value(item), element, item) for item in items]
                return self.add(ListOp(built, element), expression).result
            case syntax.DictDisplay():
                return self.object(expression)
            case syntax.Cast():
                return self.cast(expression)
            case syntax.FieldOf(value=value, name=name):
                return self.add(FieldOp(self.value(value), name.text), expression).result
            case syntax.Addition(operands=operands):
                return self.addition([self.shown(operand) for operand in operands], expression)
            case syntax.CallExpression():
                return self.call(expression, None)
            case _:
                raise InternalError(f"{expression.span.place}: {type(expression).__name__} passed the checker")

    def addition(self, operands: list[SSAValue], place: syntax.Syntax) -> SSAValue:
        """Numbers add up from the left until the first operand that is no number; from there on all is text."""
        numbers = next((i for i, operand in enumerate(operands) if not operand.type.is_number), len(operands))
        if numbers > 1:
            operands = [self.add(SumOp(operands[:numbers]), place).result, *operands[numbers:]]
        if len(operands) == 1:
            return operands[0]
        return self.add(TextOp(operands), place).result

    def object(self, display: syntax.DictDisplay) -> SSAValue:
        """Json, or a record: its fields in their order, those that are left out with their defaults."""
        given = {str(key.value): self.value(value) for key, value in zip(display.keys, display.values, strict=True)}
        type_ = self.checked.types[display]
        if type_.fields is None:
            return self.add(DictOp([*given], [*given.values()]), display).result
        values = [
            self.fitted(given[field.name], field.type, display)
            if field.name in given
            else self.add(ConstantOp(json.loads(field.default or "null"), field.type), display).result
            for field in type_.fields
        ]
        return self.add(DictOp([field.name for field in type_.fields], values, type_), display).result

    def cast(self, cast: syntax.Cast) -> SSAValue:
        value, target = self.value(cast.value), self.checked.types[cast]
        if assignable(self.checked.types[cast.value], target):
            return self.fitted(value, target, cast)
        return self.add(CastOp(value, target), cast).result

    def call(self, call: syntax.CallExpression, target: syntax.Identifier | None) -> SSAValue | None:
        match self.checked.calls[call]:
            case OperationCall() as found:
                return self.operation_call(call, found, target)
            case FlowCall() as found:
                return self.flow_call(call, found, target)

    def operation_call(
        self, call: syntax.CallExpression, found: OperationCall, target: syntax.Identifier | None
    ) -> SSAValue | None:
        operation = found.operation
        value = self.shown if operation.family in _WRITTEN_OUT else self.value
        arguments = [value(argument) for argument in found.arguments]
        options: dict[str, SSAValue] = {}
        literals: dict[str, Value] = {}
        for name, expression in found.options.items():
            parameter = operation.by_name.get(name)
            if parameter is not None and parameter.literal:
                literals[name] = constant_value(expression, parameter.type)
            else:
                options[name] = value(expression)
        if found.content_kinds:
            literals[CONTENT_KINDS] = [*found.content_kinds]
        built = self.add(OPERATE_OPS[operation.name](arguments, options, literals, found.answer), call)
        self.name(built, operation.name, target)
        return built.value

    def flow_call(
        self, call: syntax.CallExpression, found: FlowCall, target: syntax.Identifier | None
    ) -> SSAValue | None:
        arguments = [
            self.fitted(self.value(argument), self.type(parameter.type), argument)
            for argument, parameter in zip(found.arguments, found.flow.parameters, strict=True)
        ]
        agent, flow = found.agent.name.text, found.flow.name.text
        result = None if found.flow.result is None else self.type(found.flow.result)
        built = self.add(CallOp(f"{agent}.{flow}", arguments, result), call)
        self.name(built, flow if found.agent is self.agent else f"{agent}.{flow}", target)
        return built.value

    def fitted(self, value: SSAValue, target: Type, place: syntax.Syntax) -> SSAValue:
        conversion = converted(value, target)
        return value if conversion is None else self.add(conversion, place).result

    def shown(self, expression: syntax.Expression) -> SSAValue:
        """The expression's value where its text form is taken: that form itself, where the type has one of its own."""
        value = self.value(expression)
        own = self.checked.types[expression].name in BUILT_IN
        return self.add(TextFormOp(value), expression).result if own else value

    def type(self, name: syntax.TypeName) -> Type:
        records = self.checked.records
        found = parse_type(name.name, records) if name.element is None else list_of(self.type(name.element))
        return optional(found) if name.optional else found
