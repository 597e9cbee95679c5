"""The part of AIS that computes, as docs/language.md says it: which program is well typed, and what a run of it gives.

It is written for its own sake, and shares no code with the compiler or the runtime: what the two agree on is compared
with this.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Value = Any


class IllTyped(Exception):  # noqa: N818  # a verdict
    """The checker has to refuse this program."""


@dataclass(frozen=True)
class Failure:
    """In place of a value that there is not."""

    kind: str
    told: bool = False
    """Whether an operation has failed with it already."""


# --- programs: one statement a line, so that a line says where something failed --------------------------------------


@dataclass(frozen=True)
class Constant:
    type: str
    value: Value


@dataclass(frozen=True)
class Name:
    text: str


@dataclass(frozen=True)
class ListDisplay:
    items: tuple[Expression, ...]


@dataclass(frozen=True)
class DictDisplay:
    keys: tuple[str, ...]
    values: tuple[Expression, ...]


@dataclass(frozen=True)
class FieldOf:
    of: Expression
    name: str


@dataclass(frozen=True)
class Addition:
    operands: tuple[Expression, ...]


@dataclass(frozen=True)
class Format:
    parts: tuple[Expression, ...]
    """Names, and fields of them."""


@dataclass(frozen=True)
class Call:
    called: str
    """`merge`, `wait_all` or a flow."""
    arguments: tuple[Expression, ...]


Expression = Constant | Name | ListDisplay | DictDisplay | FieldOf | Addition | Format | Call


@dataclass(frozen=True)
class Let:
    name: str
    value: Expression


@dataclass(frozen=True)
class Print:
    arguments: tuple[Expression, ...]


@dataclass(frozen=True)
class Switch:
    name: str
    selector: Expression
    arms: tuple[tuple[str | None, Expression], ...]
    """By label; None is the default, which comes last."""


Statement = Let | Print | Switch


@dataclass(frozen=True)
class Flow:
    name: str
    parameters: tuple[tuple[str, str, Value], ...]
    """Name, type and default."""
    statements: tuple[Statement, ...]
    returned: Expression
    result: str

    def source(self) -> list[str]:
        parameters = ", ".join(f"{name}: {type_} = {written(default)}" for name, type_, default in self.parameters)
        lines = [f"{'@entry ' * (self.name == 'main')}flow {self.name}({parameters}) -> {self.result} {{"]
        for statement in self.statements:
            match statement:
                case Let(name, value):
                    lines.append(f"let {name} = {source(value)}")
                case Print(arguments):
                    lines.append(f"print({', '.join(map(source, arguments))})")
                case Switch(name, selector, arms):
                    lines.append(f"switch {source(selector)} {{")
                    for label, value in arms:
                        lines.append(f"{'default' if label is None else f'case {written(label)}'} => {source(value)}")
                    lines.append(f"}} -> {name}")
        return [*lines, f"return {source(self.returned)}", "}"]


@dataclass(frozen=True)
class Program:
    flows: tuple[Flow, ...]
    """Each calls only those before it; the last is the entry."""

    def source(self) -> str:
        return "\n".join(["agent A {", *(line for flow in self.flows for line in flow.source()), "}"])

    def lines(self) -> dict[str, int]:
        """The line of each flow's head."""
        found, line = {}, 2
        for flow in self.flows:
            found[flow.name] = line
            line += len(flow.source())
        return found


def written(value: Value) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def source(expression: Expression) -> str:
    match expression:
        case Constant(value=value):
            return written(value)
        case Name(text):
            return text
        case ListDisplay(items):
            return f"[{', '.join(map(source, items))}]"
        case DictDisplay(keys, values):
            return "{" + ", ".join(f"{written(k)}: {source(v)}" for k, v in zip(keys, values, strict=True)) + "}"
        case FieldOf(of, name):
            return f"{source(of)}.{name}"
        case Addition(operands):
            return f"({' + '.join(map(source, operands))})"
        case Format(parts):
            return 'f"' + "|".join(f"{{{source(part)}}}" for part in parts) + '"'
        case Call(called, arguments):
            return f"{called}({', '.join(map(source, arguments))})"


# --- what it means -------------------------------------------------------------------------------------------------


@dataclass
class Run:
    printed: list[str] = field(default_factory=list[str])
    failed: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """Line and kind of each operation that failed."""

    def operate(self, line: int, operands: Sequence[Value], apply: Callable[[], Value]) -> Value:
        """An operation needs all its operands."""
        failure = first_failure(operands)
        if failure is None:
            return apply()
        if not failure.told:
            self.failed.append((line, failure.kind))
        return Failure(failure.kind, told=True)


Names = dict[str, Value]
Evaluate = Callable[[Run, Names], Value]
Meaning = tuple[str, Evaluate]
"""A type, and how such a value comes about."""


