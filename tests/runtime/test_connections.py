"""Real calls over real HTTP: what a run gives up is over at the server too, not only here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from benchmarks.graphs import fan_out

import apxm
from apxm.backends.openai import OpenAIBackend
from apxm.backends.settings import OpenAISettings
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import real_loop
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Status, Trace
from apxm.simulator.process import start_simulator
from tests.servers import HANG, Received, Reply, Server, completion

PATIENCE_S = 20


def run_against(
    script: Callable[[Received], Reply] | Reply,
    source: str,
    options: RunOptions | None = None,
    meanwhile: Callable[[Run], None] = lambda _: None,
) -> tuple[Trace, Server]:
    """Runs the only flow of `source`; `meanwhile` happens once the server has a request that it does not answer.

    Returns when the server has seen a client leave such a request.
    """
    program = apxm.compile_text(source)

    async def main() -> tuple[Trace, Server]:
        async with Server(script) as server, asyncio.timeout(PATIENCE_S):
            backend = OpenAIBackend("local", OpenAISettings(model="tiny", endpoint=server.endpoint), {})
            pool = BackendPool({"local": backend}, "local")
            run = Run(LoadedProgram(program), program.flows[0], (), pool, options)
            running = asyncio.create_task(run.execute())
            await server.unanswered.wait()
            meanwhile(run)
            trace = await running
            # The backend is still open: it is the call that closed its connection.
            await server.client_left.wait()
            await pool.close()
            return trace, server

    with asyncio.Runner(loop_factory=real_loop) as runner:
        return runner.run(main())


def test_what_comes_next_finds_the_connections_of_what_went_before() -> None:
    """Of an earlier run, and of one in a thread and an event loop of its own."""
    program = apxm.compile_text('agent A { @entry flow f() -> str { return merge(ask("x"), ask("y")) } }')

    def one_run(endpoint: str) -> None:
        settings = OpenAISettings(model="tiny", endpoint=endpoint)
        pool = BackendPool({"local": OpenAIBackend("local", settings, {})}, "local")

        async def run() -> None:
            trace = await Run(LoadedProgram(program), program.flows[0], (), pool).execute()
            assert not trace.failures
            await pool.close()

        with asyncio.Runner(loop_factory=real_loop) as runner:
            runner.run(run())

    async def main() -> int:
        async with Server(completion("Fine.")) as server, asyncio.timeout(PATIENCE_S):
            for _ in range(3):
                await asyncio.to_thread(one_run, server.endpoint)
            assert len(server.received) == 6
            return server.connections

    assert asyncio.run(main()) <= 3  # one may not be back yet when the next run begins


def hang_on(word: str) -> Callable[[Received], Reply]:
    return lambda request: HANG if word in request.body.decode() else completion("Fine.")


def test_a_call_past_its_own_time_limit_closes_its_connection_and_the_others_go_on() -> None:
    source = """
        agent A {
            flow f() -> str {
                ask("slow", timeout: 0.5, retries: 0) -> slow
                ask("quick") -> quick
                print(quick)
                return slow
            }
        }
    """
    trace, server = run_against(hang_on("slow"), source)
    [failure] = trace.failures
    assert (failure.operation, failure.kind) == ("slow", "timeout")
    assert failure.message == f"no answer from backend 'local' ({server.endpoint}) within 0.5 s"
    assert trace.printed == ["Fine."]
    assert len(server.received) == 2


def test_each_attempt_that_times_out_closes_its_own_connection() -> None:
    source = 'agent A { flow f() -> str { return ask("slow", timeout: 1, retries: 1) } }'
    replies = iter([HANG, completion("Second try.")])
    trace, server = run_against(lambda _: next(replies), source)
    assert (trace.status, trace.value) == (Status.SUCCEEDED, "Second try.")
    assert server.connections == 2


def test_stopping_a_run_closes_the_connections_of_what_is_in_flight() -> None:
    source = 'agent A { flow f() -> str { return ask("slow") } }'
    trace, _ = run_against(HANG, source, meanwhile=lambda run: run.stop(Status.INTERRUPTED))
    assert trace.status is Status.INTERRUPTED
    assert [attempt.outcome for record in trace.operations for attempt in record.attempts] == ["cancelled"]


def test_so_does_an_answer_of_which_half_has_come() -> None:
    source = 'agent A { flow f() -> str { return ask("slow") } }'
    half = Reply(completion("x" * 1000).body, then="hang")
    trace, _ = run_against(half, source, meanwhile=lambda run: run.stop(Status.INTERRUPTED))
    assert trace.status is Status.INTERRUPTED


def test_the_time_limit_of_the_run_closes_them_too() -> None:
    source = 'agent A { flow f() -> str { return ask("slow") } }'
    trace, _ = run_against(HANG, source, RunOptions(timeout_s=0.5))
    assert trace.status is Status.STOPPED


def test_no_pool_of_connections_limits_the_calls_in_flight_in_secret() -> None:
    """Many clients open 100 connections at most."""
    with start_simulator(latency="constant:1000") as simulator:

        async def main() -> None:
            backend = OpenAIBackend("local", OpenAISettings(model="tiny", endpoint=simulator.endpoint), {})
            pool = BackendPool({"local": backend}, "local")
            program = LoadedProgram(fan_out("ask", 300))
            assert not (await Run(program, program.program.flows[0], (), pool).execute()).failures
            await pool.close()

        with asyncio.Runner(loop_factory=real_loop) as runner:
            runner.run(main())
        assert simulator.metrics()["apxm_simulator_in_flight_max"] == 300
