"""Each call of a run as it happens: in full for people (``--verbose``), and as a line of the log without any text of
the program or the model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import msgspec

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

if TYPE_CHECKING:  # loads the HTTP client, which a simulated run can do without
    from apxm.backends.exchange import HttpAnswer, HttpRequest

Part = tuple[str, str]
"""A text of a call, behind what it is."""
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
        lines += _part_lines(outcome_parts(outcome), LONGEST)
        self._tell(path, lines)

    def pauses(self, path: str, pause: int) -> None:
        self._tell(path, [_again(pause)])

    def reused(self, path: str, request: ModelRequest | Arguments | HttpRequest, result: Answered) -> None:
        lines = [*request_lines(request, LONGEST), *answer_lines(result, LONGEST)]
        self._tell(path, ["is answered by the journal", *lines])

    def _tell(self, path: str, lines: list[str]) -> None:
        head, *texts = lines
        elapsed = duration((perf_counter() - self._began) * 1e3)
        self._say("\n".join([f"[{elapsed}] {printable(path)} {head}", *texts]))


def request_lines(request: ModelRequest | Arguments | HttpRequest, longest: int | None = None) -> list[str]:
    """What a call sends, part by part below its name."""
    return _part_lines(request_parts(request), longest)


def request_parts(request: ModelRequest | Arguments | HttpRequest) -> list[Part]:
    """What a call sends: its system text, the schema of its answer and the tools that may be called, if any, and its
    prompt, with what tools were called for so far; or the arguments of a tool."""
    if isinstance(request, dict):
        return [("arguments", text_form(request))]
    if not isinstance(request, ModelRequest):
        return sdk_request_parts(request.body)
    system = request.system_text(tells_format=False)
    parts = [] if system is None else [("system", system)]
    if request.answer is not None:
        parts.append(("schema", request.answer.schema))
    if request.tools:
        may = "" if request.may_call else ", which are not to be called any more"
        parts.append(("tools", ", ".join(tool.name for tool in request.tools) + may))
    parts.append(("prompt", request.prompt))
    for past in request.rounds:
        parts += [("said", past.text)] if past.text else []
        for call, result in zip(past.calls, past.results, strict=True):
            parts += [_called(call), ("gave", result)]
    return parts


def outcome_parts(outcome: Outcome | None) -> list[Part]:
    """What an attempt came to; nothing where it was given up."""
    if isinstance(outcome, ModelAnswer):
        parts = [("answer", outcome.text)] if outcome.text or not outcome.calls else []
        return [*parts, *map(_called, outcome.calls)]
    if isinstance(outcome, ToolAnswer):
        return [("answer", outcome.shown)]
    if isinstance(outcome, OperationError):
        return [(outcome.kind, outcome.message)]
    return [] if outcome is None else sdk_answer_parts(cast("HttpAnswer", outcome).body.decode(errors="replace"))


def sdk_request_parts(body: dict[str, Any]) -> list[Part]:
    """What an SDK asks: its messages one by one, then whatever else there is."""
    match body:
        case {"messages": [*messages], **more}:
            parts = [_message_part(message) for message in messages]
        case _:
            parts, more = list[Part](), body
    return [*parts, ("request", text_form(more))]


def _message_part(message: Any) -> Part:
    match message:
        case {"role": str(role), "content": str(content)}:
            return role, content
        case _:
            return "message", text_form(message)


def sdk_answer_parts(text: str) -> list[Part]:
    """What an SDK was answered: the text of the only choice, or all that came."""
    try:
        found: Any = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        found = None
    match found:
        case {"choices": [{"message": {"content": str(content)}}]}:
            return [("answer", content)]
        case _:
            return [("answer", text)]


def _called(call: RequestedCall) -> Part:
    return f"calls {call.tool}", call.arguments


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
    return _part_lines(answer_parts(result), longest)


def answer_parts(result: Answered) -> list[Part]:
    """What an operation gave, or which calls of tools it asks for."""
    value, calls = answered(result)
    match value:
        case {"status": int(), "headers": _, "text": str(text)}:  # as `HttpCall.value` keeps it
            return sdk_answer_parts(text)
        case _:
            parts = [] if calls and not value else [("answer", text_form(value))]
            return parts + [(f"calls {call['name']}", text_form(call["arguments"])) for call in calls]


def _part_lines(parts: list[Part], longest: int | None) -> list[str]:
    return [line for name, text in parts for line in text_lines(printable(name), text, longest)]


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
    if isinstance(outcome, ToolAnswer):
        return f"is answered{after}"
    if outcome is None or isinstance(outcome, OperationError):
        return f"{'is given up' if outcome is None else 'fails'}{after}"
    return f"is answered{after}, {tokens(outcome.usage)}"


def tokens(usage: Usage) -> str:
    """``12 tokens in, 30 out``"""
    given, taken = usage.input_tokens, usage.output_tokens
    if given is None and taken is None:
        return "tokens unknown"
    return f"{'–' if given is None else count(given, 'token')} in, {'–' if taken is None else f'{taken:,}'} out"
