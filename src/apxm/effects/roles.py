"""What a call is, as far as the text and the names around it say, and what it does to what is there already."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from types import FunctionType
from typing import NamedTuple, Protocol

from apxm.effects.libraries import Known
from apxm.effects.specials import Implied


class Kind(Enum):
    LOAD = "reads"
    BIND = "sets"
    ADD = "adds to"
    CHANGE = "changes"


class Touch(NamedTuple):
    """What a call of a function of the user's does to something that outlives it."""

    name: str
    """A name of its module, one of its parameters, or an attribute, as ``.stats``."""
    kind: Kind
    through: str | None = None
    """The name that the path to an attribute begins with; None where it begins with something else."""
    late: bool = False
    """Whether a model may have been called before it, in that call."""
    whole: bool = False
    """Whether it reads whatever the name stands for, its attributes included."""
    deep: bool = False
    """Whether it changes something that the container holds for which the name stands, and not that alone."""


class Special(NamedTuple):
    """Special methods that code may call without naming them."""

    functions: tuple[FunctionType, ...]
    through: str | None
    """The name that the path to their object begins with; None where it begins with something else."""
    is_part: bool
    """Whether their object is not what that name stands for, but a part of it."""
    late: bool
    """Whether a model may have been called before it."""


class Summary(NamedTuple):
    """What a call of a function of the user's can do, as far as its text says."""

    touches: tuple[Touch, ...] = ()
    """In the order in which they happen."""
    parameters: tuple[str, ...] = ()
    """The names of its parameters, in order."""
    plain: frozenset[str] = frozenset()
    """The parameters that stand for what nobody can change, where nothing is given for them."""
    draws: bool = False
    """Whether it draws random numbers."""
    waits: bool = False
    """Whether other iterations may go on while it is called."""
    gives: frozenset[str] | None = frozenset()
    """The parameters and names of its module that its result may be, or be a part of; None where that is not known."""
    contexts: tuple[tuple[str, str], ...] = ()
    """The context variables that it uses, each with the method, in the order in which it does."""
    specials: tuple[Special, ...] = ()
    """What these do is not among its own touches: special methods call each other in every way."""
    meets: bool = False
    """Whether it calls what only a run knows. What that does is not among its own touches either."""
    swallows: bool = False
    """Whether, as a context manager or its ``__exit__``, it may go on behind what is raised in its `with`."""

    @property
    def does_something(self) -> bool:
        """Whether it matters when it is called."""
        return bool(self.touches) or self.draws or self.waits

    @property
    def reads(self) -> frozenset[str]:
        """The names of its module that it reads, of what can change."""
        return self._names(Kind.LOAD)

    @property
    def changes(self) -> frozenset[str]:
        """Those whose values it sets or changes."""
        return self._names(Kind.BIND, Kind.ADD, Kind.CHANGE)

    @property
    def changed(self) -> frozenset[str]:
        """The parameters that it may change."""
        return frozenset(
            touch.through if touch.through is not None else touch.name
            for touch in self.touches
            if touch.kind is not Kind.LOAD and self.parameters and (touch.through or touch.name) in self.parameters
        )

    def _names(self, *kinds: Kind) -> frozenset[str]:
        names = {touch.name for touch in self.touches if touch.kind in kinds}
        return frozenset(name for name in names if not name.startswith(".") and name not in self.parameters)


@dataclass(frozen=True)
class Role:
    """What a function that is called by a name or a path is."""

    each: bool = False
    asks: bool = False
    """Whether it is `ask` or one of its family."""
    known: Known | None = None
    summary: Summary | None = None
    """That of a function of the user's."""
    found: bool = False
    """Whether it is known which function that is, if not what it does."""
    makes: bool = False
    """Whether it makes something new."""
    looks_only: bool = False
    """Whether it is a method that by its name only looks."""
    read: Summary | None = None
    """What it does to read it, where it is a property of the user's."""
    written: Summary | None = None
    """What it does to set it, where it is a property of the user's."""
    guessed: bool = False
    """Whether it is only by its name that a method is taken for one of the user's classes."""
    is_cached: bool = False
    """Whether it gives what it gave before, whoever asked: lanes call it at their turn."""
    is_library: bool = False
    """Whether it is evidently no function of the user's."""
    is_method: bool = False
    """Whether the summary's first parameter is what the method is called on."""
    receiver: ast.expr | None = None
    """What that is, where it is not what stands in front of the method."""
    context: str | None = None
    """The context variable of which it is a method."""

    @property
    def draws(self) -> bool:
        """Whether random numbers are drawn in it."""
        return self.known is Known.DRAWS or (self.summary is not None and self.summary.draws)

    @property
    def may_wait(self) -> bool:
        """Whether other iterations may go on while it is called."""
        if self.summary is not None:
            return self.guessed or self.is_cached or self.summary.waits
        return not (
            self.each
            or self.looks_only
            or self.known in (Known.NOTHING, Known.ITS_OWN, Known.DRAWS, Known.ITS_FIRST, Known.LOOKS_OUTSIDE)
        )

    @property
    def is_unknown(self) -> bool:
        return not (self.each or self.asks or self.looks_only or self.known or self.summary)

    @property
    def meets(self) -> bool:
        """Whether it may be any function of the user's, or calls one."""
        return self.summary.meets if self.summary is not None else self.is_unknown and not self.is_library

    @property
    def may_be_any(self) -> bool:
        """Whether only a run knows which function it is."""
        return self.is_unknown or self.guessed or self.looks_only


