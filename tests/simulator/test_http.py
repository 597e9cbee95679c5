"""The protocol: what a connection may bring, in whatever pieces, and what it gets."""

from __future__ import annotations

import asyncio
import json
from time import monotonic

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apxm.backends.simulated import SimulatedBackend
from apxm.simulator.connection import Connection
from apxm.simulator.options import SimulatorOptions
from apxm.simulator.reading import HttpLimits
from apxm.simulator.routes import SimulatedEndpoint
from apxm.simulator.server import simulator
from tests.backends.clock import FakeClock
from tests.simulator.conftest import Serve
from tests.simulator.serving import Client, Served, chat, get, post

FAR = "constant:600000"
"""Ten minutes: a call that is only ever cancelled."""


def test_a_connection_is_kept_for_the_next_request(serve: Serve) -> None:
    served = serve()

    async def scenario() -> None:
        async with served.client() as client:
            for prompt in ("one", "two"):
                answer = await client.ask(chat(prompt))
                assert answer.status == 200
                assert answer.json["choices"][0]["message"]["content"].endswith(f": {prompt}")
                assert "connection" not in answer.headers
        assert (await served.metrics())["connections"] == 1

    served.run(scenario())


def test_requests_in_pieces_and_in_heaps_are_answered_in_order(serve: Serve) -> None:
    served = serve(latency="trace:20,0,10")  # the first is the slowest

    async def scenario() -> None:
        async with served.client() as client:
            # More than are read ahead, with a page between them that needs no time.
            prompts = [f"prompt {n}" for n in range(40)]
            client.send(b"".join(chat(prompt) + get("/health").encode() for prompt in prompts))
            for prompt in prompts:
                assert (await client.answer()).json["choices"][0]["message"]["content"].endswith(prompt)
                assert (await client.answer()).json["status"] == "ok"
            for byte in chat("in pieces"):
                client.send(bytes([byte]))
                await client.writer.drain()
                await asyncio.sleep(0)
            assert (await client.answer()).status == 200

    served.run(scenario())


def test_many_pages_asked_for_at_once(serve: Serve) -> None:
    served = serve()

    async def scenario() -> None:
        async with served.client() as client:
            client.send(get("/health") * 3000)  # one nested call each would end the interpreter's stack
            for _ in range(3000):
                assert (await client.answer()).status == 200

    served.run(scenario())


def test_a_body_in_chunks(serve: Serve) -> None:
    served = serve()
    body = chat("in chunks").partition(b"\r\n\r\n")[2]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:5], body[5:])) + b"0\r\n\r\n"

    async def scenario() -> None:
        async with served.client() as client:
            answer = await client.ask(
                get("/v1/chat/completions", "Transfer-Encoding: chunked", method="POST").encode() + chunks
            )
            assert answer.json["choices"][0]["message"]["content"].endswith("in chunks")

    served.run(scenario())


def test_a_client_that_asks_whether_to_send_the_body(serve: Serve) -> None:
    served = serve(HttpLimits(body=1000))
    head, _, body = chat("go on", "Expect: 100-continue").partition(b"\r\n\r\n")

    async def scenario() -> None:
        async with served.client() as client:
            client.send(head + b"\r\n\r\n")
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert (await client.ask(body)).status == 200
            # Told only once the answers before it are out, else it would be taken for one of them.
            client.send(chat("first") + head + b"\r\n\r\n")
            assert (await client.answer()).status == 200
            assert (await client.answer(to_head=True)).status == 100
            assert (await client.ask(body)).status == 200
            too_much = get("/v1/chat/completions", "Expect: 100-continue", "Content-Length: 1001", method="POST")
            assert (await client.ask(too_much)).status == 413

    served.run(scenario())


def test_head_gets_no_body(serve: Serve) -> None:
    served = serve()

    async def scenario() -> None:
        async with served.client() as client:
            page = await client.ask(get("/v1/models"))
            client.send(get("/v1/models", method="HEAD"))
            head = await client.answer(to_head=True)
            assert (head.status, head.headers) == (page.status, page.headers)
            client.send(get("/v1/chat/completions", method="HEAD"))
            assert (await client.answer(to_head=True)).status == 405
            assert (await client.ask(get("/health"))).status == 200  # nothing was left over

    served.run(scenario())


@pytest.mark.parametrize(
    "request_bytes",
    [chat("last", "Connection: close"), chat("last", version="1.0")],
    ids=["Connection: close", "HTTP/1.0"],
)
def test_the_last_request_of_a_connection(serve: Serve, request_bytes: bytes) -> None:
    served = serve()

    async def scenario() -> None:
        async with served.client() as client:
            answer = await client.ask(request_bytes)
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await client.closed()

    served.run(scenario())


def test_http_1_0_is_kept_alive_where_it_asks_for_it(serve: Serve) -> None:
    served = serve()

    async def scenario() -> None:
        async with served.client() as client:
            for _ in range(2):
                answer = await client.ask(chat("again", "Connection: keep-alive", version="1.0"))
                assert answer.headers["connection"] == "keep-alive"

    served.run(scenario())


