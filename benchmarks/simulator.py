"""How near to the ideal second is `apxm simulator` when N calls of `constant:1000` arrive at once?

    python -m benchmarks.simulator [--quick]

The client is as bare as Python allows: sockets and one selector, each call on a connection of its own, connecting
included. Beside the simulator stands an empty handler: an event loop that answers any bytes with a constant
after a second, parsing nothing, which is the least that this client can measure on this machine. Client and server
share the machine, so on few cores the client's own work is most of what is above one second.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
import statistics
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from time import perf_counter
from typing import NamedTuple, cast

from apxm.runtime.loops import real_loop
from apxm.runtime.open_files import raise_limit
from apxm.simulator.process import SimulatorProcess, start_simulator
from benchmarks.report import Claim, Section, caveats, digits, spread, standalone, tell

IDEAL_S = 1.0
BODY = b'{"model": "simulated", "messages": [{"role": "user", "content": "Task %04d"}]}'
HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def fan_out(port: int, calls: int) -> float:
    """Seconds from the first connect until the last of `calls` answers is whole."""
    requests = [HEAD % len(body) + body for body in (BODY % number for number in range(calls))]
    selector = selectors.DefaultSelector()
    sockets: list[socket.socket] = []
    begun = perf_counter()
    for request in requests:
        # Over loopback a connection is made, and a request sent, while the caller waits.
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(request)
        selector.register(client, selectors.EVENT_READ)
        sockets.append(client)
    waiting = calls
    while waiting:
        for key, _ in selector.select():
            client = key.fileobj
            assert isinstance(client, socket.socket)
            answer = client.recv(65536)
            # A few hundred bytes written at once come at once.
            assert answer.startswith(b"HTTP/1.1 200"), answer
            assert answer.endswith(b"}"), answer
            selector.unregister(client)
            waiting -= 1
    ended = perf_counter()
    for client in sockets:
        client.close()
    return ended - begun


class _EmptyHandler(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:  # noqa: ARG002
        asyncio.get_running_loop().call_later(IDEAL_S, self._transport.write, ANSWER)


async def _serve_empty() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_EmptyHandler, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


@contextmanager
def empty_handler() -> Generator[int]:
    """The port of a process that serves it."""
    command = [sys.executable, "-m", "benchmarks.simulator", "--serve-empty"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()


class Row(NamedTuple):
    calls: int
    floor: list[float]
    simulator: list[float]
    cpu_us: float
    """Processor time of the simulator per call."""
    late_ms: float
    """By how much, at most, an answer left the simulator later than it was meant to."""


def measure(calls: int, runs: int, floor_port: int, simulator: SimulatorProcess) -> Row:
    """Both servers in turn, so that whatever else this machine does meets both."""
    floor: list[float] = []
    ours: list[float] = []
    simulator.begin_iteration(calls)
    before = simulator.metrics()
    for _ in range(runs):
        floor.append(fan_out(floor_port, calls))
        ours.append(fan_out(simulator.port, calls))
    after = simulator.metrics()
    cpu = after["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]
    return Row(calls, floor, ours, cpu / (runs * calls) * 1e6, after["apxm_simulator_late_seconds_max"] * 1e3)


def simulator(quick: bool) -> Section:
    raise_limit()
    section = Section("The simulator", caveats(__doc__))
    rows: list[tuple[str, ...]] = []
    with empty_handler() as floor_port, start_simulator(latency="constant:1000") as running:
        for calls in (64,) if quick else (1, 64, 256, 1024):
            tell(f"simulator, N = {calls}")
            row = measure(calls, 1 if quick else 5, floor_port, running)
            over = statistics.median(row.simulator) / IDEAL_S - 1
            rows.append(
                (
                    f"{calls:,}",
                    spread(row.floor),
                    spread(row.simulator),
                    f"{over:.1%}",
                    digits(row.cpu_us),
                    digits(row.late_ms),
                )
            )
            section.samples |= {f"s, empty handler, {calls}": row.floor, f"s, simulator, {calls}": row.simulator}
    beside = statistics.median(row.simulator) / statistics.median(row.floor)
    section.claims.append(Claim(f"N = {calls:,}: wall time over the empty handler's", beside, 1.05))
    headers = (
        "N",
        "Empty handler (s)",
        "Simulator (s)",
        "Over 1 s",
        "Its processor time per call (µs)",
        "Late by at most (ms)",
    )
    section.tables.append(("N calls of one second at once: median [range] of five waves.", headers, rows))
    return section


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve-empty"]:
        with asyncio.Runner(loop_factory=real_loop) as runner:
            runner.run(_serve_empty())
    else:
        standalone(simulator, __doc__)