def first_failure(values: Sequence[Value]) -> Failure | None:
    """What an operation has failed with already, goes first: then nobody needs to tell it again."""
    failures = [value for value in values if isinstance(value, Failure)]
    return min(failures, key=lambda failure: not failure.told, default=None)


def element_of(type_: str) -> str | None:
    return type_[5:-1] if type_.startswith("list[") else None


def converts(found: str, target: str) -> bool:
    if found in (target, "nothing") or target == "json" or (found, target) == ("int", "float"):
        return True
    inner, wanted = element_of(found), element_of(target)
    return inner is not None and wanted is not None and converts(inner, wanted)


def converted(value: Value, found: str, target: str) -> Value:
    if isinstance(value, Failure):
        return value
    if (found, target) == ("int", "float"):
        return float(value)  # of a constant that is one already, too
    inner, wanted = element_of(found), element_of(target)
    if inner is None or wanted is None:
        return value
    return [converted(item, inner, wanted) for item in value]


def common(types: Sequence[str]) -> str | None:
    return next((target for target in types if all(converts(found, target) for found in types)), None)


def added(left: Value, right: Value) -> Value:
    if failure := first_failure((left, right)):
        return failure
    if isinstance(left, str) or isinstance(right, str):
        return text_of(left) + text_of(right)
    total = left + right
    if isinstance(total, list):
        return total
    fits = -(2**63) <= total < 2**63 if isinstance(total, int) else math.isfinite(total)
    return total if fits else Failure("overflow")


def text_of(value: Value) -> str:
    return value if isinstance(value, str) else written(value)


class Checker:
    """The meaning of the expressions of one statement."""

    def __init__(self, flows: dict[str, tuple[Flow, Callable[[Run, Sequence[Value]], Value]]], line: int) -> None:
        self.flows = flows
        self.line = line
        self.types: dict[str, str] = {}

    def fitted(self, expression: Expression, target: str) -> Evaluate:
        found, evaluate = self.meaning(expression, target)
        if not converts(found, target):
            raise IllTyped
        return lambda run, names: converted(evaluate(run, names), found, target)

    def meaning(self, expression: Expression, expected: str | None = None) -> Meaning:
        match expression:
            case Constant(type_, value):
                return type_, lambda _run, _names: value
            case Name(text):
                return self.types[text], lambda _run, names: names[text]
            case ListDisplay(items):
                return self.list(items, expected)
            case DictDisplay(keys, values):
                entries = [self.meaning(value)[1] for value in values]
                return "json", lambda run, names: whole(
                    [entry(run, names) for entry in entries], lambda made: dict(zip(keys, made, strict=True))
                )
            case FieldOf(of, name):
                return self.field(of, name)
            case Addition(operands):
                return self.addition([self.meaning(operand) for operand in operands])
            case Format(parts):
                evaluates = [self.meaning(part)[1] for part in parts]
                return "str", lambda run, names: whole(
                    [evaluate(run, names) for evaluate in evaluates], lambda made: "|".join(map(text_of, made))
                )
            case Call(called, arguments):
                return self.call(called, arguments)

    def list(self, items: Sequence[Expression], expected: str | None) -> Meaning:
        element = None if expected is None else element_of(expected)
        if element is None:
            element = (common([self.meaning(item)[0] for item in items]) or "json") if items else "nothing"
            evaluates = [self.converted(item, element) for item in items]
        else:
            evaluates = [self.fitted(item, element) for item in items]
        return f"list[{element}]", lambda run, names: whole([e(run, names) for e in evaluates], lambda made: made)

    def converted(self, item: Expression, target: str) -> Evaluate:
        found, evaluate = self.meaning(item)
        return lambda run, names: converted(evaluate(run, names), found, target)

    def field(self, of: Expression, name: str) -> Meaning:
        owner, evaluate = self.meaning(of)
        if owner != "json":
            raise IllTyped

        def get(run: Run, names: Names) -> Value:
            value = evaluate(run, names)
            if isinstance(value, Failure):
                return value
            return value[name] if isinstance(value, dict) and name in value else Failure("missing_field")

        return "json", get

    def addition(self, operands: list[Meaning]) -> Meaning:
        numbers = ("int", "float")
        (total, _), *rest = operands
        for found, _ in rest:
            if "str" in (total, found):
                total = "str"
            elif total in numbers and found in numbers:
                total = "float" if "float" in (total, found) else "int"
            elif (one := element_of(total)) and (other := element_of(found)):
                total = f"list[{common((one, other)) or 'json'}]"
            else:
                raise IllTyped

        def add(run: Run, names: Names) -> Value:
            (type_, _), *_ = operands
            left, *others = [evaluate(run, names) for _, evaluate in operands]
            for right, (found, _) in zip(others, operands[1:], strict=True):
                one, other = element_of(type_), element_of(found)
                if one and other:
                    type_ = f"list[{common((one, other)) or 'json'}]"
                    left = converted(left, f"list[{one}]", type_)
                    right = converted(right, found, type_)
                else:
                    type_ = "str"
                left = added(left, right)
            return left

        return total, add

    def call(self, called: str, arguments: Sequence[Expression]) -> Meaning:
        if called in self.flows:
            flow, run_flow = self.flows[called]
            given = [self.fitted(a, type_) for a, (_, type_, _) in zip(arguments, flow.parameters, strict=False)]
            # What JSON would write as whole numbers are floats where those are declared.
            left = flow.parameters[len(given) :]
            defaults = [converted(default, type_.replace("float", "int"), type_) for _, type_, default in left]
            return flow.result, lambda run, names: run_flow(run, [*(g(run, names) for g in given), *defaults])
        meanings = [self.meaning(argument) for argument in arguments]
        texts = all(found == "str" for found, _ in meanings)
        line = self.line
        joins = texts and called == "merge"

        def operate(run: Run, names: Names) -> Value:
            operands = [evaluate(run, names) for _, evaluate in meanings]
            return run.operate(line, operands, lambda: "\n".join(map(text_of, operands)) if joins else operands)

        return ("str" if joins else "list[str]" if texts else "list[json]"), operate


