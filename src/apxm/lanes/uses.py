"""What the body of an `each` does to what outlives an iteration, and when: before or after it may have called a model.

Each use of a name from around the body gets a *rule*:

- `FREE`: at once. Nobody changes it, or everything about it happens before the first call, which is in order.
- `LATER`: it is only added to, and nothing reads it: that is kept until the turn of the iteration.
- `TURN`: it waits for its turn, and keeps it from then on.
- `CARRIED`: what one iteration leaves in the name decides what the next one asks: no `each` can do that.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from apxm.lanes.known import ONLY_ADDS, Known
from apxm.lanes.roles import (
    RoleOf,
    changed_arguments,
    changes_first,
    is_call_statement,
    is_plain,
    root,
)
from apxm.lanes.scopes import bound_names, free_loads
from apxm.lanes.summaries import Captured


class Rule(Enum):
    FREE = "free"
    LATER = "later"
    TURN = "turn"
    CARRIED = "carried"


class Kind(Enum):
    LOAD = "reads"
    BIND = "sets"
    ADD = "adds to"
    CHANGE = "changes"


@dataclass(eq=False)
class Use:
    """One place of a body at which a name from around it is used."""

    name: str
    kind: Kind
    node: ast.AST
    """The name where it is read or bound; the statement that adds to it or changes it."""
    after_call: bool
    """Whether a model may have been called before it, in the same iteration."""
    deferrable: bool = False
    """Whether it can be done later, as nothing in the body needs it done."""


_MADE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.SetComp, ast.DictComp, ast.Constant, ast.JoinedStr)


class Around(NamedTuple):
    """What is known of the function around a loop."""

    captured: Mapping[str, Captured] = MappingProxyType({})
    """By the names of functions that it makes."""
    same: Mapping[str, frozenset[str]] = MappingProxyType({})
    """For a name, those that may stand for the same, or for a part of it."""


class Uses:
    """The uses of names in a body, found in the order in which they happen."""

    def __init__(
        self,
        body: Sequence[ast.stmt],
        target: ast.expr,
        role_of: RoleOf,
        around: Around,
        waits: frozenset[str] = frozenset(),
    ) -> None:
        """`waits` are the names of which it is known that their uses wait for a turn."""
        self._role_of = role_of
        self._around = around
        self._following: set[str] = set()
        """Functions of the one around that are being followed: they may call each other."""
        self._waits = waits
        self._stands_for: dict[str, set[str]] = {}
        """Names of an iteration, and those from around it by a path from which they were bound."""
        self._fresh: set[str] = set()
        """Names of an iteration that are bound to what was made there."""
        self._called = False
        self._in_try = 0
        self.found: list[Use] = []
        self.exits: list[ast.stmt] = []
        """Each `break` and `return` that may come after a call."""
        self.called_late: list[ast.Call] = []
        """Each call of anything that may come after one of a model."""
        self._loops = 0
        self._bound: set[str] = set()
        """What is bound for certain at this point."""
        self.exposed: set[str] = set()
        """What is read where it is not bound for certain."""
        self._targets(target)
        self.statements(body)

    # --- statements

    def statements(self, statements: Iterable[ast.stmt]) -> None:
        for statement in statements:
            self._statement(statement)

    def _statement(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Assign(targets=targets, value=value):
                self._evaluate(value)
                for target in targets:
                    self._store(target, statement)
                    self._named(target, value)
            case ast.AnnAssign(target=target, value=value):
                if value is not None:
                    self._evaluate(value)
                    self._store(target, statement)
            case ast.AugAssign(target=target, value=value):
                self._augment(statement, target, value)
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=receiver, attr=method)) as call) if is_call_statement(
                statement
            ):
                name = root(receiver)
                assert name is not None
                for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
                    self._evaluate(argument)
                self._evaluate_path(receiver, name)
                alone = method in ONLY_ADDS and is_plain(receiver)
                self._use(name, Kind.CHANGE, statement, deferrable=alone)
            case ast.If(test=test, body=body, orelse=orelse):
                self._evaluate(test)
                self._branches([body, orelse])
            case ast.For(target=target, iter=items, body=body, orelse=orelse):
                self._evaluate(items)
                self._loop(body, lambda: self._store(target, statement), orelse)
            case ast.While(test=test, body=body, orelse=orelse):
                self._loop([ast.Expr(test), *body], None, orelse)
            case ast.Try() | ast.TryStar():
                self._try(statement)
            case ast.With(items=items, body=body):
                for item in items:
                    self._evaluate(item.context_expr)
                    if item.optional_vars is not None:
                        self._store(item.optional_vars, statement)
                self.statements(body)
            case ast.Match(subject=subject, cases=cases):
                self._evaluate(subject)
                self._branches([[*_captures(case.pattern), *_guard(case), *case.body] for case in cases] + [[]])
            case ast.Delete(targets=targets):
                for target in targets:
                    if isinstance(target, ast.Name) and target.id not in self._bound:
                        self.exposed.add(target.id)
                    self._store(target, statement)
            case ast.Return(value=value):
                if value is not None:
                    self._evaluate(value)
                self._exit(statement)
            case ast.Break() if not self._loops:
                self._exit(statement)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                self._reads(free_loads(statement), statement)
                self._bind(name, statement)
            case ast.Import() | ast.ImportFrom():
                for name in bound_names([statement]):
                    self._bind(name, statement)
            case _:
                for child in ast.iter_child_nodes(statement):
                    if isinstance(child, ast.expr):
                        self._evaluate(child)

    def _branches(self, branches: Sequence[Sequence[ast.stmt]]) -> None:
        """Of several ways one is taken."""
        before, called = self._bound, self._called
        ends: list[set[str]] = []
        any_called = called
        for branch in branches:
            self._bound, self._called = before.copy(), called
            self.statements(branch)
            if not (branch and isinstance(branch[-1], ast.Return | ast.Continue | ast.Break | ast.Raise)):
                ends.append(self._bound)
            any_called |= self._called
        self._bound, self._called = _common(ends) if ends else before, any_called

    def _loop(self, body: Sequence[ast.stmt], bind: Callable[[], None] | None, orelse: Sequence[ast.stmt]) -> None:
        before = self._bound.copy()
        # Its second turn comes behind the calls of its first one.
        self._called |= any(self._waits_in(part) for part in body)
        self._loops += 1
        if bind is not None:
            bind()
        self.statements(body)
        self._loops -= 1
        self._bound = before
        self.statements(orelse)
        self._bound = before

    def _try(self, statement: ast.Try | ast.TryStar) -> None:
        before, called = self._bound.copy(), self._called
        self._in_try += 1
        self.statements(statement.body)
        self.statements(statement.orelse)
        ends, self._called = [self._bound], called or self._called
        for handler in statement.handlers:
            self._bound = before.copy()
            if handler.type is not None:
                self._evaluate(handler.type)
            if handler.name is not None:
                self._bind(handler.name, handler)
            self.statements(handler.body)
            ends.append(self._bound)
        self._in_try -= 1
        self._bound = _common(ends)
        after = self._bound
        self._bound = before.copy()
        self.statements(statement.finalbody)
        self._bound |= after

    def _exit(self, statement: ast.stmt) -> None:
        if self._called:
            self.exits.append(statement)

    # --- expressions

    def _augment(self, statement: ast.AugAssign, target: ast.expr, value: ast.expr) -> None:
        self._evaluate(value)
        if isinstance(target, ast.Name):
            if target.id not in self._bound:
                self.exposed.add(target.id)
            self._use(target.id, Kind.ADD, statement, deferrable=True)
        else:
            self._store(target, statement)

    def _store(self, target: ast.expr, statement: ast.stmt) -> None:
        match target:
            case ast.Name(id=name):
                self._bind(name, statement)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for part in parts:
                    self._store(part, statement)
            case ast.Starred(value=part):
                self._store(part, statement)
            case ast.Attribute(value=inner) | ast.Subscript(value=inner):
                if isinstance(target, ast.Subscript):
                    self._evaluate(target.slice)
                name = root(inner)
                if name is None:
                    self._evaluate(inner)
                else:
                    self._evaluate_path(inner, name)
                    alone = isinstance(statement, ast.Assign | ast.AugAssign) and target in _targets_of(statement)
                    later = alone and isinstance(target, ast.Subscript) and is_plain(inner)
                    self._use(name, Kind.CHANGE, statement, deferrable=later)
            case _:
                self._evaluate(target)

    def _targets(self, target: ast.expr) -> None:
        self._items = bound_names([target])
        self._bound |= self._items

    def _bind(self, name: str, node: ast.AST) -> None:
        self._use(name, Kind.BIND, node)
        self._bound.add(name)

    def _named(self, target: ast.expr, value: ast.expr) -> None:
        """A name of an iteration is bound to what `value` gives."""
        if not isinstance(target, ast.Name):
            return
        self._fresh.discard(target.id)
        name = root(value)
        if isinstance(value, _MADE) or (isinstance(value, ast.Call) and self._role_of(value.func).makes):
            self._fresh.add(target.id)
        elif name is not None:
            self._stands_for.setdefault(target.id, set()).add(name)

    def _evaluate(self, node: ast.AST) -> None:
        """What an expression does, in the order in which it does it."""
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                self._reads((name,), node)
            case ast.NamedExpr(target=target, value=value):
                self._evaluate(value)
                self._bind(target.id, node)
            case ast.Lambda():
                self._reads(free_loads(node), node)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                self._evaluate(node.generators[0].iter)
                self._called |= self._waits_in(node)
                self._reads(free_loads(node), node)
                for part in ast.walk(node):
                    if isinstance(part, ast.Call):
                        self._call(part)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self._evaluate(test)
                self._branches([[ast.Expr(body)], [ast.Expr(orelse)]])
            case ast.Call(func=func, args=arguments, keywords=keywords):
                self._evaluate(func)
                for argument in (*arguments, *(keyword.value for keyword in keywords)):
                    self._evaluate(argument)
                for part in (func, *arguments):  # it is called now, and was only named before its arguments asked
                    if isinstance(part, ast.Name):
                        self._follow_named(part.id, node)
                self._call(node)
            case _:
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.expr):
                        self._evaluate(child)

    def _waits_in(self, node: ast.AST) -> bool:
        """Whether other iterations may go on somewhere in there."""
        return any(isinstance(part, ast.Call) and self._role_of(part.func).may_wait for part in ast.walk(node))

    def _call(self, call: ast.Call) -> None:
        role = self._role_of(call.func)
        if self._called:
            self.called_late.append(call)
        if role.summary is not None:
            for name in role.summary.reads:
                self._reads((name,), call)
            for name in role.summary.changes:
                self._use(name, Kind.CHANGE, call)
            for argument in changed_arguments(call, role.summary):
                self._changes(argument, call)
        elif role.is_unknown:
            if isinstance(call.func, ast.Attribute) and not role.found:
                self._changes(call.func.value, call)
            for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
                self._changes(argument, call)
        elif call.args and (role.known is Known.ITS_FIRST or changes_first(call)):
            self._changes(call.args[0], call)
        self._called |= role.may_wait

    def _changes(self, path: ast.expr, node: ast.AST) -> None:
        name = root(path)
        if name is not None:
            self._use(name, Kind.CHANGE, node)

    def _evaluate_path(self, path: ast.expr, name: str) -> None:
        """What is read on the way to what is changed, but for the name itself."""
        self._reads(free_loads(path) - {name}, path)

    def _reads(self, names: Iterable[str], node: ast.AST) -> None:
        for name in names:
            if name not in self._bound:
                self.exposed.add(name)
            self._use(name, Kind.LOAD, node)
            self._follow_named(name, node)

    def _follow_named(self, name: str, node: ast.AST) -> None:
        captured = self._around.captured.get(name)
        if captured is not None and name not in self._following:
            self._following.add(name)
            self._follow(captured, node)
            self._following.discard(name)

    def _follow(self, captured: Captured, node: ast.AST) -> None:
        """A function of the one around may be called here."""
        self._reads(captured.reads, node)
        for name in captured.binds:
            self.exposed.add(name)
            self._use(name, Kind.BIND, node)
        for name in captured.changes:
            self._use(name, Kind.CHANGE, node)

    def _use(self, name: str, kind: Kind, node: ast.AST, *, deferrable: bool = False) -> None:
        self.found.append(Use(name, kind, node, self._called, deferrable and not self._in_try))
        if kind in (Kind.LOAD, Kind.CHANGE):
            for other in {*self._stands_for.get(name, ()), *self._around.same.get(name, ())} - {name}:
                self.found.append(Use(other, kind, node, self._called))
        if kind is Kind.CHANGE and name in self._bound and name not in self._fresh:
            self._called = True  # who knows whose it is: it waits for its turn
        if name in self._waits and not (deferrable and not self._in_try):
            self._called = True

    # --- what follows

    @property
    def bound(self) -> set[str]:
        """The names that an iteration binds, its item's included."""
        return {use.name for use in self.found if use.kind in (Kind.BIND, Kind.ADD)} | self._items

    @property
    def changed(self) -> set[str]:
        """The names that it does more with than read them."""
        return {use.name for use in self.found if use.kind is not Kind.LOAD}

    def rules(self, said: set[str]) -> tuple[set[str], dict[str, Rule]]:
        """The names that each iteration has for itself, and the rules of the others; the function around has
        `said` of some that they are not its own."""
        own = {name for name in self.bound if name not in self.exposed and name not in said}
        by_name: dict[str, list[Use]] = {}
        for use in self.found:
            if use.name not in own:
                by_name.setdefault(use.name, []).append(use)
        return own, {name: _rule(uses) for name, uses in by_name.items()}


