"""Whose an object is: the iteration's own, a part of its item, or that of who calls the function."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import replace

from apxm.effects.patterns import root
from apxm.effects.rules import Rule
from apxm.explaining.names import Bindings, Made
from apxm.explaining.shape import Branch, Does, Loop, Placed, Step, Trusted, Wait, Within
from apxm.rewriting.names import Entered


class Ownership:
    """That of what stands in one function, at the place where it is read."""

    def __init__(self, bindings: Bindings, loops: Sequence[Entered]) -> None:
        """`loops` are those over `each` around, the outermost first, as they are gone into."""
        self._bindings = bindings
        self._loops = loops

    def is_own(self, thing: ast.expr) -> bool:
        """Whether something was made in the iteration itself."""
        match thing:
            case ast.Name(id=name):
                made = self._bindings.made(name)
                return made in (Made.CONTAINER, Made.OBJECT, Made.VALUE) and self.is_iterations(name)
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
            return None
        name = root(given)
        if name is not None and self.has_turn_already(name):
            return None
        if self.is_mine(given):
            reads = isinstance(step, Placed) and step.does is Does.READS
            return None if reads else Trusted(step.place, self.promised(given))
        return replace(step, about=self.parameter(given))