def test_an_offer_of_another_protocol_is_passed_over(serve: Serve) -> None:
    """As curl --http2 and the client of Java's library make it."""
    served = serve()
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ")

    async def scenario() -> None:
        async with served.client() as client:
            client.send(chat("one", *offer) + get("/health", *offer).encode() + chat("two", *offer))
            assert (await client.answer()).json["choices"][0]["message"]["content"].endswith("one")
            assert (await client.answer()).json["status"] == "ok"
            assert (await client.answer()).json["choices"][0]["message"]["content"].endswith("two")

    served.run(scenario())


REFUSED = {
    "no HTTP": (b"Guten Tag\r\n\r\n", 400, None),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 32, 400, None),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, None),
    "two lengths": (get("/", "Content-Length: 1", "Content-Length: 2", method="POST").encode(), 400, None),
    "a length and chunks": (
        get("/", "Content-Length: 1", "Transfer-Encoding: chunked", method="POST").encode() + b"0\r\n\r\n", 400, None,
    ),
    "a length that is none": (get("/", "Content-Length: ten", method="POST").encode(), 400, None),
    "a huge length": (get("/", f"Content-Length: {'9' * 5000}", method="POST").encode(), 400, None),
    "a tunnel": (b"CONNECT example.org:443 HTTP/1.1\r\n\r\n\x16\x03\x01", 405, "method_not_supported"),
    "too long a body": (post("/v1/chat/completions", b"x" * 5001), 413, "request_too_large"),
    "too long a body in chunks": (
        get("/", "Transfer-Encoding: chunked", method="POST").encode() + (b"1000\r\n" + b"x" * 4096 + b"\r\n") * 2,
        413, "request_too_large",
    ),
    "endless headers": (b"GET / HTTP/1.1\r\n" + b"X-Filler: 0123456789\r\n" * 60_000, 431, None),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_request_is_refused_and_the_connection_closed(serve: Serve, kind: str) -> None:
    served = serve(HttpLimits(body=5000, head=4096))
    data, status, code = REFUSED[kind]

    async def scenario() -> None:
        async with served.client() as client:
            client.send(get("/health"))
            answer = await client.ask(data)
            assert answer.status == 200, "what came before is answered before"
            answer = await client.answer()
            assert answer.status == status
            assert answer.headers["connection"] == "close"
            assert answer.json["error"]["type"] == "invalid_request_error"
            assert answer.json["error"]["code"] == code
            assert await client.closed()
        async with served.client() as client:
            assert (await client.ask(chat())).status == 200

    served.run(scenario())


@pytest.mark.parametrize(
    ("request_bytes", "status", "headers", "code"),
    [
        (get("/v1/images/generations", method="POST"), 404, {}, "unknown_url"),
        (get("/"), 404, {}, "unknown_url"),
        (get("/v1/chat/completions"), 405, {"allow": "POST"}, "method_not_supported"),
        (get("/v1/models", method="DELETE"), 405, {"allow": "GET"}, "method_not_supported"),
        (get("/control/iteration"), 405, {"allow": "POST"}, "method_not_supported"),
    ],
)
def test_a_wrong_path_or_method_keeps_the_connection(
    serve: Serve, request_bytes: str, status: int, headers: dict[str, str], code: str
) -> None:
    served = serve()

    async def scenario() -> None:
        async with served.client() as client:
            answer = await client.ask(request_bytes)
            assert answer.status == status
            assert headers.items() <= answer.headers.items()
            assert answer.json["error"]["code"] == code
            assert (await client.ask(chat())).status == 200

    served.run(scenario())


def test_a_query_is_no_part_of_the_path(serve: Serve) -> None:
    served = serve()

    async def scenario() -> None:
        async with served.client() as client:
            assert (await client.ask(get("/v1/models?api-version=1"))).status == 200

    served.run(scenario())


@pytest.mark.parametrize("half", [chat()[:20], chat()[:-1]], ids=["headers", "body"])
def test_half_a_request_times_out(serve: Serve, half: bytes) -> None:
    served = serve(HttpLimits(request_s=0.01, sweep_s=0.01))

    async def scenario() -> None:
        async with served.client() as client:
            answer = await client.ask(half)
            assert answer.status == 408
            assert await client.closed()

    served.run(scenario())


def test_a_connection_that_brings_nothing_is_closed(serve: Serve) -> None:
    served = serve(HttpLimits(idle_s=0.01, sweep_s=0.01))

    async def scenario() -> None:
        async with served.client() as client:
            assert await client.closed()

    served.run(scenario())


class StubTransport:
    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True


def test_a_long_call_is_not_an_idle_connection() -> None:
    clock = FakeClock()
    transport = StubTransport()
    endpoint = SimulatedEndpoint(SimulatedBackend(latency=FAR), clock)
    connection = Connection(endpoint, HttpLimits(), set())
    connection.connection_made(transport)  # type: ignore[arg-type]
    connection.data_received(chat())
    connection.check_times(monotonic() + 500)
    assert not transport.closed
    clock.run()
    assert transport.written.startswith(b"HTTP/1.1 200 OK")
    connection.check_times(monotonic() + 500)
    assert transport.closed


