"""The text forms of plans and verdicts: what models and people read of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from apxm.errors import OperationError
from apxm.operations.types import BUILT_IN, Value, conforms


def text_form_of(name: str) -> Callable[[Value], str]:
    """What makes text of the values of the built-in record `name`. It raises `OperationError` for a value that is none,
    which only an artifact can lead to that somebody wrote by hand."""
    expected, form = BUILT_IN[name], _FORMS[name]

    def made(value: Value) -> str:
        if not conforms(value, expected):
            raise OperationError("wrong_type", f"expected a {name}, found a {type(value).__name__}")
        return form(value)

    return made


def _plan(value: Value) -> str:
    """``2. Copy the files. (after 1)``, a line for each step."""
    lines: list[str] = []
    for number, step in enumerate(value["steps"], start=1):
        after = f" (after {', '.join(map(str, step['after']))})" if step["after"] else ""
        lines.append(f"{number}. {step['text']}{after}")
    return "\n".join(lines)


def _verdict(value: Value) -> str:
    """``refuted (confidence 0.8): The proof leaves out a case.``"""
    return f"{value['label']} (confidence {value['confidence']:g}): {value['reason']}"


_FORMS: Mapping[str, Callable[[Value], str]] = MappingProxyType({"plan": _plan, "verdict": _verdict})
