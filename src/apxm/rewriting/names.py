"""What stands around what is rewritten, and what holds for a name there."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from apxm.effects.closures import Around
from apxm.effects.escapes import kept_in
from apxm.effects.roles import Kind, RoleOf
from apxm.effects.rules import RANK, Rule, uses_in
from apxm.effects.scopes import bound_names, own_nodes
from apxm.effects.trees import walk
from apxm.effects.uses import Uses
from apxm.rewriting.nodes import PREFIX, RefusedError, Statements, at, carried, load, one_argument, store


@dataclass
class LoopAround:
    """An `each` around what is rewritten."""

    own: set[str]
    """The names that each iteration has for itself."""
    stored: set[str]
    """Those of them that are seen when the loop is over: the last iteration's."""
    rules: dict[str, Rule]
    """Those of the names from around it."""
    draws_late: bool
    """Whether an iteration may draw random numbers behind a call: then those in front of it wait for their turn."""
    places: dict[str, Rule] = field(default_factory=dict[str, Rule])
    """What holds for names of the functions around where functions in these use them, by their places."""
    setters: dict[str, ast.stmt] = field(default_factory=dict[str, ast.stmt])
    """The functions that it needs, which set names around it, by their names."""
    has_return: bool = False
    has_break: bool = False

    @property
    def told(self) -> ast.expr:
        """What a run is told: the rules of attributes, and of names of modules."""
        rules = self.rules | self.places
        told = sorted((name, rule.value) for name, rule in rules.items() if name.startswith((".", ":")))
        return ast.Tuple([ast.Tuple([*map(ast.Constant, pair)], ast.Load()) for pair in told], ast.Load())


class Entered(NamedTuple):
    """An `each` that was gone into."""

    node: ast.AST
    """The loop, or the comprehension."""
    uses: Uses
    loop: LoopAround


