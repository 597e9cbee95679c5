"""Each call of a run as it happens: in full for people (``--verbose``), and as a line of the log without any text of
the program or the model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter
from typing import Any

from apxm.backends.dialogue import RequestedCall
from apxm.backends.protocol import ModelAnswer, ModelRequest, Usage
from apxm.errors import OperationError
from apxm.journal.rows import Answered
from apxm.operations.answers import UNFIT
from apxm.operations.types import Value, text_form
from apxm.reports.summary import count, duration
from apxm.runtime.observing import CallObserver, Outcome
from apxm.runtime.waiting import Call
from apxm.source import printable
from apxm.tools.tool import Arguments, ToolAnswer

LONGEST = 2000
"""Characters of a text that ``--verbose`` shows; `apxm runs show ID --prompts` shows all."""


class CallLines(CallObserver):
    """Tells of each call in lines for a terminal or a pipe: every text is escaped and indented."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """`say` is given one call at a time, in one or more lines."""
        self._say = say
        self._began = perf_counter()

    def began(self, path: str, call: Call) -> None:
        lines = [f"asks {printable(_whom(call))}{_attempt(call)}"]
        if not call.earlier or call.earlier[-1][4] == UNFIT:  # else the request of a further attempt is the same
            lines += request_lines(call.request, LONGEST)
        self._tell(path, lines)

    def ended(self, path: str, call: Call, outcome: Outcome | None, duration: int | None) -> None:
        lines = [f"{_how(call, outcome, duration)}{_attempt(call)}"]
        if isinstance(outcome, ModelAnswer):
            lines += text_lines("answer", outcome.text, LONGEST) if outcome.text or not outcome.calls else []
            for each in outcome.calls:
                lines += _call_lines(each, LONGEST)
        elif isinstance(outcome, ToolAnswer):
            lines += text_lines("answer", outcome.shown, LONGEST)
        elif isinstance(outcome, OperationError):
            lines += text_lines(outcome.kind, outcome.message, LONGEST)
        self._tell(path, lines)

    def pauses(self, path: str, pause: int) -> None:
        self._tell(path, [_again(pause)])

    def reused(self, path: str, request: ModelRequest | Arguments, result: Answered) -> None:
        lines = [*request_lines(request, LONGEST), *answer_lines(result, LONGEST)]
        self._tell(path, ["is answered by the journal", *lines])

    def _tell(self, path: str, lines: list[str]) -> None:
        head, *texts = lines
        elapsed = duration((perf_counter() - self._began) * 1e3)
        self._say("\n".join([f"[{elapsed}] {printable(path)} {head}", *texts]))


def request_lines(request: ModelRequest | Arguments, longest: int | None = None) -> list[str]:
    """What a call sends: its system text, the schema of its answer and the tools that may be called, if any, and its
    prompt, with what tools were called for so far; or the arguments of a tool."""
    if isinstance(request, dict):
        return text_lines("arguments", text_form(request), longest)
    system = request.system_text(tells_format=False)
    lines = [] if system is None else text_lines("system", system, longest)
    if request.answer is not None:
        lines += text_lines("schema", request.answer.schema, longest)
    if request.tools:
        may = "" if request.may_call else ", which are not to be called any more"
        lines += text_lines("tools", ", ".join(tool.name for tool in request.tools) + may)
    lines += text_lines("prompt", request.prompt, longest)
    for past in request.rounds:
        lines += text_lines("said", past.text, longest) if past.text else []
        for call, result in zip(past.calls, past.results, strict=True):
            lines += [*_call_lines(call, longest), *text_lines("gave", result, longest)]
    return lines


def _call_lines(call: RequestedCall, longest: int | None) -> list[str]:
    return text_lines(f"calls {printable(call.tool)}", call.arguments, longest)


def answered(result: Answered) -> tuple[Value, list[Any]]:
    """What an operation gave, and the calls of tools that a model asked for instead, as `Offer.meant` has them. An
    `ask` with tools is turns of an operation `ask` (`ir/dialogue.py`), whose answer holds both."""
    match result.value:
        case {"text": text, "calls": [*calls], "answer": answer, **more} if result.path.endswith("/ask") and not more:
            return (text if calls else answer), calls
        case value:
            return value, []


def answer_lines(result: Answered, longest: int | None = None) -> list[str]:
    """What an operation gave, or which calls of tools it asks for."""
    value, calls = answered(result)
    lines = [] if calls and not value else text_lines("answer", text_form(value), longest)
    for call in calls:
        lines += text_lines(f"calls {printable(call['name'])}", text_form(call["arguments"]), longest)
    return lines


def text_lines(name: str, text: str, longest: int | None = None) -> list[str]:
    """A text of any length below its name, escaped line by line; what is longer than `longest` is cut and says so."""
    whole = longest is None or len(text) <= longest
    lines = (text if whole else text[:longest]).splitlines() or [""]
    if not whole:
        lines[-1] += f"… (the first {longest:,} of {len(text):,} characters)"
    shown = [printable(line.replace("\t", "    ")) for line in lines]
    return [f"  {name}: {shown[0]}"] if len(shown) == 1 else [f"  {name}:", *(f"    {line}".rstrip() for line in shown)]


class CallLog(CallObserver):
    """Writes each call to a logger at DEBUG: which, to whom, how long, how many tokens."""

    def __init__(self, logger: logging.Logger, run_id: str) -> None:
        self._logger = logger
        self._run_id = run_id

    def began(self, path: str, call: Call) -> None:
        self._write(path, f"asks {_whom(call)}{_attempt(call)}")

    def ended(self, path: str, call: Call, outcome: Outcome | None, duration: int | None) -> None:
        kind = f": {outcome.kind}" if isinstance(outcome, OperationError) else ""
        self._write(path, f"{_how(call, outcome, duration)}{_attempt(call)}{kind}")

    def pauses(self, path: str, pause: int) -> None:
        self._write(path, _again(pause))

    def reused(self, path: str, request: object, result: Answered) -> None:
        del request
        self._write(path, f"is answered by the journal, {tokens(result.usage)}")

    def _write(self, path: str, what: str) -> None:
        self._logger.debug("run %s: %s %s", self._run_id, printable(path), printable(what))


def _whom(call: Call) -> str:
    variant, who = call.provider.variant(call.request), f"{call.provider.kind} {call.provider.name}"
    return who if variant is None else f"{variant} ({who})"


def _again(pause: int) -> str:
    return f"is tried again after {duration(pause / 1e6)} at the earliest" if pause else "is asked again in another way"


def _attempt(call: Call) -> str:
    return f", attempt {len(call.earlier) + 1}" if call.earlier else ""


def _how(call: Call, outcome: Outcome | None, ns: int | None) -> str:
    after = "" if ns is None else f" after {duration(ns / 1e6)}"
    if call.first is not None:
        after += f" (the first part after {duration((call.first - call.sent) / 1e6)})"
    if isinstance(outcome, ModelAnswer):
        return f"is answered{after}, {tokens(outcome.usage)}"
    if isinstance(outcome, ToolAnswer):
        return f"is answered{after}"
    return f"{'is given up' if outcome is None else 'fails'}{after}"


def tokens(usage: Usage) -> str:
    """``12 tokens in, 30 out``"""
    given, taken = usage.input_tokens, usage.output_tokens
    if given is None and taken is None:
        return "tokens unknown"
    return f"{'–' if given is None else count(given, 'token')} in, {'–' if taken is None else f'{taken:,}'} out"
