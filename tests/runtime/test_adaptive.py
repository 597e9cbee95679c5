"""The limit that is found: what each event leads to."""

from __future__ import annotations

import pytest

from apxm.backends.protocol import BackendInfo, Limits
from apxm.runtime.adaptive import BURST, REBUFFS, START, AdaptiveLimit
from apxm.runtime.gates import NOT_YET, Gate, Ticket
from apxm.runtime.limits import is_adaptive

SECOND = 1_000_000_000


class Endpoint:
    """Answers whole waves of calls, as many as the limit allows, while more are wanted than that."""

    def __init__(self, limit: AdaptiveLimit, wanted: int = 100_000) -> None:
        self.limit = limit
        self.now = 0
        self.wanted = wanted
        limit.wanted(wanted)

    def wave(self, latency_s: float, *, refused_beyond: int | None = None) -> int:
        """Sends a wave, and answers it after `latency_s`. Gives how many calls it had."""
        calls = min(self.limit.limit, self.wanted)
        begun = self.now
        for _ in range(calls):
            self.limit.began(begun)
        taken = calls if refused_beyond is None else min(calls, refused_beyond)
        for _ in range(calls - taken):
            self.limit.refused(begun, begun)
        self.now += round(latency_s * SECOND)
        for _ in range(taken):
            self.limit.answered(self.now - begun, self.now, waiting=calls < self.wanted)
        return calls


def waves(endpoint: Endpoint, count: int, latency_s: float = 1) -> list[int]:
    return [endpoint.wave(latency_s) for _ in range(count)]


# --- where it begins -----------------------------------------------------------------------------------------------


def test_one_wave_goes_at_once_and_a_long_job_begins_with_fewer() -> None:
    for wanted, begins in ((1, BURST), (BURST, BURST), (BURST + 1, START)):
        limit = AdaptiveLimit()
        limit.wanted(wanted)
        assert limit.limit == begins
        limit.wanted(100_000)
        assert limit.limit == begins, "it is asked once"


# --- throughput ----------------------------------------------------------------------------------------------------


def test_it_doubles_while_calls_take_no_longer() -> None:
    assert waves(Endpoint(AdaptiveLimit()), 7) == [64, 128, 256, 512, 1024, 2048, 4096]


def test_neither_the_clocks_origin_nor_time_in_which_nobody_asks_counts() -> None:
    endpoint = Endpoint(AdaptiveLimit())
    endpoint.now = 10**18
    found: list[int] = []
    for _ in range(7):
        found.append(endpoint.wave(1))
        endpoint.now += 3600 * SECOND
    assert found == [64, 128, 256, 512, 1024, 2048, 4096]


def test_it_falls_when_latency_grows_faster_than_the_calls_in_flight() -> None:
    endpoint = Endpoint(AdaptiveLimit())
    # Twice the calls take four times as long.
    found = [endpoint.wave((endpoint.limit.limit / START) ** 2) for _ in range(9)]
    assert found == [64, 128, 64, 32, 32, 16, 16, 16, 16]


def test_where_throughput_is_the_same_fewer_calls_are_preferred() -> None:
    endpoint = Endpoint(AdaptiveLimit())
    found = [endpoint.wave(max(1, endpoint.limit.limit / 64)) for _ in range(40)]
    levels = [level for level, before in zip(found[1:], found, strict=False) if level != before]
    assert levels == [128, 102, 81, 64, 51, 102, 127, 101, 80, 64, 51, 102, 127, 101, 80, 64]


def test_who_has_all_that_is_wanted_is_left_alone() -> None:
    """Waves of a program that ends with each, however long they take: nothing is gained by fewer at once."""
    endpoint = Endpoint(AdaptiveLimit(), wanted=300)
    assert [endpoint.wave(latency) for latency in (1, 5, 1, 9, 9, 9, 2, 30)] == [300] * 8
    assert endpoint.limit.limit == BURST


# --- refusals ------------------------------------------------------------------------------------------------------


