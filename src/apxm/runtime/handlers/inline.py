"""Operations that never wait: they run where they are taken, without a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from apxm.errors import OperationError
from apxm.operations.sequences import joined
from apxm.operations.types import Value, text_form
from apxm.program.nodes import Operate
from apxm.runtime.expressions import Collect, collector

Emit = Callable[[str], None]
"""Takes one line of the program's output."""


class InlineOperation:
    """An operation of a plan that never waits: how its arguments are collected, and what it makes of them."""

    __slots__ = ("apply", "collect")

    def __init__(self, collect: Collect, apply: Callable[[Sequence[Value], Emit], Value]) -> None:
        self.collect = collect
        self.apply = apply


def inline_operation(node: Operate) -> InlineOperation | None:
    """None for an operation that is not of this kind."""
    match node.operation:
        case "merge":
            apply = _joined_lines if node.result == "str" else _as_list
        case "wait_all":
            apply = _as_list
        case "print":
            apply = _print_line
        case _:
            return None
    return InlineOperation(collector(node.arguments, node.operands), apply)


def _joined_lines(values: Sequence[Value], _emit: Emit) -> Value:
    try:
        return joined("\n", cast(Sequence[str], values))
    except TypeError:  # only in an artifact that somebody wrote by hand: the compiler sees to the types
        raise OperationError("wrong_type", "merge expected only texts") from None


def _as_list(values: Sequence[Value], _emit: Emit) -> Value:
    return list(values)


def _print_line(values: Sequence[Value], emit: Emit) -> Value:
    emit(joined(" ", [text_form(value) for value in values]))
