"""What a scripted backend answers: by patterns that are looked for in the prompt, as a simulated backend's are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from apxm.backends.protocol import ModelRequest
from apxm.errors import BackendError, UsageError
from apxm.source import shortened

Answers = Mapping[str, object] | Callable[[ModelRequest], object]
"""What answers a request: a function, or what stands at the first regular expression that is found in the prompt. A
text is the answer, a `BackendError` fails the call, and of anything else the JSON is the answer."""

UNSCRIPTED = "no_answer"
"""The kind of failure of a call that no pattern answers."""


class Script:
    """Answers requests, as `ScriptedBackend.script` does."""

    def __init__(self, answers: Answers) -> None:
        """Raises `UsageError` for a pattern that is no regular expression."""
        self._answer = answers if callable(answers) else None
        self._patterns = [] if callable(answers) else [(_pattern(text), given) for text, given in answers.items()]

    def __call__(self, request: ModelRequest) -> str | BackendError:
        if self._answer is not None:
            return as_answer(self._answer(request))
        for pattern, given in self._patterns:
            if pattern.search(request.prompt):
                return as_answer(given)
        patterns = ", ".join(repr(pattern.pattern) for pattern, _ in self._patterns) or "none"
        message = f"no pattern answers the prompt {shortened(request.prompt, 200)!r}; the patterns: {patterns}"
        return BackendError(UNSCRIPTED, message, retryable=False)


def as_answer(given: object) -> str | BackendError:
    """What a model says for a value of a test."""
    return given if isinstance(given, str | BackendError) else json.dumps(given, ensure_ascii=False)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"{text!r} is not a regular expression: {error}") from None
