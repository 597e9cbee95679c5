"""What functions of the user's do to their parameters and to names from around them, as far as their text says."""

from __future__ import annotations

import ast
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from apxm.lanes.known import TEXT_METHODS, Known
from apxm.lanes.roles import EVIDENT, RoleOf, Summary, changed_arguments, changes_first, root
from apxm.lanes.scopes import bound_names, declared, free_loads, own_nodes, parameters

Callee = types.FunctionType | Known | None
"""What is called: a function of the user's, one of which it is known what it does, or anything."""


class Reader:
    """Reads one function."""

    def __init__(
        self,
        node: ast.FunctionDef,
        callee: Callable[[ast.expr], Callee],
        is_state: Callable[[str], bool],
        summary_of: Callable[[types.FunctionType], Summary],
    ) -> None:
        """`callee` says what an expression that is called means, `is_state` whether a name of the module stands for
        something that can change."""
        self._callee = callee
        self._is_state = is_state
        self._summary_of = summary_of
        self._parameters = parameters(node)
        self._local = bound_names(node.body) - declared(node.body)
        self._declared = declared(node.body)
        self._stands_for: dict[str, set[str]] = {}
        """Local names, and the parameters and names of the module by a path from which they were bound."""
        self._reads: set[str] = set()
        self._changes: set[str] = set()
        self._draws = False
        for part in ast.walk(node):
            self._aliases(part)
        for part in ast.walk(node):
            self._part(part)
        arguments = node.args
        named = tuple(argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))
        self.found = Summary(
            frozenset(filter(is_state, self._reads)),
            frozenset(name for name in self._changes if name not in self._parameters),
            named,
            frozenset(self._changes & self._parameters),
            self._draws,
        )

    def _aliases(self, part: ast.AST) -> None:
        match part:
            case ast.Assign(targets=targets, value=value):
                sources = [value]
            case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
                targets, sources = [target], [value, *(value.args if isinstance(value, ast.Call) else ())]
            case ast.NamedExpr(target=target, value=value):
                targets, sources = [target], [value]
            case _:
                return
        roots = {found for source in sources if (found := root(source)) is not None}
        for name in bound_names(targets) if roots else ():
            self._stands_for.setdefault(name, set()).update(roots)

    def _roots(self, name: str) -> Iterator[str]:
        """The parameters and names of the module that a name may stand for."""
        seen, left = {name}, [name]
        while left:
            each = left.pop()
            if each in self._parameters or each not in self._local:
                yield each
            more = self._stands_for.get(each, set()) - seen
            seen |= more
            left += more

    def _part(self, part: ast.AST) -> None:
        match part:
            case ast.Name(id=name, ctx=ast.Load()) if name not in self._local and name not in self._parameters:
                self._reads.add(name)
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) if name in self._declared:
                self._changes.add(name)
            case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                self._changed(part)
            case ast.AugAssign(target=ast.Name() as target):
                self._changed(target)
            case ast.Call():
                self._call(part)
            case _:
                pass

    def _changed(self, path: ast.expr) -> None:
        name = root(path)
        if name is not None:
            self._changes |= set(self._roots(name))

    def _call(self, call: ast.Call) -> None:
        callee = self._callee(call.func)
        if callee is Known.DRAWS:
            self._draws = True
        elif callee is Known.ITS_FIRST or changes_first(call):
            self._changed(call.args[0]) if call.args else None
        elif isinstance(callee, types.FunctionType):
            self._follow(call, self._summary_of(callee))
        elif callee is None:
            method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            if method in TEXT_METHODS and method not in EVIDENT:
                return
            if isinstance(call.func, ast.Attribute):
                self._changed(call.func.value)
            for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
                self._changed(argument)

    def _follow(self, call: ast.Call, summary: Summary) -> None:
        self._reads |= summary.reads
        self._changes |= summary.changes
        self._draws |= summary.draws
        for argument in changed_arguments(call, summary):
            self._changed(argument)


class Captured(NamedTuple):
    """What a function that is made in the function around a loop does to names of that."""

    reads: frozenset[str] = frozenset()
    binds: frozenset[str] = frozenset()
    changes: frozenset[str] = frozenset()


def captured_by(node: ast.FunctionDef | ast.Lambda, role_of: RoleOf) -> Captured:
    """What a function that is made in another one does to the names of that."""
    free = free_loads(node)
    body = node.body if isinstance(node, ast.FunctionDef) else [node.body]
    binds = {name for part in body for name in declared([part])} & bound_names(body)
    changes: set[str | None] = set()
    for part in (part for statement in body for part in ast.walk(statement)):
        match part:
            case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                changes.add(root(part))
            case ast.Assign(value=value) | ast.NamedExpr(value=value) | ast.For(iter=value):
                changes.add(root(value))  # by another name it may be changed
            case ast.Call(func=func, args=arguments, keywords=keywords):
                role = role_of(func)
                if isinstance(func, ast.Attribute) and not role.looks_only and not role.found:
                    changes.add(root(func.value))
                if role.is_unknown or role.summary is not None or role.known is Known.ITS_FIRST:
                    changes |= {root(given) for given in (*arguments, *(keyword.value for keyword in keywords))}
            case _:
                pass
    return Captured(frozenset(free), frozenset(binds), frozenset(name for name in changes if name in free))


def same_in(body: Sequence[ast.stmt]) -> Mapping[str, frozenset[str]]:
    """The names of a function that may stand for the same, as one was bound to what another one has."""
    groups: dict[str, set[str]] = {}
    for part in own_nodes(*body):
        match part:
            case ast.Assign(targets=targets, value=value):
                bound, source = bound_names(targets), root(value)
            case ast.For(target=target, iter=value) | ast.NamedExpr(target=target, value=value):
                bound, source = bound_names([target]), root(value)
            case _:
                continue
        if source is not None and bound:
            group = set[str]().union(*(groups.get(name, {name}) for name in (*bound, source)))
            groups.update(dict.fromkeys(group, group))
    return {name: frozenset(group - {name}) for name, group in groups.items()}
