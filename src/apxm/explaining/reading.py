"""Reads what rewriting made of a function: what it asks, what waits, and what is done later."""

from __future__ import annotations

import ast
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from apxm.effects.scopes import parameters
from apxm.explaining.callees import AsyncScope, Callees, Scope, is_ask
from apxm.explaining.effects import Effects
from apxm.explaining.formulas import Amount, Formula
from apxm.explaining.lengths import Lengths
from apxm.explaining.model_calls import model_call
from apxm.explaining.names import Bindings
from apxm.explaining.rewritten import (
    COMPREHENSIONS,
    Position,
    Rewritten,
    behind_turn,
    ours,
    plain,
    position,
    rewritten,
)
from apxm.explaining.shape import (
    Ask,
    Branch,
    Leave,
    Loop,
    Place,
    Step,
    Wait,
    Within,
    all_steps,
    asks,
    without_turns,
)
from apxm.rewriting.names import Entered
from apxm.rewriting.nodes import PREFIX, RefusedError

_LEAVING = (ast.Return, ast.Continue, ast.Break, ast.Raise)


@dataclass(frozen=True)
class Read:
    """A function that was read."""

    steps: Sequence[Step]
    text: Rewritten


class Readings:
    """All functions of a program, each read once."""

    def __init__(self, callees: Callees) -> None:
        self.callees = callees
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