def test_a_refused_client_that_goes_on_sending_is_left(serve: Serve) -> None:
    served = serve(HttpLimits(linger_s=0.01, sweep_s=0.01))

    async def scenario() -> None:
        async with served.client() as client:
            assert (await client.ask(b"no request\r\n\r\n")).status == 400
            await served.until("connections", 1)  # that which asks
            client.send(b"more")

    served.run(scenario())


def test_a_client_that_never_reads_is_left(serve: Serve) -> None:
    served = serve(HttpLimits(idle_s=0.01, linger_s=0.01, sweep_s=0.01))

    async def scenario() -> None:
        async with served.client() as client:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            page = get("/metrics").encode() * 1000
            while not client.writer.transport.is_closing():
                client.send(page)
                try:
                    async with asyncio.timeout(0.01):
                        await client.writer.drain()
                except (TimeoutError, ConnectionError):
                    break
            await served.until("connections", 1)

    served.run(scenario())


@pytest.mark.parametrize("way", ["close", "half-close", "reset"])
def test_a_client_that_leaves_cancels_its_call_and_takes_its_load_away(serve: Serve, way: str) -> None:
    # Alone a call takes 5 ms; as long as the first one is there too, a hundred thousand times as long.
    served = serve(latency="trace:600000,5", slowdown="curve:1=1,2=100000")

    async def scenario() -> None:
        async with served.client() as leaving, served.client() as staying:
            leaving.send(chat("leaves") + chat("never begins"))
            await served.until("in_flight", 1)
            staying.send(chat("stays"))
            await served.until("in_flight", 2)
            if way == "close":
                leaving.writer.close()
            elif way == "half-close":
                leaving.writer.write_eof()
            else:
                leaving.writer.transport.abort()
            assert (await staying.answer()).status == 200
            metrics = await served.metrics()
            assert metrics["calls_cancelled_total"] == 1
            assert metrics["in_flight"] == 0
            assert metrics["service_seconds_count"] == 1

    served.run(scenario())


def test_the_metrics_count_what_happened(serve: Serve) -> None:
    served = serve(latency="constant:2")

    async def scenario() -> None:
        async with served.client() as client:
            await client.ask(chat("x" * 40))
            await client.ask(chat("Hello", stream=True))
            await client.ask(post("/v1/chat/completions", "no JSON"))
        metrics = await served.metrics()
        assert metrics['requests_total{status="200"}'] == 2
        assert metrics['requests_total{status="400"}'] == 1
        assert metrics['tokens_total{kind="input"}'] == 10 + 2
        assert metrics["in_flight_max"] == 1
        assert metrics['service_seconds_bucket{le="0.001"}'] == 0
        assert metrics['service_seconds_bucket{le="0.0025"}'] == 2
        assert metrics['service_seconds_bucket{le="+Inf"}'] == 2
        assert metrics["service_seconds_sum"] == pytest.approx(0.004, abs=1e-7)

    served.run(scenario())


def test_ending_the_simulator_closes_its_connections(serve: Serve) -> None:
    served = serve(latency=FAR)

    async def scenario() -> None:
        async with simulator(SimulatorOptions(latency=FAR)) as listening:
            idle, calling, half = [
                Client(*await asyncio.open_connection("127.0.0.1", listening.port)) for _ in range(3)
            ]
            assert (await idle.ask(get("/health"))).status == 200
            calling.send(chat())
            half.send(chat()[:50])
        for client in (idle, calling, half):
            assert await client.closed()
            await client.close()

    served.run(scenario())


# --- anything at all -----------------------------------------------------------------------------------------------

_VALID = chat("Hello", stream=True) + get("/health").encode()


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """Requests with a piece replaced by another."""
    start = draw(st.integers(0, len(_VALID)))
    end = draw(st.integers(start, min(len(_VALID), start + 20)))
    return _VALID[:start] + draw(st.binary(max_size=20)) + _VALID[end:]


def test_no_bytes_can_harm_it(serve: Serve) -> None:
    served = serve()

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.binary(max_size=60) | _damaged() | st.just(_VALID), min_size=1, max_size=3))
    def harmless(pieces: list[bytes]) -> None:
        served.run(_survives(served, pieces))

    harmless()


async def _survives(served: Served, pieces: list[bytes]) -> None:
    async with served.client() as client:
        for piece in pieces:
            client.send(piece)
            await asyncio.sleep(0)
        try:
            client.writer.write_eof()
            said = await client.reader.read()
        except (OSError, RuntimeError):  # the server was first
            said = b""
        assert said == b"" or said.startswith(b"HTTP/1.1 ")
    async with served.client() as client:
        assert (await client.ask(get("/health"))).status == 200
        answer = await client.ask(chat("still here"))
        assert json.loads(answer.body)["choices"][0]["message"]["content"].endswith("still here")
