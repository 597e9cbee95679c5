"""What functions that another one makes do to the names of that, and which of its names may stand for the same."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from apxm.effects.patterns import EVIDENT, makes_iterator, root
from apxm.effects.roles import RoleOf
from apxm.effects.scopes import bound_names, own_nodes
from apxm.effects.trees import copied


class Captured(NamedTuple):
    """What a function that is made in the function around a loop does to names of that."""

    reads: frozenset[str] = frozenset()
    binds: frozenset[str] = frozenset()
    changes: frozenset[str] = frozenset()
    late: frozenset[str] = frozenset()
    """Those of them that it may use behind a call of a model, or when other iterations have gone on."""
    waits: bool = True
    """Whether other iterations may go on while it is called."""
    only_looks: bool = False
    """Whether it changes nothing that it is given, and waits for nothing."""
    meets: bool = False
    """Whether it calls what only a run knows."""

    def also(self, other: Captured) -> Captured:
        """One of both, by the same name."""
        return Captured(
            self.reads | other.reads,
            self.binds | other.binds,
            self.changes | other.changes,
            self.late | other.late,
            self.waits or other.waits,
            self.only_looks and other.only_looks,
            self.meets or other.meets,
        )


class Made(NamedTuple):
    """A function that is made in the function around a loop, or a class with functions."""

    node: ast.AST
    names: frozenset[str]
    """What it is called; nothing for one that is only handed on."""
    does: Captured
    leaks: bool
    """Whether it may be called by other names than these."""


class Around(NamedTuple):
    """What is known of the function around a loop."""

    captured: Mapping[str, Captured] = MappingProxyType({})
    """By the names of functions that it makes."""
    same: Mapping[str, frozenset[str]] = MappingProxyType({})
    """For a name, those that may stand for the same, or for a part of it."""
    tables: Mapping[str, Sequence[ast.expr]] = MappingProxyType({})
    """The lists and dicts that are written down there, by the names that they are assigned to."""
    methods: Mapping[str, Sequence[ast.expr]] = MappingProxyType({})
    """By the names that are assigned a method which changes what it belongs to (``add = log.append``), that."""
    iterators: frozenset[str] = frozenset()
    """The names that stand for what can be gone through only once, as far as that is seen."""
    made_iterators: frozenset[str] = frozenset()
    """Those of them that stand for nothing but what was made where they are bound."""
    bound: frozenset[str] = frozenset()
    """Its own names; others are those of its module, or of a function around it."""
    constructed: Mapping[str, ast.expr] = MappingProxyType({})
    """The calls, and the containers that are written down, for whose values names stand that are bound nowhere else."""
    held: Mapping[str, frozenset[str]] = MappingProxyType({})
    """For a name, the attributes whose objects it may hold, and for an attribute such names."""
    made: Sequence[Made] = ()
    """All functions that it makes."""
    leaked: Captured = Captured()
    """What may be done wherever something is called of which nothing is known."""
    rebound: frozenset[str] = frozenset()
    """The names of functions that it makes which may stand for others, too."""
    imported: Mapping[str, str] = MappingProxyType({})
    """The names that it imports from modules of the user's, by its own."""

    def makes(self, name: str) -> bool:
        """Whether a name stands for a function that it makes, and for no other one."""
        return name in self.captured and name not in self.rebound


def iterators_in(body: Sequence[ast.stmt]) -> tuple[frozenset[str], frozenset[str]]:
    made: set[str] = set()
    used: set[str] = set()
    others: set[str] = set()
    seen: set[int] = set()
    for part in own_nodes(*body):
        for target, value in _named(part):
            if makes_iterator(value):
                made.add(target.id)
                seen.add(id(target))
        match part:
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


