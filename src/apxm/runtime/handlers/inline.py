"""Operations that never wait: they run where they are taken, without a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from apxm.operations.types import Value, text_form
from apxm.program.model import Operate
from apxm.runtime.expressions import collector, joined

Emit = Callable[[str], None]
"""Takes one line of the program's output."""


Apply = Callable[[Sequence[Value], Emit], Value]


class InlineCall:
    """One such operation of a plan: how its arguments are collected, and what it makes of them."""

    __slots__ = ("apply", "collect")

    def __init__(self, apply: Apply, node: Operate) -> None:
        self.collect = collector(node.arguments, node.operands)
        self.apply = apply


def inline_call(node: Operate) -> InlineCall | None:
    """None for an operation that is not of this kind."""
    match node.operation:
        case "merge":
            return InlineCall(_joined_lines if node.result == "str" else _as_list, node)
        case "wait_all":
            return InlineCall(_as_list, node)
        case "print":
            return InlineCall(_print_line, node)
        case _:
            return None


def _joined_lines(values: Sequence[Value], emit: Emit) -> Value:
    del emit
    return joined("\n", [text_form(value) for value in values])


def _as_list(values: Sequence[Value], emit: Emit) -> Value:
    del emit
    return list(values)


def _print_line(values: Sequence[Value], emit: Emit) -> Value:
    emit(joined(" ", [text_form(value) for value in values]))