def uses_in(
    body: Sequence[ast.stmt], target: ast.expr, role_of: RoleOf, said: set[str], around: Around
) -> tuple[Uses, set[str], dict[str, Rule]]:
    """What a body does, the names that each iteration has for itself, and the rules of the others.

    A use that waits for its turn lets other iterations go on, so whatever comes behind it comes behind a call.
    """
    waits: frozenset[str] = frozenset()
    while True:
        uses = Uses(body, target, role_of, around, waits)
        own, rules = uses.rules(said)
        found = frozenset(name for name, rule in rules.items() if rule is Rule.TURN)
        if found <= waits:
            return uses, own, rules
        waits |= found


def _rule(uses: Sequence[Use]) -> Rule:
    """The rule of a name that outlives an iteration and whose value there comes from before it."""
    changes = [use for use in uses if use.kind is not Kind.LOAD]
    called = any(isinstance(use.node, ast.Call) for use in changes)  # which itself waits for its turn
    if not changes or not (called or any(use.after_call for use in uses)):
        return Rule.FREE
    if len(changes) == len(uses) and all(use.deferrable for use in uses):
        return Rule.LATER
    rebinds = any(use.kind in (Kind.BIND, Kind.ADD) for use in changes)
    if rebinds and not all(use.after_call for use in uses):
        return Rule.CARRIED
    return Rule.TURN


def _common(sets: Sequence[set[str]]) -> set[str]:
    return sets[0].intersection(*sets[1:])


def _targets_of(statement: ast.Assign | ast.AugAssign) -> list[ast.expr]:
    return statement.targets if isinstance(statement, ast.Assign) else [statement.target]


def _captures(pattern: ast.pattern) -> list[ast.stmt]:
    """What a pattern binds, as statements."""
    return [ast.Import([ast.alias(name)]) for name in sorted(bound_names([pattern]))]


def _guard(case: ast.match_case) -> list[ast.stmt]:
    return [] if case.guard is None else [ast.Expr(case.guard)]
