"""What the names of a function, or of an iteration, stand for: something that was made there, or anything."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum, auto
from types import FunctionType

from apxm.effects.libraries import Known
from apxm.effects.patterns import ITERATORS
from apxm.effects.roles import MAKERS
from apxm.effects.scopes import own_nodes, parameters
from apxm.effects.trees import walk
from apxm.explaining.callees import Scope, is_ask
from apxm.explaining.rewritten import plain
from apxm.rewriting.nodes import PREFIX

_DEEPEST = 4
"""Functions in functions that are looked at for what they give."""
_DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.SetComp, ast.DictComp)


def _nodes(body: Sequence[ast.stmt]) -> Iterator[ast.AST]:
    """What belongs to a function, the iterations of its loops included."""
    for part in own_nodes(*body):
        yield part
        if isinstance(part, ast.FunctionDef) and part.name.startswith(f"{PREFIX}body_"):
            yield from _nodes(part.body)


def _pairs(targets: Sequence[ast.expr], value: ast.expr) -> Iterator[tuple[ast.Name, ast.expr]]:
    """The names that are assigned to, each with its own part of the value."""
    for target in targets:
        match target, value:
            case ast.Name(), _:
                yield target, value
            case ast.Tuple(elts=names), ast.Tuple(elts=values) if len(names) == len(values):
                if not any(isinstance(each, ast.Starred) for each in (*names, *values)):
                    for name, of in zip(names, values, strict=True):
                        yield from _pairs([name], of)
            case _:
                pass


class Made(Enum):
    CONTAINER = auto()
    OBJECT = auto()
    """One of a class of the user's."""
    VALUE = auto()
    """Text or a number, which nobody can change."""
    ITERATOR = auto()
    UNKNOWN = auto()


def one_kind(kinds: Iterable[Made]) -> Made:
    """What several are that are all of one kind."""
    found = set(kinds)
    return found.pop() if len(found) == 1 else Made.UNKNOWN


class Bindings:
    """By what a function binds its names."""

    def __init__(self, body: Sequence[ast.stmt], parameters: set[str], scope: Scope, depth: int = 0) -> None:
        """`depth` is in how many functions it is that are only looked at for what they give."""
        self.parameters = parameters
        self._depth = depth
        self._scope = scope
        self._values: dict[str, list[ast.expr | None]] = {}
        inside_assignments: set[int] = set()
        for part in _nodes(body):
            match part:
                case ast.Assign(targets=targets, value=value):
                    for name, of in _pairs(targets, value):
                        inside_assignments.add(id(name))
                        self._values.setdefault(name.id, []).append(of)
                case ast.AugAssign(target=ast.Name() as target):
                    inside_assignments.add(id(target))
                case ast.Name(id=name, ctx=ast.Store()) if id(part) not in inside_assignments:
                    self._values.setdefault(name, []).append(None)
                case _:
                    pass

    def binds(self, name: str) -> bool:
        return name in self._values

    def values(self, name: str) -> list[ast.expr | None]:
        """What a name is bound to, as the user wrote it; None for what is not seen."""
        return [None if value is None else plain(value) for value in self._values.get(name, [])]

    def made(self, name: str) -> Made:
        """What a name stands for, wherever it is bound."""
        values = self._values.get(name)
        if values is None or name in self.parameters:
            return Made.UNKNOWN
        kinds = {Made.UNKNOWN if value is None else self.kind(plain(value)) for value in values}
        return one_kind(kinds)

    def is_answer(self, name: str) -> bool:
        """Whether a name is bound to what a model answered."""
        return any(
            isinstance(each, ast.Call) and is_ask(self._scope.role_of(each.func))
            for each in (plain(value) for value in self._values.get(name, ()) if value is not None)
        )

    def kind(self, value: ast.expr) -> Made:
        """What an expression gives."""
        match value:
            case ast.GeneratorExp():
                return Made.ITERATOR
            case ast.IfExp(body=one, orelse=other):
                return one_kind((self.kind(one), self.kind(other)))
            case ast.Call(func=func):
                return self._called(func, value)
            case _ if isinstance(value, _DISPLAYS):
                return Made.CONTAINER
            case ast.Constant() | ast.JoinedStr() | ast.Compare() | ast.BinOp():
                return Made.VALUE if isinstance(value, ast.Constant | ast.JoinedStr | ast.Compare) else Made.UNKNOWN
            case _:
                return Made.UNKNOWN

    def _called(self, func: ast.expr, call: ast.Call) -> Made:
        role = self._scope.role_of(func)
        name = func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""
        if role.asks:
            return Made.UNKNOWN if any(keyword.arg == "schema" for keyword in call.keywords) else Made.VALUE
        if role.known is Known.ASKS:
            return Made.OBJECT
        if self._scope.class_of(call) is not None:
            return Made.OBJECT
        if role.makes:
            return Made.CONTAINER
        if name in MAKERS and (role.looks_only or role.known not in (None, Known.CALLS_BACK)):
            return Made.CONTAINER
        if role.summary is not None and isinstance(function := self._scope.found(func), FunctionType):
            return self._given_by(function) if self._scope.has_turns(func) else Made.UNKNOWN
        return Made.ITERATOR if name in ITERATORS and not role.summary else Made.UNKNOWN

    def _given_by(self, function: FunctionType) -> Made:
        """What a function of the user's gives, where that is something that each call of it visibly makes."""
        scope = self._scope.scope_of(function) if self._scope.scope_of is not None else None
        source = None if scope is None else scope.source()
        if scope is None or source is None or self._depth == _DEEPEST:
            return Made.UNKNOWN
        node = source[0]
        inside = [*own_nodes(*node.body)]
        said = {name for part in walk(node) if isinstance(part, ast.Global | ast.Nonlocal) for name in part.names}
        if any(isinstance(part, ast.Yield | ast.YieldFrom) for part in inside):
            return Made.UNKNOWN
        bindings = Bindings(node.body, parameters(node), scope, self._depth + 1)
        kinds: list[Made] = []
        for part in inside:
            match part:
                case ast.Return(value=ast.Name(id=name)) if name not in said:
                    kinds.append(bindings.made(name))
                case ast.Return(value=value):
                    kinds.append(Made.UNKNOWN if value is None else bindings.kind(value))
                case _:
                    pass
        found = one_kind(kinds)
        return found if found in (Made.CONTAINER, Made.OBJECT) else Made.UNKNOWN
