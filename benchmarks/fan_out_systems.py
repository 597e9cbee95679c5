"""The systems that `benchmarks.fan_out` compares. Each is the main program of a process:

    python -m benchmarks.fan_out_systems NAME PORT [--tls FOLDER]

It reads one `Asked` per line, runs, and answers with one `Measured`, until its standard input ends. Before a run with
cold connections there is a new client. Those that are warm come from the run before, the first of which is not
measured.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import ssl
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time, time
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec
from msgspec import Struct

from apxm.backends import transport
from apxm.runtime.loops import real_loop
from apxm.runtime.open_files import raise_limit
from apxm.workloads.scalability import programs, prompts

if TYPE_CHECKING:
    from apxm.runtime.recording import Recorder

BODY = b'{"model":"simulated","messages":[{"role":"user","content":"%s"}]}'
CLOSING_S = 0.5
"""Until the connections of a client that is gone are closed, which is no work of the next one."""
HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n"
)


class Asked(Struct, frozen=True):
    width: int
    cold: bool


class Measured(Struct, frozen=True):
    wall_s: float
    cpu_s: float
    """Of the whole process, all its threads."""


class Where(Struct, frozen=True):
    port: int
    authority: str | None
    """File with the certificate to trust; None without TLS."""

    @property
    def base(self) -> str:
        return f"http{'s' if self.authority else ''}://127.0.0.1:{self.port}/v1"


class System(Protocol):
    def __init__(self, where: Where) -> None: ...
    def prepare(self, width: int) -> None:
        """Whatever a service has done long before a request comes."""

    async def run(self, width: int) -> None: ...
    async def close(self) -> None: ...


class Answer(asyncio.Protocol):
    """One connection; knows when the answer is whole, and nothing else."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        self._received = b""

    def ask(self, body: bytes) -> asyncio.Future[None]:
        self._whole: asyncio.Future[None] = self._loop.create_future()
        self.transport.write(HEAD % len(body) + body)
        return self._whole

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, _, content = self._received.partition(b"\r\n\r\n")
        _, found, rest = head.lower().partition(b"content-length:")
        if found and len(content) >= int(rest.partition(b"\r\n")[0]):
            self._received = b""
            self._whole.set_result(None)


class BareSocket:
    def __init__(self, where: Where) -> None:
        self._port = where.port
        self._tls = ssl.create_default_context(cafile=where.authority) if where.authority else None
        self._connections: list[Answer] = []

    def prepare(self, width: int) -> None:
        self._bodies = [BODY % prompt.encode() for prompt in prompts(width)]

    async def run(self, width: int) -> None:  # noqa: ARG002
        await asyncio.gather(*map(self._ask, range(len(self._bodies))))

    async def _ask(self, number: int) -> None:
        if number < len(self._connections):
            connection = self._connections[number]
        else:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(Answer, "127.0.0.1", self._port, ssl=self._tls)
            self._connections.append(connection)
        await connection.ask(self._bodies[number])

    async def close(self) -> None:
        for connection in self._connections:
            connection.transport.close()


class BarePyqwest:
    """Whole answers, however long."""

    def __init__(self, where: Where) -> None:
        from pyqwest import Client

        self._url = f"{where.base}/chat/completions"
        self._headers = [("content-type", "application/json")]
        self._transport = transport.shared_transport(
            transport.read_certificates(os.environ) if where.authority else None, None, tls=where.authority is not None
        )
        self._client = Client(self._transport)

    def prepare(self, width: int) -> None:
        self._bodies = [BODY % prompt.encode() for prompt in prompts(width)]

    async def run(self, width: int) -> None:  # noqa: ARG002
        await asyncio.gather(*map(self._ask, self._bodies))

    async def _ask(self, body: bytes) -> None:
        response = await self._client.post(self._url, self._headers, body)
        assert response.status == 200

    async def close(self) -> None:
        pass


class BoundedPyqwest(BarePyqwest):
    """Reads an answer piece by piece, and stops where it is whole."""

    async def _ask(self, body: bytes) -> None:
        from pyqwest import Headers, Request

        response = await self._transport.execute(Request("POST", self._url, Headers(self._headers), body))
        length = int(response.headers["content-length"])
        content = bytearray()
        async for chunk in response.content:
            content += chunk
            if len(content) >= length:
                return


def backend(where: Where) -> Any:
    from apxm.backends.openai import OpenAIBackend
    from apxm.backends.settings import OpenAISettings

    return OpenAIBackend("endpoint", OpenAISettings(model="simulated", endpoint=where.base), os.environ)


