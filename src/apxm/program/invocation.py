"""Which flow of a program to run, and with which values: what the command line and the Python API have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TypeVar

from apxm.errors import Problems, UsageError
from apxm.operations.plain import plain
from apxm.operations.types import Type, Value, parse_type
from apxm.program.program import Flow, Program

T = TypeVar("T")


def select_flow(program: Program, name: str | None = None) -> Flow:
    """The flow called `name` (``flow`` or ``Agent.flow``), else the program's entry. Raises `UsageError`."""
    if name is None:
        if program.entry is None:
            raise UsageError("this program has no entry flow: say which one to run", hint=_candidates(program.flows))
        return program.flows[program.entry]
    found = [flow for flow in program.flows if name in (flow.name, flow.qualified_name)]
    if not found:
        names = [n for flow in program.flows for n in (flow.name, flow.qualified_name)]
        near = get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else _candidates(program.flows)
        raise UsageError(f"this program has no flow called {name!r}", hint=hint)
    if len(found) > 1:
        raise UsageError(f"several agents have a flow called {name!r}", hint=_candidates(found))
    return found[0]


def assign(flow: Flow, positional: Sequence[T], named: Mapping[str, T]) -> dict[str, T]:
    """`match`, for a run: every parameter that has no default must be given."""
    given = match(flow, positional, named)
    missing = [p.declaration for p in flow.parameters if p.required and p.name not in given]
    if missing:
        raise UsageError(f"{flow.name} needs a value for {', '.join(missing)}", hint=_signature(flow))
    return given


def match(flow: Flow, positional: Sequence[T], named: Mapping[str, T]) -> dict[str, T]:
    """Who gets what: the things given in order and by name, by parameter. Raises `UsageError` with the signature."""
    names = [parameter.name for parameter in flow.parameters]
    if len(positional) > len(names):
        takes = f"takes {len(names)} value{'' if len(names) == 1 else 's'}" if names else "takes no values"
        given_ = f"{len(positional)} {'was' if len(positional) == 1 else 'were'} given"
        raise UsageError(f"{flow.name} {takes}, and {given_}", hint=_signature(flow))
    given = dict(zip(names, positional, strict=False))
    problems = Problems()
    for name, thing in named.items():
        if name not in names:
            near = get_close_matches(name, names, n=1)
            advice = f"did you mean {near[0]}? " if near else ""
            problems.add(UsageError(f"{flow.name} has no parameter called {name!r}", hint=advice + _signature(flow)))
        elif name in given:
            problems.add(UsageError(f"{name} is given twice: in order, and by its name", hint=_signature(flow)))
        else:
            given[name] = thing
    problems.raise_all()
    return given


def arguments_for(flow: Flow, given: Mapping[str, Value], records: Mapping[str, Type]) -> list[Value]:
    """The values of a flow's parameters in order, made plain, defaults filled in; `records` are those of its program.
    Raises `UsageError` where one is of another type, `LinkError` where several are."""
    values: list[Value] = []
    problems = Problems()
    for parameter in flow.parameters:
        if parameter.name not in given:
            values.append(parameter.default)
            continue
        try:
            values.append(plain(given[parameter.name], parse_type(parameter.type, records), parameter.name))
        except ValueError as unfit:
            problems.add(UsageError(str(unfit), hint=_signature(flow)))
    problems.raise_all()
    return values


def _signature(flow: Flow) -> str:
    return f"its signature is {flow.signature}"


def _candidates(flows: Sequence[Flow]) -> str:
    return "its flows are " + ", ".join(flow.qualified_name for flow in flows)
