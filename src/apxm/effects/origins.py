"""Where what the names of a body stand for comes from, as far as its text says."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import cached_property

from apxm.effects.patterns import root
from apxm.effects.roles import RoleOf, argument_of
from apxm.effects.scopes import bound_names, own_nodes
from apxm.effects.trees import children

_NEW = (ast.Constant, ast.JoinedStr, ast.Compare, ast.UnaryOp)
_MADE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.SetComp, ast.DictComp, ast.Constant, ast.JoinedStr)
_PASSING = frozenset({"enumerate", "filter", "iter", "list", "next", "reversed", "sorted", "tuple", "zip"})
"""Functions that give what is in what they are given."""


class Origins:
    """The origins of the names of a body; `items` are those that an iteration begins with."""

    def __init__(self, body: Sequence[ast.stmt], items: set[str], role_of: RoleOf) -> None:
        self._role_of = role_of
        self._items = items
        self._sources: dict[str, list[ast.expr | None]] = {}
        for node in own_nodes(*body):
            for target, value in _bindings(node):
                self._bound(target, value)

    def _bound(self, target: ast.AST, value: ast.expr | None) -> None:
        match target, value:
            case ast.Tuple(elts=targets), ast.Tuple(elts=values) if len(targets) == len(values):
                for one, of in zip(targets, values, strict=True):
                    self._bound(one, of)
            case _:
                for name in bound_names([target]):
                    self._sources.setdefault(name, []).append(value)

    @cached_property
    def fresh(self) -> frozenset[str]:
        """The names that stand for what was made there, and by nothing else."""
        made = (name for name, sources in self._sources.items() if all(map(self._is_made, sources)))
        return frozenset(made) - self._items

    def _is_made(self, value: ast.expr | None) -> bool:
        match value:
            case ast.Call(func=func):
                role = self._role_of(func)
                return role.makes or role.asks
            case _:
                return isinstance(value, _MADE)

    def aliases(self, name: str) -> set[str]:
        """The names that a name may stand for a part of."""
        return {found for value in self._sources.get(name, ()) for found in self.aliased(value)} - {name}

    def aliased(self, value: ast.expr | None) -> set[str]:
        """The names of which a value may be a part."""
        match value:
            case ast.Name() | ast.Attribute() | ast.Subscript():
                name = root(value)
                return set() if name is None else {name}
            case ast.Call(func=ast.Name(id="getattr"), args=[owner, *_]):
                return self.aliased(owner)
            case ast.Call(func=ast.Name(id=name), args=arguments) if name in _PASSING:
                return {found for argument in arguments for found in self.aliased(argument)}
            case ast.Call(func=func):
                role = self._role_of(func)
                if role.summary is not None and not role.makes:
                    return self._roots(value) or set()
                if role.looks_only and isinstance(func, ast.Attribute):
                    return self.aliased(func.value)
                return set()
            case _:
                return set()

    def binds(self, name: str) -> bool:
        return name in self._sources

    def given_to(self, name: str) -> list[ast.expr]:
        """The expressions for whose value, if that is there already, a name may be another one."""
        found: list[ast.expr] = []
        left = [value for value in self._sources.get(name, ()) if value is not None]
        while left:
            match left.pop():
                case ast.IfExp(body=one, orelse=other):
                    left += [one, other]
                case ast.BoolOp(values=values):
                    left += values
                case ast.NamedExpr(value=inner):
                    left.append(inner)
                case (ast.Attribute() | ast.Subscript() | ast.Name() | ast.Call()) as value if self.aliased(value):
                    found.append(value)
                case _:
                    pass
        return found

    def is_mine(self, name: str, exposed: set[str]) -> bool:
        """Whether what a name stands for belongs to the iteration: it was made there, or is its item, or in these;
        `exposed` are the names of which an iteration sees what was there before it."""
        left, seen = [name], {name}
        while left:
            each = left.pop()
            sources = self._sources.get(each, [])
            if each in exposed or (not sources and each not in self._items):
                return False
            for value in sources:
                roots = self._roots(value)
                if roots is None:
                    return False
                left += roots - seen
                seen |= roots
        return True

    def roots(self, values: Sequence[ast.expr]) -> frozenset[str] | None:
        """The names of which some values may be a part; None where that is not known."""
        found: set[str] = set()
        left = [*values]
        seen: set[str] = set()
        while left:
            names = self._roots(left.pop())
            if names is None:
                return None
            for name in names - seen:
                seen.add(name)
                if name not in self._sources:
                    found.add(name)
                for value in self._sources.get(name, ()):
                    if value is None:
                        return None
                    left.append(value)
        return frozenset(found)

    def _roots(self, value: ast.expr | None) -> set[str] | None:
        match value:
            case None:
                return None
            case ast.Name(id=name):
                return {name}
            case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Starred(value=inner):
                return self._roots(inner)
            case ast.Call():
                return self._of_call(value)
            case ast.Lambda() | ast.Await() | ast.Yield() | ast.YieldFrom():
                return None
            case _ if isinstance(value, _NEW):
                return set()
            case (
                ast.ListComp(elt=elt, generators=generators)
                | ast.SetComp(elt=elt, generators=generators)
                | (ast.GeneratorExp(elt=elt, generators=generators))
            ):
                return self._all([elt, *(generator.iter for generator in generators)])
            case ast.DictComp(key=key, value=of, generators=generators):
                return self._all([key, of, *(generator.iter for generator in generators)])
            case _:
                return self._all([part for part in children(value) if isinstance(part, ast.expr)])

    def _of_call(self, call: ast.Call) -> set[str] | None:
        role = self._role_of(call.func)
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        if role.asks:
            return set()
        if role.summary is not None and role.summary.gives is None:
            return None
        if role.summary is not None and role.summary.gives is not None:
            found: set[str] = set()
            for name in role.summary.gives:
                argument = argument_of(call, role, name)
                default = set[str]() if name in role.summary.plain else {f":{name}"}
                roots = default if argument is None else self._roots(argument)
                if roots is None:
                    return None
                found |= roots
            return found
        if role.is_unknown:
            return None
        return self._all(
            [*given, *([call.func.value] if isinstance(call.func, ast.Attribute) and not role.found else [])]
        )

    def _all(self, values: Sequence[ast.expr]) -> set[str] | None:
        found: set[str] = set()
        for value in values:
            roots = self._roots(value)
            if roots is None:
                return None
            found |= roots
        return found


def _bindings(node: ast.AST) -> Iterator[tuple[ast.AST, ast.expr | None]]:
    """What a node binds, with what it comes from; None where that is not known."""
    match node:
        case ast.Assign(targets=targets, value=value):
            yield from ((target, value) for target in targets)
        case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.NamedExpr(target=target, value=value):
            yield target, value
        case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
            yield target, value
        case ast.withitem(optional_vars=ast.expr() as target, context_expr=value):
            yield target, value
        case ast.AsyncFor(target=target):
            yield target, None
        case ast.ExceptHandler(name=str(name)):
            yield ast.Name(name, ast.Store()), ast.Constant(None)
        case ast.match_case(pattern=pattern):
            yield pattern, None
        case ast.Import() | ast.ImportFrom() | ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node, None
        case _:
            pass
