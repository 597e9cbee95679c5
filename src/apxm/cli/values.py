"""Values as they stand on a command line: text, read by the type of the parameter that gets it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType

from apxm.cli.value_files import ValueFiles, parse_json, place
from apxm.errors import LinkError, Problems, UsageError
from apxm.operations.types import Type, Value
from apxm.program.invocation import arguments_for, assign, match
from apxm.program.program import Flow, FlowParameter
from apxm.source import is_utf8, shortened

_NUMBER = re.compile("[0-9]{1,7}")
_FILE = "@"
"""What the value of ``--arg`` begins with where it lies in a file; twice, it is meant."""


def read_arguments(
    flow: Flow,
    values: Sequence[str],
    named: Sequence[str],
    file: str | None = None,
    records: Mapping[str, Type] = MappingProxyType({}),
) -> list[Value]:
    """The arguments of `flow` from ``VALUE…``, ``--arg NAME=VALUE`` and the `file` of ``--args``; `records` are those
    of its program.

    Raises `UsageError`, for several things that are wrong `LinkError`.
    """
    return arguments_for(flow, assign(flow, (), read_known(flow, values, named, file)), records)


def read_known(flow: Flow, values: Sequence[str], named: Sequence[str], file: str | None = None) -> dict[str, Value]:
    """The values that are given, by name, where some may be left out. What stands on the line goes before the file."""
    files, problems = ValueFiles(), Problems()
    parameters = {parameter.name: parameter for parameter in flow.parameters}
    given = dict[str, Value]()
    with problems:
        if file is not None:
            given |= problems.of(partial(_from_file, flow, file, files), {})
        by_name = _by_name(named)
        for name, text in match(flow, values, by_name).items():
            read = partial(_read_named if name in by_name else _read, parameters[name], text, flow)
            given[name] = problems.of(partial(read, files), None)
    return given


def _from_file(flow: Flow, path: str, files: ValueFiles) -> dict[str, Value]:
    found = files.parsed_object(path, "--args")
    try:
        return match(flow, (), found)
    except UsageError as error:
        for each in error.missing if isinstance(error, LinkError) else (error,):
            each.where = place(path)
        raise


def read_assumed(assumed: Sequence[str], types: Mapping[str, str]) -> dict[str, Value]:
    """What ``--assume OP=VALUE`` says, by operation: JSON, or bare text where that is of type ``str`` or ``json``.
    `types` are those of the operations that are known. Raises `UsageError`."""
    found: dict[str, Value] = {}
    for name, text in _by_name(assumed, "--assume", "OP=VALUE").items():
        value, type_ = _json_or_text(text), types.get(name)
        if type_ == "str" and not isinstance(value, str):
            value = text
        elif type_ not in ("str", "json") and value is text:
            what = "JSON" if type_ is None else f"the JSON of a {type_}"
            raise UsageError(f"--assume {name}: {text!r} is not {what}", hint="a text stands in quotes")
        found[name] = value
    return found


def read_turns(assumed: Sequence[str]) -> dict[str, int]:
    """What ``--with NAME=N`` says, by name. Raises `UsageError`."""
    found: dict[str, int] = {}
    for name, text in _by_name(assumed, "--with", "NAME=N").items():
        if not _NUMBER.fullmatch(text):
            raise UsageError(f"--with {name}={text}: expected a number of items or turns")
        found[name] = int(text)
    return found


def read_json_arguments(named: Sequence[str]) -> dict[str, Value]:
    """What ``--arg NAME=VALUE`` says where no type is known: JSON, or else text. Raises `UsageError`."""
    return {name: _json_or_text(text) for name, text in _by_name(named).items()}


def _json_or_text(text: str) -> Value:
    try:
        return parse_json(text)
    except (ValueError, RecursionError):
        return text


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


def _read_named(parameter: FlowParameter, text: str, flow: Flow, files: ValueFiles) -> Value:
    """A value of ``--arg``, which may name a file; ``@@`` is a literal ``@``."""
    rest = text.removeprefix(_FILE)
    if rest == text or rest.startswith(_FILE):
        return _read(parameter, rest, flow, files)
    option = f"--arg {parameter.name}"
    return files.text(rest, option) if parameter.type == "str" else files.parsed(rest, option)


def _read(parameter: FlowParameter, text: str, flow: Flow, _: ValueFiles) -> Value:
    if parameter.type == "str":
        if not is_utf8(text):
            raise UsageError(f"the value of {parameter.name} is not UTF-8 text")
        return text
    try:
        return parse_json(text)
    except (ValueError, RecursionError):
        shown = shortened(text, 60)
        raise UsageError(
            f"{parameter.name} is of type {parameter.type}, and {shown!r} is not one; values other than str are JSON",
            hint=f"its signature is {flow.signature}",
        ) from None
