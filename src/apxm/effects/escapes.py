"""Functions that an iteration makes, and leaves behind: they see names as they are when they are called."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from apxm.effects.patterns import EVIDENT, root
from apxm.effects.roles import RoleOf
from apxm.effects.scopes import bound_names, declared, free_loads, own_nodes, parameters
from apxm.effects.trees import walk
from apxm.effects.uses import Uses

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.GeneratorExp


def left_behind(body: Sequence[ast.stmt], uses: Uses, role_of: RoleOf) -> set[str]:
    """The names that are read by functions which a body puts into what outlives it."""
    named = _named(body, role_of)
    found: set[str] = set()
    for part in own_nodes(*body):
        for holder, value in _kept(part):
            name = root(holder)
            read = _read_by(value, named, role_of)
            if name is not None and name in uses.origins.fresh and name not in uses.exposed:
                named.setdefault(name, set()).update(read)  # and that may be put into something else
            else:
                found |= read
    return found


def kept_in(value: ast.expr, role_of: RoleOf) -> set[str]:
    """The names that are read by functions in what a value is, or holds."""
    return _read_by(value, {}, role_of)


def _kept(part: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """What a node puts into something else, and into what."""
    match part:
        case ast.Call(func=ast.Attribute(value=holder, attr=method), args=arguments) if method in EVIDENT:
            yield from ((holder, argument) for argument in arguments if not _is_drawn(argument, method))
        case ast.Assign(targets=targets, value=value):
            yield from ((to, value) for to in targets if isinstance(to, ast.Attribute | ast.Subscript))
        case ast.AugAssign(target=target, value=value):
            if not isinstance(value, ast.GeneratorExp):
                yield target, value
        case _:
            pass


def _is_drawn(argument: ast.expr, method: str) -> bool:
    """Whether a method goes through a generator expression at once."""
    return isinstance(argument, ast.GeneratorExp) and method in ("extend", "update", "writelines")


def _named(body: Sequence[ast.stmt], role_of: RoleOf) -> dict[str, set[str]]:
    """What is read by the functions that names of a body stand for."""
    found: dict[str, set[str]] = {}
    for part in own_nodes(*body):
        match part:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.setdefault(name, set()).update(_seen_later(part))
            case ast.Assign(targets=targets, value=value):
                for name in bound_names(targets):
                    found.setdefault(name, set()).update(_read_by(value, found, role_of))
            case _:
                pass
    return found


def _read_by(value: ast.expr, named: Mapping[str, set[str]], role_of: RoleOf) -> set[str]:
    match value:
        case ast.Lambda() | ast.GeneratorExp():
            return _seen_later(value)
        case ast.Name(id=name):
            return named.get(name, set())
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts) | ast.Dict(values=parts):
            return set[str]().union(*(_read_by(part, named, role_of) for part in parts))
        case ast.IfExp(body=one, orelse=other):
            return _read_by(one, named, role_of) | _read_by(other, named, role_of)
        case ast.Starred(value=inner) | ast.NamedExpr(value=inner) | ast.Await(value=inner):
            return _read_by(inner, named, role_of)
        case ast.Call(args=arguments, keywords=keywords) if _keeps(value, role_of):
            given = (*arguments, *(keyword.value for keyword in keywords))
            lazy = (each for each in given if not isinstance(each, ast.GeneratorExp))
            return set[str]().union(*(_read_by(each, named, role_of) for each in lazy))
        case _:
            return set()


def _seen_later(function: Function) -> set[str]:
    """The names that a function reads when it is called, and not where it stands, as its defaults are."""
    match function:
        case ast.Lambda(body=body):
            return free_loads(body) - parameters(function)
        case ast.GeneratorExp(elt=elt, generators=[first, *others]):
            parts = [elt, *first.ifs, *others]
            targets = (part for each in (first, *others) for part in walk(each.target))
            own = {part.id for part in targets if isinstance(part, ast.Name)}
            return set[str]().union(*map(free_loads, parts)) - own
        case ast.FunctionDef(body=body) | ast.AsyncFunctionDef(body=body):
            own = (parameters(function) | bound_names(body)) - declared(body)
            return set[str]().union(*map(free_loads, body)) - own
        case _:
            return set()


def _keeps(call: ast.Call, role_of: RoleOf) -> bool:
    """Whether what a call gives may hold what it is given: an object of a class does, by the way that it is written."""
    summary = role_of(call.func).summary
    if summary is not None and summary.gives is not None and not summary.gives.isdisjoint(summary.parameters):
        return True
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name[:1].isupper() or name in ("dict", "list", "partial", "tuple", "map", "filter", "defaultdict")