def imported_in(body: Sequence[ast.stmt]) -> dict[str, str]:
    found: dict[str, str] = {}
    others: set[str] = set()
    for part in own_nodes(*body):
        match part:
            case ast.ImportFrom(module=module, names=names, level=level):
                if level or str(module).partition(".")[0] not in sys.stdlib_module_names:
                    found |= {alias.asname or alias.name: alias.name for alias in names}
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                others.add(name)
            case _:
                pass
    return {name: original for name, original in found.items() if name not in others}


_MADE = (ast.Call, ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)


def constructed_in(body: Sequence[ast.stmt]) -> dict[str, ast.expr]:
    stored: list[ast.Name] = []
    added: set[ast.AST] = set()  # to what it was
    found: dict[str, ast.expr] = {}
    for part in own_nodes(*body):
        match part:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if isinstance(value, _MADE):
                found[name] = value
            case ast.AugAssign(target=target):
                added.add(target)
            case ast.Name(ctx=ast.Store() | ast.Del()):
                stored.append(part)
            case _:
                pass
    times = Counter(part.id for part in stored if part not in added)
    return {name: copied(value) for name, value in found.items() if times[name] == 1}  # as it is written


def tables_in(body: Sequence[ast.stmt]) -> dict[str, list[ast.expr]]:
    found: dict[str, list[ast.expr]] = {}
    for part in own_nodes(*body):
        match part:
            case ast.Assign(targets=targets, value=ast.List() | ast.Tuple() | ast.Dict() as value):
                for name in bound_names(targets):
                    found.setdefault(name, []).append(value)
            case _:
                pass
    return found


def methods_in(body: Sequence[ast.stmt]) -> dict[str, list[ast.expr]]:
    found: dict[str, list[ast.expr]] = {}
    for part in own_nodes(*body):
        for target, value in _named(part):
            if isinstance(value, ast.Attribute) and value.attr in EVIDENT:
                found.setdefault(target.id, []).append(value.value)
    return found


def _named(part: ast.AST) -> Iterator[tuple[ast.Name, ast.expr]]:
    """The names that an assignment binds, each with what it is assigned."""
    if not isinstance(part, ast.Assign):
        return
    for target in part.targets:
        match target, part.value:
            case ast.Name(), value:
                yield target, value
            case ast.Tuple(elts=targets), ast.Tuple(elts=values) if len(targets) == len(values):
                yield from ((to, value) for to, value in zip(targets, values, strict=True) if isinstance(to, ast.Name))
            case _:
                pass


def same_in(body: Sequence[ast.stmt], role_of: RoleOf) -> Mapping[str, frozenset[str]]:
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


def held_in(body: Sequence[ast.stmt]) -> dict[str, frozenset[str]]:
    """The names, and the attributes, that are bound to objects of attributes: ``box = {"l": state.log}``."""
    found: dict[str, frozenset[str]] = {}
    for part in own_nodes(*body):
        if not isinstance(part, ast.Assign):
            continue
        names = {f".{to.attr}" if isinstance(to, ast.Attribute) else root(to) for to in part.targets} - {None}
        for held in _attributes_in(part.value):
            for name in names - {held}:
                assert name is not None
                found[name] = found.get(name, frozenset()) | {held}
                found[held] = found.get(held, frozenset()) | {name}
    return found


def _attributes_in(value: ast.expr) -> Iterator[str]:
    match value:
        case ast.Attribute(attr=name):
            yield f".{name}"
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Dict(values=parts):
            for part in parts:
                yield from _attributes_in(part)
        case ast.IfExp(body=one, orelse=other):
            yield from (*_attributes_in(one), *_attributes_in(other))
        case _:
            pass


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
        case ast.Call(func=ast.Name(id="getattr"), args=[owner, *_]):
            parts = [owner]
        case ast.Call(func=func, args=arguments, keywords=keywords):
            role = role_of(func)
            if role.makes or role.is_unknown or (role.summary is not None and role.summary.gives is None):
                parts = [*arguments, *(keyword.value for keyword in keywords)]
        case _:
            pass
    for part in parts:
        yield from _held_by(part, role_of)
