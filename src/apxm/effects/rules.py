"""The rule of each name that the body of an `each` uses from around it.

- `FREE`: at once. Nobody changes it, or everything about it happens before the first call, which is in order.
- `LATER`: it is only added to, and nothing reads it: that is kept until the turn of the iteration.
- `TURN`: it waits for its turn, and keeps it from then on.
- `CARRIED`: what one iteration leaves in the name decides what the next one asks: no `each` can do that.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from enum import Enum

from apxm.effects.closures import Around
from apxm.effects.escapes import left_behind
from apxm.effects.roles import Kind, RoleOf
from apxm.effects.scopes import bound_names, own_nodes
from apxm.effects.statement_uses import StatementUses
from apxm.effects.trees import walk
from apxm.effects.uses import Use, Uses


class Rule(Enum):
    FREE = "free"
    LATER = "later"
    TURN = "turn"
    CARRIED = "carried"


RANK = {Rule.FREE: 0, Rule.LATER: 1, Rule.TURN: 2, Rule.CARRIED: 3}


def uses_in(
    body: Sequence[ast.stmt], target: ast.expr, role_of: RoleOf, said: set[str], around: Around, ahead: bool = False
) -> tuple[Uses, set[str], dict[str, Rule]]:
    """What a body does, the names that each iteration has for itself, and the rules of the others.

    A use that waits for its turn lets other iterations go on, so whatever comes behind it comes behind a call. `ahead`
    says that iterations may run which turn out not to begin, as one before them leaves the loop.
    """
    waits: frozenset[str] = frozenset()
    read, unseen = _read_by_others(body, around)
    inner = _bound_in_loops(body, role_of)
    while True:
        uses = StatementUses(body, target, role_of, around, waits)
        uses.statements(body)
        uses.begins(target)
        first = {name for name in uses.bound if name not in uses.exposed}
        uses.shared = first & (unseen | left_behind(body, uses, role_of) | ((read | said) & inner))
        own = first - uses.shared
        uses.published = own & (read | said)
        rules = _rules(uses, own, around, ahead and bool(uses.exits))
        rules |= dict.fromkeys(uses.shared, Rule.FREE) | {f":{name}": Rule.FREE for name in uses.shared & said}
        rules |= {f":{name}": Rule.TURN for name in own & said}
        found = frozenset(name for name, rule in rules.items() if rule is Rule.TURN)
        found |= {f"@{name}" for name in uses.published}
        if found <= waits:
            return uses, own, rules
        waits |= found


def _read_by_others(body: Sequence[ast.stmt], around: Around) -> tuple[set[str], set[str]]:
    """The names that are read by functions from around the body which it may call; and by what is made around it, and
    waits for nothing: there, nobody puts waits in."""
    inside = {id(part) for statement in body for part in walk(statement)}
    named = {part.id for statement in body for part in walk(statement) if isinstance(part, ast.Name)}
    read, unseen = set[str](), set[str]()
    for made in around.made:
        if id(made.node) not in inside and (made.leaks or not made.names.isdisjoint(named)):
            (read if isinstance(made.node, ast.FunctionDef | ast.Lambda) else unseen).update(made.does.reads)
    return read, unseen


def _bound_in_loops(body: Sequence[ast.stmt], role_of: RoleOf) -> set[str]:
    """The names that are bound in loops over `each` in the body: they reach others when such a loop is over."""
    found: set[str] = set()
    for part in own_nodes(*body):
        if isinstance(part, ast.For):
            calls = (each for each in walk(part.iter) if isinstance(each, ast.Call))
            if any(role_of(call.func).each for call in calls):
                found |= bound_names([part])
    return found


def _rules(uses: Uses, own: set[str], around: Around, ahead: bool) -> dict[str, Rule]:
    """The rules of names, but of those that each iteration has for itself, and of attributes."""
    by_name: dict[str, list[Use]] = {}
    for use in uses.found:
        if use.name not in own and not uses.is_mine(use):
            by_name.setdefault(use.name, []).append(use)
    for name in [name for name in by_name if name.startswith(":")]:
        plain = name[1:]
        if plain in by_name and plain not in around.bound:
            by_name[name] = by_name[plain] = by_name[name] + by_name[plain]
    rules = {
        name: _rule([*of_name, *_of_wholes(uses, of_name)] if name.startswith(".") else of_name, ahead)
        for name, of_name in by_name.items()
    }
    for name in [name for name in rules if not name.startswith((".", ":")) and name not in around.bound]:
        rules[f":{name}"] = rules[name]
    for name in [name for name, rule in rules.items() if rule is Rule.TURN and name.startswith(".")]:
        for through in {use.through for use in by_name[name]} & rules.keys():
            if any(use.whole for use in by_name.get(str(through), ())):
                rules[str(through)] = max(rules[str(through)], Rule.TURN, key=RANK.__getitem__)
    return rules


def _of_wholes(uses: Uses, of_attribute: Sequence[Use]) -> Iterator[Use]:
    """What is done to all that the names stand for through which an attribute is reached."""
    names = {use.through for use in of_attribute}
    for use in uses.found:
        if use.name in names and (use.kind is Kind.CHANGE or use.whole):
            yield Use(use.name, use.kind, use.node, use.after_call)


def _rule(uses: Sequence[Use], ahead: bool) -> Rule:
    """The rule of what outlives an iteration, and whose value there comes from before it."""
    changes = [use for use in uses if use.kind is not Kind.LOAD]
    in_head = not any(use.after_call for use in uses)
    if not changes or (in_head and not ahead):
        return Rule.FREE
    if all(use.deferrable for use in uses):
        return Rule.LATER
    if in_head:
        return Rule.TURN
    rebinds = any(use.kind in (Kind.BIND, Kind.ADD) and not isinstance(use.node, ast.Call) for use in changes)
    is_name = not uses[0].name.startswith((".", ":"))
    # That another name's object is read says nothing of which one this name stands for.
    only_binds = all(use.kind is Kind.BIND for use in changes)
    if rebinds and is_name and not all(use.after_call or (only_binds and use.is_alias) for use in uses):
        return Rule.CARRIED
    return Rule.TURN