class Reader:
    """Reads one function, or one that is made in it."""

    def __init__(self, readings: Readings, scope: Scope, text: Rewritten, node: ast.FunctionDef | None = None) -> None:
        self.readings = readings
        self.scope = scope
        self.file = scope.function.__code__.co_filename
        self._text = text
        self._node = text.node if node is None else node
        self.bindings = Bindings(self._node.body, parameters(self._node), scope)
        self.lengths = Lengths(scope.body(), scope.names)
        self.loops: list[Entered] = []
        """The loops over `each` around what is read, the outermost first."""
        self._entered = {position(each.node): each for each in text.entered}
        self._bodies: dict[str, ast.FunctionDef] = {}
        self._made: dict[str, ast.FunctionDef] = {}
        """Functions that are made in it."""
        self._made_names: set[str] = set()
        self._effects = Effects(self)

    def take(self, made: Mapping[str, ast.FunctionDef]) -> None:
        """Functions that are made around it."""
        self._made |= made
        self._made_names |= made.keys()

    def is_made(self, name: str) -> bool:
        """Whether a name is that of a function that is made here, or around."""
        return name in self._made_names

    def function(self) -> list[Step]:
        return self.statements(self._node.body)

    def place(self, node: ast.AST) -> Place:
        return Place(self.file, node)

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
                    if _is_ours(test):
                        continue
                    found += self.expression(test)
                    one, two = self.statements(body), self.statements(orelse)
                    rest = statements[k + 1 :]
                    if _leaves(body) != _leaves(orelse):
                        (two if _leaves(body) else one).extend(self.statements(rest))
                        return [*found, *_branch(one, two)]
                    found += _branch(one, two)
                case _:
                    found += self._statement(statement)
        return found

    def _statement(self, statement: ast.stmt) -> list[Step]:
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
                found = [*self.statements(statement.body), *self.statements(statement.orelse), *_branch([], *ways)]
                return [*found, *self.statements(statement.finalbody)]
            case ast.With(items=items, body=body):
                managers = [step for item in items for step in self.expression(item.context_expr)]
                return [*managers, *self.statements(body)]
            case ast.Match(subject=subject, cases=cases):
                ways = [self.statements(case.body) for case in cases]
                return [*self.expression(subject), *_branch([], *ways)]
            case ast.Return() | ast.Raise():
                return [*self.children(statement), Leave()]
            case ast.ClassDef() | ast.AsyncFunctionDef():
                return []
            case _:
                return self.children(statement)

    def _loop(self, node: ast.AST, kind: str, items: ast.expr, turns: Amount, body: Sequence[Step]) -> list[Step]:
        if not body and position(node) not in self._text.refused:
            return []
        leaves = isinstance(node, ast.For | ast.While) and _may_leave(node.body)
        if leaves:
            turns = _left_early(turns)
        return [Loop(self.place(node), kind, _text(items), turns, False, body, leaves=leaves)]

    def _each(self, run: ast.Call, node: ast.stmt) -> list[Step]:
        items, name, in_sequence = run.args[0], run.args[1], run.args[2]
        assert isinstance(items, ast.Call)
        assert isinstance(name, ast.Name)
        assert isinstance(in_sequence, ast.Constant)
        entered = self._entered[position(node)]
        before = [*self.children(items)]
        self.loops.append(entered)
        body = self.statements(self._bodies[name.id].body)
        self.loops.pop()
        goes_through = plain(items.args[0]) if items.args else items
        turns = self.lengths.of(goes_through)
        leaves = any(isinstance(part, ast.Call) and ours(part) in _LEFT for part in ast.walk(self._bodies[name.id]))
        if leaves:
            turns = _left_early(turns)
        return [
            *before,
            Loop(
                self.place(node), "for", _text(goes_through), turns, True, body,
                in_sequence=bool(in_sequence.value), lookahead=_lookahead(items), leaves=leaves,
                rules=self._effects.rules(entered),
            ),
        ]  # fmt: skip

    # --- expressions

    def expression(self, node: ast.expr) -> list[Step]:
        match node:
            case ast.Call():
                return self._called(node)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return [*self.expression(test), *_branch(self.expression(body), self.expression(orelse))]
            case ast.BoolOp() if (waiting := behind_turn(node)) is not None:
                turn, inner = waiting
                if ours(turn) == "reads":
                    return [*self._effects.placed(turn), *self.expression(inner)]
                return [*self._effects.turn(turn, inner), *self.expression(inner)]
            case ast.BoolOp(values=[first, *others]):
                rest = [step for other in others for step in self.expression(other)]
                return [*self.expression(first), *_branch([], rest)]
            case ast.Lambda():
                return []
            case _ if isinstance(node, COMPREHENSIONS):
                return self._comprehension(node)
            case _:
                return self.children(node)

    def children(self, node: ast.AST) -> list[Step]:
        found: list[Step] = []
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                found += self.expression(child)
            elif isinstance(child, ast.keyword):
                found += self.expression(child.value)
        return found

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp, generators: int = 0
    ) -> list[Step]:
        """The rest of a comprehension, from so many of its generators on."""
        if generators == len(node.generators):
            parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            return [step for part in parts for step in self.expression(part)]
        generator = node.generators[generators]
        inner = self._comprehension(node, generators + 1)
        tests = [step for test in generator.ifs for step in self.expression(test)]
        body = [*tests, *(_branch([], inner) if generator.ifs else inner)]
        if _is_ours(generator.iter) and isinstance(generator.iter, ast.Tuple):
            return body  # the item of an `each`
        before = self.expression(generator.iter)
        turns = self.lengths.of(plain(generator.iter))
        return [*before, *self._loop(node, "comprehension", generator.iter, turns, body)]

    def _gather(self, call: ast.Call) -> list[Step]:
        items, body, *_ = call.args
        assert isinstance(items, ast.Call)
        assert isinstance(body, ast.Lambda)
        before = self.children(items)
        entered = self._entered[position(body.body)]
        self.loops.append(entered)
        inside = self.expression(body.body)
        self.loops.pop()
        goes_through = plain(items.args[0]) if items.args else items
        turns = self.lengths.of(goes_through)
        place, rules = self.place(body.body), self._effects.rules(entered)
        return [*before, Loop(place, "comprehension", _text(goes_through), turns, True, inside, rules=rules)]

    def _called(self, call: ast.Call) -> list[Step]:
        match ours(call):
            case None:
                return self._theirs(call)
            case "gather":
                return self._gather(call)
            case "begin":
                callee, *arguments = call.args
                inside = [step for part in (*arguments, *_values(call)) for step in self.expression(part)]
                return [*inside, self._ask(callee, arguments, call, begun=True)]
            case "end" | "Broke":
                return []
            case "turn":
                return list(self._effects.turn(call, None))
            case "turn_of":
                return [*self.children(call), *self._effects.turn(call, call.args[1])]
            case "reading" | "setting":
                return [*self.children(call), *self._effects.placed(call)]
            case "adding" | "set_attribute" | "set_item" | "add_to_item" | "count" | "call_of":
                inside = [step for part in (*call.args[1:], *_values(call)) for step in self.expression(part)]
                return [*inside, *self._effects.given(call), *self._effects.placed(call), *self._placed_method(call)]
            case "later" | "later_call" | "later_change":
                inside = [step for part in (*call.args[1:], *_values(call)) for step in self.expression(part)]
                return [*inside, *self._effects.given(call), *self._effects.later(call)]
            case "touch":
                return [*self.children(call), *self._effects.touch(call)]
            case "iterate":
                return [*self.children(call), *self._effects.iterate(call)]
            case "manage":
                return [*self.children(call), *self._effects.manage(call)]
            case _:
                return self.children(call)

    def _placed_method(self, call: ast.Call) -> list[Step]:
        """What a method does that is called like one of a container, where it is one of the user's."""
        method = call.args[1] if ours(call) == "call_of" else None
        if not isinstance(method, ast.Attribute) or not self.scope.methods(
            callee := cast(ast.Attribute, plain(method))
        ):
            return []
        return self._follow(ast.copy_location(ast.Call(callee, call.args[2:], call.keywords), call), callee)

    def _theirs(self, call: ast.Call) -> list[Step]:
        """A call that the user wrote."""
        callee = plain(call.func)
        if isinstance(callee, ast.Name) and callee.id in ("isinstance", "len", "str") and ours(call.func) is None:
            return self.children(call)
        role = self.scope.role_of(callee)
        inside = [step for part in (call.func, *call.args, *_values(call)) for step in self.expression(part)]
        if is_ask(role):
            return [*inside, self._ask(callee, call.args, call)]
        waits = self._effects.call(call, callee, role)
        return [*inside, *waits, *self._follow(call, callee)]

    def _ask(self, callee: ast.expr, arguments: Sequence[ast.expr], call: ast.Call, *, begun: bool = False) -> Ask:
        options = {keyword.arg: plain(keyword.value) for keyword in call.keywords}
        given = [plain(part) for part in (*arguments, *(options.get(name) for name in _PROMPTS)) if part is not None]
        parts = [part for each in given for part in ast.walk(each)]
        texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        names = [part.id for part in parts if isinstance(part, ast.Name)]
        written = model_call(callee)
        name = (
            callee.id if isinstance(callee, ast.Name) else callee.attr if isinstance(callee, ast.Attribute) else "ask"
        )
        return Ask(
            self.place(call), getattr(self.scope.found(callee), "__name__", name) if written is None else written,
            sum(map(len, texts)), sum(map(self.bindings.is_answer, names)), begun,
            _number(options.get("max_tokens")), _number(options.get("retries")) or 0,
        )  # fmt: skip

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
        ways = [self._of_function(call, each) for each in self.readings.callees.all_called(callee, self.scope)]
        found = _branch(*ways) if ways else []
        back = [step for function in self._called_back(call) for step in self._of_function(call, function)]
        name = callee.attr if isinstance(callee, ast.Attribute) else callee.id if isinstance(callee, ast.Name) else ""
        if back and name in _MAPPING and len(call.args) > 1:
            items = plain(call.args[1])
            return [*found, *self._loop(call, name, items, self.lengths.of(items), back)]
        return [*found, *back]

    def _called_back(self, call: ast.Call) -> Iterator[types.FunctionType]:
        """Functions of the user's that are given to another one, and ask."""
        for argument in (*call.args, *_values(call)):
            given = plain(argument)
            if isinstance(given, ast.Name | ast.Attribute) and (function := self.scope.function_of(given)) is not None:
                yield function

    def _of_function(self, call: ast.Call, function: types.FunctionType) -> list[Step]:
        name, file = function.__qualname__, function.__code__.co_filename
        if self.readings.is_reading(function):
            return [Within(self.place(call), name, file, (), recursive=True)] if self._may_ask(function) else []
        read = self.readings.of(function)
        if read is None:
            return []
        steps = read.steps if self.scope.has_turns(plain(call.func)) else without_turns(read.steps)
        return self._within(call, name, file, read.text.node.args, steps)

    def _may_ask(self, function: types.FunctionType) -> bool:
        return self.readings.callees.may_ask(function)

    def _within(
        self, call: ast.Call, name: str, file: str, arguments: ast.arguments, steps: Sequence[Step]
    ) -> list[Step]:
        names = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
        given = [plain(each) for each in call.args]
        bound = self._bound_to(call, names, given)
        kept = self._effects.seen_from(steps, bound)
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
            values.insert(0, callee.value)
        bound = dict(zip(names, values, strict=False))
        return {**bound, **{keyword.arg: plain(keyword.value) for keyword in call.keywords if keyword.arg}}


