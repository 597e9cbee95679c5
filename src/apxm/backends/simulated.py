"""A model that is not one: it answers after a set time, and always the same to the same prompt.

Answers, unless a pattern of the configuration matches, are ``Simulated answer DIGEST: BEGINNING``: the first 8 hex
digits of the BLAKE2b digest of the prompt, behind the system text and a NUL where there is one, and the first 60
characters of the prompt on one line; where the latency names a length, said again until it is that long. Tokens are
counted as a quarter of the characters, rounded up, an image as 256 and a PDF as 2,048; an answer is cut to `max_tokens`
of them. Where a format is asked for the answer fits it: a value that follows from the seed, the format, the system text
and the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hashlib import blake2b

from msgspec.structs import replace

from apxm.backends.batching import Batching, Served
from apxm.backends.engine import BLOCK, Tokens
from apxm.backends.faults import (
    AT_ONCE,
    MISSHAPEN,
    OF_SHAPES,
    FaultKind,
    Faults,
    body_size,
    fault_error,
    parse_faults,
)
from apxm.backends.latency import Draws, LatencyModel, TokenLatency, parse_latency
from apxm.backends.protocol import (
    NO_LIMITS,
    BackendInfo,
    Clock,
    Handle,
    Limits,
    ModelAnswer,
    ModelRequest,
    Tell,
    Usage,
)
from apxm.backends.shapes import drawn_text, misshapen
from apxm.backends.sharing import ProcessorSharing
from apxm.backends.simulated_calls import drawn_calls
from apxm.backends.slowdown import Slowdown, parse_slowdown
from apxm.errors import BackendError, UsageError
from apxm.operations.schemas import INSTRUCTION

CHARACTERS_PER_TOKEN = 4
IMAGE_TOKENS = 256
PDF_TOKENS = 2048
_BEGINNING = 60
TYPICAL_ECHO = 20
"""Tokens of an answer that only echoes, about."""
NS_PER_DRIPPED_BYTE = 1_000_000_000


class SimulatedBackend:
    """Callback style; works on any clock, in one event loop at a time."""

    can_reason = False
    can_see = can_read_pdf = True

    def __init__(
        self,
        *,
        name: str = "simulated",
        model: str = "simulated",
        latency: str | LatencyModel | TokenLatency = "constant:1000",
        slowdown: str | Slowdown = "none",
        faults: str | Faults = "none",
        seed: int = 0,
        answers: Sequence[tuple[re.Pattern[str], str]] = (),
        limits: Limits = NO_LIMITS,
    ) -> None:
        self._latency = parse_latency(latency) if isinstance(latency, str) else latency
        self._slowdown = parse_slowdown(slowdown) if isinstance(slowdown, str) else slowdown
        self.faults = parse_faults(faults) if isinstance(faults, str) else faults
        self._answers = tuple(answers)
        self._seed = seed
        self._model = model
        self.limits = limits
        self._sharing = ProcessorSharing(self._slowdown)
        self._engine = Batching(self._latency.costs) if isinstance(self._latency, TokenLatency) else None
        check_slowdown(self._latency, self._slowdown)
        self.start_run()
        behaviour = f"latency {self._latency}, slowdown {self._slowdown}, seed {seed}"
        if self.faults:
            behaviour += f", faults {self.faults}"
        self.info = BackendInfo(
            name=name,
            kind="simulated",
            model=model,
            simulated=True,
            description=f"{model}, no real model: {behaviour}",
        )

    @property
    def patterns(self) -> Sequence[tuple[re.Pattern[str], str]]:
        """The patterns of the configuration, and what it says where one matches."""
        return self._answers

    def start_run(self, iteration: int = 0) -> None:
        """Begins a new run of the same program: draws start afresh, as different ones for each iteration."""
        self._draws = Draws(self._seed, iteration)
        self._fault_draws = self.faults.draws(self._seed, iteration)
        if self._engine is not None:
            self._engine.forget()

    @property
    def counts_tokens(self) -> bool:
        """Whether how long a call takes follows from its tokens."""
        return self._engine is not None

    def begin(
        self,
        request: ModelRequest,
        clock: Clock,
        done: Callable[[ModelAnswer | BackendError], None],
        told: Callable[[], None] | None = None,
    ) -> Handle:
        """`told` is called at each token but the last of a call that meets no fault, where these are counted."""
        fault = self.next_fault(request)
        if fault is None or fault == "no_format":  # nobody asks by a field of a body here
            return self.begin_sound(request, clock, done, told=told)
        if fault in MISSHAPEN:
            return self.begin_sound(request, clock, lambda answer: done(self.misshapen(request, answer, fault)))
        if fault == "hang":
            return self.begin_sound(request, clock, lambda _: None)
        if fault == "drip":
            return _Drip(self, request, clock, done)
        error = fault_error(fault, self.info.name)
        if fault in AT_ONCE:
            return clock.call_at(clock.now(), lambda: done(error))
        return self.begin_sound(request, clock, lambda _: done(error))

    def begin_stream(
        self, request: ModelRequest, clock: Clock, tell: Tell, done: Callable[[ModelAnswer | BackendError], None]
    ) -> Handle:
        """`begin`; an answer comes token by token, as soon as they are there."""
        begun = tokens_of(self.answer(request, 0).text) if self.counts_tokens else []
        said = 0

        def told() -> None:
            nonlocal said
            if said < len(begun):  # an answer of calls is without words
                tell(begun[said])
                said += 1

        def over(outcome: ModelAnswer | BackendError) -> None:
            for token in tokens_of(outcome.text)[said:] if isinstance(outcome, ModelAnswer) else ():
                tell(token)
            done(outcome)

        return self.begin(request, clock, over, told if begun else None)

    def next_fault(self, request: ModelRequest) -> FaultKind | None:
        """The fault that this call, the next of the run, has to meet."""
        if not self.faults:
            return None
        system = _system(request)
        model, load = request.model or self._model, (self._engine or self._sharing).load
        fault = self.faults.next_fault(self._fault_draws, model, system, request.dialogue, load)
        if fault in OF_SHAPES and (request.answer is None or request.offers):
            return None
        return None if fault == "no_format" and _is_told(system) else fault

    def begin_sound(
        self,
        request: ModelRequest,
        clock: Clock,
        done: Callable[[ModelAnswer], None],
        *,
        tokens: int | None = None,
        told: Callable[[], None] | None = None,
    ) -> Handle:
        """`begin`, for a call that meets no fault. `tokens` are those of the answer, where it is not in words."""
        model, system, said = request.model or self._model, _system(request), request.dialogue
        if self._engine is None or not isinstance(self._latency, TokenLatency):
            assert not isinstance(self._latency, TokenLatency)
            work_ns = self._latency.latency_ns(self._draws, model, system, said)
            return self._sharing.begin(work_ns, clock, _PendingAnswer(self, request, done))
        answer = self.answer(request, 0)
        cached = self._latency.costs.cache
        asked = Tokens(
            answer.usage.input_tokens or 0,
            answer.usage.output_tokens or 0 if tokens is None else tokens,
            blocks_of(f"{system or ''}\0{said}", BLOCK * CHARACTERS_PER_TOKEN) if cached else (),
        )

        def over(served: Served) -> None:
            usage = replace(answer.usage, cached_tokens=served.cached) if cached else answer.usage
            done(replace(answer, service_ns=served.took, usage=usage))

        ratio = self._latency.ratio(self._draws, model, system, said)
        return self._engine.begin(asked, clock, over, ratio=ratio, told=told)

    def work(self, work_ns: int, clock: Clock, done: Callable[[int], None]) -> Handle:
        """Further work at the same endpoint, under the same load: the tokens of an answer that is streamed. `done` gets
        the time it took."""
        return self._sharing.begin(work_ns, clock, done)

    async def close(self) -> None:
        pass

    def answer(self, request: ModelRequest, service_ns: int, choice: int = 0) -> ModelAnswer:
        """What it says to `request`, after having worked for `service_ns`: the first of several choices, or a further
        one."""
        system = _system(request)
        said = request.dialogue
        text = next((answer for pattern, answer in self._answers if pattern.search(said)), None)
        calls = drawn_calls(request, self._seed, choice) if text is None else ()
        if calls:
            text = ""
        if text is None and request.answer is not None:
            text = drawn_text(request.answer.whole, system or "", said, f"{choice} {self._seed}")
        if text is None:
            text = echo(said, system, choice)
            if isinstance(self._latency, TokenLatency):
                text = _as_long(text, self._latency.answer_tokens(self._seed, f"{choice} {system}\0{said}"))
        whole = text
        if request.max_tokens is not None:
            text = text[: request.max_tokens * CHARACTERS_PER_TOKEN]
        given = count_tokens(system or "") + count_tokens(said)
        given += IMAGE_TOKENS * len(request.images) + PDF_TOKENS * len(request.pdfs)
        if request.answer is not None and not _is_told(system):
            given += count_tokens(request.answer.schema)
        usage = Usage(given, count_tokens(text) + sum(count_tokens(call.tool + call.arguments) for call in calls))
        model = request.model or self._model
        return ModelAnswer(text, usage, service_ns, model, cut_off=text != whole, calls=calls)

    def misshapen(self, request: ModelRequest, answer: ModelAnswer, fault: FaultKind) -> ModelAnswer:
        """What comes instead of an answer in its shape, where the call meets such a fault."""
        text = misshapen(fault, answer.text, echo(request.dialogue, _system(request)))
        usage = Usage(answer.usage.input_tokens, count_tokens(text))
        return replace(answer, text=text, usage=usage, cut_off=answer.cut_off or fault == "cut_off")


class _PendingAnswer:
    """A call that is under way, called when it is over. A `partial` of the same takes five times the memory."""

    __slots__ = ("_backend", "_done", "_request")

    def __init__(self, backend: SimulatedBackend, request: ModelRequest, done: Callable[[ModelAnswer], None]) -> None:
        self._backend = backend
        self._request = request
        self._done = done

    def __call__(self, service_ns: int) -> None:
        self._done(self._backend.answer(self._request, service_ns))


class _Drip:
    """A call whose answer, once it is there, comes a byte a second. That time is the endpoint's doing."""

    def __init__(
        self, backend: SimulatedBackend, request: ModelRequest, clock: Clock, done: Callable[[ModelAnswer], None]
    ) -> None:
        self._clock = clock
        self._done = done
        self._stage = backend.begin_sound(request, clock, self._answered)

    def _answered(self, answer: ModelAnswer) -> None:
        dripping_ns = body_size(answer) * NS_PER_DRIPPED_BYTE
        whole = replace(answer, service_ns=(answer.service_ns or 0) + dripping_ns)
        self._stage = self._clock.call_at(self._clock.now() + dripping_ns, lambda: self._done(whole))

    def cancel(self) -> None:
        self._stage.cancel()