def test_a_burst_of_refusals_is_one_signal_and_says_how_many_are_borne() -> None:
    limit = AdaptiveLimit()
    for _ in range(100):
        limit.began(0)
    found: list[int] = []
    for _ in range(40):
        limit.refused(0, 7)
        found.append(limit.limit)
    assert found[0] == 79, "four fifths of those that are left"
    assert found[-1] == 60, "and not 100 x 0.8 to the power of 40"


def test_above_what_was_borne_it_looks_seldom_and_by_little() -> None:
    endpoint = Endpoint(AdaptiveLimit())
    endpoint.wave(1, refused_beyond=20)
    sent = refused = 0
    for _ in range(200):
        calls = endpoint.wave(1, refused_beyond=20)
        sent, refused = sent + calls, refused + max(0, calls - 20)
    assert 0 < refused <= sent / 80
    assert sent >= 200 * 19.5


def test_it_follows_an_endpoint_that_bears_more_by_and_by() -> None:
    endpoint = Endpoint(AdaptiveLimit())
    endpoint.wave(1, refused_beyond=20)
    for _ in range(50):
        endpoint.wave(1, refused_beyond=2000)
    assert endpoint.limit.limit > 200


def test_after_a_time_of_refusals_alone_it_is_back_soon() -> None:
    endpoint = Endpoint(AdaptiveLimit())
    for _ in range(5):
        endpoint.wave(1, refused_beyond=64)
    for _ in range(20):
        endpoint.now += SECOND
        endpoint.wave(0, refused_beyond=0)
    assert endpoint.limit.limit == 1
    found = [endpoint.wave(1) for _ in range(16)]
    assert found[:6] == [1, 2, 4, 8, 16, 32]
    assert found[-1] >= 60


def test_refusals_that_halving_does_not_change_are_put_up_with() -> None:
    limit = AdaptiveLimit()
    limit.wanted(100_000)
    now, sent = 0, 0
    for _ in range(300):
        now += SECOND
        for _ in range(limit.limit):
            limit.began(now)
        for _ in range(limit.limit):
            sent += 1
            if sent % 20 == 0:
                limit.refused(now, now + 1)
            else:
                limit.answered(SECOND, now + SECOND, waiting=True)
        if limit.limit > 4000:
            return
    pytest.fail(f"it stays at {limit.limit}")


def test_an_endpoint_that_answers_none_is_left_alone_as_a_whole() -> None:
    limit = AdaptiveLimit()
    assert limit.refuses_all, "nobody knows better"
    limit.began(0)
    limit.answered(1, 1, waiting=False)
    assert not limit.refuses_all
    for now in range(10, 10 + REBUFFS):
        assert not limit.refuses_all
        limit.began(now)
        limit.refused(now, now)
    assert limit.refuses_all


# --- at the gate ---------------------------------------------------------------------------------------------------


def test_the_gate_holds_what_was_found() -> None:
    gate = Gate("b", Limits(), adaptive=True)
    tickets = [gate.take(0, 0, wanted=2000) for _ in range(START + 1)]
    assert [isinstance(ticket, Ticket) for ticket in tickets] == [True] * START + [False]
    assert tickets[-1] == NOT_YET
    gate.forked()
    assert isinstance(gate.take(0, 0), Ticket)


def test_retry_after_is_one_calls_where_others_are_answered() -> None:
    gate = Gate("b", Limits(), adaptive=True)
    gate.pause(SECOND)
    assert gate.take(0, 0) == SECOND, "none was answered yet"
    gate = Gate("b", Limits(), adaptive=True)
    assert gate.adaptive is not None
    gate.adaptive.began(0)
    gate.adaptive.answered(1, 1, waiting=False)
    gate.pause(SECOND)
    assert isinstance(gate.take(0, 2), Ticket)


def test_only_an_endpoint_without_a_configured_limit_is_found_out() -> None:
    real = BackendInfo(name="r", kind="openai", model="m", endpoint="http://127.0.0.1/v1")
    simulated = BackendInfo(name="s", kind="simulated", model="m", simulated=True)
    python = BackendInfo(name="p", kind="own", model="m")
    assert is_adaptive(real, Limits())
    assert not is_adaptive(real, Limits(max_concurrency=8))
    assert not is_adaptive(simulated, Limits())
    assert not is_adaptive(python, Limits())
