"""How long calls take: what `Server-Timing` says, on a clock that only the test moves, and over HTTP."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from apxm.backends.latency import Draws, LogNormalLatency
from apxm.backends.simulated import SimulatedBackend
from apxm.simulator.chat import ChatCall, ChatRequest
from apxm.simulator.generator import Generator
from apxm.simulator.messages import Message
from apxm.simulator.metrics import ServerMetrics
from apxm.simulator.replies import Reply
from tests.backends.clock import FakeClock
from tests.simulator.conftest import Serve
from tests.simulator.serving import Client, chat, post

MS = 1_000_000
HELLO_TOKENS = 8
"""Of the answer to "Hello"."""


@dataclass
class Waiting:
    """A client that writes down when it got what."""

    clock: FakeClock
    pieces: list[float] = field(default_factory=list[float])
    """When each piece came, in ms."""
    ended: float | None = None
    service_ms: float | None = None

    def finish(self, reply: Reply) -> None:
        self._end(reply.headers)

    def begin_stream(self, content_type: bytes) -> None:
        pass

    def send(self, piece: bytes) -> None:
        if b'"content":"' in piece and b'"role"' not in piece:
            self.pieces.append(self.clock.now() / MS)

    def end_stream(self, trailer: bytes) -> None:
        self._end(trailer)

    def reset(self) -> None:
        raise AssertionError("no call here meets a fault")

    def _end(self, timing: bytes) -> None:
        self.ended = self.clock.now() / MS
        self.service_ms = float(timing.decode().rpartition("=")[2])


def generator(
    clock: FakeClock, *, latency: str = "constant:100", slowdown: str = "none", rate: float | None = None
) -> Generator:
    return Generator(SimulatedBackend(latency=latency, slowdown=slowdown), clock, ServerMetrics(), rate)


def call(*, stream: bool = False) -> ChatCall:
    return ChatCall(ChatRequest(messages=[Message("user", "Hello")], stream=stream))


@pytest.mark.parametrize("stream", [False, True])
def test_without_a_rate_the_whole_answer_comes_after_the_latency(stream: bool) -> None:
    clock = FakeClock()
    client = Waiting(clock)
    generator(clock).begin(call(stream=stream), client)
    clock.run()
    assert (client.ended, client.service_ms) == (100, 100)


def test_with_a_rate_the_tokens_follow_the_latency() -> None:
    clock = FakeClock()
    client = Waiting(clock)
    generator(clock, rate=50).begin(call(stream=True), client)
    clock.run()
    assert client.pieces == [100 + 20 * n for n in range(HELLO_TOKENS)]
    assert client.ended == client.service_ms == 100 + 20 * (HELLO_TOKENS - 1)


def test_an_answer_that_is_not_streamed_takes_the_same_time() -> None:
    clock = FakeClock()
    client = Waiting(clock)
    generator(clock, rate=50).begin(call(), client)
    clock.run()
    assert client.ended == client.service_ms == 100 + 20 * (HELLO_TOKENS - 1)


def test_load_slows_the_tokens_too() -> None:
    clock = FakeClock()
    shared = generator(clock, slowdown="curve:1=1,2=2", rate=50)
    clients = [Waiting(clock), Waiting(clock)]
    for client in clients:
        shared.begin(call(stream=True), client)
    clock.run()
    for client in clients:
        assert client.pieces == [2 * (100 + 20 * n) for n in range(HELLO_TOKENS)]
        assert client.service_ms == pytest.approx(2 * (100 + 20 * (HELLO_TOKENS - 1)))


def test_late_timers_delay_a_token_and_no_token_after_it() -> None:
    clock = FakeClock()
    client = Waiting(clock)
    generator(clock, rate=50).begin(call(stream=True), client)
    clock.at(127 * MS)  # for two tokens
    clock.run()
    assert client.pieces == [127, 127, 140, 160, 180, 200, 220, 240]
    assert client.service_ms == 240


def test_being_late_is_no_service_but_is_counted() -> None:
    clock = FakeClock()
    client = Waiting(clock)
    shared = generator(clock)
    shared.begin(call(), client)
    clock.at(103 * MS)
    assert (client.ended, client.service_ms) == (103, 100)
    assert "apxm_simulator_late_seconds_total 0.003" in shared.metrics.text()


def test_cancelling_a_stream_between_two_tokens_takes_its_load_away() -> None:
    clock = FakeClock()
    shared = generator(clock, slowdown="curve:1=1,2=2", rate=50)
    leaving, staying = Waiting(clock), Waiting(clock)
    handle = shared.begin(call(stream=True), leaving)
    shared.begin(call(), staying)
    clock.at(200 * MS)  # both have their first token
    handle.cancel()
    clock.run()
    assert len(leaving.pieces) == 1
    assert staying.service_ms == 200 + 20 * (HELLO_TOKENS - 1)
    assert shared.metrics.in_flight == 0
    assert clock.armed == 0


ENGINE = "tokens:fixed=5,step=10,prefill=1,decode=2"


def test_an_engine_gives_a_token_with_each_iteration_to_all() -> None:
    """Two prompts of 2 tokens are read in 14 ms, and then each iteration takes 14 ms."""
    clock = FakeClock()
    shared = generator(clock, latency=ENGINE)
    clients = [Waiting(clock), Waiting(clock)]
    for client, streams in zip(clients, (True, False), strict=True):
        shared.begin(call(stream=streams), client)
    clock.run()
    assert clients[0].pieces == [5 + 14 + 14 * n for n in range(HELLO_TOKENS)]
    assert {client.ended for client in clients} == {client.service_ms for client in clients} == {5 + 14 * HELLO_TOKENS}


def test_of_a_prefix_that_an_engine_had_read_the_usage_tells() -> None:
    clock = FakeClock()
    shared = generator(clock, latency=f"{ENGINE},cache,answer=1")
    replies: list[bytes] = []

    class Reading(Waiting):
        def finish(self, reply: Reply) -> None:
            replies.append(reply.body)

    for _ in range(2):
        shared.begin(ChatCall(ChatRequest(messages=[Message("user", "x" * 128)])), Reading(clock))
        clock.run()
    assert [b'"cached_tokens":%d' % cached in reply for reply, cached in zip(replies, (0, 31), strict=True)] == [
        True
    ] * 2


# --- over HTTP -----------------------------------------------------------------------------------------------------


async def service_ms(client: Client, *prompts: str) -> list[float]:
    return [(await client.ask(chat(prompt))).service_ms for prompt in prompts]


async def begin_iteration(client: Client, iteration: int) -> None:
    answer = await client.ask(post("/control/iteration", f'{{"iteration": {iteration}}}'))
    assert answer.json == {"iteration": iteration}


def test_latencies_are_those_that_the_backend_draws_in_process(serve: Serve) -> None:
    served = serve(latency="lognormal:1,0.5", seed=7)
    model, draws = LogNormalLatency(MS, 0.5), Draws(7, 3)
    expected = [model.latency_ns(draws, "m", None, prompt) / MS for prompt in ("a", "b", "a")]

    async def scenario() -> None:
        async with served.client() as client:
            await begin_iteration(client, 3)
            assert await service_ms(client, "a", "b", "a") == pytest.approx(expected, abs=1e-5)

    served.run(scenario())


def test_two_systems_meet_the_same_draws_in_the_same_iteration(serve: Serve) -> None:
    served = serve(latency="lognormal:1,0.5")

    async def scenario() -> None:
        async with served.client() as client:
            await begin_iteration(client, 7)
            first = await service_ms(client, "a", "b", "a")
            assert await service_ms(client, "a") != first[:1], "a prompt draws anew at each occurrence"
            await begin_iteration(client, 7)
            assert await service_ms(client, "b", "a", "a") == pytest.approx([first[1], first[0], first[2]], abs=1e-5)
            await begin_iteration(client, 8)
            assert not set(await service_ms(client, "a", "b", "a")) & set(first)

    served.run(scenario())


def test_a_trace_begins_again_with_each_iteration(serve: Serve) -> None:
    served = serve(latency="trace:3,1,2")

    async def scenario() -> None:
        async with served.client() as client:
            await begin_iteration(client, 0)
            first = await service_ms(client, "a", "b")
            await begin_iteration(client, 1)
            assert [round(ms) for ms in first + await service_ms(client, "a", "b", "c", "d")] == [3, 1, 3, 1, 2, 3]

    served.run(scenario())


@pytest.mark.parametrize("body", ['{"iteration": -1}', '{"iteration": "7"}', "{}", "7", "", "{"])
def test_an_iteration_that_is_none(serve: Serve, body: str) -> None:
    served = serve()

    async def scenario() -> None:
        async with served.client() as client:
            answer = await client.ask(post("/control/iteration", body))
            assert answer.status == 400
            assert answer.json["error"]["message"]

    served.run(scenario())


def test_calls_at_once_slow_each_other_down(serve: Serve) -> None:
    served = serve(latency="constant:20", slowdown="curve:1=1,8=8")

    async def scenario() -> None:
        clients = [Client(*await asyncio.open_connection("127.0.0.1", served.listening.port)) for _ in range(8)]
        for client in clients:
            client.send(chat())
        answers = [await client.answer() for client in clients]
        for client in clients:
            await client.close()
        # However the machine lets them arrive, eight pieces of work of 20 ms, shared, take 160 ms together.
        assert max(answer.service_ms for answer in answers) > 20
        assert max(answer.service_ms for answer in answers) <= 8 * 20 + 1e-3
        async with served.client() as alone:
            assert (await service_ms(alone, "alone"))[0] == pytest.approx(20, abs=1e-3)

    served.run(scenario())
