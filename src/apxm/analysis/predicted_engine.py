"""An engine as its profile describes it, for runs on virtual time: each call costs as many tokens as it will have."""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from statistics import NormalDist

from apxm.analysis.engine_fit import EngineFit
from apxm.analysis.least_squares import cholesky
from apxm.analysis.lengths import NO_LENGTHS, Lengths, without_turns
from apxm.analysis.profile import Profile
from apxm.analysis.station import ANSWER, DelayedCall
from apxm.analysis.usage import TYPICAL_ANSWER
from apxm.backends.batching import Batching, Served
from apxm.backends.engine import BLOCK, Costs, Tokens
from apxm.backends.latency import Draws
from apxm.backends.protocol import BackendInfo, Clock, Handle, Limits, ModelAnswer, ModelRequest, Usage
from apxm.backends.simulated import blocks_of
from apxm.errors import BackendError

_UNKNOWN_SPREAD = 1.0
"""σ of the log-normal lengths of answers of which nothing is known: four in five have 70 to 920 tokens."""


class PredictedEngine:
    """Answers as slowly as the engine of a profile; its text is `ANSWER`, and as long as the answer will be.

    An answer is as long as one of the `lengths` that earlier runs had at the operation; else as `max_tokens`, where the
    program says that, or as the profile knows answers; else nobody knows, and it is drawn anew for each operation and
    run. The client is part of it, as in `PredictedBackend`.
    """

    by_operation = True
    can_reason = False
    can_see = can_read_pdf = True

    def __init__(
        self,
        name: str,
        profile: Profile,
        engine: EngineFit,
        seed: int,
        iteration: int,
        lengths: Lengths = NO_LENGTHS,
    ) -> None:
        self.info = BackendInfo(name=name, kind="predicted", model=profile.model, simulated=True)
        self.limits = Limits(max_concurrency=profile.max_concurrency)
        self.unknown: dict[str, int] = {}
        """The operations of whose answers nobody knows how long they are, and how long they are taken for."""
        self.drew_lengths = False
        """Whether earlier answers were of several lengths, so that another run may have others."""
        self._engine = engine
        self._lengths = lengths
        self._normals = Draws(seed, iteration), Draws(seed, iteration, "length"), Draws(seed, iteration, "costs")
        self._batching = Batching(self._costs())
        self._client_ns = round(profile.client_ms * 1e6)
        self._client_free_at = 0
        self._begun = 0

    def begin(self, request: ModelRequest, clock: Clock, done: Callable[[ModelAnswer | BackendError], None]) -> Handle:
        engine = self._engine
        text = f"{request.system_text() or ''}{request.dialogue}"
        taken = self._answer_tokens(request)
        prompt = engine.prompt_tokens(len(text))
        size = max(1, round(BLOCK * engine.characters_per_token))
        tokens = Tokens(prompt, taken, blocks_of(text, size) if engine.cache else ())
        ratio = exp(engine.spread * self._normal(0, request.model or "", text)) if engine.spread else 1.0
        self._begun += 1
        # No two answers begin alike, and a text that holds one is as long as it will be.
        said = f"{ANSWER}{self._begun} ".ljust(round(taken * engine.characters_per_token), "…")

        def over(served: Served) -> None:
            done(ModelAnswer(said, Usage(prompt, taken, served.cached if engine.cache else None), served.took))

        if not self._client_ns:
            return self._batching.begin(tokens, clock, over, ratio=ratio)
        self._client_free_at = max(clock.now(), self._client_free_at) + self._client_ns
        call = DelayedCall()

        def send() -> None:
            call.stage = self._batching.begin(tokens, clock, over, ratio=ratio)

        call.stage = clock.call_at(self._client_free_at, send)
        return call

    async def close(self) -> None:
        """Nothing is held."""

    def _costs(self) -> Costs:
        """Those that were calibrated, as far off as they may be."""
        engine = self._engine
        times = list(engine.times)
        if engine.covariance:
            normals = [self._normal(2, name) for name in ("fixed", "step", "prefill", "decode")]
            for i, row in enumerate(cholesky(engine.covariance)):
                times[i] += sum(a * b for a, b in zip(row, normals, strict=True))
        today = exp(engine.drift * self._normal(2, "drift")) if engine.drift else 1.0
        return engine.costs([max(0.0, today * time) for time in times])

    def _answer_tokens(self, request: ModelRequest) -> int:
        place = without_turns(request.operation or "")
        earlier = self._lengths.get(place)
        if earlier:
            self.drew_lengths |= min(earlier) < max(earlier)
            drawn = earlier[int(self._normals[1].uniform(place, None, request.prompt) * len(earlier))]
        elif request.max_tokens is not None and request.answer is None:
            return request.max_tokens
        elif self._engine.answer_tokens is not None and request.answer is None:
            spread = self._engine.answer_spread
            drawn = round(self._engine.answer_tokens * exp(spread * self._normal(1, place, request.prompt)))
        else:
            if place not in self.unknown:
                self.unknown[place] = round(TYPICAL_ANSWER * exp(_UNKNOWN_SPREAD * self._normal(1, place)))
            drawn = self.unknown[place]
        return max(1, drawn if request.max_tokens is None else min(drawn, request.max_tokens))

    def _normal(self, purpose: int, what: str, prompt: str = "") -> float:
        return NormalDist().inv_cdf(self._normals[purpose].uniform(what, None, prompt))
