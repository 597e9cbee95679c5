"""Measures how an endpoint answers under load, and makes a `Profile` of it (DESIGN §7).

Warmed up, a closed loop at each concurrency c: c calls in flight all the time. Then bursts, as many calls at once as
the largest c, which tell processor sharing from a queue. All calls go through the real scheduler, so what they cost the
client is what they cost in a run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from math import inf, sqrt
from statistics import fmean, stdev
from time import thread_time_ns
from typing import NamedTuple

import msgspec

from apxm.analysis.discipline import better_fit
from apxm.analysis.fitting import distribution, fitted_points, in_order_of_end
from apxm.analysis.probes import asks, prompt
from apxm.analysis.profile import Level, Profile
from apxm.backends.protocol import AnyBackend
from apxm.errors import ApxmError, UsageError
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import VirtualLoop
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Attempt

CONCURRENCIES = (1, 2, 4, 8)
CALLS = 64
PRECISION = 0.01
MAX_TOKENS = 256
"""The most that an answer may have, where nobody says how long the answers of their programs are: a model that rambles
must not make a calibration of it."""
_FEWEST_BURSTS = 2
_MOST_FAILED = 0.1
"""Part of the calls that may fail, one in any case: what a failed call leaves to the others is not measured."""
_ROUNDS = 4
"""Calls of the first batch per call in flight."""
_FEWEST_ROUNDS = 3
"""As many where time is short: those in front and those behind do not count."""

Report = Callable[[str], None]
"""Takes what happens now, in a few words."""


class Calibration(NamedTuple):
    """What a calibration found, and what that took."""

    profile: Profile
    calls: int
    seconds: float
    error: float
    """Two standard errors of the least certain of its means, as a part of that."""
    in_time: bool
    """Whether each part of it ended as its mean was precise, or its calls spent, and none with its time."""


class CalibrationFailed(ApxmError):  # noqa: N818  # it tells of what happened, as `RunFailed` does
    """Too many calls of a calibration failed, so there is no profile."""


def most_calls(concurrencies: Sequence[int] = CONCURRENCIES, calls: int = CALLS, growth: int = 1) -> int:
    """An upper bound of the calls that `calibrate` makes; steady endpoints need fewer."""
    levels = _levels(concurrencies)
    loops = sum(sum(_batches(concurrency, _counting(concurrency, calls, growth))) for concurrency in levels)
    return levels[-1] + loops + _most_bursts(levels[-1], calls) * levels[-1]


async def calibrate(
    backend: AnyBackend,
    *,
    date: str,
    concurrencies: Sequence[int] = CONCURRENCIES,
    calls: int = CALLS,
    growth: int = 1,
    precision: float = PRECISION,
    prompt: Callable[[int], str] = prompt,
    max_tokens: int | None = None,
    within: Callable[[float], float] | None = None,
    report: Report = lambda _text: None,
) -> Calibration:
    """Measures `backend` on the running event loop, real or virtual, and leaves it open.

    Each level, concurrency 1 always among them, ends once the standard error of its mean is at most `precision` of it,
    or once about `calls` calls count; at concurrency c, min(c, `growth`) times as many, which take no longer where load
    slows nobody down. `date` is ISO 8601. A profile speaks for prompts and answers like those of the calibration.
    An answer has at most `max_tokens`, else what the backend is configured for, else `MAX_TOKENS`. A call that fails is
    counted, and else left out. `within` says how many seconds it may take, given those of a call as the first ones
    were: each level gets its part of what is left of them, and at least one small batch, so with little time it takes
    no more than what it cannot do without.

    Raises `CalibrationFailed`, and `UsageError` for concurrencies that the backend is not allowed.
    """
    levels = _levels(concurrencies)
    if backend.limits.max_concurrency is not None and levels[-1] > backend.limits.max_concurrency:
        raise UsageError(
            f"backend {backend.info.name!r} may have {backend.limits.max_concurrency} calls in flight, not {levels[-1]}"
        )
    if backend.limits.by_the_minute:
        raise UsageError(
            f"backend {backend.info.name!r} has limits by the minute, which a calibration would measure instead of it"
        )
    client = Client(backend)
    ask = _Probing(client, prompt, max_tokens or backend.limits.max_tokens or MAX_TOKENS).ask
    report("warming up")
    time = _Time(parts=len(levels) + 1)
    first = await ask(levels[-1], levels[-1])
    if within is not None:
        time.limit(fmean(_latencies_ms(first.answered)) / 1e3, within)
    loops = [await _closed_loop(ask, c, _counting(c, calls, growth), precision, time, report) for c in levels]
    bursts = await _bursts(ask, levels[-1], calls, precision, time, report)
    profile = _profile(backend, date, dict(zip(levels, loops, strict=True)), bursts, client.failed)
    error = 2 * max(map(_error, [*(_latencies_ms(loop.answered) for loop in loops), _means(bursts)]))
    return Calibration(profile, client.calls, time.passed, error, not time.ran_out)


class _Time:
    """What a calibration may take, in equal parts for what is still to be measured."""

    def __init__(self, parts: int) -> None:
        self._now = asyncio.get_running_loop().time
        self._begun = self._now()
        self._parts = parts
        self._end = self._end_of_part = inf
        self.call_s = 0.0
        """What one call takes, as the first ones were."""
        self.ran_out = False
        """Whether something would have gone on if there had been more."""

    @property
    def passed(self) -> float:
        return self._now() - self._begun

    def limit(self, call_s: float, within: Callable[[float], float]) -> None:
        """It is `within(call_s)` seconds, from the beginning."""
        self.call_s = call_s
        self._end = self._begun + within(call_s)

    def next_part(self) -> None:
        self._end_of_part = self._now() + max(0.0, self._end - self._now()) / self._parts
        self._parts -= 1

    def has(self, seconds: float) -> bool:
        """Whether so much is left for this part."""
        return self._now() + seconds <= self._end_of_part


class Sent(NamedTuple):
    """Calls, in the order in which they were sent."""

    attempts: list[Attempt | None]
    """The calls, with None in the place of one that failed."""
    client_ns: int
    """What each cost the client's thread."""
    places: Sequence[int] = ()
    """Which of the prompts each had."""

    @property
    def answered(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt is not None]


