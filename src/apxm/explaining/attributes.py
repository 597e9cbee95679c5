"""What the attributes of objects stand for: something that is made for each object, or what others may have, too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import MISSING
from typing import Any

from apxm.effects.scopes import parameters
from apxm.effects.trees import walk
from apxm.effects.users import is_users_class
from apxm.explaining.callees import Callees, function_behind
from apxm.explaining.names import Bindings, Made
from apxm.explaining.rewritten import plain

ALL = "*"
"""Stands for all arguments of a constructor."""
_MADE = (Made.CONTAINER, Made.OBJECT, Made.VALUE)


class Attributes:
    """Those of the user's classes, by what their methods set them to."""

    def __init__(self, callees: Callees) -> None:
        self._callees = callees
        self._found: dict[tuple[type, str], frozenset[str] | None] = {}

    def given(self, made: type, name: str) -> frozenset[str] | None:
        """The parameters of the constructor that an attribute may be, where anything else that it may be is made for
        each object; None where that is not seen, as of an attribute of the class."""
        key = made, name
        if key not in self._found:
            self._found[key] = None  # while it is looked at: an attribute may be made of itself
            self._found[key] = self._look(made, name)
        return self._found[key]

    def arguments(self, call: ast.Call, made: type, name: str) -> list[ast.expr] | None:
        """What a call of the class gives for an attribute; None where others may have that, or nobody knows."""
        found = self.given(made, name)
        values = [*call.args, *(keyword.value for keyword in call.keywords)]
        if found is None or any(isinstance(each, ast.Starred) for each in call.args):
            return None
        if ALL in found or any(keyword.arg is None for keyword in call.keywords):
            return values
        initialize = function_behind(vars(made).get("__init__"))
        source = None if initialize is None else self._callees.scope(initialize).source()
        if source is None:
            return None if found else []
        names = [each.arg for each in (*source[0].args.posonlyargs, *source[0].args.args)][1:]
        by_name = dict(zip(names, call.args, strict=False)) | {str(each.arg): each.value for each in call.keywords}
        given = [by_name.get(each) for each in found]
        return None if None in given else [each for each in given if each is not None]

    def _look(self, made: type, name: str) -> frozenset[str] | None:
        found: set[str] = set()
        is_begun = False
        for each in made.__mro__:
            if not is_users_class(each):
                continue
            if name in vars(each):
                return None  # all objects share it
            for method in vars(each).values():
                function = function_behind(method)
                source = None if function is None else self._callees.scope(function).source()
                if function is None or source is None or not source[0].args.args:
                    continue
                node, scope = source[0], self._callees.scope(function)
                bindings = Bindings(node.body, parameters(node), scope)
                is_constructor = node.name == "__init__"
                for value in _stored(node, name):
                    parts = None if value is None else self._parts(value, bindings)
                    if parts is None or (parts and not is_constructor):
                        return None
                    found |= parts
                    is_begun |= is_constructor
        if is_begun:
            return frozenset(found)
        fields: dict[str, Any] | None = vars(made).get("__dataclass_fields__")
        if fields is None or (name in fields and fields[name].default_factory is not MISSING):
            return None  # what a factory makes lanes do not see being made
        return frozenset((ALL,))

    def _parts(self, value: ast.expr, bindings: Bindings) -> set[str] | None:
        """The parameters that a value may be, where anything else that it may be is made there."""
        match value:
            case ast.BoolOp(values=values):
                return self._all(values, bindings)
            case ast.IfExp(body=one, orelse=other):
                return self._all([one, other], bindings)
            case ast.Name(id=name) if name in bindings.parameters and not bindings.binds(name):
                return {name}
            case ast.Name(id=name):
                return set() if bindings.made(name) in _MADE else None
            case _:
                return set() if bindings.kind(value) in _MADE else None

    def _all(self, values: list[ast.expr], bindings: Bindings) -> set[str] | None:
        found = [self._parts(each, bindings) for each in values]
        return None if None in found else {name for each in found if each is not None for name in each}


def _stored(method: ast.FunctionDef, name: str) -> Iterator[ast.expr | None]:
    """What a method sets an attribute of its object to; None for what nobody sees."""
    own = method.args.args[0].arg
    seen: set[int] = set()
    for part in walk(method):
        match part:
            case ast.Assign(targets=[target], value=value) | ast.AnnAssign(target=target, value=ast.expr() as value):
                if _is(target, own, name):
                    seen.add(id(target))
                    yield plain(value)
            case ast.AugAssign(target=target):
                seen.add(id(target))  # it stays the object that it was
            case _:
                pass
    stores = (part for part in walk(method) if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store))
    yield from (None for part in stores if part.attr == name and id(part) not in seen)


def _is(target: ast.expr, own: str, name: str) -> bool:
    return isinstance(target, ast.Attribute) and target.attr == name and getattr(target.value, "id", None) == own
