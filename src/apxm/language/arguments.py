"""How the arguments of a call find their parameters."""

from __future__ import annotations

from collections.abc import Set
from typing import NamedTuple

from apxm.language.elsewhere import ARGUMENTS, SAME_ARGUMENTS
from apxm.language.report import Report
from apxm.language.syntax import CallExpression, Expression, NamedArgument
from apxm.operations.definition import Callee, Parameter


class MatchedArguments(NamedTuple):
    """The arguments of one call, sorted out."""

    given: dict[str, Expression]
    """The arguments by parameter; what is missing or wrong is absent."""
    variadic: tuple[Expression, ...]
    others: tuple[Expression, ...]
    """Arguments without a parameter: reported, or allowed by `open_arguments`."""


def match_arguments(call: CallExpression, callee: Callee, report: Report) -> MatchedArguments:
    if _is_out_of_order(call, callee, report):
        return MatchedArguments({}, (), call.expressions)
    positional, by_name = callee.positional, callee.by_name
    given: dict[str, Expression] = {}
    others: list[Expression] = []
    for parameter, argument in zip(positional, call.arguments, strict=False):
        given[parameter.name] = argument
    rest = call.arguments[len(positional) :]
    if rest and callee.variadic is None:
        _reject_surplus(call, callee, len(positional), report)
        others += rest
        rest = ()
    named: set[str] = set()
    meant: set[str] = set()
    for argument in call.named:
        name = argument.name.text
        if name in named or name in given:
            report.error("duplicate-argument", f"`{name}` is given twice", argument.name.span)
            others.append(argument.value)
        elif name in by_name and not by_name[name].noted:
            given[name] = argument.value
        else:
            if not callee.open_arguments:
                meant |= _reject_unknown(argument, callee, by_name, report)
            if callee.open_arguments or name != "tools":  # what that lists are no values
                others.append(argument.value)
        named.add(name)
    _require(call, callee, given.keys() | meant, given, rest, report)
    return MatchedArguments(given, rest, tuple(others))


def _reject_unknown(argument: NamedArgument, callee: Callee, known: dict[str, Parameter], report: Report) -> set[str]:
    """Gives the parameter that was meant, where that can be told: it is not missing as well."""
    name = argument.name.text
    same = SAME_ARGUMENTS.get((callee.name, name))
    near = f"did you mean `{same}`?" if same else report.near(name, [p.name for p in known.values() if not p.noted])
    message = f"`{callee.name}` has no argument `{name}`"
    advice = near or ARGUMENTS.get(name) or f"the call is {callee.signature}"
    report.error("unknown-argument", message, argument.name.span, advice)
    return {parameter for parameter in known if near == f"did you mean `{parameter}`?"}


def _is_out_of_order(call: CallExpression, callee: Callee, report: Report) -> bool:
    if not call.named or not call.arguments or call.arguments[-1].span.start < call.named[0].span.start:
        return False
    late = next(argument for argument in call.arguments if argument.span.start > call.named[0].span.start)
    message = "a positional argument stands after a named one"
    report.error("argument-order", message, late.span, f"the call is {callee.signature}")
    return True


def _reject_surplus(call: CallExpression, callee: Callee, most: int, report: Report) -> None:
    expected = "no arguments" if most == 0 else "one argument" if most == 1 else f"{most} arguments"
    if any(not p.by_position for p in callee.parameters):
        expected += " without a name"
    message = f"`{callee.name}` takes {expected}, and this is number {most + 1}"
    report.error("too-many-arguments", message, call.arguments[most].span, f"the call is {callee.signature}")


def _require(
    call: CallExpression,
    callee: Callee,
    meant: Set[str],
    given: dict[str, Expression],
    rest: tuple[Expression, ...],
    report: Report,
) -> None:
    lacking = [f"`{name}`" for name in callee.required if name not in meant]
    if callee.alternatives:
        chosen = [given[name] for name in callee.alternatives if name in given]
        names = " or ".join(f"`{name}`" for name in callee.alternatives)
        if not chosen:
            lacking.append(f"and {names}" if lacking else names)
        if len(chosen) > 1:
            message = f"`{callee.name}` takes either {names}, and this is the second of them"
            surplus = max(chosen, key=lambda argument: argument.span.start)
            report.error("duplicate-argument", message, surplus.span, f"the call is {callee.signature}")
    if lacking:
        message = f"this call of `{callee.name}` lacks {', '.join(lacking)}"
        report.error("missing-argument", message, call.callee[-1].span, f"the call is {callee.signature}")
    elif callee.variadic and len(rest) < callee.variadic.minimum:
        message = f"`{callee.name}` needs at least one argument"
        report.error("missing-argument", message, call.callee[-1].span, f"the call is {callee.signature}")