class Client:
    """Sends calls through the scheduler, and clocks what that costs this thread."""

    def __init__(self, backend: AnyBackend, most_failed: float = _MOST_FAILED, *, streams: bool = False) -> None:
        """`most_failed` is the part of the calls that may fail, one in any case."""
        self.failure = ""
        """What the last call that failed said."""
        self._pool = BackendPool({backend.info.name: backend}, backend.info.name)
        self._most_failed = most_failed
        self._streams = streams
        self.calls = 0
        self.failed = 0
        self.cost_ns = 0.0
        """What a call costs this thread, in the mean of all."""
        # Virtual time stands still while the thread works.
        self._costs = not isinstance(asyncio.get_running_loop(), VirtualLoop)

    async def ask(self, prompts: Sequence[str], max_tokens: int | Sequence[int], concurrency: int | None) -> Sent:
        """Raises `CalibrationFailed` once too many calls have failed."""
        program = asks(prompts, max_tokens, streams=self._streams)
        calls = len(prompts)
        self.calls += calls
        run = Run(LoadedProgram(program), program.flows[0], (), self._pool, RunOptions(max_concurrency=concurrency))
        begun = thread_time_ns()
        trace = await run.execute()
        cost = (thread_time_ns() - begun) // calls if self._costs else 0
        self.cost_ns += (cost - self.cost_ns) * calls / self.calls
        self.failed += len(trace.failures)
        if trace.failures:
            self.failure = f"{trace.failures[0].kind}: {trace.failures[0].message}"
        if self.failed > max(1, self._most_failed * self.calls):
            raise self.failed_too_often()
        # The trace has them in the order of their ends. Those sent at one instant go by their place in the program: no
        # choice among them may depend on how long they took.
        records = sorted(trace.operations, key=lambda record: (record.attempts[-1].sent, record.node))
        attempts = [record.attempts[-1] if record.succeeded else None for record in records]
        return Sent(attempts, cost, [record.node for record in records])

    def failed_too_often(self) -> CalibrationFailed:
        return CalibrationFailed(f"{self.failed} of {self.calls} calls failed, one with {self.failure}")


class _Probing:
    """Asks what no call before has asked."""

    def __init__(self, client: Client, prompt: Callable[[int], str], max_tokens: int) -> None:
        self._client = client
        self._prompt = prompt
        self._max_tokens = max_tokens

    async def ask(self, calls: int, concurrency: int | None) -> Sent:
        prompts = [self._prompt(self._client.calls + i) for i in range(calls)]
        sent = await self._client.ask(prompts, self._max_tokens, concurrency)
        if not sent.answered:
            raise self._client.failed_too_often()
        return sent


_Ask = Callable[[int, int | None], Awaitable[Sent]]


def _counting(concurrency: int, calls: int, growth: int) -> int:
    """The most calls of a level that count."""
    return calls * min(concurrency, growth)


def _levels(concurrencies: Sequence[int]) -> list[int]:
    if any(concurrency < 1 for concurrency in concurrencies):
        raise UsageError("a calibration needs concurrencies of at least 1")
    return sorted({1, *concurrencies})


async def _closed_loop(ask: _Ask, concurrency: int, calls: int, precision: float, time: _Time, report: Report) -> Sent:
    """Batch after batch, until the mean is precise, or the calls or the time are spent."""
    attempts: list[Attempt | None] = []
    latencies: list[float] = []
    costs: list[int] = []
    time.next_part()
    rounds = _ROUNDS if time.has(_ROUNDS * time.call_s) else _FEWEST_ROUNDS
    for size in _batches(concurrency, calls, rounds):
        if latencies and not time.has(size / concurrency * fmean(latencies) / 1e3):
            time.ran_out = True
            break
        batch = await ask(size, concurrency)
        attempts += batch.attempts[concurrency - 1 : size - (concurrency - 1)]
        costs.append(batch.client_ns)
        found = Sent(attempts, round(fmean(costs)))
        services, latencies = _services_ms(found.answered), _latencies_ms(found.answered)
        if services:
            report(f"{concurrency} at a time: {fmean(services):.1f} ms ({len(services)} calls)")
        # Both: where the endpoint counts in whole milliseconds, four calls that took equally long for it say little.
        if _error(services) <= precision and _error(latencies) <= precision:
            break
    if not any(attempts):
        raise CalibrationFailed(f"no call that counts with {concurrency} at a time was answered")
    return Sent(attempts, round(fmean(costs)))


