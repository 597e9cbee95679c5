"""A simulator in the test's own event loop, and a client that sends exactly the bytes it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from apxm.simulator.options import SimulatorOptions
from apxm.simulator.reading import HttpLimits
from apxm.simulator.server import Address, simulator

T = TypeVar("T")
LoopFactory = Callable[[], asyncio.AbstractEventLoop]
TIMEOUT_S = 30
"""Ends a test that hangs; no test waits for it."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def service_ms(self) -> float:
        """Of ``Server-Timing``, where a header or a trailer has it."""
        name, _, duration = self.headers["server-timing"].partition(";dur=")
        assert name == "total"
        return float(duration)

    @property
    def events(self) -> list[Any]:
        """Of a stream; the last is ``[DONE]``, but for responses."""
        parts = [part.rpartition("\n")[2] for part in self.body.decode().split("\n\n")]  # the line of the data
        assert parts.pop() == ""
        assert all(part.startswith("data: ") for part in parts)
        texts = [part.removeprefix("data: ") for part in parts]
        return [text if text == "[DONE]" else json.loads(text) for text in texts]


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes | str) -> None:
        self.writer.write(data.encode() if isinstance(data, str) else data)

    async def ask(self, data: bytes | str) -> Answer:
        self.send(data)
        return await self.answer()

    async def answer(self, *, to_head: bool = False) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        line, *lines = head[:-4].split("\r\n")
        version, status, _ = line.split(" ", 2)
        assert version == "HTTP/1.1"
        headers = _headers(lines)
        if to_head:
            return Answer(int(status), headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += await self.reader.readexactly(size)
                assert await self.reader.readexactly(2) == b"\r\n"
            trailer = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            return Answer(int(status), headers | _headers(trailer[:-4].split("\r\n")), body)
        if "content-length" not in headers:
            return Answer(int(status), headers, await self.reader.read())
        return Answer(int(status), headers, await self.reader.readexactly(int(headers["content-length"])))

    async def closed(self) -> bool:
        """Waits for the server to close; True when nothing came before."""
        try:
            return await self.reader.read() == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


def _headers(lines: list[str]) -> dict[str, str]:
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


class Served:
    """A running simulator. It runs only inside `run`."""

    def __init__(self, runner: asyncio.Runner, listening: Address) -> None:
        self._runner = runner
        self.listening = listening

    def run(self, scenario: Coroutine[Any, Any, T]) -> T:
        async def limited() -> T:
            async with asyncio.timeout(TIMEOUT_S):
                return await scenario

        return self._runner.run(limited())

    def ask(self, request: bytes) -> Answer:
        """The answer to one request, on a connection of its own."""

        async def scenario() -> Answer:
            async with self.client() as client:
                return await client.ask(request)

        return self.run(scenario())

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Client]:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.listening.port))
        try:
            yield client
        finally:
            await client.close()

    async def metrics(self) -> dict[str, float]:
        async with self.client() as client:
            answer = await client.ask(get("/metrics"))
        samples = (line.rsplit(" ", 1) for line in answer.body.decode().splitlines() if not line.startswith("#"))
        return {name.removeprefix("apxm_simulator_"): float(value) for name, value in samples}

    async def until(self, sample: str, value: float) -> None:
        """Asks for the metrics until `sample` is `value`."""
        while (await self.metrics()).get(sample) != value:
            pass


@contextmanager
def serving(options: SimulatorOptions, limits: HttpLimits | None, loop_factory: LoopFactory) -> Generator[Served]:
    """At the end nothing may have gone wrong behind the back of the test."""
    errors: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: errors.append(context))
        context = simulator(options, limits)
        listening = runner.run(context.__aenter__())
        try:
            yield Served(runner, listening)
        finally:
            runner.run(context.__aexit__(None, None, None))
    assert not errors


def get(path: str, *headers: str, method: str = "GET", version: str = "1.1") -> str:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: simulator", *headers, "", ""])


def post(path: str, body: bytes | str, *headers: str, version: str = "1.1") -> bytes:
    content = body.encode() if isinstance(body, str) else body
    return get(path, f"Content-Length: {len(content)}", *headers, method="POST", version=version).encode() + content


def chat(prompt: str = "Hello", *headers: str, version: str = "1.1", **fields: Any) -> bytes:
    """A call with one user message."""
    call = {"model": "m", "messages": [{"role": "user", "content": prompt}], **fields}
    return post("/v1/chat/completions", json.dumps(call), *headers, version=version)
