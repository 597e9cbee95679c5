"""What an earlier run asked, and what it was answered: ``apxm runs show ID --prompts``."""

from __future__ import annotations

import json

import msgspec

from apxm.journal.rows import Answered, History
from apxm.reports.call_log import answer_lines, request_lines, tokens
from apxm.reports.journaled_runs import time_text
from apxm.runtime.replay import ReplayedCall
from apxm.source import printable

_UNSURE = {
    False: "not what was answered then: this is the request as the program makes it now",
    None: "not verified: the journal does not say which model was asked",
}


def prompts_text(calls: list[ReplayedCall], history: History) -> list[str]:
    """A block per call, texts in full and escaped; an empty line between two."""
    answered = _answered(history)
    lines: list[str] = []
    for number, call in enumerate(calls, 1):
        lines += [*([""] if lines else []), printable(f"{number}. {call.path}: {call.operation} at {call.where}")]
        lines += [f"  {printable(fact)}" for fact in _facts(call, answered)]
        lines += request_lines(call.request)
        if call.result is not None:
            lines += answer_lines(call.result)
    return lines or ["no call of a model"]


def prompts_builtins(calls: list[ReplayedCall], history: History) -> list[dict[str, object]]:
    """The calls for ``--json``. `answer` is null where the journal has none, `exact` where nobody knows."""
    answered = _answered(history)
    return [_entry(call, answered) for call in calls]


def _entry(call: ReplayedCall, answered: dict[str, float]) -> dict[str, object]:
    request, result = call.request, call.result
    return {
        "path": call.path,
        "operation": call.operation,
        "where": call.where,
        "exact": call.exact,
        "backend": call.backend,
        "model": request.model if result is None or result.model is None else result.model,
        "system": request.system_text(tells_format=False),
        "schema": None if request.answer is None else json.loads(request.answer.schema),
        "tools": [tool.name for tool in request.tools],
        "prompt": request.prompt,
        "rounds": msgspec.to_builtins(request.rounds),
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "reasoning": request.reasoning,
        "reasoning_budget": request.reasoning_budget,
        "answer": None if result is None else msgspec.to_builtins(result.value),
        "answered": time_text(answered[call.path]) if call.path in answered else None,
        "input_tokens": None if result is None else result.input_tokens,
        "output_tokens": None if result is None else result.output_tokens,
    }


def _facts(call: ReplayedCall, answered: dict[str, float]) -> list[str]:
    result = call.result
    if result is None:
        return ["no answer: it failed, was in flight at the end, or was not sent yet"]
    who = ", ".join(
        f"{what} {name}" for what, name in (("model", result.model), ("backend", result.backend)) if name is not None
    )
    when = f"answered {time_text(answered[call.path])}" if call.path in answered else "assumed"
    facts = [", ".join(part for part in (when, who, tokens(result.usage)) if part)]
    if call.exact is not True:
        facts.append(_UNSURE[call.exact])
    return facts


def _answered(history: History) -> dict[str, float]:
    """The instants at which the journal got each answer, by path."""
    return {record.row.path: record.time for record in history.records if isinstance(record.row, Answered)}
