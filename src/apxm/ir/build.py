"""Checked tree → module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from apxm.errors import InternalError
from apxm.ir.core import NO_FUSE, PATH, Block, Op, SSAValue
from apxm.ir.operations import OPERATE_OPS
from apxm.ir.structure import CallOp, FlowOp, Module, ReturnOp, SwitchOp, YieldOp, arm_path
from apxm.ir.values import ApplyOp, ConstantOp, DictOp, FieldOp, ListOp, LogicOp, SumOp, TextOp, converted
from apxm.language import syntax
from apxm.language.syntax import CheckedTree, FlowCall, OperationCall
from apxm.operations.definition import Family
from apxm.operations.functions import CONCATENATION, FUNCTIONS, ITEM_OF, NEGATION, PART_OF
from apxm.operations.labels import fold_label
from apxm.operations.signatures import resolve
from apxm.operations.types import (
    FLOAT,
    INT,
    JSON,
    LARGEST_INT,
    LITERAL_TYPES,
    STR,
    VERDICT,
    Type,
    Value,
    list_of,
    parse_type,
)

AnyOp = TypeVar("AnyOp", bound=Op)


def build_module(checked: CheckedTree) -> Module:
    return Module([_FlowBuilder(checked, agent, flow).build() for agent in checked.tree.agents for flow in agent.flows])


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
        result = None if flow.result is None else _type(flow.result)
        parameters = {parameter.name.text: _type(parameter.type) for parameter in flow.parameters}
        defaults = {
            parameter.name.text: _constant(parameter.default, _type(parameter.type))
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
                case syntax.Let(type=None, value=syntax.CallExpression() as call):
                    self.bind(statement.target, self.call(call, statement.target))
                case syntax.Let():
                    value = self.value(statement.value)
                    if statement.type is not None:
                        value = self.fitted(value, _type(statement.type), statement)
                    self.bind(statement.target, value)
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
                return self.add(TextOp([self.value(part) for part in parts]), expression).result
            case syntax.ListDisplay(items=items):
                element = self.checked.types[expression].element or JSON
                built = [self.fitted(self.value(item), element, item) for item in items]
                return self.add(ListOp(built, element), expression).result
            case syntax.DictDisplay(keys=keys, values=values):
                built = [self.value(value) for value in values]
                return self.add(DictOp([str(key.value) for key in keys], built), expression).result
            case syntax.FieldOf(value=value, name=name):
                return self.add(FieldOp(self.value(value), name.text), expression).result
            case syntax.Item(value=value, index=index):
                return self.applied(ITEM_OF, [self.value(value), self.value(index)], expression)
            case syntax.Part(value=value, start=start, end=end):
                bounds = [
                    self.add(ConstantOp(0, INT), expression).result if start is None else self.value(start),
                    self.add(ConstantOp(LARGEST_INT, INT), expression).result if end is None else self.value(end),
                ]
                return self.applied(PART_OF, [self.value(value), *bounds], expression)
            case syntax.Arithmetic(operators=operators, operands=operands):
                return self.arithmetic(operators, operands, expression)
            case syntax.Negative(value=value):
                return self.applied(NEGATION, [self.value(value)], expression)
            case syntax.Comparison(operator=operator, left=left, right=right):
                return self.comparison(operator, [self.value(left), self.value(right)], expression)
            case syntax.Logic(operator=operator, operands=operands):
                return self.add(LogicOp(operator, [self.value(operand) for operand in operands]), expression).result
            case syntax.Not(value=value):
                return self.applied("not", [self.value(value)], expression)
            case syntax.CallExpression():
                return self.call(expression, None)
            case _:
                raise InternalError(f"{expression.span.place}: {type(expression).__name__} passed the checker")

    def arithmetic(
        self, operators: Sequence[str], operands: Sequence[syntax.Expression], place: syntax.Syntax
    ) -> SSAValue:
        """From left to right; what stands between other operators than `+` is one sum."""
        left, *rest = map(self.value, operands)
        summed = [left]
        for operator, right in zip(operators, rest, strict=True):
            if operator == CONCATENATION:
                summed.append(right)
            else:
                summed = [self.applied(operator, [self.sum(summed, place), right], place)]
        return self.sum(summed, place)

    def sum(self, operands: list[SSAValue], place: syntax.Syntax) -> SSAValue:
        """Numbers add up from the left until the first operand that is no number, and lists are joined until the first
        that is no list; from there on all is text."""
        numbers = _count(operands, lambda type_: type_.is_number)
        lists = _count(operands, lambda type_: type_.is_list)
        if numbers > 1:
            operands = [self.add(SumOp(operands[:numbers]), place).result, *operands[numbers:]]
        elif lists > 1:
            operands = [self.applied(CONCATENATION, operands[:lists], place), *operands[lists:]]
        return operands[0] if len(operands) == 1 else self.add(TextOp(operands), place).result

    def comparison(self, operator: str, operands: list[SSAValue], place: syntax.Syntax) -> SSAValue:
        """A verdict compares with a text by its label."""
        if {operand.type for operand in operands} == {VERDICT, STR}:
            operands = [o if o.type == STR else self.add(FieldOp(o, "label"), place).result for o in operands]
        return self.applied(operator, operands, place)

    def applied(self, function: str, operands: Sequence[SSAValue], place: syntax.Syntax) -> SSAValue:
        resolved = resolve(FUNCTIONS[function].signatures, [operand.type for operand in operands])
        if resolved is None:
            raise InternalError(f"{place.span.place}: operands that `{function}` does not take passed the checker")
        fitted = [self.fitted(o, type_, place) for o, type_ in zip(operands, resolved.parameters, strict=True)]
        return self.add(ApplyOp(function, fitted, resolved.result), place).result

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
        arguments = [self.value(argument) for argument in found.arguments]
        if operation.family is Family.VALUE:
            return self.applied(operation.name, arguments, call)
        options: dict[str, SSAValue] = {}
        literals: dict[str, Value] = {}
        for name, expression in found.options.items():
            parameter = operation.by_name.get(name)
            if parameter is not None and parameter.literal:
                literals[name] = _constant(expression, parameter.type)
            else:
                options[name] = self.value(expression)
        built = self.add(OPERATE_OPS[operation.name](arguments, options, literals), call)
        self.name(built, operation.name, target)
        return built.value

    def flow_call(
        self, call: syntax.CallExpression, found: FlowCall, target: syntax.Identifier | None
    ) -> SSAValue | None:
        arguments = [
            self.fitted(self.value(argument), _type(parameter.type), argument)
            for argument, parameter in zip(found.arguments, found.flow.parameters, strict=True)
        ]
        agent, flow = found.agent.name.text, found.flow.name.text
        result = None if found.flow.result is None else _type(found.flow.result)
        built = self.add(CallOp(f"{agent}.{flow}", arguments, result), call)
        self.name(built, flow if found.agent is self.agent else f"{agent}.{flow}", target)
        return built.value

    def fitted(self, value: SSAValue, target: Type, place: syntax.Syntax) -> SSAValue:
        conversion = converted(value, target)
        return value if conversion is None else self.add(conversion, place).result


def _count(operands: Sequence[SSAValue], is_meant: Callable[[Type], bool]) -> int:
    """How many of the first operands have such a type."""
    return next((i for i, operand in enumerate(operands) if not is_meant(operand.type)), len(operands))


def _type(name: syntax.TypeName) -> Type:
    return list_of(_type(name.element)) if name.element is not None else parse_type(name.name)


def _constant(expression: syntax.Expression, expected: Type) -> Value:
    """The value of an expression that the checker found to be a literal, as an `expected`."""
    match expression:
        case syntax.Constant(value=value):
            return float(value) if expected == FLOAT and isinstance(value, int) else value
        case syntax.ListDisplay(items=items):
            return [_constant(item, expected.element or JSON) for item in items]
        case syntax.DictDisplay(keys=keys, values=values):
            return {str(key.value): _constant(value, JSON) for key, value in zip(keys, values, strict=True)}
        case _:
            raise InternalError(f"{expression.span.place}: expected a literal")
