"""What a program means: AIS read line by line, one thing at a time, from its syntax tree alone.

Written from the description of the language, docs/language.md; nothing of the checker, the compiler or the runtime is
used. What it does not know of is not there: a program has passed the checker before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from apxm.language import syntax
from tests.meaning.values import (
    FUNCTIONS,
    Failed,
    Records,
    Value,
    Verdict,
    combined,
    compared,
    converted,
    first_failure,
    label_of,
    text_of,
    whole,
)
from tests.meaning.values import field as field_of

SKIPPED = Failed("", told=True)
"""What something gives that is not done, as what it needs failed."""
MOST_ITEMS = 10_000


Answer = Callable[[str, str | None, float | None], Value]
"""What a model says to a prompt with its context, a system text and a temperature, as a value of the type that the call
gives; or its failure."""
Tool = Callable[[str, dict[str, Value]], Value]
Calls = Callable[[str, list[str]], list[tuple[str, dict[str, Value]]]]


class Failure(NamedTuple):
    """One operation that failed."""

    line: int
    column: int
    operation: str
    kind: str


@dataclass
class Outcome:
    """What a run leaves."""

    value: Value = None
    printed: list[str] = field(default_factory=list[str])
    failures: list[Failure] = field(default_factory=list[Failure])
    """Those that nothing caught, as they happened."""
    tools: list[str] = field(default_factory=list[str])
    """The calls of tools that are not readonly."""


@dataclass(frozen=True)
class Place:
    """Where the interpreter is: in a block."""

    agent: syntax.Agent
    prefix: str
    """Of the paths of what stands here."""
    names: dict[str, Value]
    seen: Counter[str] = field(default_factory=Counter[str])
    """How many of each kind have stood here that are bound to no name."""

    def path(self, called: str, target: syntax.Identifier | None) -> str:
        if target is not None:
            return self.prefix + target.text
        self.seen[called] += 1
        return f"{self.prefix}{called}#{self.seen[called]}"

    def inside(self, path: str, **names: Value) -> Place:
        """A block of the construct at `path`."""
        return replace(self, prefix=f"{path}/", names={**self.names, **names}, seen=Counter())


@dataclass
class ToolOrder:
    """What the calls of tools so far allow."""

    changes: bool = True
    """Whether one that is not readonly may be called: none before it failed."""
    reads: bool = True
    """Whether a readonly one may: none that is not readonly failed."""


class Interpreter:
    def __init__(self, tree: syntax.SyntaxTree, answer: Answer, tool: Tool, calls: Calls) -> None:
        self.answer = answer
        self.tool = tool
        self.calls = calls
        self.flows = {(agent.name.text, flow.name.text): (agent, flow) for agent in tree.agents for flow in agent.flows}
        self.capabilities = {c.name.text: c for agent in tree.agents for c in agent.capabilities}
        self.records: Records = {
            record.name.text: [(f.name.text, written(f.type), self.default(f)) for f in record.fields]
            for record in tree.records
        }
        self.outcome = Outcome()
        self.failures = self.outcome.failures
        """Those of the innermost `try`, while its body is done."""
        self.order = ToolOrder()

    def default(self, record_field: syntax.RecordField) -> Value:
        if record_field.default is None:
            return None if record_field.type.optional else ...
        return literal(record_field.default)

    def run(self, agent: str, flow: str, arguments: Sequence[Value]) -> Outcome:
        self.outcome.value = value = self.flow(self.flows[agent, flow], list(arguments), "")
        if isinstance(value, Failed):
            self.outcome.value = None
            if not value.told:
                self.fail(self.flows[agent, flow][1].body.statements[-1], "return", value.kind)
        return self.outcome

    def flow(self, called: tuple[syntax.Agent, syntax.Flow], arguments: Sequence[Value], prefix: str) -> Value:
        agent, flow = called
        names = dict(zip((parameter.name.text for parameter in flow.parameters), arguments, strict=True))
        return self.block(flow.body, Place(agent, prefix, names))

    # --- failures ----------------------------------------------------------------------------------------------------

    def fail(self, node: syntax.Syntax, path: str, kind: str) -> Failed:
        self.failures.append(Failure(node.span.line, node.span.column, path, kind))
        return Failed(kind, told=True)

    def needed(self, node: syntax.Syntax, path: str, *values: Value) -> Failed | None:
        """What keeps the operation at `path` from being done, which needs all of `values`. What cannot be computed is
        its own failure."""
        failure = first_failure(values)
        if failure is None or failure.told:
            return failure
        return self.fail(node, path, failure.kind)

    # --- statements --------------------------------------------------------------------------------------------------

    def block(self, block: syntax.Block, place: Place) -> Value:
        """What the block gives, if it does."""
        given: Value = None
        for statement in block.statements:
            given = self.statement(statement, place)
        return given

    def statement(self, statement: syntax.Statement, place: Place) -> Value:
        """What the block around it gives by it, where it stands last."""
        match statement:
            case syntax.CallStatement(call=call):
                value = self.call(call, place, statement.target)
            case syntax.Let(value=syntax.CallExpression() as call):
                value = self.call(call, place, statement.target)
            case syntax.Let():
                value = self.value(statement.value, place)
            case syntax.Return():
                return None if statement.value is None else self.value(statement.value, place)
            case syntax.Switch():
                value = self.switch(statement, place)
            case syntax.If():
                value = self.branch(statement, 0, place, statement.target)
            case syntax.Try():
                value = self.attempt(statement, place)
            case syntax.Loop():
                value = self.loop(statement, place)
            case syntax.For():
                value = self.each(statement, place)
            case _:
                raise AssertionError(type(statement).__name__)
        if statement.target is not None:
            place.names[statement.target.text] = value
        return value

    def refused(self, failure: Failed, *parts: syntax.Syntax) -> Failed:
        """The `parts` of a construct are not done: nor is any call of a tool in them, so those behind are not made."""
        for changes in (changes for part in parts for changes in self.tools_in(part)):
            self.order.changes = False
            self.order.reads &= not changes
        return failure

    def switch(self, switch: syntax.Switch, place: Place) -> Value:
        selector = self.value(switch.selector, place)
        path = place.path("switch", switch.target)
        if failure := self.needed(switch, path, selector):
            return self.refused(failure, *switch.blocks)
        text = selector["label"] if isinstance(selector, Verdict) else selector
        cases = {str(case.label.value): case.body for case in switch.cases}
        label = label_of(text, cases)
        if label is not None:
            folded = label.strip().casefold()
            plain = folded.replace("-", "a").replace("_", "a").isalnum() and folded != "default"
            return self.block(cases[label], place.inside(f"{path}/{folded if plain else text_of([folded])[1:-1]}"))
        if switch.default is None:
            return self.refused(self.fail(switch, path, "no_match"), *switch.blocks)
        return self.block(switch.default, place.inside(f"{path}/default"))

    def branch(self, branch: syntax.If, number: int, place: Place, target: syntax.Identifier | None) -> Value:
        condition = self.value(branch.conditions[number], place)
        path = place.path("if", target)
        if failure := self.needed(branch, path, condition):
            return self.refused(failure, *branch.conditions[number + 1 :], *branch.blocks[number:])
        if condition:
            return self.block(branch.bodies[number], place.inside(f"{path}/then"))
        otherwise = place.inside(f"{path}/else")
        if number + 1 < len(branch.conditions):
            return self.branch(branch, number + 1, otherwise, None)
        return None if branch.otherwise is None else self.block(branch.otherwise, otherwise)

    def attempt(self, attempt: syntax.Try, place: Place) -> Value:
        path = place.path("try", attempt.target)
        outside, self.failures = self.failures, []
        order = replace(self.order)
        value = self.block(attempt.body, place.inside(f"{path}/body"))
        if isinstance(value, Failed) and not value.told:
            value = self.fail(attempt, path, value.kind)
        caught, self.failures = self.failures, outside
        if not caught:
            return value
        self.order = order
        error = {"kind": caught[0].kind, "message": "", "operation": caught[0].operation}
        names = {} if attempt.error is None else {attempt.error.text: error}
        return self.block(attempt.handler, place.inside(f"{path}/catch", **names))

    # --- turns -------------------------------------------------------------------------------------------------------

    def head(self, arguments: Sequence[syntax.NamedArgument], place: Place) -> tuple[Value, dict[str, Value]]:
        given = {argument.name.text: self.value(argument.value, place) for argument in arguments}
        return given.pop("max", MOST_ITEMS), given

    def loop(self, loop: syntax.Loop, place: Place) -> Value:
        most, carried = self.head(loop.arguments, place)
        path = place.path("loop", loop.target)
        if failure := self.needed(loop, path, most) or self.too_few(loop, path, most):
            return self.refused(failure, loop.body)
        for number in range(1, most + 1):
            _, carried, over = self.turn(loop.body, carried, place.inside(f"{path}[{number}]", **carried))
            if over:
                break
        return carried_of(carried)

    def too_few(self, node: syntax.Syntax, path: str, most: int) -> Failed | None:
        return self.fail(node, path, "out_of_range") if most < 1 else None

    def turn(self, body: syntax.Block, carried: dict[str, Value], place: Place) -> tuple[Value, dict[str, Value], bool]:
        """What it gives, what it carries on, and whether it is the last."""
        carried, given = dict(carried), None
        for number, statement in enumerate(body.statements, start=1):
            if isinstance(statement, syntax.Next):
                carried |= {argument.name.text: self.value(argument.value, place) for argument in statement.arguments}
            elif isinstance(statement, syntax.Until):
                condition = self.value(statement.condition, place)
                if failure := self.needed(statement, place.path("until", None), condition):
                    self.refused(failure, *body.statements[number:])
                    return None, dict.fromkeys(carried, failure), True
                if condition:
                    return None, carried, True
            else:
                given = self.statement(statement, place)
        return given, carried, False

    def each(self, each: syntax.For, place: Place) -> Value:
        items, arguments = each.items, each.arguments
        if isinstance(items, syntax.CallExpression) and items.callee[0].text in place.names and not items.arguments:
            # `for x in items (max: 3)` looks like a call
            items, arguments = None, items.named + arguments
            taken = place.names[each.items.callee[0].text]
        else:
            taken = self.value(items, place)
        most, carried = self.head(arguments, place)
        path = place.path("for", each.target)
        failure = self.needed(each, path, most, taken) or self.too_few(each, path, most)
        if failure is None and not isinstance(taken, list):
            failure = self.fail(each, path, "wrong_type")
        if failure is None and len(taken) > most:
            failure = self.fail(each, path, "too_many_items")
        if failure is not None:
            return self.refused(failure, each.body)
        collected: list[Value] = []
        collects = gives(each.body, bare=not carried)
        for number, item in enumerate(taken, start=1):
            inside = place.inside(f"{path}[{number}]", **{each.item.text: item}, **carried)
            given, carried, _ = self.turn(each.body, carried, inside)
            collected.append(given)
        return whole(collected, list) if collects else carried_of(carried)

    # --- expressions -------------------------------------------------------------------------------------------------

    def value(self, expression: syntax.Expression, place: Place) -> Value:
        match expression:
            case syntax.Constant(value=constant):
                return constant
            case syntax.Name(text=text):
                return place.names[text]
            case syntax.FormatText(parts=parts):
                return whole([self.value(part, place) for part in parts], lambda made: "".join(map(text_of, made)))
            case syntax.ListDisplay(items=items):
                return whole([self.value(item, place) for item in items], list)
            case syntax.DictDisplay(keys=keys, values=values):
                names = [str(key.value) for key in keys]
                return whole([self.value(v, place) for v in values], lambda made: dict(zip(names, made, strict=True)))
            case syntax.FieldOf(value=of, name=name):
                value = self.value(of, place)
                return value if isinstance(value, Failed) else field_of(value, name.text)
            case syntax.Cast(value=of, type=target):
                value = self.value(of, place)
                return value if isinstance(value, Failed) else converted(value, written(target), self.records)
            case syntax.Arithmetic(operators=operators, operands=operands):
                left, *rest = [self.value(operand, place) for operand in operands]
                for operator, right in zip(operators, rest, strict=True):
                    left = first_failure((left, right)) or combined(operator, left, right)
                return left
            case syntax.Comparison(operator=operator):
                sides = [self.value(side, place) for side in (expression.left, expression.right)]
                return whole(sides, lambda made: compared(operator, *made))
            case syntax.Not(value=of):
                return whole([self.value(of, place)], lambda made: not made[0])
            case syntax.Logic(operator=operator, operands=operands):
                found: Value = None
                for operand in operands:
                    found = self.value(operand, place)
                    if isinstance(found, Failed) or found is (operator == "or"):
                        break
                return found
            case syntax.CallExpression():
                return self.call(expression, place, None)
            case _:
                raise AssertionError(type(expression).__name__)

    # --- calls -------------------------------------------------------------------------------------------------------

    def call(self, call: syntax.CallExpression, place: Place, target: syntax.Identifier | None) -> Value:
        called = call.written
        own = (place.agent.name.text, called)
        if own in self.flows or len(call.callee) == 2:
            return self.flow_call(
                call, self.flows[own if own in self.flows else tuple(called.split("."))], place, target
            )
        arguments = [self.value(argument, place) for argument in call.arguments]
        if called in FUNCTIONS:
            return whole(arguments, lambda made: FUNCTIONS[called](*made))
        named = {argument.name.text: argument.value for argument in call.named}
        if called in ("print", "merge", "wait_all"):
            path = place.path(called, target)
            if failure := self.needed(call, path, *arguments):
                return failure
            if called == "print":
                self.outcome.printed.append(" ".join(map(text_of, arguments)))
                return None
            texts = called == "merge" and all(isinstance(argument, str) for argument in arguments)
            return "\n".join(arguments) if texts else arguments
        if called == "inv" or called in self.capabilities:
            return self.tool_call(call, arguments, place, target)
        return self.ask(call, arguments, named, place, target)

    def ask(
        self,
        call: syntax.CallExpression,
        arguments: list[Value],
        named: dict[str, syntax.Expression],
        place: Place,
        target: syntax.Identifier | None,
    ) -> Value:
        defaults = {default.name.text: default.value for default in place.agent.defaults}
        system = named.get("system", defaults.get("system"))
        told = None if system is None else self.value(system, place)
        path = place.path(call.written, target)
        rounds = literal(named["max_rounds"]) if "max_rounds" in named else None
        first = path if rounds is None else f"{path}[1]/ask"
        if failure := self.needed(call, first, *arguments, told):
            return self.refused(failure, call)
        prompt, *context = map(text_of, arguments)
        said = "\n\n".join([prompt, *(f"Context {k}: {value}" for k, value in enumerate(context, start=1))])
        temperature = literal(named["temperature"]) if "temperature" in named else None
        if rounds is not None:
            return self.dialogue(call, said, told, rounds, path)
        value = self.answer(said, told, temperature)
        return self.fail(call, path, value.kind) if isinstance(value, Failed) else value

    def dialogue(self, call: syntax.CallExpression, said: str, told: str | None, rounds: int, path: str) -> Value:
        """An answer behind at most so many rounds of calls of tools."""
        tools = offered(call)
        for number in range(1, rounds + 2):
            found = self.calls(said, tools) if number <= rounds else []
            if not found:
                break
            results = [
                self.tool_of_model(call, tools, name, given, f"{path}[{number}]/call[{k}]/{name}")
                for k, (name, given) in enumerate(found, start=1)
            ]
            if failure := first_failure(results):
                return self.refused(failure, call)  # the next call of the model, and what it would have called
            said = "\n\n".join([said, "", *map(text_of, results)])
        else:
            raise AssertionError("the last call calls nothing")
        value = self.answer(said, told, None)
        if isinstance(value, Failed):
            return self.refused(self.fail(call, f"{path}[{number}]/ask", value.kind), call)
        return value

    def tool_of_model(
        self, call: syntax.CallExpression, tools: list[str], name: str, given: dict[str, Value], path: str
    ) -> Value:
        if name not in tools:
            return f"error: there is no tool '{name}'; there are: {', '.join(tools)}"
        declared = self.capabilities[name]
        defaults = {p.name.text: literal(p.default) for p in declared.parameters if p.default is not None}
        return self.done(call, name, defaults | given, path, changes=not declared.readonly)

    def flow_call(
        self,
        call: syntax.CallExpression,
        called: tuple[syntax.Agent, syntax.Flow],
        place: Place,
        target: syntax.Identifier | None,
    ) -> Value:
        agent, flow = called
        given = dict(zip((p.name.text for p in flow.parameters), call.arguments, strict=False))
        given |= {argument.name.text: argument.value for argument in call.named}
        values = {name: self.value(argument, place) for name, argument in given.items()}
        arguments = [values[p.name.text] if p.name.text in values else literal(p.default) for p in flow.parameters]
        name = flow.name.text if agent is place.agent else f"{agent.name.text}.{flow.name.text}"
        return self.flow(called, arguments, place.path(name, target) + "/")

    def tool_call(
        self, call: syntax.CallExpression, arguments: list[Value], place: Place, target: syntax.Identifier | None
    ) -> Value:
        name, *arguments = [call.written, *arguments] if call.written in self.capabilities else arguments
        declared = self.capabilities.get(name)
        given = {argument.name.text: self.value(argument.value, place) for argument in call.named}
        if declared is not None:
            defaults = {p.name.text: literal(p.default) for p in declared.parameters if p.default is not None}
            given = defaults | dict(zip((p.name.text for p in declared.parameters), arguments, strict=False)) | given
        changes = declared is None or not declared.readonly
        return self.done(call, name, given, place.path("inv", target), changes=changes)

    def done(
        self, call: syntax.CallExpression, name: str, given: dict[str, Value], path: str, *, changes: bool
    ) -> Value:
        failure = SKIPPED
        if self.order.changes if changes else self.order.reads:
            failure = self.needed(call, path, *given.values())
        if failure is None:
            if changes:
                self.outcome.tools.append(called(name, given))
            value = self.tool(name, given)
            if not isinstance(value, Failed):
                return value
            failure = self.fail(call, path, value.kind)
        self.order.changes = False
        self.order.reads &= not changes
        return failure

    def tools_in(self, node: syntax.Syntax) -> Iterator[bool]:
        """Of each call of a tool in it, whether that may change something."""
        if isinstance(node, syntax.CallExpression):
            name = node.arguments[0].value if node.written == "inv" else node.written
            if node.written == "inv" or name in self.capabilities:
                yield name not in self.capabilities or not self.capabilities[name].readonly
            for name in offered(node):
                yield not self.capabilities[name].readonly
            for (agent, flow), (_, body) in self.flows.items():
                if node.written in (flow, f"{agent}.{flow}"):
                    yield from self.tools_in(body.body)
        parts = node.statements if isinstance(node, syntax.Block) else node.expressions
        for part in (*parts, *(node.blocks if isinstance(node, syntax.Statement) else ())):
            yield from self.tools_in(part)


# --- what the text says ----------------------------------------------------------------------------------------------


def called(tool: str, arguments: dict[str, Value]) -> str:
    """A call of a tool, to compare."""
    return f"{tool} {text_of(dict(sorted(arguments.items())))}"


def offered(call: syntax.CallExpression) -> list[str]:
    """The tools that a model may call in it."""
    listed = [argument.value for argument in call.named if argument.name.text == "tools"]
    items = [item for each in listed if isinstance(each, syntax.ListDisplay) for item in each.items]
    return [item.text for item in items if isinstance(item, syntax.Name)]


def written(type_: syntax.TypeName) -> str:
    name = type_.name if type_.element is None else f"list[{written(type_.element)}]"
    return name + "?" * type_.optional


def literal(expression: syntax.Expression | None) -> Value:
    match expression:
        case syntax.Constant(value=value):
            return value
        case syntax.ListDisplay(items=items):
            return [literal(item) for item in items]
        case syntax.DictDisplay(keys=keys, values=values):
            return {str(key.value): literal(value) for key, value in zip(keys, values, strict=True)}
        case _:
            raise AssertionError("no literal")


def carried_of(carried: dict[str, Value]) -> Value:
    """What a loop gives that carries these."""
    if len(carried) > 1:
        return first_failure(carried.values()) or carried
    return next(iter(carried.values()), None)


def gives(block: syntax.Block, *, bare: bool) -> bool:
    """Whether a turn of a `for` gives a value by this block, by a `return` or, where those count, a `bare` arm."""
    for statement in block.statements:
        if isinstance(statement, syntax.Return):
            return True
        passes = isinstance(statement, syntax.Switch | syntax.If | syntax.Try) and statement.target is None
        if passes and any((bare or not inner.bare) and gives(inner, bare=bare) for inner in statement.blocks):
            return True
    return False
