"""The endpoint of `benchmarks.fan_out`: the simulator's own connections, over TLS too. Prints its port; ends when its
standard input does.

    python -m benchmarks.fan_out_server LATENCY [--tls FOLDER]
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
from pathlib import Path

from apxm.backends.simulated import SimulatedBackend
from apxm.runtime.loops import clock_of, real_loop
from apxm.simulator.connection import Connection
from apxm.simulator.lifetime import told_to_end
from apxm.simulator.reading import HttpLimits
from apxm.simulator.routes import SimulatedEndpoint
from apxm.simulator.server import BACKLOG, prepare_process


async def serve(latency: str, folder: Path | None) -> None:
    loop = asyncio.get_running_loop()
    endpoint = SimulatedEndpoint(SimulatedBackend(latency=latency), clock_of(loop), None)
    limits, connections = HttpLimits(), set[Connection]()
    context = None
    if folder is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "server.pem")
    server = await loop.create_server(
        lambda: Connection(endpoint, limits, connections), "127.0.0.1", 0, backlog=BACKLOG, ssl=context
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await told_to_end(by_input=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("latency")
    parser.add_argument("--tls", type=Path)
    arguments = parser.parse_args()
    prepare_process()
    with asyncio.Runner(loop_factory=real_loop) as runner:
        runner.run(serve(arguments.latency, arguments.tls))


if __name__ == "__main__":
    main()
