"""What a simulator is told."""

from __future__ import annotations

from msgspec import Struct

from apxm.backends.faults import parse_faults
from apxm.backends.latency import DEFAULT_LATENCY, TokenLatency, parse_latency
from apxm.backends.numbers import whole
from apxm.backends.simulated import check_slowdown
from apxm.backends.slowdown import parse_slowdown
from apxm.errors import UsageError

_MIN_RATE, _MAX_RATE = 0.001, 1_000_000


class SimulatorOptions(Struct, frozen=True, kw_only=True):
    """Raises `UsageError` for options that make no sense."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free one."""
    latency: str = DEFAULT_LATENCY
    slowdown: str = "none"
    faults: str = "none"
    seed: int = 0
    tokens_per_second: float | None = None
    """How fast an answer is given out; None hands it over whole after its latency."""

    def __post_init__(self) -> None:
        whole(self.seed, "the seed")
        latency = parse_latency(self.latency)
        check_slowdown(latency, parse_slowdown(self.slowdown))
        parse_faults(self.faults)
        rate = self.tokens_per_second
        if rate is not None and isinstance(latency, TokenLatency):
            raise UsageError("tokens per second beside a latency of tokens, which says how fast they come itself")
        if rate is not None and not _MIN_RATE <= rate <= _MAX_RATE:
            raise UsageError(f"{rate:g} tokens per second: expected {_MIN_RATE} to {_MAX_RATE}")
