"""What a call is, as the text around it says, and what it changes as it is written."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from apxm.effects.libraries import ONLY_ADDS, Known


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
    is_method: bool = False
    """Whether the summary's first parameter is what the method is called on."""

    @property
    def draws(self) -> bool:
        """Whether random numbers are drawn in it."""
        return self.known is Known.DRAWS or (self.summary is not None and self.summary.draws)

    @property
    def may_wait(self) -> bool:
        """Whether other iterations may go on while it is called."""
        if self.summary is not None:
            return self.guessed or self.summary.waits
        return not (
            self.each or self.looks_only or self.known in (Known.NOTHING, Known.ITS_OWN, Known.DRAWS, Known.ITS_FIRST)
        )

    @property
    def is_unknown(self) -> bool:
        return not (self.each or self.asks or self.looks_only or self.known or self.summary)


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


EVIDENT = frozenset(
    {
        "add",
        "append",
        "appendleft",
        "extend",
        "insert",
        "update",
        "write",
        "writelines",
        "discard",
        "remove",
        "clear",
        "pop",
        "popleft",
        "popitem",
        "setdefault",
        "sort",
        "reverse",
    }
)
"""Methods that change what they are called on, if that is a container or a file."""


MAKERS = frozenset({"copy", "deepcopy", "findall", "loads", "parse_qs", "rsplit", "sorted", "split", "splitlines"})
"""Functions that give a new container each time."""


def makes(role: Role, callee: ast.expr) -> bool:
    """Whether a function that only computes gives a new container."""
    name = callee.attr if isinstance(callee, ast.Attribute) else callee.id if isinstance(callee, ast.Name) else ""
    return role.makes or name in MAKERS


def is_plain(path: ast.expr) -> bool:
    """Whether to follow a path changes nothing: an item may be made when it is asked for."""
    return not any(isinstance(part, ast.Subscript | ast.Call) for part in ast.walk(path))


def is_call_statement(statement: ast.Expr) -> bool:
    """Whether a statement is nothing but the call of a method that changes what a name stands for."""
    match statement.value:
        case ast.Call(func=ast.Attribute(value=receiver, attr=method)):
            return method in EVIDENT and root(receiver) is not None
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


class Adding(NamedTuple):
    """``groups[key].append(value)``, or ``groups.setdefault(key, []).append(value)``."""

    container: ast.expr
    keys: list[ast.expr]
    default: ast.expr | None
    method: str
    arguments: list[ast.expr]


def adding(statement: ast.stmt) -> Adding | None:
    """A statement that only adds to an item of a container."""
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=receiver, attr=method), args=arguments, keywords=[])) if (
            method in ONLY_ADDS
        ):
            default = None
            match receiver:
                case ast.Call(func=ast.Attribute(value=inner, attr="setdefault"), args=[key, default], keywords=[]):
                    container, keys = without_items(inner)
                    keys.append(key)
                case _:
                    container, keys = without_items(receiver)
            if keys and is_plain(container) and root(container) is not None:
                return Adding(container, keys, default, method, arguments)
        case _:
            pass
    return None


def without_items(path: ast.expr) -> tuple[ast.expr, list[ast.expr]]:
    """A path up to the items at its end, and the keys of these."""
    keys: list[ast.expr] = []
    while isinstance(path, ast.Subscript):
        keys.insert(0, path.slice)
        path = path.value
    return path, keys


class Counting(NamedTuple):
    """``counts[key] = counts.get(key, default) + value``."""

    counts: ast.expr
    key: ast.expr
    default: ast.expr
    op: ast.operator
    value: ast.expr


def counting(statement: ast.stmt) -> Counting | None:
    """An assignment that only counts in a dict."""
    match statement:
        case ast.Assign(
            targets=[ast.Subscript(value=counts, slice=key)],
            value=ast.BinOp(
                left=ast.Call(func=ast.Attribute(value=read, attr="get"), args=[of, ast.Constant() as default]),
                op=op,
                right=value,
            ),
        ) if is_plain(counts) and root(counts) is not None and _same(counts, read) and _same(key, of):
            names = {part.id for part in ast.walk(value) if isinstance(part, ast.Name)}
            return None if root(counts) in names else Counting(counts, key, default, op, value)
        case _:
            return None


def _same(one: ast.expr, other: ast.expr) -> bool:
    return ast.unparse(one) == ast.unparse(other)


def root(expression: ast.expr) -> str | None:
    """The name that a path of attributes and items begins with."""
    while isinstance(expression, ast.Attribute | ast.Subscript):
        expression = expression.value
    return expression.id if isinstance(expression, ast.Name) else None


def argument_of(call: ast.Call, role: Role, parameter: str) -> ast.expr | None:
    """What a call gives for a parameter of the function that `role` sums up; None where that is not evident."""
    assert role.summary is not None
    given = list(call.args)
    if role.is_method and isinstance(call.func, ast.Attribute):
        given.insert(0, call.func.value)
    for name, argument in zip(role.summary.parameters, given, strict=False):
        if isinstance(argument, ast.Starred):
            return argument.value
        if name == parameter:
            return argument
    return next((keyword.value for keyword in call.keywords if keyword.arg in (parameter, None)), None)


def changes_first(call: ast.Call) -> bool:
    """Whether a call, as it is written, changes its first argument."""
    match call.func:
        case ast.Name(id=name):
            return name in {"next", "setattr", "delattr", "heappush", "heappop", "insort", "shuffle"}
        case ast.Attribute(value=ast.Name(id="heapq" | "bisect" | "random"), attr=name):
            return name in {"heappush", "heappop", "heapify", "heapreplace", "heappushpop", "insort", "shuffle"}
        case _:
            return False
