"""An endpoint on loopback that answers as a test says, in threads of its own: so what waits for it may block."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WAIT_S = 30
"""Ends a test that hangs; no test waits for it."""


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: Any

    @property
    def prompt(self) -> str:
        return self.body["messages"][-1]["content"]


@dataclass(frozen=True)
class Reply:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    pieces: Iterable[bytes] | None = None
    """The body in parts, each sent when it is there."""
    lost: bool = False
    """Whether the connection is closed instead."""


def as_json(value: object, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(json.dumps(value).encode(), status, {"content-type": "application/json", **named})


def completion(text: str, **message: Any) -> Reply:
    said = {"role": "assistant", "content": text, **message}
    return as_json(
        {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "message": said, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        },
        x_request_id="req_1",
    )


def chunk(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    data = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return f"data: {json.dumps(data)}\n\n".encode()


DONE = b"data: [DONE]\n\n"


def events(pieces: Iterable[bytes]) -> Reply:
    return Reply(headers={"content-type": "text/event-stream"}, pieces=pieces)


def echo(asked: Asked) -> Reply:
    return completion(f"said {asked.prompt}")


class Endpoint:
    """A server that gives what `script` says; it remembers what it was asked."""

    def __init__(self, script: Callable[[Asked], Reply] = echo) -> None:
        self.script = script
        self.asked: list[Asked] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, json.loads(content) if content else None)
                endpoint.asked.append(asked)
                self._answer(endpoint.script(asked))

            do_GET = do_POST  # noqa: N815  # as the library wants it

            def _answer(self, reply: Reply) -> None:
                if reply.lost:
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.pieces is None:
                    self.send_header("content-length", str(len(reply.body)))
                    self.end_headers()
                    self.wfile.write(reply.body)
                    return
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                for piece in (*reply.pieces, b"") if isinstance(reply.pieces, list | tuple) else _ended(reply.pieces):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))

            def log_message(self, format: str, *args: object) -> None: ...

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 512

            def handle_error(self, request: object, client_address: object) -> None: ...  # the client is gone

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def prompts(self) -> list[str]:
        return [asked.prompt for asked in self.asked]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _ended(pieces: Iterable[bytes]) -> Generator[bytes]:
    yield from pieces
    yield b""


def together(count: int) -> Callable[[Asked], Reply]:
    """Answers as `echo` does, but only when so many calls are there at a time."""
    barrier = threading.Barrier(count, timeout=WAIT_S)

    def script(asked: Asked) -> Reply:
        barrier.wait()
        return echo(asked)

    return script


@contextmanager
def serving(script: Callable[[Asked], Reply] = echo) -> Generator[Endpoint]:
    endpoint = Endpoint(script)
    try:
        yield endpoint
    finally:
        endpoint.close()
