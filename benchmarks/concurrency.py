"""How near does a limit that is found come to the best one that somebody could configure?

    python -m benchmarks.concurrency [--quick]

All of it is on virtual time, where nothing but the rule decides: a simulated endpoint, and so many callers that each
want a next call when the last one was answered. Latencies are log-normal with a median of 1 s and sigma 0.5. A call
that is refused comes back when its `Retry-After` of 1 s is over. *Best fixed* is the best of a sweep. *From 10 s on*
leaves out the first ten seconds, as any rule has to find something out; *whole* does not. Refused is the share of calls
from ten seconds on. *inspect_ai* is its rule as `benchmarks/concurrency_rules.py` says it.

Nothing is known of the endpoint at the beginning. Where no more than 1,024 calls are wanted at first they all go at
once, as ever, and an endpoint that they choke is slow until they are answered: the rows *1,000 callers* show that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from apxm.backends.protocol import Limits, ModelAnswer, ModelRequest
from apxm.backends.simulated import SimulatedBackend
from apxm.errors import BackendError
from apxm.runtime.adaptive import AdaptiveLimit
from apxm.runtime.gates import NOT_YET, Gate, Ticket
from apxm.runtime.loops import clock_of, run_virtually
from benchmarks.concurrency_rules import SECOND_NS, FixedLimit, InspectRule
from benchmarks.report import Claim, Section, caveats, standalone, tell

Rule = AdaptiveLimit | FixedLimit
SETTLED_S = 10


class Endpoint(NamedTuple):
    slowdown: str
    faults: str
    seconds: int
    callers: int = 1500


ENDPOINTS = {
    "none": Endpoint("none", "none", 60),
    "usl, mild": Endpoint("usl:0.05,0.0001", "none", 1200),
    "usl, retrograde": Endpoint("usl:0.02,0.0005", "none", 1800),
    "at most 64, then 429": Endpoint("none", "429:>64", 300),
    "a queue for 64": Endpoint("curve:1=1,64=1,128=2", "none", 600),
}
WAVES = {
    "none, 1,000 callers": ENDPOINTS["none"]._replace(callers=1000),
    "usl, retrograde, 1,000 callers": ENDPOINTS["usl, retrograde"]._replace(callers=1000),
}
SWEEP = (4, 8, 12, 16, 24, 32, 44, 56, 64, 80, 96, 128, 192, 256, 384, 512, 768, 1000, 1500)


class Load:
    """Callers that always want another call, at a gate: what became of their calls, and when."""

    def __init__(self, endpoint: Endpoint, rule: Rule, sigma: float, seed: int) -> None:
        self.backend = SimulatedBackend(
            latency=f"lognormal:1000,{sigma}" if sigma else "constant:1000",
            slowdown=endpoint.slowdown, faults=endpoint.faults, seed=seed,
        )  # fmt: skip
        self.gate = Gate("endpoint", Limits(), adaptive=True)
        self.gate.adaptive = rule  # pyright: ignore[reportAttributeAccessIssue]
        self.rule = rule
        self.waiting = endpoint.callers
        self.answered: list[int] = []
        self.refused: list[int] = []
        self.levels: list[int] = []
        """The limits that were in force, one after the other."""
        self.asked = 0
        self.clock = clock_of(asyncio.get_running_loop())

    def fill(self) -> None:
        """Begins as many calls as may go."""
        while self.waiting:
            now = self.clock.now()
            found = self.gate.take(0, now, self.fill, self.waiting)
            if isinstance(found, Ticket):
                self.waiting -= 1
                self.asked += 1
                self._begin(found)
                continue
            self.gate.wait(self.fill)
            if found != NOT_YET:
                self.clock.call_at(found, lambda: self.gate.offer(self.clock.now()))
            return

    def _begin(self, ticket: Ticket) -> None:
        def done(outcome: ModelAnswer | BackendError) -> None:
            now = self.clock.now()
            pause = 0
            if isinstance(outcome, BackendError):
                self.refused.append(now)
                ticket.refused = True
                pause = round((outcome.retry_after_s or 0) * SECOND_NS)
                self.gate.pause(now + pause)
            else:
                self.answered.append(now)
            self.gate.give_back(ticket, None, now, answered=not ticket.refused)
            if not self.levels or self.levels[-1] != self.rule.limit:
                self.levels.append(self.rule.limit)
            self.clock.call_at(now + pause, self._back)

        self.backend.begin(ModelRequest(str(self.asked)), self.clock, done)

    def _back(self) -> None:
        self.waiting += 1
        self.fill()


class Found(NamedTuple):
    whole: float
    """Answers a second."""
    settled: float
    """Likewise, from ten seconds on."""
    refused: float
    """The share of calls that were, from ten seconds on."""
    levels: list[int]


def measure(endpoint: Endpoint, rule: Rule, sigma: float = 0.5, seed: int = 0) -> Found:
    async def main() -> Load:
        load = Load(endpoint, rule, sigma, seed)
        load.fill()
        await asyncio.sleep(endpoint.seconds)
        return load

    load = run_virtually(main())
    begin = SETTLED_S * SECOND_NS
    answered, refused = (sum(when >= begin for when in whens) for whens in (load.answered, load.refused))
    return Found(
        len(load.answered) / endpoint.seconds,
        answered / (endpoint.seconds - SETTLED_S),
        refused / max(1, answered + refused),
        load.levels,
    )


@cache
def best_fixed(endpoint: Endpoint, sigma: float = 0.5) -> tuple[int, Found]:
    """The limit of the sweep with the most answers, of those by which next to nothing is refused."""
    # A third of the time: a fixed limit is at its throughput soon, unless it is far too high.
    shorter = endpoint._replace(seconds=max(60, endpoint.seconds // 3))
    found = {limit: measure(shorter, FixedLimit(limit), sigma) for limit in SWEEP if limit <= endpoint.callers}
    best = max((limit for limit in found if found[limit].refused <= 0.02), key=lambda limit: found[limit].settled)
    return best, found[best]


RULES: dict[str, Callable[[], Rule]] = {"found": AdaptiveLimit, "inspect_ai": InspectRule}


def concurrency(quick: bool) -> Section:
    section = Section("Concurrency that is found", caveats(__doc__))
    rows: list[tuple[str, ...]] = []
    for name, endpoint in (ENDPOINTS | WAVES).items():
        if quick:
            endpoint = endpoint._replace(seconds=20, callers=200)
        tell(f"{name}: sweep")
        limit, best = best_fixed(endpoint)
        rows.append((name, f"best fixed: {limit:,}", f"{best.settled:.1f}", "", "", f"{best.refused:.1%}", ""))
        for rule, make in RULES.items():
            tell(f"{name}: {rule}")
            found = measure(endpoint, make())
            whole, settled = found.whole / best.settled, found.settled / best.settled
            ends = ", ".join(f"{level:,}" for level in found.levels[-4:])
            rows.append(
                ("", rule, f"{found.settled:.1f}", f"{settled:.1%}", f"{whole:.1%}", f"{found.refused:.1%}", ends)
            )
            if rule == "found" and name in ENDPOINTS:
                section.claims += [
                    Claim(f"{name}: share of the best fixed limit's throughput", settled, 0.9, at_least=True),
                    Claim(f"{name}: share of calls that are refused after 10 s", found.refused, 0.02),
                ]
            section.samples[f"limits, {name}, {rule}"] = [float(level) for level in found.levels[:2000]]
    headers = ("Endpoint", "Rule", "Answers per second", "Of the best fixed", "Whole", "Refused", "Its last limits")
    section.tables.append(("1,500 callers where nothing else is said.", headers, rows))
    return section


if __name__ == "__main__":
    standalone(concurrency, __doc__)
