"""What a call is, as the text around it says, and what it changes as it is written."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from apxm.lanes.known import Known


class Summary(NamedTuple):
    """What a call of a function of the user's can do, as far as its text says."""

    reads: frozenset[str] = frozenset()
    """The names of its module that it reads, of what can change."""
    changes: frozenset[str] = frozenset()
    """Those whose values it sets or changes."""
    parameters: tuple[str, ...] = ()
    """The names of its parameters, in order."""
    changed: frozenset[str] = frozenset()
    """The parameters that it may change."""
    draws: bool = False
    """Whether it draws random numbers."""


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

    @property
    def draws(self) -> bool:
        """Whether random numbers are drawn in it."""
        return self.known is Known.DRAWS or (self.summary is not None and self.summary.draws)

    @property
    def may_wait(self) -> bool:
        """Whether other iterations may go on while it is called."""
        return not (
            self.each or self.looks_only or self.known in (Known.NOTHING, Known.ITS_OWN, Known.DRAWS, Known.ITS_FIRST)
        )

    @property
    def is_unknown(self) -> bool:
        return not (self.each or self.asks or self.looks_only or self.known or self.summary)


UNKNOWN = Role()


RoleOf = Callable[[ast.expr], Role]
"""What an expression that is called means; `UNKNOWN` for what is only known when it runs."""


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


def root(expression: ast.expr) -> str | None:
    """The name that a path of attributes and items begins with."""
    while isinstance(expression, ast.Attribute | ast.Subscript):
        expression = expression.value
    return expression.id if isinstance(expression, ast.Name) else None


def changed_arguments(call: ast.Call, summary: Summary) -> Iterator[ast.expr]:
    """The arguments of a call that a function with that summary may change."""
    for name, argument in zip(summary.parameters, call.args, strict=False):
        if isinstance(argument, ast.Starred):
            yield from call.args
            break
        if name in summary.changed:
            yield argument
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in summary.changed:
            yield keyword.value


def changes_first(call: ast.Call) -> bool:
    """Whether a call, as it is written, changes its first argument."""
    match call.func:
        case ast.Name(id=name):
            return name in {"next", "setattr", "delattr", "heappush", "heappop", "insort", "shuffle"}
        case ast.Attribute(value=ast.Name(id="heapq" | "bisect" | "random"), attr=name):
            return name in {"heappush", "heappop", "heapify", "heapreplace", "heappushpop", "insort", "shuffle"}
        case _:
            return False
