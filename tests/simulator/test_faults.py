"""Faults over HTTP: the bytes that are sent, what the openai backend makes of them, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import sys
import tracemalloc
import zlib
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from apxm.backends.faults import AT_ONCE, KINDS, OF_SHAPES, FaultKind
from apxm.backends.openai import OpenAIBackend
from apxm.backends.protocol import ModelAnswer, ModelRequest
from apxm.backends.settings import OpenAISettings
from apxm.backends.simulated import SimulatedBackend
from apxm.errors import BackendError
from apxm.operations.schemas import AnswerFormat, answer_format
from apxm.operations.types import INT
from apxm.runtime.loops import real_loop
from apxm.simulator.chat import ChatCall, ChatRequest, JsonSchema, ResponseFormat
from apxm.simulator.faults import BOMB_SIZE, bomb
from apxm.simulator.generator import Generator
from apxm.simulator.messages import Message
from apxm.simulator.metrics import ServerMetrics
from apxm.simulator.options import SimulatorOptions
from apxm.simulator.replies import Reply
from tests.backends.clock import FakeClock
from tests.simulator.conftest import Serve
from tests.simulator.serving import Answer, Served, chat, get, post, serving

FAR = "constant:600000"
"""Ten minutes: a call that is answered all the same was not worked on."""
MS = 1_000_000
HELLO = "Simulated answer "
NUMBER = answer_format(INT)
UNENDING: tuple[FaultKind, ...] = ("hang", "drip")
"""For a test on real time, a second for each byte is no end either."""

both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def given_faults(kind: FaultKind) -> str:
    return f'faults_total{{kind="{kind}"}}'


def asked(serve: Serve, kind: FaultKind, *, stream: bool, latency: str = "constant:0") -> Answer:
    """The answer to a call with a fault, after which the connection is as good as ever."""
    served = serve(latency=latency, faults=f"{kind}:@1")

    async def scenario() -> Answer:
        async with served.client() as client:
            answer = await client.ask(chat(stream=stream))
            if latency != FAR:
                assert HELLO in (await client.ask(chat())).body.decode()
        await served.until(given_faults(kind), 1)
        assert (await served.metrics())["in_flight"] == 0
        return answer

    return served.run(scenario())


# --- what is sent --------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(("kind", "wait"), [("429", "1"), ("500", None), ("503", None)])
def test_an_error_is_said_at_once(serve: Serve, kind: FaultKind, wait: str | None, stream: bool) -> None:
    answer = asked(serve, kind, stream=stream, latency=FAR)
    assert (str(answer.status), answer.headers.get("retry-after")) == (kind, wait)
    assert "simulated fault" in answer.json["error"]["message"]


@both
def test_a_redirect_leads_to_another_path_of_the_same_server(serve: Serve, stream: bool) -> None:
    answer = asked(serve, "redirect", stream=stream, latency=FAR)
    assert (answer.status, answer.body) == (302, b"")
    assert answer.headers["location"].startswith("/")
    assert answer.headers["location"] != "/v1/chat/completions"


def test_half_of_the_json_is_sent_as_if_it_were_all(serve: Serve) -> None:
    answer = asked(serve, "truncated", stream=False)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.body.startswith(b'{"id":"chatcmpl-simulated-1"')
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.body)


def test_half_of_the_events_are_sent_as_if_they_were_all(serve: Serve) -> None:
    answer = asked(serve, "truncated", stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.body.startswith(b"data: {")
    assert b"[DONE]" not in answer.body


@both
def test_an_answer_that_is_not_utf8_is_right_otherwise(serve: Serve, stream: bool) -> None:
    answer = asked(serve, "utf8", stream=stream)
    with pytest.raises(UnicodeDecodeError):
        answer.body.decode()
    assert HELLO in answer.body.decode(errors="ignore")


@both
def test_a_page_of_html_with_status_200(serve: Serve, stream: bool) -> None:
    answer = asked(serve, "content_type", stream=stream)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.body.startswith(b"<!DOCTYPE html>")


def test_an_answer_without_choices(serve: Serve) -> None:
    answer = asked(serve, "empty", stream=False)
    assert (answer.status, answer.json["choices"], answer.json["object"]) == (200, [], "chat.completion")


def test_a_stream_without_choices(serve: Serve) -> None:
    (chunk, done) = asked(serve, "empty", stream=True).events
    assert (chunk["choices"], done) == ([], "[DONE]")


@both
def test_a_bomb_is_small_on_the_wire(serve: Serve, stream: bool) -> None:
    answer = asked(serve, "bomb", stream=stream)
    assert (answer.status, answer.headers["content-encoding"]) == (200, "gzip")
    assert len(answer.body) < 2_000_000


def test_a_bomb_inflates_to_a_whole_completion_of_a_gigabyte() -> None:
    inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)  # checks length and checksum
    first = piece = inflate.decompress(bomb(), 1 << 20)
    size = len(first)
    while inflate.unconsumed_tail:
        piece = inflate.decompress(inflate.unconsumed_tail, 1 << 20)
        size += len(piece)
    assert (inflate.eof, inflate.unused_data) == (True, b"")
    assert BOMB_SIZE < size < BOMB_SIZE + 1000
    begin, end = first.rstrip(b"A"), piece.lstrip(b"A")
    assert json.loads(begin + end)["choices"][0]["message"]["content"] == ""


def test_a_bomb_is_made_without_a_gigabyte() -> None:
    bomb.cache_clear()
    tracemalloc.start()
    try:
        bomb()
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


class Heard(asyncio.Protocol):
    """All that a server sends on one connection, and how that ends."""

    def __init__(self) -> None:
        self.data = b""
        self.end: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.end.set_result(exc)


@both
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("kind", ["reset", "reset_mid"])
def test_a_reset_is_one_and_not_an_end(serve: Serve, kind: FaultKind, version: str, stream: bool) -> None:
    served = serve(latency="constant:0" if kind == "reset_mid" else FAR, faults=f"{kind}:@1")

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        transport, heard = await loop.create_connection(Heard, "127.0.0.1", served.listening.port)
        transport.write(chat(version=version, stream=stream) + chat("waits behind it", version=version))
        assert isinstance(await heard.end, ConnectionResetError)
        if kind == "reset":
            assert heard.data == b""
        else:
            head, _, body = heard.data.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"chatcmpl-simulated-1" in body
            assert b"total_tokens" not in body
            assert b"[DONE]" not in body
        await served.until(given_faults(kind), 1)
        await served.until("in_flight", 0)
        await served.until("connections", 1)  # that of the question

    served.run(scenario())


@pytest.mark.parametrize("kind", UNENDING)
def test_a_call_that_does_not_end_lasts_until_its_client_leaves(serve: Serve, kind: FaultKind) -> None:
    served = serve(faults=f"{kind}:@1")

    async def scenario() -> None:
        async with served.client() as client:
            client.send(chat())
            await served.until(given_faults(kind), 1)
            metrics = await served.metrics()
            assert (metrics["in_flight"], metrics["calls_cancelled_total"]) == (1, 0)
        await served.until("in_flight", 0)
        assert (await served.metrics())["calls_cancelled_total"] == 1

    served.run(scenario())


def test_only_chat_calls_meet_faults_and_only_they_are_counted(serve: Serve) -> None:
    served = serve(faults="500:@2,503:@1")

    async def scenario() -> list[int]:
        async with served.client() as client:
            for page in ("/health", "/metrics", "/v1/models"):
                assert (await client.ask(get(page))).status == 200
            assert (await client.ask(post("/v1/chat/completions", "{}"))).status == 400
            first = await client.ask(chat())
            assert (await client.ask(get("/v1/chat/completions"))).status == 405
            second = await client.ask(chat())
            assert (await client.ask(chat())).status == 200
            assert (await client.ask(post("/control/iteration", '{"iteration": 1}'))).status == 200
            return [first.status, second.status, (await client.ask(chat())).status]

    assert served.run(scenario()) == [503, 500, 503]


# --- on a clock that only the test moves ---------------------------------------------------------------------------


@dataclass
class Waiting:
    """A client that writes down what it got, and when, in ms."""

    clock: FakeClock
    got: list[tuple[float, str, bytes]] = field(default_factory=list[tuple[float, str, bytes]])

    def _note(self, what: str, data: bytes = b"") -> None:
        self.got.append((self.clock.now() / MS, what, data))

    def finish(self, reply: Reply) -> None:
        self._note("finish", reply.headers)

    def begin_stream(self, content_type: bytes) -> None:
        self._note("begin", content_type)

    def send(self, piece: bytes) -> None:
        self._note("send", piece)

    def end_stream(self, trailer: bytes) -> None:
        self._note("end", trailer)

    def reset(self) -> None:
        self._note("reset")


def generator(clock: FakeClock, faults: str, *, slowdown: str = "none", rate: float | None = None) -> Generator:
    backend = SimulatedBackend(latency="constant:100", slowdown=slowdown, faults=faults)
    return Generator(backend, clock, ServerMetrics(), rate)


def call(*, stream: bool = False, shaped: bool = False) -> ChatCall:
    wanted = ResponseFormat("json_schema", JsonSchema("n", Raw(NUMBER.schema.encode()))) if shaped else None
    return ChatCall(ChatRequest(messages=[Message("user", "Hello")], stream=stream, response_format=wanted))


def test_a_dripping_answer_comes_a_byte_a_second() -> None:
    clock = FakeClock()
    client = Waiting(clock)
    shared = generator(clock, "drip:1")
    shared.begin(call(), client)
    clock.run()
    (begun, *drops, ended) = client.got
    assert begun == (100, "begin", b"application/json")
    assert [(at, len(piece)) for at, _, piece in drops] == [(100 + 1000 * n, 1) for n in range(1, len(drops) + 1)]
    assert json.loads(b"".join(piece for _, _, piece in drops))["choices"][0]["message"]["content"].startswith(HELLO)
    assert ended == (drops[-1][0], "end", b"Server-Timing: total;dur=%d.000000\r\n" % drops[-1][0])
    assert shared.metrics.in_flight == 0

    in_process = list[object]()
    backend = SimulatedBackend(latency="constant:100", faults="drip:1")
    backend.begin(call().asked, clock, in_process.append)
    clock.run()
    (answer,) = in_process
    assert isinstance(answer, ModelAnswer)
    assert answer.service_ns == drops[-1][0] * MS, "as it does in process"


def test_half_of_an_answer_has_time_to_arrive_before_the_reset() -> None:
    clock = FakeClock()
    client = Waiting(clock)
    generator(clock, "reset_mid:1").begin(call(), client)
    clock.run()
    assert [(at, what) for at, what, _ in client.got] == [(100, "begin"), (100, "send"), (120, "reset")]


@both
@pytest.mark.parametrize("kind", KINDS)
def test_load_ends_where_work_does(kind: FaultKind, stream: bool) -> None:
    clock = FakeClock()
    failing, beside, after = Waiting(clock), Waiting(clock), Waiting(clock)
    shared = generator(clock, f"{kind}:@1", slowdown="curve:1=1,2=2")
    handle = shared.begin(call(stream=stream, shaped=kind in OF_SHAPES), failing)
    shared.begin(call(), beside)
    for ms in range(0, 1000, 10):
        clock.at(ms * MS)
    shared.begin(call(), after)
    for ms in range(1000, 1500, 10):
        clock.at(ms * MS)
    assert [at for at, _, _ in beside.got] == [100 if kind in AT_ONCE else 200]
    assert [at for at, _, _ in after.got] == [990 + 100]
    assert f'faults_total{{kind="{kind}"}} 1' in shared.metrics.text()
    if kind in UNENDING:
        assert shared.metrics.in_flight == 1
        handle.cancel()
    assert shared.metrics.in_flight == 0
    assert clock.armed == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("after_ms", [0, 50, 110, 2500])
def test_a_client_that_leaves_takes_its_call_along(kind: FaultKind, after_ms: int) -> None:
    clock = FakeClock()
    client = Waiting(clock)
    shared = generator(clock, f"{kind}:@1")
    handle = shared.begin(call(shaped=kind in OF_SHAPES), client)
    clock.at(after_ms * MS)
    if shared.metrics.in_flight:
        handle.cancel()
    heard = len(client.got)
    assert shared.metrics.in_flight == 0
    assert clock.armed == 0
    clock.run()
    assert len(client.got) == heard


@both
@pytest.mark.parametrize("kind", ["truncated", "content_type", "bomb", "reset_mid"])
def test_with_a_rate_of_tokens_a_fault_comes_where_the_last_token_would(kind: FaultKind, stream: bool) -> None:
    clock = FakeClock()
    client, sound = Waiting(clock), Waiting(clock)
    shared = generator(clock, f"{kind}:@1", rate=50)
    shared.begin(call(stream=stream), client)
    shared.begin(call(), sound)
    clock.run()
    assert client.got[0][0] == sound.got[-1][0] > 100


# --- what the openai backend makes of it ---------------------------------------------------------------------------


async def over_http(backend: OpenAIBackend, request: ModelRequest) -> ModelAnswer | BackendError:
    try:
        return await backend.call(request)
    except BackendError as error:
        return error


async def in_process(backend: SimulatedBackend, request: ModelRequest) -> ModelAnswer | BackendError:
    clock, got = FakeClock(), list[ModelAnswer | BackendError]()
    backend.begin(request, clock, got.append)
    clock.run()
    return got[0]


def told(outcome: ModelAnswer | BackendError) -> tuple[str, object]:
    return (outcome.text, None) if isinstance(outcome, ModelAnswer) else (outcome.kind, outcome.retryable)


def client_of(served: Served) -> OpenAIBackend:
    return OpenAIBackend("b", OpenAISettings(model="m", endpoint=served.listening.endpoint), {})


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in (*UNENDING, "no_format")])
def test_each_fault_is_the_same_error_over_http_and_in_process(serve: Serve, kind: FaultKind) -> None:
    served = serve(faults=f"{kind}:@2")

    async def scenario() -> None:
        backend, twin = client_of(served), SimulatedBackend(model="m", latency="constant:0", faults=f"{kind}:@2")
        # The second call goes over a connection that was used before, and is not repeated behind our back.
        for _ in range(3):
            request = ModelRequest("Hi", answer=NUMBER)
            assert told(await over_http(backend, request)) == told(await in_process(twin, request))
        await backend.close()
        metrics = await served.metrics()
        assert metrics[given_faults(kind)] == 1
        assert 'requests_total{status="404"}' not in metrics, "a redirect is not followed"

    served.run(scenario())


@pytest.mark.parametrize("kind", UNENDING)
def test_what_does_not_end_can_be_given_up_over_http(serve: Serve, kind: FaultKind) -> None:
    served = serve(faults=f"{kind}:@1")

    async def scenario() -> None:
        backend = client_of(served)
        given_up = asyncio.create_task(backend.call(ModelRequest("Hi")))
        await served.until(given_faults(kind), 1)
        assert not given_up.done()
        given_up.cancel()
        await served.until("in_flight", 0)
        assert (await backend.call(ModelRequest("Hi"))).text.startswith(HELLO)
        await backend.close()

    served.run(scenario())


ending = st.sampled_from([kind for kind in KINDS if kind not in (*UNENDING, "bomb", "no_format")])
"""A bomb costs a moment each; the test above has it. In process no field of a body can be refused."""


@settings(max_examples=20, deadline=None)
@given(
    st.dictionaries(ending, st.sampled_from([0.05, 0.1, 0.15]), max_size=6),
    st.dictionaries(st.integers(1, 12), ending, max_size=3),
    st.integers(0, 99),
    st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from([None, NUMBER])), min_size=1, max_size=12),
)
def test_server_and_backend_agree_on_every_call(
    chances: dict[FaultKind, float],
    named: dict[int, FaultKind],
    seed: int,
    prompts: list[tuple[str, AnswerFormat | None]],
) -> None:
    parts = [f"{kind}:{chance}" for kind, chance in chances.items()]
    parts += [f"{kind}:@{number}" for number, kind in named.items()]
    faults = ",".join(parts) or "none"
    with serving(SimulatorOptions(latency="constant:0", faults=faults, seed=seed), None, real_loop) as served:

        async def scenario() -> None:
            backend = client_of(served)
            twin = SimulatedBackend(model="m", latency="constant:0", faults=faults, seed=seed)
            for prompt, answer in prompts:
                request = ModelRequest(prompt, system="Be brief.", answer=answer)
                assert told(await over_http(backend, request)) == told(await in_process(twin, request))
            await backend.close()

        served.run(scenario())


CLIENT = """
import asyncio, sys
from pathlib import Path
from apxm.backends.openai import OpenAIBackend
from apxm.backends.protocol import ModelRequest
from apxm.backends.settings import OpenAISettings
from apxm.errors import BackendError

async def main():
    backend = OpenAIBackend("b", OpenAISettings(model="m", endpoint=sys.argv[1]), {})
    try:
        await backend.call(ModelRequest("Hi"))
    except BackendError as error:
        print(error.kind)
    await backend.close()

asyncio.run(main())
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_a_bomb_does_not_go_off_in_the_client(serve: Serve) -> None:
    served = serve(faults="bomb:1")

    async def scenario() -> bytes:
        command = (sys.executable, "-c", CLIENT, served.listening.endpoint)
        client = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        return (await client.communicate())[0]

    kind, peak_kib = served.run(scenario()).decode().split()
    assert kind == "too_large"
    assert int(peak_kib) < 400 * 1024, "its own limit is 64 MiB, the interpreter and a copy beside it"