def _error(times: Sequence[float]) -> float:
    """The standard error of their mean, as a part of it; infinite where nobody knows."""
    if len(times) < 2 or not (mean := fmean(times)):
        return inf
    return stdev(times) / mean / sqrt(len(times))


async def _bursts(ask: _Ask, size: int, calls: int, precision: float, time: _Time, report: Report) -> list[Sent]:
    """As many bursts as it takes: a single one says little where calls differ. Those in which a call failed are left
    out, unless there are no others."""
    found: list[Sent] = []
    time.next_part()
    for number in range(_most_bursts(size, calls)):
        if number >= _FEWEST_BURSTS and not time.has(fmean(_latencies_ms(found[-1].answered)) / 1e3):
            time.ran_out = True
            break
        found.append(await ask(size, None))
        means = _means(_whole(found))
        if means:
            report(f"{size} at once: {fmean(means):.1f} ms ({len(found)} bursts)")
        if _error(means) <= precision:
            break
    return _whole(found) or found


def _whole(bursts: Sequence[Sent]) -> list[Sent]:
    return [burst for burst in bursts if None not in burst.attempts]


def _means(bursts: Sequence[Sent]) -> list[float]:
    return [fmean(_services_ms(burst.answered)) for burst in bursts]


def _most_bursts(size: int, calls: int) -> int:
    return max(_FEWEST_BURSTS, calls // size)


def _batches(concurrency: int, calls: int, rounds: int = _ROUNDS) -> Iterator[int]:
    """Sizes of batches, each at most twice the one before, until `calls` calls count.

    The first calls of a batch do not: those in front of a queue meet no queue. Nor do the last ones, while fewer and
    fewer are in flight.
    """
    lost = 2 * (concurrency - 1)
    size = rounds * concurrency
    missing = calls
    while True:
        yield size
        missing -= size - lost
        if missing <= 0:
            return
        size = min(2 * size, max(missing, 2) + lost)


def _profile(backend: AnyBackend, date: str, loops: Mapping[int, Sent], bursts: Sequence[Sent], failed: int) -> Profile:
    info = backend.info
    attempts = [attempt for batch in (*loops.values(), *bursts) for attempt in batch.answered]
    tokens = [n for attempt in attempts if (n := attempt.usage.output_tokens) is not None]
    reported = all(attempt.service_ns is not None for attempt in attempts)
    if reported and not all(any(map(_service, batch.answered)) for batch in loops.values()):
        # It says 0 of all calls of a level: its clock is too coarse for them, and ours is not.
        reported = False
        attempts_ms = _latencies_ms
    else:
        attempts_ms = _services_ms
    levels = {concurrency: attempts_ms(batch.answered) for concurrency, batch in loops.items()}
    smallest = min(len(batch.answered) for batch in bursts)
    burst_services = [attempts_ms(batch.answered[:smallest]) for batch in bursts]
    if min(map(fmean, levels.values())) <= 0:
        raise CalibrationFailed(f"backend {info.name!r} says that its calls take no time")
    sharing = Profile(
        backend=info.name,
        model=info.model,
        endpoint=info.endpoint,
        simulated=info.simulated,
        max_concurrency=backend.limits.max_concurrency,
        date=date,
        discipline="sharing",
        levels=tuple(
            Level(c, len(batch.answered), fmean(levels[c]), fmean(_latencies_ms(batch.answered)))
            for c, batch in loops.items()
        ),
        points=fitted_points(levels),
        ratios=distribution(list(levels.values())),
        burst_ms=in_order_of_end(burst_services),
        client_ms=fmean(burst.client_ns for burst in bursts) / 1e6,
        service_reported=reported,
        output_tokens=fmean(tokens) if len(tokens) == len(attempts) else None,
        failed_calls=failed,
    )
    # A call in a queue takes the work of all before it too, which evens out: only the calls that are alone show theirs.
    queue = msgspec.structs.replace(sharing, discipline="queue", ratios=distribution([levels[1]]))
    return better_fit(sharing, queue, levels, burst_services)


def _service(attempt: Attempt) -> int:
    return attempt.latency if attempt.service_ns is None else attempt.service_ns


def _services_ms(attempts: Iterable[Attempt]) -> list[float]:
    return [_service(attempt) / 1e6 for attempt in attempts]


def _latencies_ms(attempts: Iterable[Attempt]) -> list[float]:
    return [attempt.latency / 1e6 for attempt in attempts]