UNKNOWN = Role()


class RoleOf(Protocol):
    """What the names in a function mean."""

    def __call__(self, callee: ast.expr) -> Role:
        """What an expression that is called means; `UNKNOWN` for what is only known when it runs. For an attribute, its
        `Role.read` says what reading it does."""
        ...

    def is_state(self, name: str) -> bool:
        """Whether a name of the module stands for what can change."""
        ...

    def same_as(self, place: str) -> frozenset[str]:
        """The names of the module, and the attributes, that may hold what one of them holds."""
        ...

    def place_of(self, owner: ast.expr, attribute: str) -> str:
        """What the rules of a loop call an attribute: ``.stats``, or ``:stats`` where it is a name of a module."""
        ...

    def is_shared(self, attribute: str) -> bool:
        """Whether an attribute may be one that all objects of a class of the user's share, and that may change."""
        ...

    def special_methods(self, of: Implied) -> Sequence[FunctionType]:
        """The special methods of the user's that may be called there."""
        ...

    def summary_of(self, function: FunctionType) -> Summary | None:
        """What one of these does."""
        ...

    @property
    def knows_defaults(self) -> bool:
        """Whether there may be a `defaultdict` here."""
        ...

    def factories(self, container: ast.expr) -> Sequence[FunctionType] | None:
        """The functions of the user's that make the items of a `defaultdict`; None for what is not evidently one."""
        ...

    def may_wait(self, function: FunctionType) -> bool:
        """Whether other iterations may go on in one of these."""
        ...

    def targets(self) -> Summary | None:
        """What a function of the user's may do of which only a run knows which one is called; None where the module is
        not there yet in which they are."""
        ...

    def is_iterator(self, name: str) -> bool:
        """Whether a name from around a function stands for what can be gone through only once."""
        ...


def touches_beside_own(summary: Summary | None) -> list[Touch]:
    """What a method of the user's does to other things than the object that it is called on."""
    if summary is None:
        return []
    own = summary.parameters[:1]
    return [touch for touch in summary.touches if touch.name not in own and touch.through not in own]


MAKERS = frozenset({"copy", "deepcopy", "findall", "loads", "parse_qs", "rsplit", "sorted", "split", "splitlines"})
"""Functions that give a new container each time."""


def makes(role: Role, callee: ast.expr) -> bool:
    """Whether a function that only computes gives a new container."""
    name = callee.attr if isinstance(callee, ast.Attribute) else callee.id if isinstance(callee, ast.Name) else ""
    return role.makes or name in MAKERS


_TEXTS_AND_NUMBERS = frozenset({"ask", "float", "int", "len", "repr", "round", "str", "sum"})
_OF_TEXTS = frozenset({"format", "join", "lower", "lstrip", "replace", "rstrip", "strip", "title", "upper"})


def is_text_or_number(value: ast.expr, role_of: RoleOf) -> bool:
    """Whether a value is evidently a text or a number: what it is added to by ``+=`` is one, too."""
    match value:
        case ast.Constant() | ast.JoinedStr() | ast.Compare():
            return True
        case ast.BinOp(left=left, right=right):
            return is_text_or_number(left, role_of) or is_text_or_number(right, role_of)
        case ast.UnaryOp(operand=inner):
            return is_text_or_number(inner, role_of)
        case ast.IfExp(body=one, orelse=other):
            return is_text_or_number(one, role_of) and is_text_or_number(other, role_of)
        case ast.Call(func=ast.Attribute(attr=name)):
            return name in _OF_TEXTS
        case ast.Call(func=ast.Name(id=name) as func, keywords=keywords):
            plain = all(keyword.arg not in ("schema", "choices") for keyword in keywords)
            return (name in _TEXTS_AND_NUMBERS or role_of(func).asks) and plain
        case _:
            return False


class Unknowing:
    """A `RoleOf` that knows nothing."""

    def __call__(self, callee: ast.expr) -> Role:
        del callee
        return UNKNOWN

    def is_state(self, name: str) -> bool:
        del name
        return True

    def same_as(self, place: str) -> frozenset[str]:
        del place
        return frozenset()

    def place_of(self, owner: ast.expr, attribute: str) -> str:
        del owner
        return f".{attribute}"

    def is_shared(self, attribute: str) -> bool:
        del attribute
        return False

    def special_methods(self, of: Implied) -> Sequence[FunctionType]:
        del of
        return ()

    def summary_of(self, function: FunctionType) -> Summary | None:
        del function
        return None

    def may_wait(self, function: FunctionType) -> bool:
        del function
        return True

    def targets(self) -> Summary:
        return Summary()

    @property
    def knows_defaults(self) -> bool:
        return False

    def factories(self, container: ast.expr) -> Sequence[FunctionType] | None:
        del container
        return None

    def is_iterator(self, name: str) -> bool:
        del name
        return False


def argument_of(call: ast.Call, role: Role, parameter: str) -> ast.expr | None:
    """What a call gives for a parameter of the function that `role` sums up; None where that is not evident."""
    assert role.summary is not None
    given = list(call.args)
    if role.is_method and isinstance(call.func, ast.Attribute):
        given.insert(0, role.receiver or call.func.value)
    for name, argument in zip(role.summary.parameters, given, strict=False):
        if isinstance(argument, ast.Starred):
            return argument.value
        if name == parameter:
            return argument
    return next((keyword.value for keyword in call.keywords if keyword.arg in (parameter, None)), None)
