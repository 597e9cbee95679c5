"""Whom a comparison asks: a simulator of its own, or a configured backend."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec

from apxm.analysis.calibrate import MAX_TOKENS
from apxm.backends.endpoint import parse_endpoint
from apxm.backends.latency import DEFAULT_LATENCY
from apxm.backends.settings import OpenAISettings
from apxm.config.inventory import Inventory
from apxm.errors import UsageError
from apxm.simulator.process import start_simulator
from apxm.workloads.environment import bare_environment


@dataclass(frozen=True)
class SharedEndpoint:
    settings: OpenAISettings
    """The settings with which both systems use the endpoint."""
    description: str
    begin_iteration: Callable[[int], None]
    """Called before each run, so that all runs of an iteration meet the same draws."""
    seed: int | None = None
    """The seed of the endpoint's draws; None where it is not simulated."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """The variables with the keys, proxies and certificates that the settings speak of."""


@contextmanager
def simulated(latency: str = DEFAULT_LATENCY, slowdown: str = "none", seed: int = 0) -> Generator[SharedEndpoint]:
    """A process of its own, for as long as the block runs, in a bare environment."""
    with (
        start_simulator(latency=latency, slowdown=slowdown, seed=seed) as simulator,
        bare_environment(simulator.endpoint),
    ):
        yield SharedEndpoint(
            OpenAISettings(model="simulated", endpoint=simulator.endpoint, retries=0),
            f"simulated, latency {latency}, slowdown {slowdown}",
            simulator.begin_iteration,
            seed,
        )


@contextmanager
def configured(name: str, config: str | None) -> Generator[SharedEndpoint]:
    """A configured backend, in a bare environment for as long as the block runs.

    Raises `UsageError` for a backend that has no address, `ConfigurationError` for one that is not trusted."""
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
    environment = dict(os.environ)
    with bare_environment(parse_endpoint(settings.endpoint).chat_url, environment):
        yield SharedEndpoint(settings, known.info.description, lambda _iteration: None, environment=environment)
