"""What the process allows at a backend: limits by the minute, pauses, the circuit breaker, the budget for retries."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from apxm.backends.protocol import Clock, Handle, Limits, ModelAnswer, ModelRequest
from apxm.errors import BackendError
from apxm.program.program import Program
from apxm.runtime import retries
from apxm.runtime.adaptive import BURST
from apxm.runtime.breaker import PROBES, TRIP
from apxm.runtime.gates import Gate, Ticket
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool, Gates
from apxm.runtime.options import RunOptions
from apxm.runtime.retries import FLOOR, RetryBudget
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Trace
from apxm.runtime.windows import Window
from apxm.testing import ScriptedBackend, execute_virtually, run_virtually
from tests.analysis.endpoints import ReportingBackend
from tests.plans import ask, give, merge, plan, program

SECOND = 1_000_000_000
GUARDED = 61_200
"""ms: a minute and its guard."""


def fan_out(count: int) -> Program:
    return program(plan(*[ask(f"Task {i}") for i in range(count)], merge(*range(count)), give(count)))


def sent_ms(backend: ScriptedBackend) -> list[float]:
    return [call.sent_ms for call in backend.calls]


# --- at once -------------------------------------------------------------------------------------------------------


def in_flight(gate: Gate, calls: int, others: int = 0) -> int:
    """How many of so many calls in a row it lets go at once."""
    return sum(gate.take_at_once(0, others) is not None for _ in range(calls))


def test_at_once_goes_only_what_leaves_room_for_the_others() -> None:
    assert in_flight(Gate("g", Limits(max_concurrency=3)), 5) == 3
    assert in_flight(Gate("g", Limits(max_concurrency=3)), 5, others=2) == 1
    assert in_flight(Gate("g", Limits(), adaptive=True), 2000) == BURST


def test_nothing_goes_at_once_where_somebody_waits() -> None:
    async def once() -> None:
        gate = Gate("g", Limits(max_concurrency=2))
        gate.wait(lambda: None)
        assert not in_flight(gate, 1)

    asyncio.run(once())


@pytest.mark.parametrize("limits", [Limits(requests_per_minute=9), Limits(tokens_per_minute=9)])
def test_nothing_goes_at_once_where_minutes_are_counted(limits: Limits) -> None:
    assert not in_flight(Gate("g", limits), 1)


def test_nothing_goes_at_once_where_the_endpoint_has_asked_to_be_left_alone() -> None:
    gate = Gate("g", Limits(max_concurrency=2))
    gate.pause(SECOND)
    assert not in_flight(gate, 1)


def test_of_more_than_can_go_at_once_those_with_the_longest_path_go_first() -> None:
    """Three are ready and two can go, so all have to wait for their turns."""
    backend = ScriptedBackend(max_concurrency=2)
    nodes = [replace(ask(f"Task {i}"), priority=rank) for i, rank in enumerate((1000, 2000, 3000))]
    execute_virtually(program(plan(*nodes, merge(0, 1, 2), give(3))), backend)
    assert [call.request.prompt for call in backend.calls] == ["Task 2", "Task 1", "Task 0"]


# --- by the minute -------------------------------------------------------------------------------------------------


@given(
    limit=st.integers(1, 50),
    requests=st.lists(st.tuples(st.integers(0, 2 * SECOND), st.integers(0, 60), st.integers(0, 60)), max_size=80),
)
def test_no_window_holds_more_than_its_limit_and_nothing_waits_for_nothing(
    limit: int, requests: list[tuple[int, int, int]]
) -> None:
    """Whatever is asked for, however it is settled; a request above the whole limit has a window to itself."""
    window_ns = SECOND
    window, now = Window(limit, window_ns), 0
    spent: list[tuple[int, int]] = []
    for gap, asked, actual in requests:
        now += gap
        while (at := window.free_at(asked, now)) > now:
            assert any(when + window_ns * 102 // 100 == at for when, _ in spent), "it waits for one to be forgotten"
            now = at
        used = min(asked, actual)
        window.settle(window.spend(asked, now), used)
        spent.append((now, used))
    for i, (begin, _) in enumerate(spent):
        inside = [amount for when, amount in spent[i:] if when < begin + window_ns]
        assert sum(inside) <= limit or len([amount for amount in inside if amount]) == 1


def test_requests_by_the_minute() -> None:
    backend = ScriptedBackend(requests_per_minute=3)
    assert execute_virtually(fan_out(8), backend).duration == (2 * GUARDED + 1000) * 1_000_000
    assert sent_ms(backend) == [0] * 3 + [GUARDED] * 3 + [2 * GUARDED] * 2


def test_tokens_by_the_minute_are_reserved_and_then_what_was_used() -> None:
    # Each call may cost 6 + 32 + 200 tokens, so two fit into 500; it costs 2 + 1, so after a second all others do.
    backend = ScriptedBackend(tokens_per_minute=500, max_tokens=200)
    execute_virtually(fan_out(5), backend)
    assert sent_ms(backend) == [0, 0, 1000, 1000, 2000]


def test_a_call_above_the_whole_limit_of_tokens_goes_alone() -> None:
    backend = ScriptedBackend(tokens_per_minute=100, max_tokens=200, script=lambda _: " ".join(["word"] * 90))
    trace = execute_virtually(fan_out(2), backend)
    assert not trace.failures
    assert sent_ms(backend) == [0, GUARDED]


def test_a_request_counts_from_when_it_had_arrived_at_the_latest() -> None:
    """The endpoint says that it worked for 100 of the 1,000 ms: so the first one may have arrived 900 ms late."""
    backend = ReportingBackend(requests_per_minute=1, service_ms=lambda _: 100)
    execute_virtually(fan_out(3), backend)
    assert sent_ms(backend) == [0, 900 + GUARDED, 2 * (900 + GUARDED)]


@pytest.mark.parametrize(
    "limits", [{"requests_per_minute": 50}, {"tokens_per_minute": 5_500}], ids=["requests", "tokens"]
)
def test_nearly_all_of_a_limit_is_used(limits: dict[str, int]) -> None:
    """Prompts of 10 tokens; answers of 100, after 10 ms, of which 120 are allowed: 50 a minute either way."""
    answer = " ".join(["word"] * 100)
    backend = ScriptedBackend(lambda _: answer, lambda _: 10, max_tokens=120, **limits)
    p = program(plan(*[ask("a b c d e f g h i j") for _ in range(500)]))
    execute_virtually(p, backend)
    sent = sent_ms(backend)
    whole_windows = sent[-50] - sent[0]
    assert (len(sent) - 50) / whole_windows >= 0.95 * 50 / 60_000


def test_runs_take_turns_at_a_limit_by_the_minute() -> None:
    backend = ScriptedBackend(requests_per_minute=1, script=lambda request: request.prompt)
    pool = BackendPool({"scripted": backend}, "scripted")
    first, second = (program(plan(*[ask(f"{name}{i}") for i in range(3)])) for name in "ab")

    async def both() -> None:
        runs = [Run(LoadedProgram(p), p.flows[0], (), pool) for p in (first, second)]
        await asyncio.gather(*(run.execute() for run in runs))

    run_virtually(both())
    assert "".join(prompt[0] for prompt in backend.prompts) == "aababb", "the one that has waited longest goes first"


def test_a_large_call_keeps_its_turn_though_smaller_ones_would_fit() -> None:
    big, small = program(plan(ask("x" * 400))), program(plan(*[ask(str(i)) for i in range(20)]))
    backend = ScriptedBackend(tokens_per_minute=600, max_tokens=100, script=lambda _: "w " * 90)
    pool = BackendPool({"scripted": backend}, "scripted")

    async def both() -> None:
        runs = [Run(LoadedProgram(p), p.flows[0], (), pool) for p in (small, big)]
        await asyncio.gather(*(run.execute() for run in runs))

    run_virtually(both())
    position = next(i for i, prompt in enumerate(backend.prompts) if len(prompt) == 400)
    assert position <= 12


def test_pools_for_the_same_endpoint_share_its_gate_across_threads() -> None:
    gates = Gates()

    class Real(ScriptedBackend):
        @property
        def info(self):
            from apxm.backends.protocol import BackendInfo

            return BackendInfo(name="real", kind="k", model="m", endpoint="http://127.0.0.1:1/v1")

    shared = [BackendPool({"real": Real(max_concurrency=1)}, "real", gates).gates["real"] for _ in range(2)]
    assert shared[0] is shared[1]
    assert BackendPool({"real": Real(max_concurrency=2)}, "real", gates).gates["real"] is not shared[0]
    gate = shared[0]
    ticket = gate.take(0, 0)
    assert isinstance(ticket, Ticket)
    woken, ready = threading.Event(), threading.Event()

    def waits() -> None:
        async def main() -> None:
            done = asyncio.Event()
            gate.wait(done.set)
            ready.set()
            await done.wait()
            woken.set()

        asyncio.run(main())

    thread = threading.Thread(target=waits)
    thread.start()
    assert ready.wait(10)

    async def give_back() -> None:
        gate.give_back(ticket, None, 1)

    asyncio.run(give_back())
    assert woken.wait(10)
    thread.join()


# --- pauses --------------------------------------------------------------------------------------------------------


def failing(count: int, error: Callable[[], BackendError], **options: int) -> ScriptedBackend:
    """Fails its first `count` calls."""
    backend = ScriptedBackend(retries=6, **options)

    def script(request: ModelRequest) -> str | BackendError:
        return error() if len(backend.calls) <= count else f"[{request.prompt}]"

    backend.script = script
    return backend


def busy(seconds: float) -> BackendError:
    return BackendError("rate_limited", "busy", retryable=True, retry_after_s=seconds)


def lost() -> BackendError:
    return BackendError("connection", "lost", retryable=True, hint="look at the cable")


def test_retry_after_pauses_the_backend_and_not_one_call() -> None:
    backend = failing(1, lambda: busy(50))
    # The second one is ready a second later, when the first was told to come back: it keeps away as well.
    p = program(plan(ask("first"), ask("quick", backend="other"), ask(1)))
    other = ScriptedBackend(name="other", latency_ms=lambda _: 1500)
    trace = execute_virtually(p, backend, other)
    assert not trace.failures
    # Then with one call in flight at first, since nobody knows how many it bears.
    assert sent_ms(backend) == [0, 51_000, 52_000]


def test_an_endpoint_that_asks_for_too_long_is_not_asked_again() -> None:
    backend = failing(1, lambda: busy(601))
    trace = execute_virtually(program(plan(ask("x"))), backend)
    assert [f.kind for f in trace.failures] == ["rate_limited"]
    assert len(backend.calls) == 1


def test_retries_are_the_backends_unless_the_call_names_some() -> None:
    for p, expected in ((program(plan(ask("x"))), 7), (program(plan(ask("x", retries=2))), 3)):
        backend = failing(100, lost)
        assert execute_virtually(p, backend).failures
        assert len(backend.calls) == expected


def test_whoever_waits_for_retries_is_told_why_once() -> None:
    said: list[str] = []
    execute_virtually(fan_out(3), failing(1, lost), options=RunOptions(warn=said.append))
    assert said == [], "one failure is nothing to speak of"
    execute_virtually(fan_out(3), failing(12, lost), options=RunOptions(warn=said.append))
    assert [text.partition(": ")[2] for text in said] == ["lost; tried again, up to 6 times, as others may be"]


def nobody_listens() -> BackendError:
    return BackendError("unreachable", "refused", retryable=True, patience_s=2)


def refusing(count: int, **options: int) -> ScriptedBackend:
    """As `failing`, where an attempt in vain takes a millisecond."""
    backend = failing(count, nobody_listens, **options)
    backend.latency_ms = lambda _: 1
    return backend


def test_where_nobody_listens_a_call_is_tried_again_for_two_seconds() -> None:
    said: list[str] = []
    backend = refusing(1000)
    trace = execute_virtually(program(plan(ask("x"))), backend, options=RunOptions(warn=said.append))
    assert [f.kind for f in trace.failures] == ["unreachable"]
    assert sent_ms(backend) == [0, 501, 1002, 1503, 2004]
    assert said[0].endswith("refused; tried again, for 2 s, as others may be")


def test_a_server_that_is_starting_is_waited_for() -> None:
    for calls in (1, 3, 100):
        backend = refusing(4 * calls if calls < 10 else calls + 3)
        trace = execute_virtually(fan_out(calls), backend)
        assert not trace.failures, calls


@pytest.mark.parametrize("limit", [None, 1, 3])
@pytest.mark.parametrize("calls", [2, 5, 19, 21, 150, 2000])
def test_however_many_calls_end_soon_where_nobody_listens(calls: int, limit: int | None) -> None:
    """The circuit breaker and the budget for retries, which spare an endpoint, spare nobody here."""
    trace = execute_virtually(fan_out(calls), refusing(100_000), options=RunOptions(max_concurrency=limit))
    assert len(trace.failures) == calls
    assert {f.kind for f in trace.failures} <= {"unreachable", "circuit_open"}
    assert trace.duration < 2.6 * SECOND


def test_who_says_how_often_to_try_again_is_heard() -> None:
    backend = refusing(1000)
    trace = execute_virtually(program(plan(ask("x", retries=6))), backend)
    assert len(backend.calls) == 7
    assert trace.duration > 3 * SECOND


class Metered(ScriptedBackend):
    """Takes so many requests a second, and refuses what is beyond; an answer takes a second."""

    def __init__(self, per_second: int, retry_after_s: float | None) -> None:
        super().__init__(retries=6)
        self.taken: list[float] = []
        self.refused = 0
        self._most, self._retry_after_s = per_second, retry_after_s

    def begin(self, request: ModelRequest, clock: Clock, done: Callable[[ModelAnswer | BackendError], None]) -> Handle:
        now = clock.now()
        self.taken = [when for when in self.taken if when > now - SECOND]
        if len(self.taken) < self._most:
            self.taken.append(now)
            return super().begin(request, clock, done)
        self.refused += 1
        error = BackendError("rate_limited", "busy", retryable=True, retry_after_s=self._retry_after_s)
        return clock.call_at(now + SECOND // 100, lambda: done(error))


@pytest.mark.parametrize("retry_after_s", [None, 1])
@pytest.mark.parametrize(("per_second", "most_s"), [(50, 45), (5, 300)])
def test_an_endpoint_that_takes_few_calls_gets_as_many_as_it_takes(
    per_second: int, most_s: int, retry_after_s: float | None
) -> None:
    """A thousand at once, and nobody has configured a limit: none is lost, and little is asked in vain."""
    backend = Metered(per_second, retry_after_s)
    trace = execute_virtually(fan_out(1000), backend)
    assert not trace.failures
    assert trace.duration <= most_s * SECOND, "the least is 1,000 over so many a second"
    assert backend.refused <= 1000 + 500


@pytest.mark.parametrize("retry_after_s", [None, 1, 30])
@pytest.mark.parametrize(("per_second", "least_s"), [(50, 20), (5, 200)])
def test_where_the_limit_is_found_it_is_so_sooner(per_second: int, least_s: int, retry_after_s: float | None) -> None:
    backend = Metered(per_second, retry_after_s)
    pool = BackendPool({backend.name: backend}, backend.name)
    pool.gates[backend.name] = Gate(backend.name, backend.limits, adaptive=True)
    p = fan_out(1000)
    trace = run_virtually(Run(LoadedProgram(p), p.flows[0], (), pool).execute())
    assert not trace.failures
    # The first burst is told when to come back: so long nobody asks at all.
    assert trace.duration <= (1.1 * least_s + 2 * (retry_after_s or 0)) * SECOND
    assert backend.refused <= 1000 + 50, "those of the first burst, and a few"


# --- the circuit breaker -------------------------------------------------------------------------------------------


def down(gate: Gate, now: int = 0) -> int:
    for _ in range(TRIP):
        gate.broke(lost(), now, now)
    found = gate.take(0, now)
    assert isinstance(found, int)
    return found


async def _opened_again() -> None:
    gate = Gate("b", Limits())
    until = down(gate)
    assert until == SECOND
    probe = gate.take(0, until)
    assert isinstance(probe, Ticket)
    assert gate.take(0, until) == -1, "one call alone finds out"
    gate.answered += 1
    gate.recovered()
    gate.give_back(probe, None, until + 1)
    assert isinstance(gate.take(0, until + 1), Ticket)
    assert not gate.troubled


def test_an_answer_opens_it_again() -> None:
    asyncio.run(_opened_again())


def test_an_answer_between_failures_keeps_it_open() -> None:
    gate = Gate("b", Limits())
    for _ in range(10):
        for _ in range(TRIP - 1):
            gate.broke(lost(), 0, 0)
        gate.answered += 1
    assert isinstance(gate.take(0, 0), Ticket)


async def _probes() -> list[int]:
    gate, instants = Gate("b", Limits()), list[int]()
    now = down(gate)
    for _ in range(PROBES):
        instants.append(now)
        probe = gate.take(0, now)
        assert isinstance(probe, Ticket)
        gate.broke(lost(), now, now)
        gate.give_back(probe, None, now)
        found = gate.take(0, now)
        assert isinstance(found, int)
        if found < 0:
            break
        now = found
    assert gate.take(0, now) == -2
    assert gate.refusal().message.endswith("in a row and is left alone for a while; the last time: lost")
    assert gate.refusal().hint == "look at the cable"
    # After the last cool-down somebody may try again.
    assert isinstance(gate.take(0, now + 30 * SECOND), Ticket)
    return [instant // SECOND for instant in instants]


def test_cool_downs_double_and_after_six_probes_calls_are_refused() -> None:
    assert asyncio.run(_probes()) == [1, 3, 7, 15, 31, 61]


def test_a_probe_that_is_given_up_lets_another_one_go() -> None:
    async def main() -> None:
        gate = Gate("b", Limits())
        until = down(gate)
        probe = gate.take(0, until)
        assert isinstance(probe, Ticket)
        gate.give_back(probe, None, until)
        assert isinstance(gate.take(0, until), Ticket)

    asyncio.run(main())


def test_a_wide_run_against_a_dead_endpoint_asks_it_rarely_and_ends() -> None:
    backend = ScriptedBackend(retries=6, latency_ms=lambda _: 10, script=lambda _: lost())
    trace = execute_virtually(fan_out(200), backend)
    assert len(trace.failures) == 200
    assert {f.kind for f in trace.failures} <= {"connection", "circuit_open"}
    assert len(backend.calls) <= 200 + PROBES + 1
    assert trace.duration <= 120 * SECOND


def test_what_waits_while_it_is_down_goes_on_when_it_is_back() -> None:
    backend = failing(203, lost)
    backend.latency_ms = lambda _: 10
    trace = execute_virtually(fan_out(200), backend)
    assert not trace.failures
    assert len(backend.calls) == 400 + 3


# --- the budget for retries ----------------------------------------------------------------------------------------


def test_retries_are_a_fifth_of_all_attempts_above_a_floor() -> None:
    gate = Gate("b", Limits())
    budget = RetryBudget([gate])
    assert [budget.take(0) for _ in range(FLOOR)] == [0] * FLOOR
    assert budget.take(0) == SECOND + 1, "one each second at least"
    gate.answered += 10
    assert [budget.take(0) for _ in range(3)] == [0, 0, SECOND + 1]
    gate.failed += 1_000_000
    assert [budget.take(0) for _ in range(FLOOR + 1)][-1] > 0, "what was not spent in good times is no licence"


def test_a_retry_above_the_budget_waits_and_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FLOOR", 1)
    monkeypatch.setattr(retries, "SHARE", 0.0)
    monkeypatch.setattr(retries, "FIRST_PAUSE_NS", 1)
    backend = failing(3, lost)
    pool = BackendPool({"scripted": backend}, "scripted")
    backend.latency_ms = lambda _: 10
    pool.retries._left = 0  # pyright: ignore[reportPrivateUsage]
    p = program(plan(ask("x")))

    async def main() -> Trace:
        return await Run(LoadedProgram(p), p.flows[0], (), pool, RunOptions()).execute()

    assert not run_virtually(main()).failures
    gaps = [round(b - a) for a, b in zip(sent_ms(backend), sent_ms(backend)[1:], strict=False)]
    assert gaps == [1000, 1000, 1000]