class Unjournaled:
    """A-PXM without a journal."""

    def __init__(self, where: Where) -> None:
        from apxm.runtime.limits import BackendPool

        self._pool = BackendPool({"endpoint": backend(where)}, "endpoint")

    def prepare(self, width: int) -> None:
        from apxm.runtime.handlers.table import LoadedProgram

        program, self._flow = programs([width])[width]
        self._program = LoadedProgram(program)

    async def run(self, width: int) -> None:  # noqa: ARG002
        await self._execute(None)

    async def _execute(self, recorder: Recorder | None) -> None:
        from apxm.runtime.scheduler import Run

        trace = await Run(self._program, self._flow, (), self._pool).execute(recorder)
        assert not trace.failures, trace.failures[0]

    async def close(self) -> None:
        await self._pool.close()


class Apxm(Unjournaled):
    """With a journal, as every run has one whose backend is real."""

    def __init__(self, where: Where) -> None:
        super().__init__(where)
        self._folder = TemporaryDirectory(prefix="apxm-journals-")
        self._journals = Path(self._folder.name)

    async def run(self, width: int) -> None:  # noqa: ARG002
        from apxm.journal.ids import new_run_id
        from apxm.journal.journal import Journal
        from apxm.journal.rows import header_of
        from apxm.runtime.recording import Recorder

        header = header_of(
            self._program.program, apxm="", run_id=new_run_id(time()), started=time(), path="fan_out.ais",
            kind="source", flow=self._flow.qualified_name, inputs=(), options={},
        )  # fmt: skip
        journal = Journal.create(self._journals, header)
        try:
            await self._execute(Recorder(journal, ""))
        finally:
            journal.close()


class OpenAISdk:
    def __init__(self, where: Where) -> None:
        from openai import AsyncOpenAI

        self._client = AsyncOpenAI(base_url=where.base, api_key="none", max_retries=0)

    def prepare(self, width: int) -> None:
        self._prompts = prompts(width)

    async def run(self, width: int) -> None:  # noqa: ARG002
        await asyncio.gather(*map(self._ask, self._prompts))

    async def _ask(self, prompt: str) -> None:
        await self._client.chat.completions.create(model="simulated", messages=[{"role": "user", "content": prompt}])

    async def close(self) -> None:
        await self._client.close()


class LangGraph:
    def __init__(self, where: Where) -> None:
        from apxm.workloads.catalog import SCALABILITY
        from apxm.workloads.langgraph_system import load_peer

        self._peer = load_peer(SCALABILITY.peer)
        self._model = self.model(where)

    def model(self, where: Where) -> Any:
        return self._peer.ChatOpenAI(model="simulated", base_url=where.base, api_key="none", max_retries=0)

    def prepare(self, width: int) -> None:
        self._graph = self._peer.build_graph(self._model, prompts(width))

    async def run(self, width: int) -> None:  # noqa: ARG002
        await self._graph.ainvoke({"answers": []})

    async def close(self) -> None:
        await self._model.root_async_client.close()


class LangGraphOnOurClient(LangGraph):
    def model(self, where: Where) -> Any:
        return _OurModel(backend(where))

    async def close(self) -> None:
        await self._model.backend.close()


class _OurModel:
    """What a node of the LangGraph program calls, over A-PXM's backend."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend

    async def ainvoke(self, prompt: str) -> Any:
        from apxm.backends.protocol import ModelRequest

        answer = await self.backend.call(ModelRequest(prompt))
        return _Message(answer.text)


class _Message(Struct):
    content: str


SYSTEMS: dict[str, Callable[[Where], System]] = {
    "socket": BareSocket,
    "pyqwest": BarePyqwest,
    "bounded": BoundedPyqwest,
    "apxm": Apxm,
    "unjournaled": Unjournaled,
    "openai": OpenAISdk,
    "langgraph": LangGraph,
    "langgraph-ours": LangGraphOnOurClient,
}


async def answer(make: Callable[[Where], System], where: Where) -> None:
    system = make(where)
    width = 0
    for line in sys.stdin:
        asked = msgspec.json.decode(line, type=Asked)
        if asked.cold:
            await system.close()
            transport.forget_transports()
            system = make(where)
            gc.collect()
            await asyncio.sleep(CLOSING_S)
        if asked.cold or width != asked.width:
            system.prepare(width := asked.width)
            if not asked.cold:
                await system.run(width)
        gc.collect()
        cpu, begun = process_time(), perf_counter()
        await system.run(width)
        measured = Measured(perf_counter() - begun, process_time() - cpu)
        print(msgspec.json.encode(measured).decode(), flush=True)
    await system.close()


def main(systems: Mapping[str, Callable[[Where], System]]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=systems)
    parser.add_argument("port", type=int)
    parser.add_argument("--tls", type=Path)
    arguments = parser.parse_args()
    raise_limit()
    transport.IDLE_S = 60.0  # connections stay warm while the other systems have their turns
    authority = str(arguments.tls / "authority.pem") if arguments.tls else None
    if authority:
        os.environ["SSL_CERT_FILE"] = authority
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    with asyncio.Runner(loop_factory=real_loop) as runner:
        runner.run(answer(systems[arguments.name], Where(arguments.port, authority)))


if __name__ == "__main__":
    main(SYSTEMS)
