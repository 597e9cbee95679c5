from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import ExitStack

import pytest

from apxm.runtime.loops import real_loop
from apxm.simulator.options import SimulatorOptions
from apxm.simulator.reading import HttpLimits
from tests.simulator.serving import LoopFactory, Served, serving

Serve = Callable[..., Served]


@pytest.fixture(params=[real_loop, asyncio.new_event_loop], ids=["real_loop", "asyncio"])
def serve(request: pytest.FixtureRequest) -> Generator[Serve]:
    """`serve(latency="constant:5")` is a running simulator: on the loop that it has in use, and on that of systems
    without uvloop. It answers at once unless told otherwise."""
    loop_factory: LoopFactory = request.param
    with ExitStack() as stack:

        def start(limits: HttpLimits | None = None, **options: object) -> Served:
            chosen = SimulatorOptions(**{"latency": "constant:0", **options})  # type: ignore[arg-type]
            return stack.enter_context(serving(chosen, limits, loop_factory))

        yield start
