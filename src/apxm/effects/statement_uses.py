"""What statements do to what outlives an iteration, and which of it comes behind a call of a model."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence

from apxm.effects.expression_uses import ExpressionUses
from apxm.effects.libraries import ONLY_ADDS
from apxm.effects.patterns import (
    adding,
    called_as,
    counting,
    is_call_statement,
    is_plain,
    is_standard_stream,
    without_items,
)
from apxm.effects.roles import Kind, is_text_or_number, touches_beside_own
from apxm.effects.scopes import bound_names, own_nodes
from apxm.effects.trees import children


class StatementUses(ExpressionUses):
    """Finds the uses of names in a body, in the order in which they happen."""

    def statements(self, statements: Iterable[ast.stmt]) -> None:
        for statement in statements:
            self._statement(statement)

    def _statement(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Assign() if (found := counting(statement)) is not None:
                self._evaluate(found.value)
                self._evaluate(found.key)
                self._change(found.counts, statement, deferrable=True)
            case ast.Assign(targets=targets, value=value):
                self._evaluate(value)
                self._implied(statement)
                for target in targets:
                    self._store(target, statement)
            case ast.AnnAssign(target=target, value=value):
                if value is not None:
                    self._evaluate(value)
                    self._store(target, statement)
            case ast.AugAssign(target=target, value=value):
                self._augment(statement, target, value)
            case ast.Expr() if (item := adding(statement)) is not None:
                for part in (*item.keys, *item.arguments, *([] if item.default is None else [item.default])):
                    self._evaluate(part)
                for part in item.arguments:
                    self._goes_through(part, statement)
                self._change(item.container, statement, deferrable=True, deep=True)
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=receiver, attr=method)) as call) if is_call_statement(
                statement
            ):
                for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
                    self._evaluate(argument)
                    self._goes_through(argument, call)
                alone = method in ONLY_ADDS and is_plain(receiver)
                self._change(receiver, statement, deferrable=alone)
                role = self._role_of(call.func)
                if role.summary is not None:
                    self._touch(call, role)
                    self.called |= role.may_wait
            case ast.If(test=test, body=body, orelse=orelse):
                self._evaluate(test)
                self._implied(statement)
                self._branches([body, orelse])
            case ast.For(target=target, iter=items, body=body, orelse=orelse):
                self._evaluate(items)
                self._loop(body, lambda: self._begin_turn(statement), orelse)
            case ast.While(test=test, body=body, orelse=orelse):
                self._loop([ast.Expr(test), *body], lambda: self._implied(statement), orelse)
            case ast.Try() | ast.TryStar():
                self._try(statement)
            case ast.With(items=items, body=body):
                for item in items:
                    self._evaluate(item.context_expr)
                    self._managed(item.context_expr, "__enter__")
                    if item.optional_vars is not None:
                        self._store(item.optional_vars, statement)
                before = self._bound.copy()
                self.statements(body)
                if any(self._swallows(item.context_expr) for item in items):
                    self._bound = before
                    self.swallows |= any(isinstance(part, ast.Yield) for part in own_nodes(*body))
                for item in items:
                    self._managed(item.context_expr, "__exit__")
            case ast.Match(subject=subject, cases=cases):
                self._evaluate(subject)
                self._implied(statement)
                ways = [[*_captures(case.pattern), *_guard(case), *case.body] for case in cases]
                is_whole = cases[-1].guard is None and _takes_any(cases[-1].pattern)
                self._branches(ways if is_whole else [*ways, []])
            case ast.Delete(targets=targets):
                for target in targets:
                    if isinstance(target, ast.Name) and target.id not in self._bound:
                        self.exposed.add(target.id)
                    self._store(target, statement)
            case ast.Return(value=value):
                if value is not None:
                    self._evaluate(value)
                    self.given.append(value)
                self._exit(statement)
            case ast.Break() if not self._loops:
                self._exit(statement)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                self._inside(statement)
                self._implied(statement)
                self._bind(name, statement)
            case ast.Import() | ast.ImportFrom():
                for name in bound_names([statement]):
                    self._bind(name, statement)
            case _:
                for child in children(statement):
                    if isinstance(child, ast.expr):
                        self._evaluate(child)
                self._implied(statement)

    def _begin_turn(self, statement: ast.For) -> None:
        self._implied(statement)
        self._store(statement.target, statement)

    def _managed(self, manager: ast.expr, method: str) -> None:
        """A method of a context manager is called. One that is made there is nobody else's: what counts is what the
        method does beside that."""
        func = ast.copy_location(ast.Attribute(manager, method, ast.Load()), manager)
        call = ast.copy_location(ast.Call(func, [], []), manager)
        if not isinstance(manager, ast.Call):
            self._call(call)
            return
        role = self._role_of(func)
        if role.summary is not None and not role.guessed:
            self._touches(touches_beside_own(role.summary), call, lambda _: None)
            self._specials_of(role.summary, call, lambda _: None)
            self.called |= role.summary.waits

    def _swallows(self, manager: ast.expr) -> bool:
        """Whether what comes behind a `with` may be reached though its body was left by an exception."""
        if isinstance(manager, ast.Call):
            made = self._role_of(manager.func).summary
            if called_as(manager) in ("suppress", "raises", "assertRaises") or (made is not None and made.swallows):
                return True
        leaving = self._role_of(ast.copy_location(ast.Attribute(manager, "__exit__", ast.Load()), manager))
        return leaving.summary is not None and not leaving.guessed and leaving.summary.swallows

    def _branches(self, branches: Sequence[Sequence[ast.stmt]]) -> None:
        """Of several ways one is taken."""
        before, called = self._bound, self.called
        ends: list[set[str]] = []
        any_called = called
        for branch in branches:
            self._bound, self.called = before.copy(), called
            self.statements(branch)
            if not _leaves(branch):
                ends.append(self._bound)
            any_called |= self.called
        self._bound, self.called = _common(ends) if ends else before, any_called

    def _loop(self, body: Sequence[ast.stmt], bind: Callable[[], None], orelse: Sequence[ast.stmt]) -> None:
        before = self._bound.copy()
        # Its second turn comes behind the calls of its first one.
        self.called |= any(self._waits_in(part) for part in body)
        self._loops += 1
        bind()
        self.statements(body)
        self._loops -= 1
        self._bound = before
        self.statements(orelse)
        self._bound = before

    def _try(self, statement: ast.Try | ast.TryStar) -> None:
        before, called = self._bound.copy(), self.called
        self._in_try += 1
        self.statements(statement.body)
        if not statement.finalbody:  # which comes behind what is done later there
            self._in_try -= 1
        self.statements(statement.orelse)
        ends, self.called = [self._bound], called or self.called
        for handler in statement.handlers:
            self._bound = before.copy()
            if handler.type is not None:
                self._evaluate(handler.type)
            if handler.name is not None:
                self._bind(handler.name, handler)
            self.statements(handler.body)
            if not _leaves(handler.body):
                ends.append(self._bound)
        if statement.finalbody:
            self._in_try -= 1
        self._bound = _common(ends)
        after = self._bound
        self._bound = before.copy()
        self.statements(statement.finalbody)
        self._bound |= after

    def _exit(self, statement: ast.stmt) -> None:
        if self.called:
            self.exits.append(statement)

    # --- what is assigned to

    def _augment(self, statement: ast.AugAssign, target: ast.expr, value: ast.expr) -> None:
        self._evaluate(value)
        self._goes_through(value, statement)
        self._implied(statement)
        if isinstance(target, ast.Name):
            if target.id not in self._bound:
                self.exposed.add(target.id)
            self._use(target.id, Kind.ADD, statement, deferrable=True)
            self._change_in_place(target.id, statement)
        else:
            self._store(target, statement)

    def _change_in_place(self, name: str, statement: ast.AugAssign) -> None:
        """A list that a name of the body's own stands for is changed, whoever else has it."""
        if is_text_or_number(statement.value, self._role_of):
            return
        sources = self.origins.given_to(name)
        if sources or (self._is_function and not self.origins.binds(name)):
            self._waiting(name, placed=True)
        for source in sources if name in self._bound else ():
            self._change(source, statement)

    def _store(self, target: ast.expr, statement: ast.AST) -> None:
        match target:
            case ast.Name(id=name):
                self._bind(name, statement)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for part in parts:
                    self._store(part, statement)
            case ast.Starred(value=part):
                self._store(part, statement)
            case ast.Attribute() if is_standard_stream(target):
                self._use(f".{target.attr}", Kind.CHANGE, statement, through="sys")
                self.puts_streams = True
            case ast.Attribute():
                self._change(target, statement, deferrable=_is_alone(target, statement))
            case ast.Subscript(value=inner):
                self._evaluate(target.slice)
                self._implied(target)
                alone = _is_alone(target, statement) and is_plain(without_items(inner)[0])
                in_place = isinstance(statement, ast.AugAssign)  # of a list in the container, for instance
                deep = in_place and not is_text_or_number(statement.value, self._role_of)
                self._change(inner, statement, deferrable=alone, deep=deep)
            case _:
                self._evaluate(target)


