"""Checked tree → module of the AIS dialect."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath
from typing import TypeVar

from xdsl.dialects.builtin import FileLineColLoc, IntAttr, ModuleOp, StringAttr
from xdsl.ir import Block, Region, SSAValue

from apxm.errors import InternalError
from apxm.ir.attributes import LiteralAttr
from apxm.ir.base import NO_FUSE, AisOperation, type_of
from apxm.ir.operations import OPERATE_OPS
from apxm.ir.paths import arm_path
from apxm.ir.structure import ENTRY, CallOp, FlowOp, ReturnOp, SwitchOp, YieldOp
from apxm.ir.values import ConstantOp, DictOp, FieldOp, ListOp, SumOp, TextOp, converted
from apxm.language import syntax
from apxm.language.syntax import CheckedTree, FlowCall, OperationCall
from apxm.operations.labels import fold_label
from apxm.operations.types import BOOL, FLOAT, INT, JSON, STR, Type, Value, list_of, parse_type
from apxm.source import SourceFile

AnyOperation = TypeVar("AnyOperation", bound=AisOperation)


def build_module(checked: CheckedTree) -> ModuleOp:
    return ModuleOp(
        [_FlowBuilder(checked, agent, flow).build() for agent in checked.tree.agents for flow in agent.flows]
    )


class _FlowBuilder:
    """Builds one flow, block by block; `block`, `prefix` and `occurrences` are those of the innermost."""

    def __init__(self, checked: CheckedTree, agent: syntax.Agent, flow: syntax.Flow) -> None:
        self.checked = checked
        self.agent = agent
        self.flow = flow
        self.place = _Places(checked.tree.source)
        self.values: dict[str, SSAValue] = {}
        """By name. No name shadows another, so one table does for all blocks."""
        self.block = Block()
        self.prefix = ""
        self.occurrences: Counter[str] = Counter()

    def build(self) -> FlowOp:
        flow = self.flow
        flags = [ENTRY] if flow is self.checked.entry else []
        flags += [NO_FUSE for annotation in flow.annotations if annotation.text == NO_FUSE]
        result = None if flow.result is None else _type(flow.result)
        parameters = {parameter.name.text: _type(parameter.type) for parameter in flow.parameters}
        defaults = {
            parameter.name.text: _constant(parameter.default, _type(parameter.type))
            for parameter in flow.parameters
            if parameter.default is not None
        }
        built = FlowOp.of(self.agent.name.text, flow.name.text, parameters, defaults, result, flags)
        built.location = self.place.of(flow)
        self.values.update(zip(parameters, built.body.args, strict=True))
        self.block = built.body
        given = self.statements(flow.body, result)
        self.add(ReturnOp.of(given), flow.body.statements[-1] if flow.body.statements else flow)
        return built

    def add(self, operation: AnyOperation, syntax: syntax.Syntax) -> AnyOperation:
        operation.location = self.place.of(syntax)
        self.block.add_op(operation)
        return operation

    def name(self, operation: AisOperation, called: str, target: syntax.Identifier | None) -> None:
        """Gives `operation` its path: the name it is bound to, else which of its kind it is in the block."""
        if target is None:
            self.occurrences[called] += 1
            operation.path = f"{self.prefix}{called}#{self.occurrences[called]}"
            return
        operation.path = self.prefix + target.text
        if operation.value is not None:
            operation.value.name_hint = target.text

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
        labels = [fold_label(str(case.label.value)) for case in switch.cases]
        bodies = [case.body for case in switch.cases]
        if switch.default is not None:
            bodies.append(switch.default)
        regions = [Region(Block()) for _ in bodies]
        built = self.add(SwitchOp.of(selector, labels, regions, result), switch)
        self.name(built, "switch", switch.target)
        around = self.block, self.prefix, self.occurrences
        for arm, body, label in zip(built.arms, bodies, [*labels, None], strict=False):
            self.block, self.prefix, self.occurrences = arm, arm_path(built.path, label) + "/", Counter()
            self.add(YieldOp.of(self.statements(body, result)), body)
        self.block, self.prefix, self.occurrences = around
        return built.value

    # --- expressions -----------------------------------------------------------------------------------------------

    def value(self, expression: syntax.Expression) -> SSAValue:
        value = self.expression(expression)
        if value is None:
            raise InternalError(f"{expression.span.place}: an expression without a value passed the checker")
        return value

    def expression(self, expression: syntax.Expression) -> SSAValue | None:
        """None for a call of something that gives nothing."""
        match expression:
            case syntax.Constant(value=value):
                return self.add(ConstantOp.of(value, _type_of_constant(value)), expression).result
            case syntax.Name(text=text):
                return self.values[text]
            case syntax.FormatText(parts=parts):
                return self.add(TextOp.of([self.value(part) for part in parts]), expression).result
            case syntax.ListDisplay(items=items):
                element = self.checked.types[expression].element or JSON
                built = [self.fitted(self.value(item), element, item) for item in items]
                return self.add(ListOp.of(built, element), expression).result
            case syntax.DictDisplay(keys=keys, values=values):
                built = [self.value(value) for value in values]
                return self.add(DictOp.of([str(key.value) for key in keys], built), expression).result
            case syntax.FieldOf(value=value, name=name):
                return self.add(FieldOp.of(self.value(value), name.text), expression).result
            case syntax.Addition(operands=operands):
                return self.addition([self.value(operand) for operand in operands], expression)
            case syntax.CallExpression():
                return self.call(expression, None)
            case _:
                raise InternalError(f"{expression.span.place}: {type(expression).__name__} passed the checker")

    def addition(self, operands: list[SSAValue], place: syntax.Syntax) -> SSAValue:
        """From left to right: numbers add up until the first operand that is no number; from there on all is text."""
        numbers = next((i for i, operand in enumerate(operands) if not type_of(operand).is_number), len(operands))
        if numbers > 1:
            operands = [self.add(SumOp.of(operands[:numbers]), place).result, *operands[numbers:]]
        return operands[0] if len(operands) == 1 else self.add(TextOp.of(operands), place).result

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
        options: dict[str, SSAValue] = {}
        literals: dict[str, LiteralAttr] = {}
        for name, expression in found.options.items():
            parameter = operation.parameter(name)
            if parameter is not None and parameter.literal:
                literals[name] = LiteralAttr.of(_constant(expression, parameter.type))
            else:
                options[name] = self.value(expression)
        built = self.add(OPERATE_OPS[operation.name].call(arguments, options, literals), call)
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
        built = self.add(CallOp.of(f"{agent}.{flow}", arguments, result), call)
        self.name(built, flow if found.agent is self.agent else f"{agent}.{flow}", target)
        return built.value

    def fitted(self, value: SSAValue, target: Type, place: syntax.Syntax) -> SSAValue:
        conversion = converted(value, target)
        return value if conversion is None else self.add(conversion, place).result


class _Places:
    """Source positions as locations of the IR."""

    def __init__(self, source: SourceFile) -> None:
        name = PurePath(source.path).name
        # Locations hold xDSL's own text attribute, which reads back ASCII alone.
        self._file = StringAttr(name.encode("ascii", "backslashreplace").decode("ascii"))
        self._source = source

    def of(self, syntax: syntax.Syntax) -> FileLineColLoc:
        line, column = self._source.position(syntax.span.start)
        return FileLineColLoc(self._file, IntAttr(line), IntAttr(column))


def _type(name: syntax.TypeName) -> Type:
    return list_of(_type(name.element)) if name.element is not None else parse_type(name.name)


def _type_of_constant(value: str | int | float | bool) -> Type:
    return {str: STR, bool: BOOL, int: INT, float: FLOAT}[type(value)]


def _constant(expression: syntax.Expression, expected: Type) -> Value:
    """The value of an expression that the checker found to be a literal, as an `expected`."""
    match expression:
        case syntax.Constant(value=value):
            return float(value) if expected == FLOAT else value
        case syntax.ListDisplay(items=items):
            return [_constant(item, expected.element or JSON) for item in items]
        case syntax.DictDisplay(keys=keys, values=values):
            return {str(key.value): _constant(value, JSON) for key, value in zip(keys, values, strict=True)}
        case _:
            raise InternalError(f"{expression.span.place}: expected a literal")
