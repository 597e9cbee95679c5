"""Answers that come in parts, over real HTTP on loopback."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from apxm.backends.events import Event, EventReader
from apxm.backends.openai import OpenAIBackend
from apxm.backends.protocol import UNKNOWN_USAGE, ModelAnswer, ModelRequest, Usage
from apxm.backends.settings import OpenAISettings
from apxm.errors import BackendError
from apxm.simulator.options import SimulatorOptions
from apxm.simulator.server import simulator
from tests.servers import Received, Reply, Server, as_json, completion

PATIENCE_S = 20
DONE = "data: [DONE]\n\n"


def chunk(text: str | None = None, *, reason: str | None = None, **fields: Any) -> str:
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return f"data: {json.dumps({'model': 'tiny-1', 'choices': [choice], **fields}, ensure_ascii=False)}\n\n"


USAGE = f"data: {json.dumps({'choices': [], 'usage': {'prompt_tokens': 12, 'completion_tokens': 3}})}\n\n"
SOUND = (chunk(""), chunk("Hel"), chunk("lo."), chunk(reason="stop"), USAGE, DONE)


def streamed(*pieces: str | bytes, **headers: str) -> Reply:
    body = b"".join(piece if isinstance(piece, bytes) else piece.encode() for piece in pieces)
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(body, headers={"content-type": "text/event-stream; charset=utf-8", **named})


def ask(
    script: Callable[[Received], Reply] | Reply, **settings: Any
) -> tuple[ModelAnswer | BackendError, list[str], Server]:
    """What one call came to, the parts it told, and the server."""
    told: list[str] = []

    async def run() -> tuple[ModelAnswer | BackendError, list[str], Server]:
        async with Server(script) as server:
            try:
                backend = make(server.endpoint, **settings)
                return await asyncio.wait_for(backend.call_stream(REQUEST, told.append), PATIENCE_S), told, server
            except BackendError as error:
                return error, told, server

    return asyncio.run(run())


REQUEST = ModelRequest("Hi")


def make(endpoint: str, **settings: Any) -> OpenAIBackend:
    return OpenAIBackend("local", OpenAISettings(model="tiny", endpoint=endpoint, **settings), {})


def failure(*pieces: str | bytes, **settings: Any) -> BackendError:
    outcome, _, _ = ask(streamed(*pieces), **settings)
    assert isinstance(outcome, BackendError)
    return outcome


def test_an_answer_is_told_in_parts_and_given_whole() -> None:
    answer, told, server = ask(streamed(*SOUND))
    assert told == ["Hel", "lo."]
    assert answer == ModelAnswer("Hello.", Usage(12, 3), None, "tiny-1")
    body = server.received[0].json
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


def test_a_call_that_is_not_streamed_says_nothing_of_it() -> None:
    async def run() -> Any:
        async with Server(completion()) as server:
            await make(server.endpoint).call(REQUEST)
            return server.received[0].json

    assert not {"stream", "stream_options"} & asyncio.run(run()).keys()


@asynccontextmanager
async def dripping(pieces: list[bytes], gate: asyncio.Event) -> AsyncGenerator[str]:
    """A server that sends each piece once the gate is open, which it shuts then, and ends when its client leaves."""
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r")[0]))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in pieces:
            await gate.wait()
            gate.clear()
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        left.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        await left.wait()


def test_a_part_is_told_before_the_next_one_is_sent() -> None:
    """Each piece is sent only when the one before was heard, so a client that waited for more would hang."""
    told: list[str] = []

    async def run() -> None:
        gate = asyncio.Event()
        gate.set()

        def tell(text: str) -> None:
            told.append(text)
            gate.set()

        pieces = [chunk("a").encode(), chunk("b").encode(), (chunk("c", reason="stop") + DONE).encode()]
        async with asyncio.timeout(PATIENCE_S), dripping(pieces, gate) as endpoint:
            # The server never ends its stream: it has said that it is over, and that is waited for a moment only.
            assert (await make(endpoint).call_stream(REQUEST, tell)).text == "abc"

    asyncio.run(run())
    assert told == ["a", "b", "c"]


def test_a_call_that_is_cancelled_closes_its_connection() -> None:
    async def run() -> None:
        gate = asyncio.Event()
        gate.set()
        heard = asyncio.Event()
        async with asyncio.timeout(PATIENCE_S), dripping([chunk("a").encode()], gate) as endpoint:
            call = asyncio.create_task(make(endpoint).call_stream(REQUEST, lambda _: heard.set()))
            await heard.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            # The server sees its client leave, else this block would not end.

    asyncio.run(run())


TEXT = "Zürich – 日本 😀"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_events_are_read_wherever_the_bytes_are_cut(size: int, newline: str) -> None:
    lines = [
        ": keep-alive",
        f"data: {TEXT}",
        "",
        "",
        ":",
        "event: error",
        "data:a",
        "data: b",
        "id: 7",
        "",
        "data: end",
    ]
    stream = newline.join(lines).encode()
    reader = EventReader()
    found = [event for at in range(0, len(stream), size) for event in reader.feed(stream[at : at + size])]
    assert [*found, *reader.end()] == [Event(TEXT.encode()), Event(b"a\nb", b"error"), Event(b"end")]


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ((": keep-alive\n\n", chunk(TEXT), ":\n\n", chunk(reason="stop"), DONE), TEXT),
        ((chunk("no end said"), chunk(reason="stop")), "no end said"),
        ((chunk("no reason"), DONE), "no reason"),
        ((chunk("no blank line", reason="stop").rstrip(),), "no blank line"),
        ((chunk(""), chunk(reason="stop"), DONE), ""),
        ((chunk("a"), chunk("b", choices=[{"index": 1, "delta": {"content": "x"}}]), chunk("c"), DONE), "ac"),
        ((chunk("a", error=None, usage=float("nan")), DONE), "a"),
        ((chunk(None, choices=[{"delta": {"content": [{"type": "text", "text": "part"}]}}]), DONE), "part"),
    ],
)
def test_streams_as_endpoints_write_them(pieces: tuple[str, ...], text: str) -> None:
    answer, told, _ = ask(streamed(*pieces))
    assert isinstance(answer, ModelAnswer), answer
    assert answer.text == "".join(told) == text


def test_an_endpoint_that_does_not_tell_the_usage() -> None:
    answer, _, _ = ask(streamed(chunk("Hi", reason="stop"), DONE))
    assert isinstance(answer, ModelAnswer)
    assert answer.usage == UNKNOWN_USAGE


def test_an_endpoint_that_refuses_to_be_asked_for_the_usage_is_asked_without_from_then_on() -> None:
    def script(request: Received) -> Reply:
        if "stream_options" in request.json:
            return as_json({"error": {"message": "Unknown field: stream_options"}}, 400)
        return streamed(*SOUND)

    async def run() -> list[bool]:
        async with Server(script) as server:
            backend = make(server.endpoint)
            both = await asyncio.gather(*(backend.call_stream(REQUEST, lambda _: None) for _ in range(2)))
            assert [answer.text for answer in (*both, await backend.call_stream(REQUEST, lambda _: None))] == [
                "Hello."
            ] * 3
            return ["stream_options" in request.json for request in server.received]

    assert sorted(asyncio.run(run())) == [False, False, False, True, True]


def test_another_refusal_is_one() -> None:
    outcome, _, server = ask(as_json({"error": {"message": "no such model"}}, 404))
    assert isinstance(outcome, BackendError)
    assert (outcome.kind, outcome.retryable, len(server.received)) == ("http_status", False, 1)


def test_an_endpoint_that_answers_whole_is_understood() -> None:
    answer, told, _ = ask(completion("Whole."))
    assert isinstance(answer, ModelAnswer)
    assert (answer.text, told) == ("Whole.", ["Whole."])


def test_a_stream_that_is_compressed_is_read() -> None:
    answer, told, _ = ask(streamed(gzip.compress("".join(SOUND).encode()), content_encoding="gzip"))
    assert isinstance(answer, ModelAnswer)
    assert (answer.text, told) == ("Hello.", ["Hel", "lo."])


def test_thoughts_are_a_sign_of_life_and_no_text() -> None:
    thought = chunk(None, choices=[{"index": 0, "delta": {"reasoning_content": "Hm."}, "finish_reason": None}])
    answer, told, _ = ask(streamed(thought, chunk("Yes."), chunk(reason="stop"), DONE))
    assert isinstance(answer, ModelAnswer)
    assert (answer.text, told) == ("Yes.", ["", "Yes."])
    assert "only thoughts" in failure(thought, chunk("", reason="stop"), DONE).message


def test_a_stream_that_ends_before_its_answer_does_is_an_error_that_may_pass() -> None:
    outcome, told, _ = ask(streamed(chunk("Hal")))
    assert isinstance(outcome, BackendError)
    assert outcome.message.endswith("answered 200, but the stream ended before the answer did")
    assert (outcome.kind, outcome.retryable, told) == ("unreadable_answer", True, ["Hal"])


def test_a_stream_whose_connection_breaks_is_an_error_that_may_pass() -> None:
    cut = Reply(streamed(*SOUND).body, headers={"content-type": "text/event-stream"}, then="cut")
    outcome, told, _ = ask(cut)
    assert isinstance(outcome, BackendError)
    assert (outcome.retryable, told[:1]) == (True, ["Hel"])


@pytest.mark.parametrize(
    "event",
    ['data: {"error": {"message": "It died, k-1234."}}\n\n', 'event: error\ndata: {"message": "It died, k-1234."}\n\n'],
)
def test_an_error_within_a_stream_is_one_and_shows_no_key(event: str) -> None:
    error = failure(chunk("Hal"), event, chunk("lo", reason="stop"), DONE, api_key="k-1234")
    assert "It died" in error.message
    assert "k-1234" not in error.message
    assert (error.kind, error.retryable) == ("unreadable_answer", True)


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        (("data: {broken\n\n",), "the stream holds what is no chunk of a chat completion"),
        (('data: {"choices": 3}\n\n',), "the stream holds what is no chunk of a chat completion"),
        ((chunk("QQ").encode().replace(b"QQ", b"\xff"), DONE), "the stream is not UTF-8"),
        ((DONE,), "the answer holds no choices"),
        (("<html>\n\n",), "the stream ended before the answer did"),
        ((chunk("No", reason="content_filter"), DONE), "the endpoint's content filter ended the answer"),
        ((chunk(reason="length"), DONE), "the answer holds no text"),
    ],
)
def test_streams_that_are_no_answer(pieces: tuple[str | bytes, ...], why: str) -> None:
    assert why in failure(*pieces).message


def test_an_answer_that_is_too_large_is_refused_while_it_comes() -> None:
    error = failure(*[chunk("x" * 1000)] * 200, max_answer_mib=0.1)
    assert (error.kind, "more than 0.1 MiB" in error.message) == ("too_large", True)


def test_an_answer_that_a_limit_cut_off_says_so() -> None:
    answer, _, _ = ask(streamed(chunk("Half an ans", reason="length"), DONE))
    assert isinstance(answer, ModelAnswer)
    assert answer.cut_off


@pytest.mark.parametrize("rate", [None, 2000.0])
def test_the_simulator_answers_the_same_in_parts_as_whole(rate: float | None) -> None:
    told: list[str] = []

    async def run() -> tuple[ModelAnswer, ModelAnswer]:
        async with simulator(SimulatorOptions(latency="constant:5", tokens_per_second=rate)) as address:
            backend = make(address.endpoint)
            return await backend.call(REQUEST), await backend.call_stream(REQUEST, told.append)

    whole, parts = asyncio.run(run())
    assert (parts.text, parts.usage) == (whole.text, whole.usage)
    assert "".join(told) == whole.text
    assert len(told) == (1 if rate is None else whole.usage.output_tokens)
    assert parts.service_ns is not None
    assert parts.service_ns >= 5_000_000


@pytest.mark.parametrize(
    "fault", ["429", "500", "reset", "reset_mid", "truncated", "utf8", "content_type", "empty", "bomb"]
)
def test_each_fault_of_the_simulator_is_an_error_that_may_pass(fault: str) -> None:
    async def run() -> None:
        async with simulator(SimulatorOptions(latency="constant:1", faults=f"{fault}:@1")) as address:
            backend = make(address.endpoint, max_answer_mib=1)
            with pytest.raises(BackendError) as caught:
                await asyncio.wait_for(backend.call_stream(REQUEST, lambda _: None), PATIENCE_S)
            assert caught.value.retryable
            assert (await backend.call_stream(REQUEST, lambda _: None)).text

    asyncio.run(run())
