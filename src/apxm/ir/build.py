"""Checked tree → module."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from apxm.errors import InternalError
from apxm.ir.blocks import BlockBuilder
from apxm.ir.constructs import IfOp, RepeatOp, SwitchOp, TryOp
from apxm.ir.core import NO_FUSE, Block, SSAValue
from apxm.ir.dialogue import DialogueBuilder
from apxm.ir.operations import OPERATE_OPS
from apxm.ir.structure import CallOp, FlowOp, Module, ReturnOp, YieldOp, types_of
from apxm.ir.values import (
    ApplyOp,
    CastOp,
    ConstantOp,
    DictOp,
    FieldOp,
    ListOp,
    LogicOp,
    SumOp,
    TextFormOp,
    TextOp,
)
from apxm.language import syntax
from apxm.language.checked import CheckedTree, DeclaredCapability, FlowCall, OperationCall, ToolCall
from apxm.language.literals import constant_value
from apxm.operations.catalog import CONTENT_KINDS, TOOL_OPTIONS
from apxm.operations.definition import Family
from apxm.operations.functions import CONCATENATION, FUNCTIONS, ITEM_OF, NEGATION, PART_OF
from apxm.operations.labels import fold_label
from apxm.operations.signatures import resolve_call
from apxm.operations.types import (
    BOOL,
    BUILT_IN,
    ERROR,
    INT,
    JSON,
    LARGEST_INT,
    LITERAL_TYPES,
    STR,
    VERDICT,
    Type,
    Value,
    assignable,
    list_of,
    optional,
    parse_type,
)
from apxm.program.program import Capability, FlowParameter

_WRITTEN_OUT = (Family.MODEL, Family.OUTPUT)
"""Families of operations that take the text forms of their arguments."""


MOST_ITEMS = 10_000
"""How many items a `for` takes where its `max` does not say."""


def build_module(checked: CheckedTree) -> Module:
    flows = [_FlowBuilder(checked, agent, flow).build() for agent in checked.tree.agents for flow in agent.flows]
    return Module(flows, checked.records.values(), map(_capability, checked.capabilities))


def _capability(declared: DeclaredCapability) -> Capability:
    defaults = {p.name.text: p.default for p in declared.capability.parameters}
    descriptions = {p.name.text: _text(p.description) for p in declared.capability.parameters}
    parameters: list[FlowParameter] = []
    for name, type_, *_ in declared.callee.parameters:
        default = defaults[name]
        value = None if default is None else constant_value(default, type_)
        parameters.append(
            FlowParameter(
                name=name, type=str(type_), required=default is None, default=value, description=descriptions[name]
            )
        )
    return Capability(
        name=declared.callee.name,
        parameters=tuple(parameters),
        result=str(declared.callee.result),
        readonly=declared.capability.readonly,
        description=_text(declared.capability.description),
    )


def _text(description: syntax.Constant | None) -> str:
    return "" if description is None else str(description.value)


class _FlowBuilder(BlockBuilder):
    """Builds one flow, block by block."""

    def __init__(self, checked: CheckedTree, agent: syntax.Agent, flow: syntax.Flow) -> None:
        super().__init__()
        self.checked = checked
        self.agent = agent
        self.flow = flow
        self.values: dict[str, SSAValue] = {}
        """The values of names. No name shadows another, so one table does for all blocks."""

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
        self.add(ReturnOp(*given), flow.body.statements[-1] if flow.body.statements else flow)
        return built

    # --- statements ------------------------------------------------------------------------------------------------

    def statements(self, block: syntax.Block, result: Type | None) -> list[SSAValue]:
        """What the block gives: one value as a `result`, or none where that is None."""
        given: SSAValue | None = None
        for statement in block.statements:
            given = self.statement(statement)
        if result is None:
            return []
        if given is None:
            raise InternalError(f"a block of {self.flow.name.text} gives no {result}")
        return [self.fitted(given, result, block)]

    def statement(self, statement: syntax.Statement) -> SSAValue | None:
        """What the block around it gives by it, if that ends there."""
        match statement:
            case syntax.CallStatement():
                self.bind(statement.target, self.call(statement.call, statement.target))
            case syntax.Let(value=value, type=type_):
                is_call = isinstance(value, syntax.CallExpression)
                found = self.call(value, statement.target) if is_call else self.value(value)
                if type_ is not None and found is not None:
                    found = self.fitted(found, self.type(type_), statement)
                self.bind(statement.target, found)
            case syntax.Return():
                # The bare arm of a construct that gives nothing is there for its effect alone.
                return None if statement.value is None else self.expression(statement.value)
            case syntax.Construct():
                value = self.construct(statement)
                self.bind(statement.target, value)
                return value if statement in self.checked.tail else None
            case _:
                raise InternalError(f"{statement.span.place}: {type(statement).__name__} passed the checker")
        return None

    def bind(self, target: syntax.Identifier | None, value: SSAValue | None) -> None:
        if target is not None and value is not None:
            self.values[target.text] = value

    # --- constructs ------------------------------------------------------------------------------------------------

    def construct(self, construct: syntax.Construct) -> SSAValue | None:
        match construct:
            case syntax.Switch():
                return self.switch(construct)
            case syntax.If():
                return self.branch(construct, construct.conditions, construct.bodies, construct.target)
            case syntax.Try():
                return self.attempt(construct)
            case syntax.Loop():
                return self.repetition(construct, None, construct.arguments)
            case syntax.For():
                return self.repetition(construct, *self.checked.heads[construct])
            case _:
                raise InternalError(f"{construct.span.place}: {type(construct).__name__} passed the checker")

    def region(self, block: Block, path: str, body: syntax.Block, result: Type | None) -> None:
        """Makes `block` do what `body` says."""
        with self.inside(block, path):
            self.add(YieldOp(*self.statements(body, result)), body)

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
        self.name(built, switch.keyword, switch.target)
        for arm, body, step in zip(built.regions, bodies, built.steps, strict=False):
            self.region(arm, built.path + step, body, result)
        return built.value

    def branch(
        self,
        branch: syntax.If,
        conditions: Sequence[syntax.Expression],
        bodies: Sequence[syntax.Block],
        target: syntax.Identifier | None,
    ) -> SSAValue | None:
        """The first of `conditions` that holds: the others stand in what is done where it does not."""
        result = self.checked.results.get(branch)
        then, otherwise = Block(), Block()
        condition = self.value(conditions[0])
        built = self.add(IfOp(condition, then, otherwise, () if result is None else (result,)), branch)
        self.name(built, branch.keyword, target)
        to_then, path = (built.path + step for step in built.steps)
        self.region(then, to_then, bodies[0], result)
        if len(conditions) == 1 and branch.otherwise is not None:
            self.region(otherwise, path, branch.otherwise, result)
            return built.value
        with self.inside(otherwise, path):
            given = None
            if len(conditions) > 1:
                given = self.branch(branch, conditions[1:], bodies[1:], None)
            self.add(YieldOp(*([] if given is None else [given])), branch)
        return built.value

    def attempt(self, attempt: syntax.Try) -> SSAValue | None:
        result = self.checked.results.get(attempt)
        body, handler = Block(), Block({} if attempt.error is None else {attempt.error.text: ERROR})
        built = self.add(TryOp(body, handler, () if result is None else (result,)), attempt)
        self.name(built, attempt.keyword, attempt.target)
        if attempt.error is not None:
            (self.values[attempt.error.text],) = handler.arguments
        for region, step, block in zip(built.regions, built.steps, (attempt.body, attempt.handler), strict=True):
            self.region(region, built.path + step, block, result)
        return built.value

    def repetition(
        self,
        repetition: syntax.Loop | syntax.For,
        items: syntax.Expression | None,
        arguments: Sequence[syntax.NamedArgument],
    ) -> SSAValue | None:
        given = {argument.name.text: argument.value for argument in arguments}
        stop = given.pop("max", None)
        limit = self.add(ConstantOp(MOST_ITEMS, INT), repetition).result if stop is None else self.value(stop)
        listed = None if items is None else self.value(items)
        types = self.checked.carried[repetition]
        starts = {name: self.fitted(self.value(value), types[name], value) for name, value in given.items()}
        result = self.checked.results.get(repetition)
        collects = result.element if result is not None and repetition in self.checked.collecting else None
        statements = repetition.body.statements
        built = RepeatOp(
            limit,
            listed,
            starts,
            types,
            called=repetition.keyword,
            item=repetition.item.text if isinstance(repetition, syntax.For) else "",
            stops=any(isinstance(statement, syntax.Until) for statement in statements),
            collects=collects,
        )
        self.add(built, repetition)
        self.name(built, repetition.keyword, repetition.target)
        names = [repetition.item.text, *starts] if isinstance(repetition, syntax.For) else [*starts]
        self.values.update(zip(names, built.body.arguments, strict=True))
        carried = dict(zip(starts, built.carried, strict=True))
        with self.inside(built.body, built.path):
            self.add(YieldOp(*self.turn(statements, carried, collects)), repetition.body)
        if collects is not None or len(built.results) == 1:
            return built.value
        if repetition.target is None:
            return None
        assert result is not None
        return self.add(DictOp(list(starts), built.results, result), repetition).result

    def turn(
        self, statements: Sequence[syntax.Statement], carried: dict[str, SSAValue], collects: Type | None
    ) -> list[SSAValue]:
        """What `statements`, the rest of a turn, give at their end, but for whether it stops where nothing here says
        so. `carried` are the values of the carried names so far."""
        given: SSAValue | None = None
        for number, statement in enumerate(statements, start=1):
            match statement:
                case syntax.Next():
                    nexts = {argument.name.text: argument.value for argument in statement.arguments}
                    fitted = {
                        name: self.fitted(self.value(nexts[name]), carried[name].type, statement) for name in nexts
                    }
                    carried = carried | fitted
                case syntax.Until():
                    return self.until(statement, statements[number:], carried)
                case _:
                    given = self.statement(statement)
        if collects is None:
            return [*carried.values()]
        assert given is not None
        return [self.fitted(given, collects, statements[-1]), *carried.values()]

    def until(
        self, until: syntax.Until, rest: Sequence[syntax.Statement], carried: dict[str, SSAValue]
    ) -> list[SSAValue]:
        """Whether the turn is the last, and what it carries: the `rest` is done only where it is not."""
        condition = self.value(until.condition)
        around, then, otherwise = self.block, Block(), Block()
        built = self.add(IfOp(condition, then, otherwise, [BOOL, *types_of([*carried.values()])]), until)
        self.name(built, "until", None)
        self.block = then
        self.add(YieldOp(self.add(ConstantOp(True, BOOL), until).result, *carried.values()), until)
        self.block = otherwise
        given = self.turn(rest, carried, None)
        if not any(isinstance(statement, syntax.Until) for statement in rest):
            given = [self.add(ConstantOp(False, BOOL), until).result, *given]
        self.add(YieldOp(*given), until)
        self.block = around
        return [*built.results]

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
                return self.narrowed(self.values[text], expression)
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
                field = self.add(FieldOp(self.value(value), name.text), expression).result
                return self.narrowed(field, expression)
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
                return self.logic(operator, operands, expression)
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
        left, *rest = map(self.shown, operands)
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

    def narrowed(self, value: SSAValue, expression: syntax.Expression) -> SSAValue:
        """The value where it cannot be null, if the checker knows that."""
        known = self.checked.types[expression]
        return value if assignable(value.type, known) else self.add(CastOp(value, known), expression).result

    def logic(self, operator: str, operands: Sequence[syntax.Expression], place: syntax.Syntax) -> SSAValue:
        """Where a call stands on the right, which is made only where the left does not decide, this is an `if`."""
        asked = next((i for i, operand in enumerate(operands) if i and _makes_call(operand)), len(operands))
        values = [self.value(operand) for operand in operands[:asked]]
        left = self.add(LogicOp(operator, values), place).result if asked > 1 else values[0]
        if asked == len(operands):
            return left
        then, otherwise = Block(), Block()
        built = self.add(IfOp(left, then, otherwise, (BOOL,)), place)
        self.name(built, operator, None)
        for block, step, holds in zip(built.regions, built.steps, (True, False), strict=True):
            with self.inside(block, built.path + step):
                decides = holds is (operator == "or")
                given = (
                    self.add(ConstantOp(holds, BOOL), place).result
                    if decides
                    else self.logic(operator, operands[asked:], place)
                )
                self.add(YieldOp(given), place)
        return built.results[0]

    def comparison(self, operator: str, operands: list[SSAValue], place: syntax.Syntax) -> SSAValue:
        """A verdict compares with a text by its label."""
        if {operand.type for operand in operands} == {VERDICT, STR}:
            operands = [o if o.type == STR else self.add(FieldOp(o, "label"), place).result for o in operands]
        return self.applied(operator, operands, place)

    def applied(self, function: str, operands: Sequence[SSAValue], place: syntax.Syntax) -> SSAValue:
        resolved = resolve_call(FUNCTIONS[function].signatures, [operand.type for operand in operands])
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
            case ToolCall() as found:
                return self.tool_call(call, found, target)

    def operation_call(
        self, call: syntax.CallExpression, found: OperationCall, target: syntax.Identifier | None
    ) -> SSAValue | None:
        operation = found.operation
        value = self.shown if operation.family in _WRITTEN_OUT else self.value
        arguments = [value(argument) for argument in found.arguments]
        if operation.family is Family.VALUE:
            return self.applied(operation.name, arguments, call)
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
        if found.tools:
            answer = found.answer or operation.result
            return DialogueBuilder(self, call, found.tools).build(arguments, options, literals, answer, target)
        literals.pop("max_rounds", None)  # of an `ask` to which `tools: []` gives none
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

    def tool_call(
        self, call: syntax.CallExpression, found: ToolCall, target: syntax.Identifier | None
    ) -> SSAValue | None:
        """However it is written, it is one ``inv`` of the tool's name and one object of all arguments."""
        if isinstance(found.arguments, syntax.Expression):
            arguments = self.value(found.arguments)
        else:
            types = {} if found.declared is None else {p.name: p.type for p in found.declared.callee.parameters}
            given = {name: (self.value(expression), expression) for name, expression in found.arguments.items()}
            values = [self.fitted(value, types.get(name, value.type), at) for name, (value, at) in given.items()]
            arguments = self.add(DictOp(list(given), values), call).result
        literals: dict[str, Value] = {"tool": found.tool}
        for option in TOOL_OPTIONS:
            if option.name in found.options:
                literals[option.name] = constant_value(found.options[option.name], option.type)
        if found.declared is not None and found.declared.capability.readonly:
            literals["readonly"] = True
        result = JSON if found.declared is None else found.declared.callee.result
        built = self.add(OPERATE_OPS["inv"]([arguments], {}, literals, result), call)
        self.name(built, "inv", target)
        return built.value

    def shown(self, expression: syntax.Expression) -> SSAValue:
        """The expression's value where its text form is taken: that form itself, where the type has one of its own."""
        value = self.value(expression)
        own = self.checked.types[expression].name in BUILT_IN
        return self.add(TextFormOp(value), expression).result if own else value

    def type(self, name: syntax.TypeName) -> Type:
        records = self.checked.records
        found = parse_type(name.name, records) if name.element is None else list_of(self.type(name.element))
        return optional(found) if name.optional else found


def _makes_call(expression: syntax.Expression) -> bool:
    """Whether an operation or a flow is called in it; a function is none."""
    calls = isinstance(expression, syntax.CallExpression) and expression.written not in FUNCTIONS
    return calls or any(map(_makes_call, expression.expressions))


def _count(operands: Sequence[SSAValue], is_meant: Callable[[Type], bool]) -> int:
    """How many of the first operands have such a type."""
    return next((i for i, operand in enumerate(operands) if not is_meant(operand.type)), len(operands))
