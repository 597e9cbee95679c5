"""Whom a comparison asks: a simulator of its own, or a configured backend."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from apxm.analysis.calibrate import MAX_TOKENS
from apxm.backends.latency import DEFAULT_LATENCY
from apxm.backends.settings import OpenAISettings
from apxm.config.inventory import Inventory
from apxm.errors import UsageError
from apxm.simulator.process import start_simulator

_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Endpoint:
    settings: OpenAISettings
    """As both systems use it."""
    description: str
    begin_iteration: Callable[[int], None]
    """Called before each run, so that all runs of an iteration meet the same draws."""
    seed: int | None = None
    """Of its draws; None where it is not simulated."""


@contextmanager
def simulated(latency: str = DEFAULT_LATENCY, slowdown: str = "none", seed: int = 0) -> Generator[Endpoint]:
    """A process of its own, for as long as the block runs."""
    with _no_proxy(), start_simulator(latency=latency, slowdown=slowdown, seed=seed) as simulator:
        yield Endpoint(
            OpenAISettings(model="simulated", endpoint=simulator.endpoint, retries=0),
            f"simulated, latency {latency}, slowdown {slowdown}",
            simulator.begin_iteration,
            seed,
        )


def configured(name: str, config: str | None) -> Endpoint:
    """Raises `UsageError` for a backend that has no address, `ConfigurationError` for one that is not trusted."""
    known = Inventory(config).get(name)
    if not isinstance(known.settings, OpenAISettings):
        raise UsageError(
            f"backend {name!r} is simulated inside this process, where LangGraph cannot call it",
            hint="leave --backend out: the simulator then answers, as --latency and --slowdown say",
        )
    known.must_be_trusted()
    if known.settings.limits.by_the_minute:
        raise UsageError(f"backend {name!r} has limits by the minute, which LangGraph would not keep")
    # A system text would be A-PXM's alone: the LangGraph program has none. Each call is made once, and a model that
    # rambles must not make the comparison one of its answers.
    settings = msgspec.structs.replace(
        known.settings, system=None, retries=0, max_tokens=known.settings.max_tokens or MAX_TOKENS
    )
    return Endpoint(settings, known.info.description, lambda _iteration: None)


@contextmanager
def _no_proxy() -> Generator[None]:
    """The simulator is on this machine: no proxy of the environment stands between, for neither system."""
    before = {name: os.environ.get(name) for name in ("NO_PROXY", "no_proxy")}
    for name, value in before.items():
        os.environ[name] = f"{value},{_LOOPBACK}" if value else _LOOPBACK
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