_MAPPING = frozenset({"imap", "imap_unordered", "map", "starmap", "amap"})
"""Functions that call another one with each of several items."""
_LEFT = ("Broke", "Returned")
_PROMPTS = ("system", "prompt", "messages", "input", "instructions", "contents")


def _as_function(name: str, made: ast.Lambda) -> ast.FunctionDef:
    body = ast.copy_location(ast.Return(made.body), made.body)
    return ast.copy_location(ast.FunctionDef(name, made.args, [body], []), made)


def _left_early(turns: Amount) -> Amount:
    return Amount(Formula.of(1).least(turns.low), turns.high)


def _values(call: ast.Call) -> list[ast.expr]:
    return [keyword.value for keyword in call.keywords]


def _branch(*ways: Sequence[Step]) -> list[Step]:
    if any(asks(way) or Leave() in way for way in ways):
        return [Branch(ways)]
    return [step for way in ways for step in way]


def _leaves(body: Sequence[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], _LEAVING)


def _may_leave(body: Sequence[ast.stmt]) -> bool:
    """Whether a loop with that body may end before it has gone through everything."""
    left: list[tuple[ast.AST, bool]] = [(statement, True) for statement in body]
    while left:
        node, own = left.pop()
        if isinstance(node, ast.Return) or (own and isinstance(node, ast.Break)):
            return True
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        inner = own and not isinstance(node, ast.For | ast.While)
        left += [(child, inner) for child in ast.iter_child_nodes(node)]
    return False


def _is_ours(node: ast.AST) -> bool:
    """Whether something was put in by us, and does nothing of the user's."""
    return any(isinstance(part, ast.Name) and part.id.startswith(PREFIX) for part in ast.walk(node)) and not any(
        isinstance(part, ast.Name) and not part.id.startswith(PREFIX) for part in ast.walk(node)
    )


def _lookahead(items: ast.Call) -> int:
    given = [keyword.value for keyword in items.keywords if keyword.arg == "lookahead"] or items.args[1:2]
    return given[0].value if given and isinstance(given[0], ast.Constant) and isinstance(given[0].value, int) else 0


def _number(node: ast.expr | None) -> int | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, int) else None


def _text(node: ast.expr) -> str:
    return " ".join(ast.unparse(plain(node)).split())
