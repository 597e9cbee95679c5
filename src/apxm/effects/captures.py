"""What the functions do that another one makes, and which of them may be called by others."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence

from apxm.effects.closures import (
    Around,
    Captured,
    Made,
    constructed_in,
    held_in,
    imported_in,
    iterators_in,
    methods_in,
    same_in,
    tables_in,
)
from apxm.effects.expression_uses import given_back, may_be_any
from apxm.effects.libraries import Known
from apxm.effects.patterns import CALLING, called_as, root
from apxm.effects.roles import Kind, RoleOf
from apxm.effects.scopes import bound_names, changeable_defaults, declared, free_loads, own_nodes, parameters
from apxm.effects.statement_uses import StatementUses
from apxm.effects.trees import children, walk

_USED_UP = frozenset(
    {
        "Counter", "all", "any", "deque", "dict", "extend", "frozenset", "join", "len", "list", "max", "min", "reduce",
        "set", "sort", "sorted", "sum", "tuple", "update", "writelines",
    }
)  # fmt: skip
"""Functions that have drawn a generator expression, and called what they are given as `key`, when they are over."""
_KEEPING = frozenset({"Counter", "deque", "dict", "extend", "frozenset", "list", "set", "tuple", "update"})
"""Those of them that may keep a function."""

_MADE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.GeneratorExp)


def around(bound: set[str], given: set[str], body: Sequence[ast.stmt], role_of: RoleOf) -> Around:
    """What the body of a function says, whose own names are `bound`, its parameters `given`."""
    rebound = rebound_in(given, body)
    made = _closed([*_made_in(bound, rebound, body, role_of)])
    captured: dict[str, Captured] = {}
    leaked = Captured()
    for each in made:
        if not isinstance(each.node, ast.ClassDef):
            captured |= {name: each.does.also(captured[name]) if name in captured else each.does for name in each.names}
        if each.leaks:
            leaked = leaked.also(each.does)
    iterators, own = iterators_in(body)
    same, tables = same_in(body, role_of), tables_in(body)
    constructed, held, methods = constructed_in(body), held_in(body), methods_in(body)
    names = frozenset(bound)
    return Around(
        captured, same, tables, methods, iterators, own, names, constructed, held, made, leaked, rebound,
        imported_in(body),
    )  # fmt: skip


def rebound_in(given: set[str], body: Sequence[ast.stmt]) -> frozenset[str]:
    """The names of functions that a function makes which may stand for others, too: it is `given` them, or binds them
    to something else."""
    functions, others = set[str](), given.copy()
    for part in own_nodes(*body):
        match part:
            case ast.FunctionDef(name=name):
                functions.add(name)
            case ast.Assign(targets=targets, value=ast.Lambda()):
                functions |= {to.id for to in targets if isinstance(to, ast.Name)}
            case ast.Assign(targets=targets):
                others |= bound_names(targets)
            case ast.For(target=target) | ast.AnnAssign(target=target) | ast.NamedExpr(target=target):
                others |= bound_names([target])
            case ast.Import() | ast.ImportFrom() | ast.MatchAs() | ast.withitem():
                others |= bound_names([part])
            case _:
                pass
    return frozenset(functions & others)


def _made_in(bound: set[str], rebound: frozenset[str], body: Sequence[ast.stmt], role_of: RoleOf) -> Iterator[Made]:
    own = [part for part in own_nodes(*body) if isinstance(part, _MADE)]
    if not own:
        return
    parents = {child: part for statement in body for part in walk(statement) for child in children(part)}
    handed_on = {
        part.id
        for part in parents
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load) and _is_handed_on_in(parents, part)
    }
    made = {part.name for part in own if isinstance(part, ast.FunctionDef)} - rebound
    for part in own:
        names: set[str]
        leaks = False
        match part:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names = {name}
                leaks = bool(part.decorator_list) or not isinstance(part, ast.FunctionDef)
            case ast.Lambda() | ast.GeneratorExp():
                parent = parents.get(part)
                is_named = isinstance(parent, ast.Assign) and all(isinstance(to, ast.Name) for to in parent.targets)
                names = bound_names(parent.targets) if is_named and isinstance(parent, ast.Assign) else set()
                leaks = not is_named and _is_handed_on_in(parents, part)
        yield Made(
            part, frozenset(names), _captured_by(part, bound, made, role_of), leaks or not names.isdisjoint(handed_on)
        )


def _is_handed_on_in(parents: Mapping[ast.AST, ast.AST], part: ast.expr) -> bool:
    parent = parents.get(part)
    return is_handed_on(part, parent, None if parent is None else parents.get(parent))


def is_handed_on(part: ast.expr, parent: ast.AST | None, call: ast.AST | None = None) -> bool:
    """Whether a function that stands there may be called later, by another name; `call` is that of a keyword."""
    if isinstance(parent, ast.keyword):
        is_plain = parent.arg in ("key", "default") and isinstance(part, ast.Name | ast.Lambda)
        return not (is_plain and isinstance(call, ast.Call) and called_as(call) in CALLING)
    if not isinstance(parent, ast.Call):
        return not isinstance(parent, ast.Expr | ast.For | ast.comprehension)
    if parent.func is part:
        return False
    name = called_as(parent)
    return name not in _USED_UP or (name in _KEEPING and not isinstance(part, ast.GeneratorExp))


def _closed(made: list[Made]) -> list[Made]:
    """Each with what the others do that it may call."""
    while True:
        found = [each._replace(does=_with_called(each, made)) for each in made]
        if found == made:
            return made
        made = found


def _with_called(one: Made, made: Iterable[Made]) -> Captured:
    does = one.does
    for other in made:
        called = other.names & does.reads
        if called and other is not one:
            inner = other.does
            late = inner.late if called.isdisjoint(does.late) else inner.reads | inner.binds | inner.changes
            does = does.also(inner._replace(late=late, waits=does.waits, only_looks=does.only_looks))
    return does


def _captured_by(node: ast.AST, bound: set[str], made: set[str], role_of: RoleOf) -> Captured:
    """What a function does; `made` are the names of others that the one around makes."""
    free = free_loads(node)
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            body: Sequence[ast.stmt] = node.body
        case ast.Lambda(body=inner):
            body = [ast.copy_location(ast.Expr(inner), inner)]
        case _:
            return Captured(frozenset(free), late=frozenset(free))
    binds = {name for part in body for name in declared([part])} & bound_names(body)
    changes: set[str | None] = set()
    meets = False
    for part in (part for statement in body for part in walk(statement)):
        match part:
            case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                changes.add(root(part))
            case ast.Assign(value=value) | ast.NamedExpr(value=value) | ast.For(iter=value):
                changes.add(root(value))  # by another name it may be changed
            case ast.Call(func=func, args=arguments, keywords=keywords):
                role = role_of(func)
                unknown = [func] if role.meets else []
                unknown += [each for each in given_back(part, role) if may_be_any(each, role_of)]
                meets |= any(not (isinstance(each, ast.Name) and each.id in made) for each in unknown)
                if isinstance(func, ast.Attribute) and not role.looks_only and not role.found:
                    changes.add(root(func.value))
                if role.is_unknown or role.summary is not None or role.known is Known.ITS_FIRST:
                    changes |= {root(given) for given in (*arguments, *(keyword.value for keyword in keywords))}
            case _:
                pass
    late, waits = _late_in(node, body, bound, role_of)
    changed = {name for name in changes if name in free}
    for name, default in changeable_defaults(node.args).items() if not isinstance(node, ast.ClassDef) else ():
        if name in changes:  # which is what earlier calls have left
            given = root(default)
            kept = f":{name}=" if given is None else given
            free.add(kept)
            changed.add(kept)
            late |= {kept} if name in late else set()
    return Captured(
        frozenset(free),
        frozenset(binds),
        frozenset(changed),
        frozenset({*free, *binds} & late),
        waits or bool(getattr(node, "decorator_list", ())),
        isinstance(node, ast.FunctionDef | ast.Lambda) and _only_looks(node, role_of),
        meets,
    )


def _late_in(node: ast.AST, body: Sequence[ast.stmt], bound: set[str], role_of: RoleOf) -> tuple[set[str], bool]:
    """The names that it may use behind a call, and whether other iterations may go on in it."""
    uses = StatementUses(body, None, role_of, Around())
    if isinstance(node, ast.FunctionDef | ast.Lambda):
        own = parameters(node) | (bound_names(body) - declared(body))
        uses.placed = frozenset(bound - own)
    uses.statements(body)
    goes_on = not isinstance(node, ast.FunctionDef | ast.Lambda) or any(
        isinstance(part, ast.Yield | ast.YieldFrom) for statement in body for part in walk(statement)
    )
    return {use.name for use in uses.found if use.after_call or goes_on}, uses.called or goes_on


def _only_looks(node: ast.FunctionDef | ast.Lambda, role_of: RoleOf) -> bool:
    for part in walk(node):
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
