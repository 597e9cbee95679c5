"""Reads what rewriting made of a function: what it asks, what waits, and what is done later."""

from __future__ import annotations

import ast
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import isgeneratorfunction

from apxm.effects.patterns import is_super
from apxm.effects.trees import walk
from apxm.explaining.attributes import Attributes
from apxm.explaining.callees import AsyncScope, Callees, Scope
from apxm.explaining.effects import Effects
from apxm.explaining.expression_reader import ExpressionReader, branch, is_ours, left_early, text_of, values
from apxm.explaining.formulas import Amount, Formula
from apxm.explaining.rewritten import Position, Rewritten, ours, plain, position, rewritten
from apxm.explaining.shape import (
    Does,
    Later,
    Leave,
    Loop,
    Placed,
    Step,
    Trusted,
    Wait,
    Within,
    all_steps,
    without_turns,
)
from apxm.rewriting.nodes import PREFIX, RefusedError

_LEAVING = (ast.Return, ast.Continue, ast.Break, ast.Raise)
_MAPPING = frozenset({"imap", "imap_unordered", "map", "starmap", "amap"})
"""Functions that call another one with each of several items."""
_LEFT = ("Broke", "Returned")


@dataclass(frozen=True)
class Read:
    """A function that was read."""

    steps: Sequence[Step]
    text: Rewritten


class Readings:
    """All functions of a program, each read once."""

    def __init__(self, callees: Callees) -> None:
        self.callees = callees
        self.attributes = Attributes(callees)
        self._read: dict[types.FunctionType, Read | None] = {}
        self._reading: list[types.FunctionType] = []

    def of(self, function: types.FunctionType) -> Read | None:
        """A function; None for one without a source, or that no lane runs."""
        if function not in self._read:
            self._reading.append(function)
            try:
                self._read[function] = self.promised(function, None)
            except RefusedError:
                self._read[function] = None
            self._reading.pop()
        return self._read[function]

    def promised(self, function: types.FunctionType, loop: Position | None) -> Read | None:
        """As `of`, were the loop there an `each`. Raises `RefusedError`."""
        scope = self.callees.scope(function)
        found = rewritten(scope, loop)
        if found is None:
            return None
        return Read(Reader(self, scope, found).function(), found)

    def is_run_by_others(self, function: types.FunctionType) -> bool:
        """Whether an event loop runs a function, and not lanes."""
        return isinstance(self.callees.scope(function), AsyncScope)

    def is_reading(self, function: types.FunctionType) -> bool:
        return function in self._reading


