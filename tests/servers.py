"""An HTTP/1.1 server on loopback that does as it is told, and remembers what it saw."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal


@dataclass(frozen=True)
class Received:
    method: str
    target: str
    """As the request line has it: a path, or for a proxy a whole URL or HOST:PORT."""
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    then: Literal["keep", "reset", "cut", "hang"] = "keep"
    """After this: wait for the next request; break the connection before a byte is sent; close it in the middle of the
    body; or send half of the body and wait until the client closes."""
    raw: bytes | None = None
    """Sent as it is, instead of all the above."""


def completion(text: str | None = "Hello.", **fields: Any) -> Reply:
    """A chat completion as an endpoint would send it."""
    message = {"role": "assistant", "content": text}
    answer = {
        "model": "tiny-1",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
        **fields,
    }
    return as_json(answer)


def as_json(value: Any, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(json.dumps(value).encode(), status, {"content-type": "application/json", **named})


def zipped(body: bytes) -> Reply:
    return Reply(gzip.compress(body), headers={"content-encoding": "gzip", "content-type": "application/json"})


HANG = Reply(raw=b"", then="hang")
"""No answer at all."""


class Server:
    """``async with Server(script) as server``; `script` gives the reply to each request."""

    def __init__(self, script: Callable[[Received], Reply] | Reply, tls: ssl.SSLContext | None = None) -> None:
        self._script: Callable[[Received], Reply] = (lambda _: script) if isinstance(script, Reply) else script
        self._tls = tls
        self.received: list[Received] = []
        self.connections = 0
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.got_request = asyncio.Event()
        self.unanswered = asyncio.Event()
        """Set once all that will ever be sent of some answer is sent, and it is not whole (``then="hang"``)."""
        self.client_left = asyncio.Event()
        """Set once a client closed a connection that it had an open request on."""

    async def __aenter__(self) -> Server:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.close()
        for writer in self._open.values():
            writer.transport.abort()
        await asyncio.gather(*self._open)

    @property
    def endpoint(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        try:
            while await self._answer_one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the client is gone, as some tests want it
        finally:
            writer.close()
            del self._open[task]

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        request = Received(method, target, headers, body)
        self.received.append(request)
        self.got_request.set()
        reply = self._script(request)
        if reply.then == "reset":
            writer.transport.abort()
            return False
        content = reply.body if reply.then == "keep" else reply.body[: len(reply.body) // 2]
        lines = [f"HTTP/1.1 {reply.status} Status", f"Content-Length: {len(reply.body)}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        answer = "\r\n".join([*lines, "", ""]).encode("latin-1") + content
        writer.write(answer if reply.raw is None else reply.raw)
        await writer.drain()
        if reply.then == "hang":
            self.unanswered.set()
            if not await reader.read(1):
                self.client_left.set()
        return reply.then == "keep" and reply.raw is None