def _common(sets: Sequence[set[str]]) -> set[str]:
    return sets[0].intersection(*sets[1:])


def _leaves(branch: Sequence[ast.stmt]) -> bool:
    """Whether what comes behind some statements is not reached from them."""
    return bool(branch) and isinstance(branch[-1], ast.Return | ast.Continue | ast.Break | ast.Raise)


def _is_alone(target: ast.expr, statement: ast.AST) -> bool:
    """Whether a statement does nothing but assign to a target."""
    match statement:
        case ast.Assign(targets=[one]):
            return one is target
        case ast.AugAssign(target=one):
            return one is target
        case _:
            return False


def _captures(pattern: ast.pattern) -> list[ast.stmt]:
    """What a pattern binds, as statements."""
    return [ast.Import([ast.alias(name)]) for name in sorted(bound_names([pattern]))]


def _takes_any(pattern: ast.pattern) -> bool:
    """Whether a pattern fits whatever there is, as ``_`` does."""
    match pattern:
        case ast.MatchAs(pattern=None):
            return True
        case ast.MatchAs(pattern=ast.pattern() as inner):
            return _takes_any(inner)
        case ast.MatchOr(patterns=patterns):
            return _takes_any(patterns[-1])
        case _:
            return False


def _guard(case: ast.match_case) -> list[ast.stmt]:
    return [] if case.guard is None else [ast.Expr(case.guard)]
