"""What functions of the user's do to what outlives a call of them, as far as their text says."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from apxm.effects.captures import around
from apxm.effects.roles import Kind, RoleOf, Special, Summary, Touch
from apxm.effects.scopes import own_names, own_nodes, parameters
from apxm.effects.statement_uses import StatementUses
from apxm.effects.trees import walk
from apxm.effects.uses import Use, Uses


def summary_of(node: ast.FunctionDef, role_of: RoleOf) -> Summary:
    """Sums up one function."""
    given = parameters(node)
    own = own_names(node)
    uses = StatementUses(node.body, None, role_of, around(own, given, node.body, role_of))
    uses.statements(node.body)
    found = _Summing(uses, given, own - given, role_of)
    arguments = node.args
    named = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
    gives = uses.origins.roots(uses.given)
    touches = found.touches()
    if _yields(node):  # it goes on when it is asked to
        touches, gives = (touch._replace(late=True) for touch in touches), None
    return Summary(
        tuple(dict.fromkeys(touches)),
        tuple(argument.arg for argument in named if argument is not None),
        _plain(arguments),
        uses.draws,
        uses.called,
        None if gives is None else frozenset(name if name in given else f":{name}" for name in gives),
        tuple(dict.fromkeys((use.name, use.method) for use in uses.contexts)),
        tuple(dict.fromkeys(found.specials())),
        uses.meets,
        uses.swallows or _swallows(node),
    )


class _Summing:
    def __init__(self, uses: Uses, given: set[str], local: set[str], role_of: RoleOf) -> None:
        self._uses = uses
        self._given = given
        self._local = local
        self._is_state = role_of.is_state

    def touches(self) -> Iterator[Touch]:
        for use in self._uses.found:
            if use.name.startswith("."):
                yield from self._of_attribute(use)
            elif use.name.startswith(":") or use.name in self._given:
                yield self._touch(use, use.name)
            elif use.name not in self._local and (use.kind is not Kind.LOAD or self._is_state(use.name)):
                yield self._touch(use, f":{use.name}")

    def specials(self) -> Iterator[Special]:
        for special in self._uses.specials:
            names = self._roots(special.through)
            if names is None:
                yield special._replace(through=None)
            for name in names or ():
                through = name if name in self._given else f":{name.lstrip(':')}"
                yield special._replace(through=through)

    def _roots(self, name: str | None) -> frozenset[str] | None:
        return None if name is None else self._uses.origins.roots([ast.Name(name, ast.Load())])

    def _of_attribute(self, use: Use) -> Iterator[Touch]:
        roots = self._roots(use.through)
        if roots is None:
            yield self._touch(use, use.name)
            return
        for name in roots:
            yield self._touch(use, use.name, name if name in self._given else f":{name.lstrip(':')}")

    def _touch(self, use: Use, name: str, through: str | None = None) -> Touch:
        kind = use.kind
        if kind in (Kind.ADD, Kind.CHANGE):
            kind = Kind.ADD if use.deferrable else Kind.CHANGE
        return Touch(name, kind, through, use.after_call, use.whole, use.deep and kind is not Kind.LOAD)


def _plain(arguments: ast.arguments) -> frozenset[str]:
    last = [*arguments.posonlyargs, *arguments.args]
    defaults = [*zip(reversed(last), reversed(arguments.defaults), strict=False)]
    defaults += [(name, of) for name, of in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if of]
    return frozenset(argument.arg for argument, default in defaults if isinstance(default, ast.Constant))


def _yields(node: ast.FunctionDef) -> bool:
    return any(isinstance(part, ast.Yield | ast.YieldFrom) for part in walk(node))


def _swallows(node: ast.FunctionDef) -> bool:
    """As that of a summary: it returns something else than nothing, or catches what is raised where it yields."""
    if node.name == "__exit__":
        given = (part.value for part in own_nodes(*node.body) if isinstance(part, ast.Return))
        return any(value is not None and not (isinstance(value, ast.Constant) and not value.value) for value in given)
    tries = (part for part in own_nodes(*node.body) if isinstance(part, ast.Try | ast.TryStar))
    catching = (each for each in tries if any(not isinstance(handler.body[-1], ast.Raise) for handler in each.handlers))
    return any(isinstance(part, ast.Yield) for each in catching for part in own_nodes(*each.body))


def merged(summaries: Sequence[Summary]) -> Summary:
    """One of several functions is called: each parameter has the name that the first one gives it."""
    first, *others = summaries
    touches, gives = dict.fromkeys(first.touches), first.gives
    specials = [*first.specials]
    longest = max((each.parameters for each in summaries), key=len)
    named = (*first.parameters, *longest[len(first.parameters) :])
    for other in others:
        names = dict(zip(other.parameters, named, strict=False))
        for touch in other.touches:
            through = names.get(touch.through or "", touch.through)
            touches[touch._replace(name=names.get(touch.name, touch.name), through=through)] = None
        specials += [each._replace(through=names.get(each.through or "", each.through)) for each in other.specials]
        if gives is not None:
            gives = None if other.gives is None else gives | {names.get(name, name) for name in other.gives}
    return Summary(
        tuple(touches),
        named,
        frozenset[str]().union(*(each.plain for each in summaries)),
        any(each.draws for each in summaries),
        any(each.waits for each in summaries),
        gives,
        tuple(dict.fromkeys(use for each in summaries for use in each.contexts)),
        tuple(dict.fromkeys(specials)),
        any(each.meets for each in summaries),
        any(each.swallows for each in summaries),
    )
