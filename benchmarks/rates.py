"""How much of a limit by the minute is used, and is it ever passed where the endpoint counts?

    python -m benchmarks.rates [--quick]

Calls over HTTP that would all go at once, at an endpoint that notes when each arrives and answers after 10 ms, in this
process. A minute is a second here, which is harder: the way to the endpoint varies by as much as ever. Answers are of
100 tokens, and 120 are allowed. What is used of a limit is the rate from the first call to the last whole second, over
the limit; the most in a second is over the seconds that begin with each arrival.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence

from apxm.backends.openai import OpenAIBackend
from apxm.backends.protocol import Handle, Limits, Usage
from apxm.backends.settings import OpenAISettings
from apxm.backends.simulated import SimulatedBackend
from apxm.runtime.gates import Gate
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import clock_of, real_loop
from apxm.runtime.scheduler import Run
from apxm.simulator.connection import Connection
from apxm.simulator.generator import Receiver
from apxm.simulator.reading import HttpLimits
from apxm.simulator.replies import Reply
from apxm.simulator.routes import SimulatedEndpoint
from benchmarks.graphs import fan_out
from benchmarks.report import Claim, Section, caveats, standalone, tell

SECOND_NS = 1_000_000_000
IN_A_SECOND = 50
INPUT = 1
"""Tokens of the prompt of `fan_out`."""
OUTPUT = 100
KINDS = {
    "requests": Limits(requests_per_minute=IN_A_SECOND),
    "tokens": Limits(tokens_per_minute=IN_A_SECOND * (INPUT + OUTPUT)),
}


class Counting(SimulatedEndpoint):
    """Notes when requests arrive, in seconds."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.arrivals: list[float] = []
        answer = re.compile(""), "word" * OUTPUT
        super().__init__(SimulatedBackend(latency="constant:10", answers=[answer]), clock_of(self._loop))

    def answer(self, method: bytes, target: bytes, body: bytes, client: Receiver) -> Reply | Handle:
        self.arrivals.append(self._loop.time())
        return super().answer(method, target, body, client)


async def arrivals(limits: Limits, calls: int) -> list[float]:
    """When each of the calls arrived."""
    endpoint, connections = Counting(), set[Connection]()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(endpoint, HttpLimits(), connections), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    settings = OpenAISettings(model="simulated", endpoint=f"http://127.0.0.1:{port}/v1")
    pool = BackendPool({"b": OpenAIBackend("b", settings, os.environ)}, "b")
    pool.gates["b"] = Gate("b", limits, window_ns=SECOND_NS)
    program = LoadedProgram(fan_out("ask", calls, max_tokens=OUTPUT * 6 // 5))
    trace = await Run(program, program.program.flows[0], (), pool).execute()
    assert not trace.failures, trace.failures[0]
    used = {attempt.usage for record in trace.operations for attempt in record.attempts}
    assert used == {Usage(INPUT, OUTPUT)}, used
    await pool.close()
    server.close()
    return endpoint.arrivals


def most_in_a_second(arrived: Sequence[float]) -> int:
    return max(sum(begin <= when < begin + 1 for when in arrived) for begin in arrived)


def share_used(arrived: Sequence[float]) -> float:
    whole = arrived[-IN_A_SECOND] - arrived[0]
    return (len(arrived) - IN_A_SECOND) / whole / IN_A_SECOND


def rates(quick: bool) -> Section:
    section = Section("Limits by the minute", caveats(__doc__))
    seconds = 3 if quick else 12
    rows: list[tuple[str, ...]] = []
    for kind, limits in KINDS.items():
        tell(f"{kind}: {seconds} s")
        with asyncio.Runner(loop_factory=real_loop) as runner:
            arrived = sorted(runner.run(arrivals(limits, seconds * IN_A_SECOND)))
        most, used = most_in_a_second(arrived), share_used(arrived)
        rows.append((kind, f"{len(arrived):,}", str(most), f"{used:.1%}"))
        section.samples[f"s, arrivals under a limit of {kind}"] = [when - arrived[0] for when in arrived]
        section.claims += [
            Claim(f"calls in any second, of {IN_A_SECOND}, limited by {kind}", most, IN_A_SECOND),
            Claim(f"share of the limit of {kind} that is used", used, 0.95, at_least=True),
        ]
    headers = ("Limit of", "Calls", "Most in a second", "Used")
    section.tables.append((f"{IN_A_SECOND} calls a second, or as many tokens as they take.", headers, rows))
    return section


if __name__ == "__main__":
    standalone(rates, __doc__)