def _system(request: ModelRequest) -> str | None:
    """The system text of a request as an endpoint gets it that takes schemas."""
    return request.system_text(tells_format=False)


def _is_told(system: str | None) -> bool:
    """Whether a system text tells of the answer's format, which then no field asks for."""
    return system is not None and INSTRUCTION in system


def echo(prompt: str, system: str | None = None, choice: int = 0) -> str:
    """The answer to a prompt that no pattern matches. What the system's message says changes its digest, and each of
    several choices has one of its own."""
    salt = choice.to_bytes(4, "little") if choice else b""
    asked = prompt if system is None else f"{system}\0{prompt}"
    digest = blake2b(asked.encode(errors="surrogatepass"), salt=salt).hexdigest()[:8]
    line = " ".join(prompt[: 4 * _BEGINNING].split())
    beginning = line if len(line) <= _BEGINNING else line[:_BEGINNING].rstrip() + "…"
    return f"Simulated answer {digest}: {beginning}"


def _as_long(text: str, tokens: int | None) -> str:
    """Words of so many tokens, said over and over."""
    if tokens is None:
        return text
    length = tokens * CHARACTERS_PER_TOKEN
    return (f"{text} " * (length // len(text) + 1))[:length]


def blocks_of(text: str, size: int) -> list[str]:
    """The text in parts of `size` characters, without what is left over."""
    return [text[start : start + size] for start in range(0, len(text) - size + 1, size)]


def check_slowdown(latency: LatencyModel | TokenLatency, slowdown: Slowdown) -> None:
    """Raises `UsageError` for an engine that would be slowed down twice."""
    if isinstance(latency, TokenLatency) and slowdown.text != "none":
        raise UsageError(
            f"slowdown {slowdown} beside latency {latency}: an engine's calls slow each other down by what they cost",
            hint="leave the slowdown out, or give a latency of another kind",
        )


def count_tokens(text: str) -> int:
    """A stated approximation: a quarter of the characters, rounded up."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def tokens_of(text: str) -> list[str]:
    """The tokens that `count_tokens` counts."""
    return [text[start : start + CHARACTERS_PER_TOKEN] for start in range(0, len(text), CHARACTERS_PER_TOKEN)]
