"""A backend that answers as it is told, on any clock, and remembers what it was asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from msgspec.structs import replace

from apxm.backends.protocol import (
    BackendInfo,
    Clock,
    Handle,
    Limits,
    ModelAnswer,
    ModelRequest,
    Price,
    Tell,
    Usage,
)
from apxm.errors import BackendError
from apxm.operations.types import Value
from apxm.program.program import Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Trace

_WORD = re.compile(r"\s*\S+\s*")
Script = Callable[[ModelRequest], "str | ModelAnswer | BackendError"]


def bracketed(request: ModelRequest) -> str:
    """The prompt in brackets."""
    return f"[{request.prompt}]"


@dataclass(eq=False)
class ScriptedCall:
    """One call that a `ScriptedBackend` got; it is also the handle that cancels it."""

    request: ModelRequest
    sent_ms: float
    ended_ms: float | None = None
    cancelled: bool = False
    timer: Handle | None = field(default=None, repr=False)

    def cancel(self) -> None:
        self.cancelled = True
        if self.timer is not None:
            self.timer.cancel()


@dataclass(eq=False)
class ScriptedBackend:
    """Answers a request after `latency_ms(request)` with what `script(request)` gives: a text, an answer with calls of
    tools, or an error.

    By default every call takes a second and is answered with its own prompt in brackets. `calls` has all calls made, in
    the order in which they were sent; its times are in ms of the run's clock.
    """

    script: Script = bracketed
    latency_ms: Callable[[ModelRequest], float] = lambda _request: 1000
    name: str = "scripted"
    max_concurrency: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_tokens: int | None = None
    timeout_s: float | None = None
    timeout_first_token_s: float | None = None
    first_token_ms: Callable[[ModelRequest], float] | None = None
    """When the first word of an answer is told that comes in parts; the others follow evenly until it is whole. None
    tells them all at its end."""
    image_tokens: int = 50_000
    pdf_tokens: int = 400_000
    own_input: int = 0
    prices: dict[str, Price] = field(default_factory=dict[str, Price])
    retries: int = 0
    can_reason: bool = False
    can_see: bool = True
    can_read_pdf: bool = True
    calls: list[ScriptedCall] = field(default_factory=list[ScriptedCall])

    @property
    def info(self) -> BackendInfo:
        return BackendInfo(name=self.name, kind="scripted", model="scripted", simulated=True)

    @property
    def limits(self) -> Limits:
        return Limits(**{name: getattr(self, name) for name in Limits.__struct_fields__})

    @property
    def prompts(self) -> list[str]:
        return [call.request.prompt for call in self.calls]

    def begin(self, request: ModelRequest, clock: Clock, done: Callable[[ModelAnswer | BackendError], None]) -> Handle:
        call = self._called(request, clock)
        over = clock.now() + round(self.latency_ms(request) * 1e6)
        call.timer = clock.call_at(over, lambda: _end(call, clock, self.script(request), done))
        return call

    def begin_stream(
        self, request: ModelRequest, clock: Clock, tell: Tell, done: Callable[[ModelAnswer | BackendError], None]
    ) -> Handle:
        call, sent = self._called(request, clock), clock.now()
        latency = round(self.latency_ms(request) * 1e6)
        first = latency if self.first_token_ms is None else round(self.first_token_ms(request) * 1e6)

        def begin() -> None:
            answer = self.script(request)
            words = _WORD.findall(answer if isinstance(answer, str) else getattr(answer, "text", ""))
            step = (latency - first) / (len(words) or 1)
            say(answer, [(sent + first + round(i * step), word) for i, word in enumerate(words)])

        def say(answer: str | ModelAnswer | BackendError, words: Sequence[tuple[int, str]]) -> None:
            for i, (when, word) in enumerate(words):
                if when > clock.now():
                    call.timer = clock.call_at(when, partial(say, answer, words[i:]))
                    return
                tell(word)
            call.timer = clock.call_at(sent + latency, lambda: _end(call, clock, answer, done))

        call.timer = clock.call_at(sent + first, begin)
        return call

    def _called(self, request: ModelRequest, clock: Clock) -> ScriptedCall:
        call = ScriptedCall(request, clock.now() / 1e6)
        self.calls.append(call)
        return call

    async def close(self) -> None:
        """Nothing is held."""


def _end(
    call: ScriptedCall,
    clock: Clock,
    answer: str | ModelAnswer | BackendError,
    done: Callable[[ModelAnswer | BackendError], None],
) -> None:
    call.ended_ms = clock.now() / 1e6
    call.timer = None  # it leads to the run, which would live as long as the backend
    if isinstance(answer, BackendError):
        done(answer)
        return
    said = ModelAnswer(answer) if isinstance(answer, str) else answer
    usage = Usage(input_tokens=len(call.request.dialogue.split()), output_tokens=len(said.text.split()))
    done(replace(said, usage=usage))


def execute_virtually(
    program: Program,
    *backends: ScriptedBackend,
    arguments: Sequence[Value] = (),
    flow: str | None = None,
    options: RunOptions | None = None,
) -> Trace:
    """Runs a flow (by default the entry) on virtual time, from instant 0. The first backend is the default one."""
    used = backends or (ScriptedBackend(),)
    index = program.entry if flow is None else [f.name for f in program.flows].index(flow)
    assert index is not None, "the program has no entry: name a flow"
    pool = BackendPool({backend.name: backend for backend in used}, used[0].name)
    run = Run(LoadedProgram(program), program.flows[index], arguments, pool, options)
    return run_virtually(run.execute())
