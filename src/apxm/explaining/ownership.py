"""Whose an object is: the iteration's own, a part of its item, or that of who calls the function."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import replace

from apxm.effects.patterns import root
from apxm.effects.rules import Rule
from apxm.effects.trees import children, walk
from apxm.explaining.attributes import Attributes
from apxm.explaining.callees import Scope, is_ask
from apxm.explaining.names import Bindings, Made
from apxm.explaining.shape import Branch, Does, Loop, Placed, Step, Trusted, Wait, Within
from apxm.rewriting.names import Entered


class Ownership:
    """That of what stands in one function, at the place where it is read."""

    def __init__(self, bindings: Bindings, loops: Sequence[Entered], scope: Scope, attributes: Attributes) -> None:
        """`loops` are those over `each` around, the outermost first, as they are gone into."""
        self._scope = scope
        self._attributes = attributes
        self._bindings = bindings
        self._loops = loops

    def is_own(self, thing: ast.expr) -> bool:
        """Whether something was made in the iteration itself."""
        match thing:
            case ast.Name(id=name):
                made = self._bindings.made(name)
                return made in (Made.CONTAINER, Made.OBJECT, Made.VALUE) and self.is_iterations(name)
            case ast.Attribute(value=ast.Name(id=name) as owner, attr=part):
                return self.is_own(owner) and self._has_own(name, part)
            case _:
                return root(thing) is None and not isinstance(thing, ast.Call)

    def is_mine(self, thing: ast.expr) -> bool:
        """Whether something is the item of the iteration, or a part of it."""
        name, loops = root(thing), self._loops
        return name is not None and bool(loops) and loops[-1].uses.origins.is_mine(name, loops[-1].uses.exposed)

    def parameter(self, thing: ast.expr | None) -> str | None:
        """The parameter of a function that something is, or is a part of: whose it is its caller knows."""
        name = root(thing) if thing is not None else None
        is_one = name is not None and name in self._bindings.parameters and not self._loops
        return name if is_one else None

    def part(self, thing: ast.expr | None) -> str | None:
        """As that of `Wait`: nothing of what the class makes for each object."""
        if thing is None or self.parameter(thing) is None:
            return None
        name, part = _first_part(thing)
        around = self._scope.class_of_first(name)
        is_each_its_own = around is not None and part and self._attributes.given(around, part) == frozenset()
        return None if is_each_its_own else part

    def _has_own(self, name: str, part: str) -> bool:
        """Whether a part of what the iteration made, and has by that name, was made for it, too."""
        if not part or any(_stores(node, part) for node in self._scope.body()):
            return False
        return all(isinstance(value, ast.Call) and self._gives(value, part) for value in self._bindings.values(name))

    def _gives(self, call: ast.Call, part: str) -> bool:
        """Whether a call makes an object of which that part is its own; nobody else has what a library answers."""
        made = self._scope.class_of(call)
        if made is None:
            return is_ask(self._scope.role_of(call.func))
        given = self._attributes.arguments(call, made, part)
        return given is not None and all(isinstance(each, ast.Constant) or self.is_own(each) for each in given)

    def is_iterations(self, name: str) -> bool:
        loops = self._loops
        return name in loops[-1].loop.own if loops else self._bindings.binds(name)

    def has_turn_already(self, name: str) -> bool:
        """Whether a name waits for its turn where it is read, so that what is done with it comes then."""
        return any(loop.loop.rules.get(name) is Rule.TURN and name not in loop.loop.own for loop in self._loops)

    def promised(self, thing: ast.expr) -> str:
        return f"it changes `{ast.unparse(thing)}`, of which others may have a part"

    # --- for who calls the function

    def seen_from(self, steps: Sequence[Step], bound: Mapping[str, ast.expr]) -> list[Step]:
        """The steps of a function, for the one that calls it and gives it `bound`; without what does not concern it."""
        found = (self._seen_from(step, bound) for step in steps)
        return [step for step in found if step is not None]

    def _seen_from(self, step: Step, bound: Mapping[str, ast.expr]) -> Step | None:
        match step:
            case Branch(ways=ways):
                return Branch(tuple(self.seen_from(way, bound) for way in ways))
            case Loop() | Within():
                return replace(step, body=self.seen_from(step.body, bound))
            case Wait(draws=True):
                loops = self._loops
                late = any(loop.loop.draws_late for loop in loops)
                return step if late or not loops else None
            case Wait(about=str(about)) | Placed(about=str(about)) | Trusted(about=str(about)):
                return self._about(step, bound.get(about))
            case _:
                return step

    def _about(self, step: Wait | Placed | Trusted, given: ast.expr | None) -> Step | None:
        if given is None:
            return replace(step, about=None)
        if self.is_own(given):
            if step.part is None or (isinstance(given, ast.Name) and self._has_own(given.id, step.part)):
                return None
            reads = isinstance(step, Placed) and step.does is Does.READS
            is_item = not step.part and not reads
            return Trusted(step.place, self.promised(given)) if is_item else replace(step, about=None)
        name = root(given)
        if name is not None and self.has_turn_already(name):
            return None
        if self.is_mine(given):
            reads = isinstance(step, Placed) and step.does is Does.READS
            return None if reads else Trusted(step.place, self.promised(given))
        return replace(step, about=self.parameter(given))


def _first_part(thing: ast.expr) -> tuple[str, str | None]:
    """The name that a path begins with, and the first attribute behind it; empty where it is an item."""
    part: str | None = None
    while not isinstance(thing, ast.Name):
        part = thing.attr if isinstance(thing, ast.Attribute) else ""
        inner = next((child for child in children(thing) if isinstance(child, ast.expr)), None)
        if inner is None:
            return "", ""
        thing = inner
    return thing.id, part


def _stores(node: ast.AST, name: str) -> bool:
    """Whether an attribute of that name is set there."""
    return any(
        isinstance(each, ast.Attribute) and each.attr == name and isinstance(each.ctx, ast.Store) for each in walk(node)
    )
