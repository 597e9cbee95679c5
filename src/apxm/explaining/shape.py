"""What a function does as far as calls of models, loops and turns go, in the order in which it does it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from apxm.explaining.formulas import Amount


class Place:
    """Where something stands."""

    __slots__ = ("end", "end_line", "file", "line", "start")

    def __init__(self, file: str, node: ast.AST) -> None:
        self.file = file
        self.line: int = getattr(node, "lineno", 1)
        self.start: int = getattr(node, "col_offset", 0)
        """In bytes of UTF-8, from 0, as Python has it."""
        self.end_line: int = getattr(node, "end_lineno", None) or self.line
        self.end: int = getattr(node, "end_col_offset", None) or self.start

    @property
    def key(self) -> tuple[str, int, int]:
        return self.file, self.line, self.start


@dataclass(frozen=True)
class Ask:
    """A call of a model."""

    place: Place
    operation: str
    """The operation of ours, or how an SDK's is written."""
    text: int
    """Characters of its prompt that the text says."""
    answers: int
    """How many earlier answers are put into it."""
    begun: bool = False
    """Whether it does not wait for its answer before the next one begins."""
    max_tokens: int | None = None
    retries: int = 0


@dataclass(frozen=True)
class Wait:
    """Something waits for its turn."""

    place: Place
    why: str
    loops: int | None
    """In how many of the loops around it does, from the innermost; None is all."""
    seen: bool
    """Whether the text says what is done then; else nobody knows."""
    about: str | None = None
    """The parameter of the function that it is about: it waits where that is not the iteration's own."""
    part: str | None = None
    """The attribute of that parameter which it is about, where others may have that one, too; None for the parameter
    itself. Empty for an item of it."""
    draws: bool = False
    """Whether it takes from a sequence that all share: it waits where an iteration does so behind a call."""


@dataclass(frozen=True)
class Later:
    """Something is done when its turn has come, and nobody waits for it."""

    place: Place
    why: str


@dataclass(frozen=True)
class Trusted:
    """Something is done at once, as the user promises it, though the text does not show that nobody else sees it."""

    place: Place
    why: str
    about: str | None = None
    part: str | None = None
    """Both as those of `Wait`."""
    seen: bool = False
    """Whether the text shows what it does."""


class Does(Enum):
    READS = "reads"
    SETS = "sets"
    CHANGES = "changes"


@dataclass(frozen=True)
class Placed:
    """Something is done to an attribute, as ``.stats``, or to a name of a module, as ``:total``: whether that waits,
    the rules of the loops around say."""

    place: Place
    name: str
    does: Does
    can_be_later: bool = True
    about: str | None = None
    part: str | None = None
    """Both as those of `Wait`, of the object that has the attribute."""


@dataclass(frozen=True)
class Rule:
    """What holds for an attribute, or a name of a module, in a loop."""

    says: str
    """``free``, ``later`` or ``turn``."""
    changes: tuple[int, ...]
    """The lines that change it."""
    reads: tuple[int, ...]
    seen: bool
    """Whether the text says how it is changed."""


@dataclass(frozen=True)
class Branch:
    """One of several ways."""

    ways: tuple[Sequence[Step], ...]


@dataclass
class Loop:
    """What happens again and again."""

    place: Place
    """Of what it goes through."""
    kind: str
    """``for``, ``while`` or ``comprehension``."""
    items: str
    """What it goes through, as it is written."""
    turns: Amount
    promised: bool
    body: Sequence[Step]
    in_sequence: bool = False
    """Whether, as an `each`, it lets no iteration run ahead."""
    lookahead: int = 0
    leaves: bool = False
    """Whether an iteration may leave it."""
    rules: Mapping[str, Rule] = field(default_factory=dict[str, Rule])
    """Those of an `each`."""


@dataclass(frozen=True)
class Leave:
    """The iteration ends here, or the function returns."""


@dataclass(frozen=True)
class Within:
    """A function of the user's is called."""

    place: Place
    name: str
    file: str
    body: Sequence[Step]
    lengths: Mapping[str, Amount] = field(default_factory=dict[str, Amount])
    """What the lengths of its parameters are for who calls it."""
    recursive: bool = False
    """Whether it calls itself: then nobody knows how often."""
    made: bool = False
    """Whether it is made in the function that calls it."""


Step = Ask | Wait | Later | Trusted | Placed | Leave | Branch | Loop | Within


def asks(steps: Sequence[Step]) -> bool:
    """Whether a model may be called in there."""
    return any(isinstance(step, Ask) for step in all_steps(steps))


def without_turns(steps: Sequence[Step]) -> list[Step]:
    """The same, where nothing waits for a turn."""
    found: list[Step] = []
    for step in steps:
        match step:
            case Wait() | Later() | Trusted() | Placed() | Leave():
                pass
            case Branch(ways=ways):
                found.append(Branch(tuple(map(without_turns, ways))))
            case Loop() | Within():
                found.append(replace(step, body=without_turns(step.body)))
            case Ask():
                found.append(step)
    return found


def all_steps(steps: Sequence[Step]) -> Iterator[Step]:
    """The steps, and those inside of them."""
    for step in steps:
        yield step
        match step:
            case Branch(ways=ways):
                for way in ways:
                    yield from all_steps(way)
            case Loop(body=body) | Within(body=body):
                yield from all_steps(body)
            case _:
                pass


def all_loops(steps: Sequence[Step]) -> Iterator[Loop]:
    """The loops of a function, those of functions that it makes among them."""
    for step in steps:
        match step:
            case Branch(ways=ways):
                for way in ways:
                    yield from all_loops(way)
            case Loop(body=body):
                yield step
                yield from all_loops(body)
            case Within(made=True, body=body):
                yield from all_loops(body)
            case _:
                pass