class Reader(ExpressionReader):
    """Reads one function, or one that is made in it."""

    def __init__(self, readings: Readings, scope: Scope, text: Rewritten, node: ast.FunctionDef | None = None) -> None:
        self._node = text.node if node is None else node
        super().__init__(scope, text, self._node)
        self.readings = readings
        self._text = text
        self._bodies: dict[str, ast.FunctionDef] = {}
        self._made: dict[str, ast.FunctionDef] = {}
        """Functions that are made in it."""
        self._made_names: set[str] = set()
        self.effects = Effects(self)

    def take(self, made: Mapping[str, ast.FunctionDef]) -> None:
        """Functions that are made around it."""
        self._made |= made
        self._made_names |= made.keys()

    def is_made(self, name: str) -> bool:
        """Whether a name is that of a function that is made here, or around."""
        return name in self._made_names

    @property
    def attributes(self) -> Attributes:
        return self.readings.attributes

    def function(self) -> list[Step]:
        return self.statements(self._node.body)

    def called(self, callee: ast.expr) -> types.FunctionType | None:
        return self.readings.callees.called(callee, self.scope)

    def is_read(self, function: types.FunctionType) -> bool:
        return self.readings.is_reading(function) or self.readings.of(function) is not None

    def hides(self, function: types.FunctionType) -> bool:
        if self.readings.is_reading(function):
            return False
        read = self.readings.of(function)
        return read is None or any(
            isinstance(step, Wait) and not step.seen and step.about is None for step in all_steps(read.steps)
        )

    # --- statements

    def statements(self, statements: Sequence[ast.stmt]) -> list[Step]:
        found: list[Step] = []
        for k, statement in enumerate(statements):
            match statement:
                case ast.If(test=test, body=body, orelse=orelse):
                    if is_ours(test):
                        if isinstance(test, ast.Compare):  # the `else` of a loop that may be left
                            found += branch([], self.statements(body))
                        continue
                    found += [*self.expression(test), *self.specials(statement)]
                    one, two = self.statements(body), self.statements(orelse)
                    rest = statements[k + 1 :]
                    if _leaves(body) != _leaves(orelse):
                        (two if _leaves(body) else one).extend(self.statements(rest))
                        return [*found, *branch(one, two)]
                    found += branch(one, two)
                case _:
                    found += self._statement(statement)
        return found

    def _statement(self, statement: ast.stmt) -> list[Step]:
        found = self._itself(statement)
        return found if isinstance(statement, ast.FunctionDef | ast.Expr) else [*found, *self.specials(statement)]

    def _itself(self, statement: ast.stmt) -> list[Step]:
        match statement:
            case ast.FunctionDef(name=name):
                if name.startswith(f"{PREFIX}body_"):
                    self._bodies[name] = statement
                elif not name.startswith(PREFIX):
                    self.take({name: statement})
                return []
            case ast.Assign(value=ast.Call() as value) if ours(value) == "run_each":
                return self._each(value, statement)
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if isinstance(made := plain(value), ast.Lambda):
                self.take({name: _as_function(name, value if isinstance(value, ast.Lambda) else made)})
                return self.expression(value)
            case ast.For():
                items = self.expression(statement.iter)
                body = self.statements(statement.body)
                loop = self._loop(statement, "for", statement.iter, self.lengths.of(plain(statement.iter)), body)
                return [*items, *loop, *self.statements(statement.orelse)]
            case ast.While(test=test, body=body):
                always = isinstance(test, ast.Constant) and bool(test.value)
                unlimited = Amount(Formula.of(int(always)), Formula.length(f"turns of line {statement.lineno}"))
                inside = [*self.expression(test), *self.statements(body)]
                return self._loop(statement, "while", test, unlimited, inside)
            case ast.Try() | ast.TryStar():
                ways = [self.statements(handler.body) for handler in statement.handlers]
                found = [*self.statements(statement.body), *self.statements(statement.orelse), *branch([], *ways)]
                return [*found, *self.statements(statement.finalbody)]
            case ast.With(items=items, body=body):
                managers = [step for item in items for step in self.expression(item.context_expr)]
                return [*managers, *self.statements(body)]
            case ast.Match(subject=subject, cases=cases):
                ways = [self.statements(case.body) for case in cases]
                return [*self.expression(subject), *branch([], *ways)]
            case ast.Return() | ast.Raise():
                return [*self.children(statement), Leave()]
            case ast.ClassDef() | ast.AsyncFunctionDef():
                return []
            case _:
                return self.children(statement)

    def _each(self, run: ast.Call, node: ast.stmt) -> list[Step]:
        items, name, in_sequence = run.args[0], run.args[1], run.args[2]
        assert isinstance(items, ast.Call)
        assert isinstance(name, ast.Name)
        assert isinstance(in_sequence, ast.Constant)
        entered = self._entered[position(node)]
        before = [*self.children(items)]
        self.loops.append(entered)
        body = [
            *self.effects.shared(entered),
            *self.effects.contexts(entered),
            *self.statements(self._bodies[name.id].body),
        ]
        self.loops.pop()
        goes_through = plain(items.args[0]) if items.args else items
        body = [*self.ahead(goes_through), *body]
        turns = self.lengths.of(goes_through)
        leaves = any(isinstance(part, ast.Call) and ours(part) in _LEFT for part in walk(self._bodies[name.id]))
        if leaves:
            turns = left_early(turns)
        return [
            *before,
            Loop(
                self.place(node), "for", text_of(goes_through), turns, True, body,
                in_sequence=bool(in_sequence.value), lookahead=_lookahead(items), leaves=leaves,
                rules=self.effects.rules(entered),
            ),
        ]  # fmt: skip

    def ahead(self, items: ast.expr) -> list[Step]:
        return [step for call in walk(items) if isinstance(call, ast.Call) for step in self._ahead(call)]

    def _ahead(self, call: ast.Call) -> Iterator[Step]:
        function = self.called(call.func)
        read = None if function is None or not isgeneratorfunction(function) else self.readings.of(function)
        if read is not None and any(map(_shows, all_steps(read.steps))):
            why = (
                f"`{text_of(call.func)}` is gone through ahead of the iterations: what it prints or changes comes early"
            )
            yield Trusted(self.place(call), why)

    # --- functions of the user's

    def _follow(self, call: ast.Call, callee: ast.expr) -> list[Step]:
        if isinstance(callee, ast.Name) and callee.id in self._made:
            node = self._made.pop(callee.id)  # while it is read: it may call itself
            inner = Reader(self.readings, self.scope, self._text, node)
            inner.take(self._made)
            steps = inner.function()
            self._made[callee.id] = node
            return self._within(call, callee.id, self.file, node.args, steps)
        if isinstance(callee, ast.Name) and self.is_made(callee.id):
            return []  # it calls itself
        ways = [self.of_function(call, each) for each in self.readings.callees.all_called(callee, self.scope)]
        found = branch(*ways) if ways else []
        back = [step for function in self._called_back(call) for step in self.of_function(call, function)]
        name = callee.attr if isinstance(callee, ast.Attribute) else callee.id if isinstance(callee, ast.Name) else ""
        if back and name in _MAPPING and len(call.args) > 1:
            items = plain(call.args[1])
            return [*found, *self._loop(call, name, items, self.lengths.of(items), back)]
        return [*found, *back]

    def _called_back(self, call: ast.Call) -> Iterator[types.FunctionType]:
        """Functions of the user's that are given to another one, and ask."""
        for argument in (*call.args, *values(call)):
            given = plain(argument)
            if isinstance(given, ast.Name | ast.Attribute) and (function := self.scope.function_of(given)) is not None:
                yield function

    def of_function(self, call: ast.Call, function: types.FunctionType) -> list[Step]:
        name, file = function.__qualname__, function.__code__.co_filename
        if self.readings.is_reading(function):
            asks = self.readings.callees.may_ask(function)
            return [Within(self.place(call), name, file, (), recursive=True)] if asks else []
        read = self.readings.of(function)
        if read is None:
            return []
        steps = read.steps if self.scope.has_turns(plain(call.func)) else without_turns(read.steps)
        return self._within(call, name, file, read.text.node.args, steps)

    def _within(
        self, call: ast.Call, name: str, file: str, arguments: ast.arguments, steps: Sequence[Step]
    ) -> list[Step]:
        names = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
        given = [plain(each) for each in call.args]
        bound = self._bound_to(call, names, given)
        kept = self.effects.whose.seen_from(steps, bound)
        if not kept:
            return []
        lengths = {f"len({name})": self.lengths.of(value) for name, value in bound.items()}
        return [Within(self.place(call), name, file, kept, lengths, made=name in self._made)]

    def _bound_to(self, call: ast.Call, names: Sequence[str], given: Sequence[ast.expr]) -> Mapping[str, ast.expr]:
        callee = plain(call.func)
        values = list(given)
        if isinstance(self.scope.found(callee), type):
            values.insert(0, ast.List([], ast.Load()))  # the object is made here
        elif isinstance(callee, ast.Attribute) and names[:1] in (["self"], ["cls"]):
            first = next((each.arg for each in self._node.args.args), "self")
            values.insert(0, ast.Name(first, ast.Load()) if is_super(callee.value) else callee.value)
        bound = dict(zip(names, values, strict=False))
        return {**bound, **{keyword.arg: plain(keyword.value) for keyword in call.keywords if keyword.arg}}


def _as_function(name: str, made: ast.Lambda) -> ast.FunctionDef:
    body = ast.copy_location(ast.Return(made.body), made.body)
    return ast.copy_location(ast.FunctionDef(name, made.args, [body], []), made)


def _leaves(body: Sequence[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], _LEAVING)


def _lookahead(items: ast.Call) -> int:
    given = [keyword.value for keyword in items.keywords if keyword.arg == "lookahead"] or items.args[1:2]
    return given[0].value if given and isinstance(given[0], ast.Constant) and isinstance(given[0].value, int) else 0


def _shows(step: Step) -> bool:
    """Whether a step is evidently one that others could see."""
    match step:
        case Later():
            return True
        case Placed(does=does):
            return does is not Does.READS
        case Wait(seen=seen):
            return seen
        case _:
            return False