_BINDING = (ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
"""Statements that bind a name whenever what they stand in is gone through."""


@dataclass
class FunctionAround:
    """A function around what is rewritten; not the body of an `each`, which belongs to the function around it."""

    bound: set[str]
    """Its own names."""
    outer: set[str]
    """Those that it declares as `global` or `nonlocal`."""
    globals: set[str]
    given: set[str]
    """Its parameters."""
    first: str | None
    """The first of them."""
    body: Sequence[ast.stmt]
    around: Around
    defaults: frozenset[str] = frozenset()
    """The parameters for which, where nothing is given, something is there that calls may change."""
    setters: dict[str, ast.stmt] = field(default_factory=dict[str, ast.stmt])
    """As those of a loop, for what it does outside of its loops."""
    number: int = field(default_factory=count().__next__)
    """That of no other function."""

    def __post_init__(self) -> None:
        """What its body binds is found before that is rewritten, and once: it is asked for at each name."""
        self.binds = bound_names(self.body)
        self.binds_for_certain = bound_names([each for each in self.body if isinstance(each, _BINDING)])


class Names(ast.NodeTransformer):
    """Where the rewriting stands, and the rules of names there."""

    def __init__(self, role_of: RoleOf, mangle: str | None) -> None:
        """`mangle` is the class around the function, by whose name its private names are known."""
        self._role_of = role_of
        self._mangled = f"_{mangle.lstrip('_')}" if mangle and mangle.lstrip("_") else None
        self._functions: list[FunctionAround] = []
        self._loops: list[LoopAround] = []
        """The loops around, of the innermost function."""
        self._inner = 0
        """How many plain loops stand around, within the innermost `each`."""
        self._fresh = 0
        self._taken_whole: list[ast.expr] = []
        """What somebody goes through to its end."""
        self.entered: list[Entered] = []
        """Each loop over `each` of the function, and what its iterations do."""

    def _enter(
        self, node: ast.For | ast.ListComp, body: Sequence[ast.stmt], target: ast.expr, ahead: bool = False
    ) -> tuple[Uses, LoopAround]:
        """Goes into the `each` at `node`; `ahead` says that it has a `lookahead`."""
        function = self._functions[-1]
        outliving = self._used_elsewhere(body, node.target) if isinstance(node, ast.For) else set[str]()
        uses, own, rules = uses_in(body, target, self._role_of, function.outer, function.around, ahead)
        if uses.meets and self._role_of.targets() is None:
            # What may be called here is not there yet. Where that waits for its turn, so does what is carried: a run
            # finds out.
            rules = {name: Rule.TURN if rule is Rule.CARRIED else rule for name, rule in rules.items()}
        draws_late = uses.draws_late or any(self._role_of(call.func).draws for call in uses.called_late)
        draws_late |= ahead and bool(uses.exits)
        if isinstance(node, ast.For):
            stored = own & (outliving | function.outer | uses.published)
            rules_around = rules | dict.fromkeys(uses.published, Rule.TURN)
        else:
            self._refuse_bound_outside(node, target, uses)
            stored, rules_around = set[str](), rules
        loop = LoopAround(own, stored, rules, draws_late, self._places(rules_around))
        self.entered.append(Entered(node, uses, loop))
        for name, rule in rules.items():
            if rule is Rule.CARRIED:
                of_name = [use for use in uses.found if use.name == name]
                raise carried(name, next((u for u in of_name if u.kind is Kind.LOAD), of_name[0]).node, of_name)
        for name, of_context in uses.contexts_set.items():
            if of_context[0].method == "get":
                raise carried(name, of_context[0].node, [])
        self._loops.append(loop)
        return uses, loop

    def _refuse_bound_outside(self, node: ast.ListComp, target: ast.expr, uses: Uses) -> None:
        """Each iteration of a comprehension is a function: what it sets is set for nobody else."""
        targets = [part for generator in node.generators for part in walk(generator.target)]
        items = {part.id for part in targets if isinstance(part, ast.Name)}
        others = [part for statement in self._functions[-1].body for part in walk(statement)]
        for part in own_nodes(node):
            if not isinstance(part, ast.NamedExpr):
                continue
            name = part.target.id
            alike = [node, *(other for other in others if _sets(other, name))]
            read = self._used_elsewhere(alike, target)
            if name in uses.exposed:
                read |= self._used_elsewhere(alike, target, ast.Store)
            if name in read | self._functions[-1].outer | uses.published | uses.shared:
                raise RefusedError(
                    f"an iteration of this comprehension sets `{name}` for the function around it",
                    part,
                    "write the loop as a statement: `for` over `each`",
                )
        for name in sorted(kept_in(node.elt, self._role_of) & items):
            raise RefusedError(
                f"a function that outlives its iteration sees what the last one has in `{name}`",
                node.elt,
                f"give it its own: `lambda {name}={name}: …`",
            )

    def _used_elsewhere(
        self, body: Sequence[ast.AST], target: ast.expr, how: type[ast.expr_context] = ast.Load
    ) -> set[str]:
        """The names that the function around reads outside of `body`, or in a function that it makes; or that it
        stores there, or is given."""
        inside = {id(each) for part in (*body, target) for each in walk(part)}
        function = self._functions[-1]
        found = {
            each.id
            for statement in function.body
            for each in walk(statement)
            if isinstance(each, ast.Name) and isinstance(each.ctx, how) and id(each) not in inside
        }
        return found if how is ast.Load else found | (function.bound - function.binds)

    def _promised(self, items: ast.Call) -> ast.Call | None:
        """The `each` that a loop goes through; None where it is a plain loop. What goes around it goes inside:
        ``enumerate(each(rows))`` is ``each(enumerate(rows))``."""
        if self._role_of(items.func).each:
            return items
        for k, argument in enumerate(items.args):
            inner = self._promised(argument) if isinstance(argument, ast.Call) else None
            if inner is not None and inner.args:
                within = at(ast.Call(items.func, items.args.copy(), items.keywords), items)
                within.args[k] = inner.args[0]
                inner.args[0] = within
                return inner
        return None

    def _is_outer(self, name: str) -> bool:
        """Whether a name comes from around the innermost `each`."""
        return bool(self._loops) and name not in self._loops[-1].own

    def _is_free(self, name: str) -> bool:
        """Whether a name comes from around the innermost `each`, and all that is done to it is done at once."""
        return self._is_outer(name) and self._rule(name) is Rule.FREE

    def _rule(self, name: str) -> Rule:
        """What holds for a name here, of all loops that it comes from around of."""
        found = Rule.FREE
        for loop in reversed(self._loops):
            if name in loop.own:
                break
            found = max(found, loop.rules.get(name, Rule.FREE), key=RANK.__getitem__)
        return found

    def _place(self, path: ast.expr) -> str | None:
        """What a run has a rule for, where a path stands for it: an attribute, or a name of the module."""
        match path:
            case ast.Attribute(value=owner, attr=attribute):
                return self._role_of.place_of(owner, attribute)
            case ast.Name(id=name) if (place := self._place_around(name)) is not None:
                return place
            case ast.Name(id=name) if self._is_of_module(name):
                return f":{name}"
            case _:
                return None

    def _place_around(self, name: str) -> str | None:
        """The place of a name that the function has from one around it; None for others."""
        if not self._functions or name in self._functions[-1].bound or name in self._functions[-1].globals:
            return None
        if self._rule(name) is not Rule.FREE or any(name in loop.own for loop in self._loops):
            return None
        owner = next((each for each in reversed(self._functions[:-1]) if name in each.bound), None)
        return None if owner is None else f":{name}@{owner.number}"

    def _places(self, rules: Mapping[str, Rule]) -> dict[str, Rule]:
        """What a run is told of names that functions around have, for functions which these make. What would be done
        later is not told: nobody knows who reads it."""
        leaked = self._functions[-1].around.leaked
        found: dict[str, Rule] = {}
        for name, rule in rules.items():
            owner = next((each for each in reversed(self._functions) if name in each.bound), None)
            is_safe = rule is Rule.FREE and name not in leaked.binds | leaked.changes
            if owner is not None and (is_safe or rule is Rule.TURN):
                found[f":{name}@{owner.number}"] = rule
        return found

    def _is_of_module(self, name: str) -> bool:
        """Whether a name is none of the functions around: its module has it, and others can change it."""
        if not self._functions or name.startswith(PREFIX) or self._rule(name) is not Rule.FREE:
            return False
        if any(name in loop.own for loop in self._loops):
            return False
        if name in self._functions[-1].outer:
            return True
        return not any(name in function.bound for function in self._functions) and self._role_of.is_state(name)

    def _levels(self, name: str, *, stored: bool = False) -> ast.expr:
        """How many loops around belongs what a name stands for; None where that is not of this function."""
        loops = self._loops[:-1] if stored else self._loops
        levels = 1 if stored else 0
        for loop in reversed(loops):
            if name in loop.own:
                return ast.Constant(levels)
            levels += 1
        return ast.Constant(levels if name in self._functions[-1].bound else None)

    def _may_be_unbound(self, name: str) -> bool:
        """Whether a name of the function around may have no value in an iteration, where Python says so of a local
        variable, and not of one of a function around."""
        if not self._is_outer(name):
            return False
        function = self._functions[-1]
        if name not in function.bound or name not in function.binds:
            return False  # it is the module's, or given
        return name not in function.binds_for_certain

    def _refuse_carried(self, name: str, node: ast.AST) -> None:
        if self._rule(name) is Rule.CARRIED:
            raise carried(name, node, [])

    def _bound_later(self, node: ast.AST, *names: str) -> Statements:
        """Behind what binds names of an iteration that are seen when the loop is over."""
        stored = [name for name in names if self._loops and name in self._loops[-1].stored]
        return [
            at(
                ast.Expr(
                    self._ours("later", self._levels(name, stored=True), self._setter(name), load(self._name(name)))
                ),
                node,
            )
            for name in stored
        ]

    def _passed_on(self, node: ast.AST, names: Sequence[str]) -> Statements:
        """Behind a loop in an iteration of another one, whose iterations may have set names of that."""
        found: Statements = []
        for stored in self._bound_later(node, *names):
            unbound = ast.ExceptHandler(load(f"{PREFIX}NameError"), None, [ast.Pass()])
            found.append(ast.Try([stored], [unbound], [], []))
        return found

    def _setter(self, name: str, op: ast.operator | None = None) -> ast.expr:
        """A function around the loop which sets a name there, or changes it by an operator."""
        function = self._functions[-1]
        setters = self._loops[-1].setters if self._loops else function.setters
        depth = len(self._loops)  # the loops around may need one of their own
        called = f"{PREFIX}{'set' if op is None else type(op).__name__.lower()}_{name}_{depth}"
        if called not in setters:
            of_module = name in function.globals and not any(name in loop.own for loop in self._loops[:-1])
            said = ast.Global if of_module else ast.Nonlocal
            value, target = load(f"{PREFIX}value"), store(self._name(name))
            change: ast.stmt = ast.Assign([target], value) if op is None else ast.AugAssign(target, op, value)
            body: Statements = [said([self._name(name)]), change]
            setters[called] = ast.FunctionDef(called, one_argument("value"), body, [], None, None)
        return load(called)

    def _turn(self, name: str, node: ast.AST) -> ast.stmt:
        return at(ast.Expr(self._ours("turn", self._levels(name))), node)

    def _name(self, name: str) -> str:
        """A name as the class around makes it private."""
        if self._mangled and name.startswith("__") and not name.endswith("__") and "." not in name:
            return self._mangled + name
        return name

    def _ours(self, name: str, *arguments: ast.expr) -> ast.Call:
        return ast.Call(load(PREFIX + name), list(arguments), [])

    def _fresh_name(self, kind: str = "") -> str:
        self._fresh += 1
        return f"{PREFIX}{kind}{self._fresh}"

    def _declarations(self, uses: Uses, loop: LoopAround) -> Statements:
        """What the function of an iteration says of names that it binds, and that are not its own."""
        function = self._functions[-1]
        shared = sorted(name for name in uses.bound - loop.own if self._rule(name) is not Rule.LATER)
        inner = set[str]().union(*(around.own for around in self._loops))
        of_module = [name for name in shared if name in function.globals - inner]
        others = [name for name in shared if name not in function.globals - inner]
        return [
            *([ast.Global([self._name(name) for name in of_module])] if of_module else []),
            *([ast.Nonlocal([self._name(name) for name in others])] if others else []),
        ]

    def _binds(self, name: str) -> bool:
        """Whether the scope around the loop has to be shown to bind a name."""
        function = self._functions[-1]
        return name not in function.outer and (not self._loops or name in self._loops[-1].own)


def _sets(part: ast.AST, name: str) -> bool:
    """Whether it is a comprehension that sets a name around it."""
    return isinstance(part, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) and any(
        isinstance(each, ast.NamedExpr) and each.target.id == name for each in walk(part)
    )
