"""Values as they stand on a command line: text, read by the type of the parameter that gets it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from types import MappingProxyType
from typing import NoReturn

from apxm.errors import UsageError
from apxm.operations.types import Type, Value
from apxm.program.invocation import arguments_for, assign, match
from apxm.program.program import Flow, FlowParameter
from apxm.source import is_utf8, shortened


def read_arguments(
    flow: Flow, values: Sequence[str], named: Sequence[str], records: Mapping[str, Type] = MappingProxyType({})
) -> list[Value]:
    """The arguments of `flow` from ``VALUE…`` and ``--arg NAME=VALUE``; `records` are those of its program. Raises
    `UsageError`."""
    return arguments_for(flow, _read_all(flow, assign(flow, values, _by_name(named))), records)


def read_known(flow: Flow, values: Sequence[str], named: Sequence[str]) -> dict[str, Value]:
    """The values that are given, by name, where some may be left out."""
    return _read_all(flow, match(flow, values, _by_name(named)))


def _read_all(flow: Flow, given: Mapping[str, str]) -> dict[str, Value]:
    parameters = {parameter.name: parameter for parameter in flow.parameters}
    return {name: _read(parameters[name], text, flow) for name, text in given.items()}


def read_assumed(assumed: Sequence[str]) -> dict[str, Value]:
    """What ``--assume OP=VALUE`` says, by operation. Raises `UsageError`."""
    found: dict[str, Value] = {}
    for name, text in _by_name(assumed, "--assume", "OP=VALUE").items():
        try:
            found[name] = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        except (ValueError, RecursionError):
            raise UsageError(f"--assume {name}: {text!r} is not JSON", hint="a text stands in quotes") from None
    return found


def _by_name(named: Sequence[str], option: str = "--arg", form: str = "NAME=VALUE") -> Mapping[str, str]:
    found: dict[str, str] = {}
    for text in named:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} wants {form}, not {text!r}")
        if name in found:
            raise UsageError(f"{option} gives {name!r} twice")
        found[name] = value
    return found


def _read(parameter: FlowParameter, text: str, flow: Flow) -> Value:
    if parameter.type == "str":
        if not is_utf8(text):
            raise UsageError(f"the value of {parameter.name} is not UTF-8 text")
        return text
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        shown = shortened(text, 60)
        raise UsageError(
            f"{parameter.name} is of type {parameter.type}, and {shown!r} is not one; values other than str are JSON",
            hint=f"its signature is {flow.signature}",
        ) from None


def _finite(text: str) -> float:
    number = float(text)
    return number if isfinite(number) else _refuse(text)


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)
