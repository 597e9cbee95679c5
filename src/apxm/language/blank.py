"""Which texts are known to be blank before a run: a prompt of blanks asks nothing."""

from __future__ import annotations

from collections.abc import Callable

from apxm.language.syntax import Addition, Constant, Expression, FormatText, Name


def is_blank(expression: Expression, is_blank_name: Callable[[str], bool]) -> bool:
    """Whether this is text of blanks alone, or none, in every run.

    It asks for no more than that, and never for the text itself, which forty lines of `let b = a + a` make too long to
    hold: a joined text is blank if all its parts are.
    """
    match expression:
        case Constant(value=value):
            return isinstance(value, str) and not value.strip()
        case FormatText(parts=parts) | Addition(operands=parts):
            return all(is_blank(part, is_blank_name) for part in parts)
        case Name(text=name):
            return is_blank_name(name)
        case _:
            return False
