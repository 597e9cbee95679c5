"""Whether an example holds: its flow is rehearsed, and what it did is held against what was expected."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from apxm.errors import UsageError
from apxm.operations.types import Value
from apxm.program.invocation import match, select_flow
from apxm.program.program import Program
from apxm.reports.summary import count
from apxm.runtime.trace import Status
from apxm.source import Diagnostic, Span
from apxm.testing.answers import Answers, Script
from apxm.testing.example import CODE, Clause, Example, MalformedExample
from apxm.testing.rehearsal import Rehearsal, rehearse
from apxm.testing.scripted import bracketed
from apxm.testing.tools import ToolAnswers
from apxm.textdiff import changes

_MOST_CALLS = 20
"""Calls that are listed where there are more or fewer than were expected."""


@dataclass(frozen=True)
class Problem:
    """One thing that was not as an example says."""

    span: Span
    """The clause, or where none says it the example's call."""
    message: str
    details: tuple[str, ...] = ()
    """Further lines: what was found, and what was expected."""


@dataclass(frozen=True)
class Outcome:
    """What became of an example."""

    example: Example
    problems: tuple[Problem, ...]
    """Empty where it holds."""
    calls: int
    """Model calls that were made."""
    duration_s: float
    """On the virtual clock."""


def check_example(program: Program, example: Example) -> Outcome:
    """Rehearses an example of `program`. Raises `MalformedExample` where it does not fit the program."""
    latency_s = cast(float, example.clause("latency", 1.0))
    tools = cast("ToolAnswers | None", example.clause("tools"))
    try:
        flow = select_flow(program, example.flow)
        given = match(flow, example.values, example.named)
        run = rehearse(program, given, flow=example.flow, answers=_answers(example), tools=tools, latency_s=latency_s)
    except UsageError as error:
        raise MalformedExample(Diagnostic("error", CODE, error.message, example.span, error.hint)) from None
    return Outcome(example, tuple(_problems(example, run)), len(run.calls), run.duration_s)


def _answers(example: Example) -> Answers | None:
    answers, failing = (cast("Answers | None", example.clause(word)) for word in ("answers", "failing"))
    if failing is None:
        return answers
    broken, script = Script(failing), bracketed if answers is None else Script(answers)
    return lambda request: broken.find(request) or script(request)


def _problems(example: Example, run: Rehearsal) -> Iterator[Problem]:
    fails = example.clauses.get("fails")
    failures = tuple(f"{f.where}: {f.operation} failed ({f.kind}): {f.message}" for f in run.failures)
    if fails is None and run.status is not Status.SUCCEEDED:
        yield Problem(example.span, f"the run ended as {run.status}", failures)
    elif fails is not None and run.status is Status.SUCCEEDED:
        yield Problem(fails.span, "the run succeeded, and a failure was expected")
    elif fails is not None and fails.value is not None and all(f.kind != fails.value for f in run.failures):
        yield Problem(fails.span, f"the run failed in another way than {fails.value}", failures)
    checks = {"gives": _given, "prints": _printed, "calls": _called, "takes": _taken}
    for word, check in checks.items():
        clause = example.clauses.get(word)
        if clause is not None and not (word == "gives" and run.status is not Status.SUCCEEDED):
            yield from check(clause, run)


def _given(clause: Clause, run: Rehearsal) -> Iterator[Problem]:
    if not equal(run.value, clause.value):
        yield _difference(clause, "it gives something else", clause.value, run.value)


def _printed(clause: Clause, run: Rehearsal) -> Iterator[Problem]:
    expected = cast(list[str], clause.value)
    if run.printed != expected:
        yield _difference(clause, "it prints something else", "\n".join(expected), "\n".join(run.printed))


def _called(clause: Clause, run: Rehearsal) -> Iterator[Problem]:
    made = len(run.calls)
    if made != clause.value:
        lines = [f"{call.operation} at {_seconds(call.began_s)}: {call.prompt!r:.80}" for call in run.calls]
        more = [f"… {count(made - _MOST_CALLS, 'call')} more"] if made > _MOST_CALLS else []
        message = f"it makes {count(made, 'call')}, and {clause.value} were expected"
        yield Problem(clause.span, message, (*lines[:_MOST_CALLS], *more))


def _taken(clause: Clause, run: Rehearsal) -> Iterator[Problem]:
    expected = cast(float, clause.value)
    if round((run.duration_s - expected) * 1e9):
        message = f"it takes {_seconds(run.duration_s)}, and {_seconds(expected)} were expected"
        lines = [f"{call.operation}: {_seconds(call.began_s)} to {_seconds(call.ended_s)}" for call in run.calls]
        yield Problem(clause.span, message, tuple(lines[:_MOST_CALLS]))


def _seconds(number: float) -> str:
    return f"{number:.9g} s"


def _difference(clause: Clause, message: str, expected: Value, found: Value) -> Problem:
    return Problem(clause.span, f"{message} (- expected, + found)", tuple(changes(_shown(expected), _shown(found))))


def _shown(value: Value) -> str:
    """A text as it is; anything else as JSON over several lines, so that its parts can be compared."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def equal(one: Value, other: Value) -> bool:
    """Whether two values of AIS are equal, at any depth: 1 and 1.0 are, 1 and true are not."""
    if isinstance(one, dict) and isinstance(other, dict):
        left, right = cast(dict[str, Value], one), cast(dict[str, Value], other)
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(one, list) and isinstance(other, list):
        items = cast(list[Value], one), cast(list[Value], other)
        return len(items[0]) == len(items[1]) and all(map(equal, *items))
    return isinstance(one, bool) == isinstance(other, bool) and one == other
