"""A backend that answers from a file, and records there what it does not have yet: each request is paid for once.

A request is what the program says: its texts and options, and the operation that makes it; not what the recorded
backend adds of its own (its model, system text, temperature). Equal requests of several operations have an answer each,
so seven samples of one prompt are seven, and which operation has which does not depend on who was quicker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from msgspec.structs import asdict, replace

from apxm.backends.protocol import NO_LIMITS, BackendInfo, CoroutineBackend, ModelAnswer, ModelRequest, Tell
from apxm.backends.recording import Recorded, Recording, request_key
from apxm.errors import BackendError, ConfigurationError
from apxm.source import shortened
from apxm.textdiff import changes

_COMPARED = 2000
"""Characters of a prompt that are compared to find the nearest one."""
_MOST_COMPARED = 500
"""Recorded requests that are, at most."""


class ReplayBackend:
    """Coroutine style; works in any event loop."""

    by_operation = True

    def __init__(self, name: str, file: str, of: CoroutineBackend | None = None) -> None:
        """Answers from `file` what is in it; anything else `of` answers, and that is recorded. Without `of` it fails.

        Raises `ConfigurationError` where the file cannot be used.
        """
        self._of = of
        self._recording = recording = Recording(file)
        if of is None:
            recording.read()
        else:
            recording.read_or_make()
        self.info = replay_info(name, file, None if of is None else of.info)
        self.limits = NO_LIMITS if of is None else of.limits
        self.can_reason: bool = (
            any(each.request.reasoning for each in recording.answers.values()) if of is None else of.can_reason
        )
        self.can_see: bool = True if of is None else getattr(of, "can_see", False)
        self.can_read_pdf: bool = True if of is None else getattr(of, "can_read_pdf", False)

    async def call(self, request: ModelRequest) -> ModelAnswer:
        return await self._answer(request, None if self._of is None else self._of.call)

    async def call_stream(self, request: ModelRequest, tell: Tell) -> ModelAnswer:
        """`call`; an answer that is recorded now comes in parts, if the recorded backend gives them."""
        stream = getattr(self._of, "call_stream", None)
        return await self.call(request) if stream is None else await self._answer(request, partial(stream, tell=tell))

    async def _answer(
        self, request: ModelRequest, ask: Callable[[ModelRequest], Awaitable[ModelAnswer]] | None
    ) -> ModelAnswer:
        operation, request = request.operation or "", replace(request, operation=None)
        found = self._recording.answers.get((request_key(request), operation))
        if found is None and ask is not None:
            answer = await ask(request)
            try:
                found = self._recording.add(Recorded(operation, request, replace(answer, service_ns=None)))
            except ConfigurationError as error:
                message = f"the answer could not be recorded: {error}"
                raise BackendError("not_recorded", message, retryable=False) from None
        return self._elsewhere(operation, request) if found is None else found.answer

    async def close(self) -> None:
        self._recording.sort()
        if self._of is not None:
            await self._of.close()

    def prepare(self) -> None:
        """Makes ready whom it records. Raises `ConfigurationError`."""
        if (prepare := getattr(self._of, "prepare", None)) is not None:
            prepare()

    def _elsewhere(self, operation: str, request: ModelRequest) -> ModelAnswer:
        """The answer that other operations have for the same request, where it is only one. Raises `BackendError`."""
        key = request_key(request)
        same = [each for (known, _), each in self._recording.answers.items() if known == key]
        if same and all((a.answer.text, a.answer.calls) == (same[0].answer.text, same[0].answer.calls) for a in same):
            return same[0].answer
        file = self._recording.path
        if same:
            others = shortened(", ".join(sorted(each.operation for each in same)), 100)
            what = f"{file} has several answers to this request, of {others}, and none of {operation}"
        else:
            near = _nearest(operation, request, self._recording.answers.values())
            what = f"{file} has no answer to this request, and without `of`, or where CI is set, nobody is asked"
            if near is not None:
                what += "\n".join([f"; the nearest that it has, of {near.operation}:", *_difference(near, request)])
        raise BackendError("not_recorded", what, retryable=False)


def replay_info(name: str, file: str, of: BackendInfo | None) -> BackendInfo:
    """The description of a backend that records `of`, or only answers."""
    if of is None:
        return BackendInfo(name, "replay", "recorded", simulated=True, description=f"recorded answers of {file}")
    return BackendInfo(
        name, "replay", of.model, of.endpoint, description=f"recorded answers of {file}, else {of.description}"
    )


def _nearest(operation: str, request: ModelRequest, known: Iterable[Recorded]) -> Recorded | None:
    """The recorded request that is most like this one: mostly the same operation's, before somebody changed it."""
    from difflib import SequenceMatcher  # only a mistake needs it

    found = list(known)
    own = [each for each in found if each.operation == operation]
    matcher = SequenceMatcher(b=request.prompt[:_COMPARED], autojunk=False)

    def likeness(each: Recorded) -> float:
        matcher.set_seq1(each.request.prompt[:_COMPARED])
        return matcher.quick_ratio()

    return max((own or found)[-_MOST_COMPARED:], key=likeness, default=None)


def _difference(near: Recorded, request: ModelRequest) -> list[str]:
    """How a request differs from a recorded one: its prompt by lines, everything else by name."""
    was, now = asdict(near.request), asdict(request)
    lines = changes(was.pop("prompt"), now.pop("prompt"))
    for name, value in now.items():
        if value != was[name]:
            lines += [f"{name}:", *changes(str(was[name]), str(value))]
    return lines
