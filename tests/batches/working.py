"""Batches of a small program on virtual time, and a server that knows what it was asked."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic, sleep
from types import TracebackType
from typing import Any

import apxm
from apxm.batches.iterating import BatchResult
from apxm.runtime.loops import run_virtually

PROGRAM = """
agent Label {
    @entry flow main(text: str, times: int = 1) -> str {
        ask("Label it.", text) -> label
        ask("Sure?", label, text) -> sure
        return sure
    }
}
"""


def results_of(items: Iterable[Any], latency: str = "constant:1000", **options: Any) -> list[BatchResult]:
    """What comes of a batch, on virtual time."""

    async def gathered() -> list[BatchResult]:
        program = apxm.compile_text(options.pop("program", PROGRAM))
        return [each async for each in program.batch_async(items, backend="simulated", latency=latency, **options)]

    return run_virtually(gathered())


class Asked:
    """``with Asked() as server``: an endpoint that answers what it was asked by, after a while, and keeps the marks
    (``<row 17>``) in what it was asked."""

    def __init__(self, seconds: float = 0.0, holds: str | None = None) -> None:
        """Prompts with the text that it `holds` have no answer until `go_on` is set."""
        asked: list[str] = []
        prompts: list[str] = []
        go_on = threading.Event()
        self.asked, self.prompts, self.go_on = asked, prompts, go_on
        self.at: list[float] = []
        """When each was asked."""
        self.in_flight = self.most = 0
        """What is being answered, and the most of it at a time."""
        counting = threading.Lock()

        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.send_error(404)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                prompt = body["messages"][-1]["content"]
                marks = re.findall("<[^>]*>", prompt)
                with counting:
                    asked.append(marks[0] if marks else prompt)
                    prompts.append(prompt)
                    server.at.append(monotonic())
                    server.in_flight += 1
                    server.most = max(server.most, server.in_flight)
                sleep(seconds)
                if holds is not None and holds in prompt:
                    go_on.wait(300)
                with counting:
                    server.in_flight -= 1
                message = {"role": "assistant", "content": f"answer to {marks}"}
                choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
                usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
                answer = json.dumps({"model": "tiny", "choices": choices, "usage": usage}).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                with suppress(ConnectionError):  # whoever asked is killed
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def wait_for(self, number: int, seconds: float = 300) -> None:
        """Until it was asked so often."""
        until = monotonic() + seconds
        while len(self.asked) < number:
            assert monotonic() < until, f"it was asked {len(self.asked)} times, and not {number}"
            sleep(0.002)

    def __enter__(self) -> Asked:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
