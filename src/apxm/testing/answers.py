"""What a scripted backend answers: by patterns that are looked for in the prompt, as a simulated backend's are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from apxm.backends.dialogue import RequestedCall
from apxm.backends.protocol import ModelAnswer, ModelRequest
from apxm.errors import BackendError, UsageError
from apxm.source import shortened

Answers = Mapping[str, object] | Sequence[tuple[str, object]] | Callable[[ModelRequest], object]
"""What answers a request: a function, or what stands at the first regular expression that is found in the prompt, or in
what tools gave behind it. A text is the answer, a `BackendError` fails the call, and of anything else the JSON is the
answer. Where tools are offered, ``{"calls": [{"search": {"q": "bees"}}]}``, perhaps with a ``"text"``, calls them. In a
sequence of pairs a pattern may stand several times: it then answers in turn, and its last answer goes on."""

UNSCRIPTED = "no_answer"
"""The kind of failure of a call that no pattern answers."""


class Script:
    """Answers the requests of one run, as `ScriptedBackend.script` does."""

    def __init__(self, answers: Answers) -> None:
        """Raises `UsageError` for a pattern that is no regular expression."""
        self._answer = answers if callable(answers) else None
        self._patterns: dict[str, tuple[re.Pattern[str], list[object]]] = {}
        if not callable(answers):
            pairs = answers.items() if isinstance(answers, Mapping) else answers
            for text, given in cast(Sequence[tuple[str, object]], pairs):
                self._patterns.setdefault(text, (_pattern(text), []))[1].append(given)

    def __call__(self, request: ModelRequest) -> str | ModelAnswer | BackendError:
        found = self.find(request)
        if found is not None:
            return found
        patterns = ", ".join(map(repr, self._patterns)) or "none"
        message = f"no pattern answers the prompt {shortened(request.prompt, 200)!r}; the patterns: {patterns}"
        return BackendError(UNSCRIPTED, message, retryable=False)

    def find(self, request: ModelRequest) -> str | ModelAnswer | BackendError | None:
        """The answer; None where there is none."""
        if self._answer is not None:
            return _as_answer(self._answer(request), request)
        for pattern, given in self._patterns.values():
            if pattern.search(request.dialogue):
                return _as_answer(given.pop(0) if len(given) > 1 else given[0], request)
        return None


def _as_answer(given: object, request: ModelRequest) -> str | ModelAnswer | BackendError:
    """What a model says for a value of a test."""
    if isinstance(given, str | ModelAnswer | BackendError):
        return given
    if request.tools and (calls := _calls(given)) is not None:
        own = f"call_{len(request.rounds) + 1}"
        requested = [RequestedCall(f"{own}_{k}", *call) for k, call in enumerate(calls, 1)]
        return ModelAnswer(str(cast("dict[str, object]", given).get("text", "")), calls=tuple(requested))
    return json.dumps(given, ensure_ascii=False)


def _calls(given: object) -> list[tuple[str, str]] | None:
    """Tools and the texts of their arguments, where a value says so; None where it is an answer."""
    if not isinstance(given, dict) or not {"calls"} <= given.keys() <= {"calls", "text"}:
        return None
    calls = cast("dict[str, object]", given)["calls"]
    if not isinstance(calls, list):
        return None
    found: list[tuple[str, str]] = []
    for call in cast("list[object]", calls):
        if not isinstance(call, dict) or len(cast("dict[str, object]", call)) != 1:
            return None
        ((tool, arguments),) = cast("dict[str, object]", call).items()
        found.append((tool, arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)))
    return found


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.DOTALL)  # a prompt has many lines
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"{text!r} is not a regular expression: {error}") from None
