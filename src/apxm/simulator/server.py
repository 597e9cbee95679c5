"""The simulator on a port: opened, watched over, closed."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from time import monotonic

from msgspec import Struct

from apxm.backends.simulated import SimulatedBackend
from apxm.errors import UsageError
from apxm.runtime.loops import clock_of
from apxm.runtime.open_files import raise_limit
from apxm.simulator.connection import Connection
from apxm.simulator.faults import bomb
from apxm.simulator.options import SimulatorOptions
from apxm.simulator.reading import HttpLimits
from apxm.simulator.routes import SimulatedEndpoint

BACKLOG = 4096
"""Connections that wait to be accepted. More arriving at once than fit would be tried again by their clients a second
later, and that second would be measured."""
_CLOSING_S = 1.0
"""How long clients get, at the end, to take the last bytes."""


class Address(Struct, frozen=True):
    """Where the simulator can be reached, and what it does."""

    endpoint: str
    """What clients call the base URL."""
    port: int
    public: bool
    """Whether other machines may reach it."""
    description: str


@asynccontextmanager
async def simulator(options: SimulatorOptions, limits: HttpLimits | None = None) -> AsyncGenerator[Address]:
    """Serves for as long as the block lasts.

    Raises `UsageError` for an address that cannot be had.
    """
    limits = limits or HttpLimits()
    loop = asyncio.get_running_loop()
    backend = SimulatedBackend(
        latency=options.latency, slowdown=options.slowdown, faults=options.faults, seed=options.seed
    )
    if "bomb" in backend.faults.kinds:
        bomb()  # takes a moment to make: before there are calls that would wait for it
    endpoint = SimulatedEndpoint(backend, clock_of(loop), options.tokens_per_second)
    connections: set[Connection] = set()

    def check_times() -> None:
        nonlocal sweep
        sweep = loop.call_later(limits.sweep_s, check_times)
        now = monotonic()
        for connection in tuple(connections):
            connection.check_times(now)

    listener = _listen(options.host, options.port)
    address, port = listener.getsockname()[:2]
    # Both event loops switch Nagle's algorithm off on what they accept.
    server = await loop.create_server(lambda: Connection(endpoint, limits, connections), sock=listener, backlog=BACKLOG)
    sweep = loop.call_later(limits.sweep_s, check_times)
    try:
        yield Address(_url(address, port), port, not ip_address(address).is_loopback, backend.info.description)
    finally:
        sweep.cancel()
        server.close()
        open_ones = tuple(connections)
        for connection in open_ones:
            connection.leave()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_S):
                for connection in open_ones:
                    await connection.lost.wait()
        for connection in tuple(connections):
            connection.abort()


def prepare_process() -> None:
    """Makes this process fit to be measured against: a file for each connection, and a garbage collector that leaves
    alone what lives for good and looks at the rest seldom."""
    raise_limit()
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


def _listen(host: str, port: int) -> socket.socket:
    try:
        # One address: a name that has several would get as many free ports.
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as failed:
        why, hint = failed.strerror or str(failed), None
        if failed.errno == errno.EADDRINUSE:
            why, hint = "something else listens there", "--port 0 takes a free port"
        raise UsageError(f"cannot listen on {host}, port {port}: {why}", hint=hint) from None


def _url(address: str, port: int) -> str:
    ip = ip_address(address)
    if ip.is_unspecified:  # it stands for all addresses of this machine, and is none to connect to
        address = "127.0.0.1" if ip.version == 4 else "::1"
    return f"http://{address if ip.version == 4 else f'[{address}]'}:{port}/v1"
