"""Both systems do the same work: the same prompts, answers and draws, over HTTP on loopback."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys

import pytest

from apxm.backends.openai import OpenAIBackend
from apxm.backends.settings import OpenAISettings
from apxm.runtime.loops import real_loop
from apxm.simulator.process import start_simulator
from apxm.workloads.apxm_system import ApxmSystem
from apxm.workloads.catalog import SCALABILITY
from apxm.workloads.langgraph_system import LangGraphSystem, load_peer, missing_packages
from apxm.workloads.scalability import programs
from apxm.workloads.systems import System, WorkloadFailed, most_in_flight
from tests.servers import Server, as_json

pytestmark = pytest.mark.skipif(bool(missing_packages()), reason="needs the extra `bench`")

WIDTHS = (1, 3, 28)
WORKED = "apxm_simulator_service_seconds_sum"


def test_equal_prompts_answers_and_draws() -> None:
    async def compare() -> None:
        settings = OpenAISettings(model="simulated", endpoint=simulator.endpoint, max_tokens=100, temperature=0.5)
        systems: list[System] = [
            ApxmSystem(programs(WIDTHS), OpenAIBackend("endpoint", settings, os.environ)),
            LangGraphSystem(load_peer(SCALABILITY.peer), WIDTHS, settings, {}),
        ]
        for width in WIDTHS:
            results: list[str] = []
            served: list[float] = []
            for system in systems:
                simulator.begin_iteration(7)
                before = simulator.metrics()[WORKED]
                sample = await system.run(width)
                results.append(sample.result)
                served.append(simulator.metrics()[WORKED] - before)
                assert len(sample.calls) == width
                assert 1 <= most_in_flight(sample.calls) <= width
                assert all(0 < call.received - call.sent <= sample.duration for call in sample.calls)
            assert results[0] == results[1]
            assert len(results[0].splitlines()) == width
            # What the endpoint worked is what was drawn, since no load slows it.
            assert served[0] == pytest.approx(served[1], rel=1e-6)
        for system in systems:
            await system.close()

    latency = "lognormal:3,1"
    with start_simulator(latency=latency, seed=3) as simulator, asyncio.Runner(loop_factory=real_loop) as runner:
        runner.run(compare())


def test_max_concurrency_of_the_backend_holds_for_langgraph_too() -> None:
    async def run(endpoint: str) -> int:
        settings = OpenAISettings(model="simulated", endpoint=endpoint, max_concurrency=2)
        system = LangGraphSystem(load_peer(SCALABILITY.peer), [6], settings, {})
        sample = await system.run(6)
        await system.close()
        return most_in_flight(sample.calls)

    with start_simulator(latency="constant:5") as simulator, asyncio.Runner() as runner:
        assert runner.run(run(simulator.endpoint)) <= 2


def test_a_failed_call_is_made_once_and_ends_the_comparison_without_showing_the_key() -> None:
    async def run() -> int:
        refusal = as_json({"error": {"message": "the key very-secret is not known"}}, 401)
        async with Server(refusal) as server:
            settings = OpenAISettings(model="m", endpoint=server.endpoint, api_key="env:KEY")
            system = LangGraphSystem(load_peer(SCALABILITY.peer), [1], settings, {"KEY": "very-secret"})
            with pytest.raises(WorkloadFailed, match="LangGraph's run failed") as raised:
                await system.run(1)
            await system.close()
            assert "not known" in str(raised.value)
            assert "very-secret" not in str(raised.value)
            return len(server.received)

    assert asyncio.run(run()) == 1


def test_the_program_runs_by_itself_on_a_simulator_of_its_own() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    ended = subprocess.run(
        [sys.executable, str(SCALABILITY.peer), "--n", "2"],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    assert re.fullmatch(r"N = 2: [0-9,]+ ms\n", ended.stdout)
