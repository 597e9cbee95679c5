"""What functions that another one makes do to the names of that, and which of its names may stand for the same."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from apxm.effects.libraries import Known
from apxm.effects.patterns import makes_iterator, root
from apxm.effects.roles import Kind, RoleOf
from apxm.effects.scopes import bound_names, declared, free_loads, own_nodes


class Captured(NamedTuple):
    """What a function that is made in the function around a loop does to names of that."""

    reads: frozenset[str] = frozenset()
    binds: frozenset[str] = frozenset()
    changes: frozenset[str] = frozenset()
    only_looks: bool = False
    """Whether it changes nothing that it is given, and waits for nothing."""

    def also(self, other: Captured) -> Captured:
        """One of both, by the same name."""
        return Captured(
            self.reads | other.reads,
            self.binds | other.binds,
            self.changes | other.changes,
            self.only_looks and other.only_looks,
        )


class Around(NamedTuple):
    """What is known of the function around a loop."""

    captured: Mapping[str, Captured] = MappingProxyType({})
    """By the names of functions that it makes."""
    same: Mapping[str, frozenset[str]] = MappingProxyType({})
    """For a name, those that may stand for the same, or for a part of it."""
    tables: Mapping[str, Sequence[ast.expr]] = MappingProxyType({})
    """The lists and dicts that are written down there, by the names that they are assigned to."""
    iterators: frozenset[str] = frozenset()
    """The names that stand for what can be gone through only once, as far as that is seen."""
    made_iterators: frozenset[str] = frozenset()
    """Those of them that stand for nothing but what was made where they are bound."""
    bound: frozenset[str] = frozenset()
    """Its own names; others are those of its module, or of a function around it."""


def around(bound: set[str], body: Sequence[ast.stmt], role_of: RoleOf) -> Around:
    """What the body of a function says, whose own names are `bound`."""
    iterators, made = _iterators_in(body)
    captured, same = _captured_in(body, role_of), _same_in(body, role_of)
    return Around(captured, same, _tables_in(body), iterators, made, frozenset(bound))


def _iterators_in(body: Sequence[ast.stmt]) -> tuple[frozenset[str], frozenset[str]]:
    made: set[str] = set()
    used: set[str] = set()
    others: set[str] = set()
    seen: set[int] = set()
    for part in own_nodes(*body):
        match part:
            case ast.Assign(targets=[ast.Name(id=name) as target], value=value) if makes_iterator(value):
                made.add(name)
                seen.add(id(target))
            case ast.withitem(context_expr=value, optional_vars=ast.Name(id=name) as target) if makes_iterator(value):
                made.add(name)
                seen.add(id(target))
            case ast.Call(func=ast.Name(id="next"), args=[ast.Name(id=name), *_]):
                used.add(name)
            case ast.Name(id=name, ctx=ast.Store()) if id(part) not in seen:
                others.add(name)
            case _:
                pass
    return frozenset(made | used), frozenset(made - others)


def _tables_in(body: Sequence[ast.stmt]) -> dict[str, list[ast.expr]]:
    found: dict[str, list[ast.expr]] = {}
    for part in own_nodes(*body):
        match part:
            case ast.Assign(targets=targets, value=ast.List() | ast.Tuple() | ast.Dict() as value):
                for name in bound_names(targets):
                    found.setdefault(name, []).append(value)
            case _:
                pass
    return found


def _captured_in(body: Sequence[ast.stmt], role_of: RoleOf) -> dict[str, Captured]:
    found: dict[str, Captured] = {}
    for part in own_nodes(*body):
        match part:
            case ast.FunctionDef(name=name):
                names, made = {name}, part
            case ast.Assign(targets=targets, value=ast.Lambda() as made):
                names = bound_names(targets)
            case _:
                continue
        captured = _captured_by(made, role_of)
        for name in names:
            found[name] = captured if name not in found else captured.also(found[name])
    return found


def _captured_by(node: ast.FunctionDef | ast.Lambda, role_of: RoleOf) -> Captured:
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
    return Captured(
        frozenset(free),
        frozenset(binds),
        frozenset(name for name in changes if name in free),
        _only_looks(node, role_of),
    )


def _only_looks(node: ast.FunctionDef | ast.Lambda, role_of: RoleOf) -> bool:
    for part in ast.walk(node):
        match part:
            case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                return False
            case ast.Call(func=ast.Name(id=name)) if isinstance(node, ast.FunctionDef) and name == node.name:
                continue
            case ast.Call(func=func):
                role = role_of(func)
                summary = role.summary
                changes = summary is not None and any(touch.kind is not Kind.LOAD for touch in summary.touches)
                if role.is_unknown or role.may_wait or changes or role.known is Known.ITS_FIRST:
                    return False
            case _:
                pass
    return True


def _same_in(body: Sequence[ast.stmt], role_of: RoleOf) -> Mapping[str, frozenset[str]]:
    groups: dict[str, set[str]] = {}
    for part in own_nodes(*body):
        match part:
            case ast.Assign(targets=targets, value=value):
                bound = bound_names(targets)
            case ast.For(target=target, iter=value) | ast.NamedExpr(target=target, value=value):
                bound = bound_names([target])
            case _:
                continue
        sources = set(_held_by(value, role_of))
        if sources and bound:
            group = set[str]().union(*(groups.get(name, {name}) for name in (*bound, *sources)))
            groups.update(dict.fromkeys(group, group))
    return {name: frozenset(group - {name}) for name, group in groups.items()}


def _held_by(value: ast.expr, role_of: RoleOf) -> Iterator[str]:
    """The names of what a value may be, or may hold."""
    parts: Sequence[ast.expr] = ()
    match value:
        case ast.Name() | ast.Attribute() | ast.Subscript():
            name = root(value)
            yield from () if name is None else (name,)
        case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements) | ast.Dict(values=elements):
            parts = elements
        case ast.IfExp(body=body, orelse=orelse):
            parts = [body, orelse]
        case ast.Call(func=func, args=arguments, keywords=keywords):
            role = role_of(func)
            if role.makes or role.is_unknown or (role.summary is not None and role.summary.gives is None):
                parts = [*arguments, *(keyword.value for keyword in keywords)]
        case _:
            pass
    for part in parts:
        yield from _held_by(part, role_of)