def whole(parts: list[Value], make: Callable[[list[Value]], Value]) -> Value:
    """What is made of all parts; a failure, if one of them is."""
    return first_failure(parts) or make(parts)


def meaning_of(program: Program) -> Callable[[Sequence[Value]], tuple[Value, Run]]:
    """The function from the arguments of the entry to its result and what happened. Raises `IllTyped`."""
    flows: dict[str, tuple[Flow, Callable[[Run, Sequence[Value]], Value]]] = {}
    lines = program.lines()
    for flow in program.flows:
        flows[flow.name] = flow, _flow(flow, lines[flow.name], flows)
    entry, run_entry = flows[program.flows[-1].name]
    last = lines[entry.name] + len(entry.source()) - 2

    def execute(arguments: Sequence[Value]) -> tuple[Value, Run]:
        run = Run()
        value = run_entry(run, arguments)
        return run.operate(last, [value], lambda: value), run

    return execute


def _flow(
    flow: Flow, line: int, flows: dict[str, tuple[Flow, Callable[[Run, Sequence[Value]], Value]]]
) -> Callable[[Run, Sequence[Value]], Value]:
    steps: list[Callable[[Run, Names], None]] = []
    types = {name: type_ for name, type_, _ in flow.parameters}
    known = dict(flows)
    for statement in flow.statements:
        line += 1
        checker = Checker(known, line)
        checker.types = types
        match statement:
            case Let(name, value):
                types[name], evaluate = checker.meaning(value)
                steps.append(_binding(name, evaluate))
            case Print(arguments):
                steps.append(_printing(line, [checker.meaning(argument)[1] for argument in arguments]))
            case Switch(name, selector, arms):
                found, select = checker.meaning(selector)
                meanings: dict[str | None, Meaning] = {}
                start = line
                for label, value in arms:
                    line += 1
                    checker.line = line
                    meanings[None if label is None else label.strip().casefold()] = checker.meaning(value)
                joined = common([found for found, _ in meanings.values()])
                if found != "str" or joined is None:
                    raise IllTyped
                line += 1
                types[name] = joined
                steps.append(_binding(name, _choosing(start, select, meanings, joined)))
    checker = Checker(known, line + 1)
    checker.types = types
    returned = checker.fitted(flow.returned, flow.result)
    names = [name for name, _, _ in flow.parameters]

    def run_flow(run: Run, arguments: Sequence[Value]) -> Value:
        values = dict(zip(names, arguments, strict=True))
        for step in steps:
            step(run, values)
        return returned(run, values)

    return run_flow


def _binding(name: str, evaluate: Evaluate) -> Callable[[Run, Names], None]:
    def bind(run: Run, names: Names) -> None:
        names[name] = evaluate(run, names)

    return bind


def _printing(line: int, arguments: list[Evaluate]) -> Callable[[Run, Names], None]:
    def show(run: Run, names: Names) -> None:
        values = [evaluate(run, names) for evaluate in arguments]
        run.operate(line, values, lambda: run.printed.append(" ".join(map(text_of, values))))

    return show


def _choosing(line: int, select: Evaluate, arms: dict[str | None, Meaning], joined: str) -> Evaluate:
    def choose(run: Run, names: Names) -> Value:
        selected = select(run, names)
        if isinstance(selected, str):
            label = selected.strip().casefold()
            if label not in arms and None not in arms:
                selected = Failure("no_match")
            else:
                found, evaluate = arms.get(label) or arms[None]
                return converted(evaluate(run, names), found, joined)
        return run.operate(line, [selected], lambda: None)

    return choose
