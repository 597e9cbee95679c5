"""A budget that several runs use up together."""

from __future__ import annotations

import asyncio
import threading

import pytest

import apxm
from apxm.runtime.budget import Cost, Verdict
from apxm.runtime.loops import run_virtually
from apxm.testing import ScriptedBackend

PROGRAM = """
agent Two {
    @entry flow main(text: str) -> str {
        ask(text, max_tokens: 100) -> first
        ask(first, max_tokens: 100) -> second
        return second
    }
}
"""


def pool(latency_ms: float = 1000) -> apxm.BackendPool:
    """A backend whose answers are much shorter than they may be."""
    return apxm.BackendPool({"s": ScriptedBackend(lambda _: "yes it is", lambda _: latency_ms)}, "s")


async def outcomes(budget: apxm.SharedBudget, number: int, backends: apxm.BackendPool) -> list[object]:
    """What comes of so many runs at once."""
    program = apxm.compile_text(PROGRAM)
    runs = [apxm.run_async(program, text=f"row {k}", budget=budget, backends=backends) for k in range(number)]
    return await asyncio.gather(*runs, return_exceptions=True)


@pytest.mark.parametrize("limit", [300, 1000, 5000])
def test_runs_at_once_use_no_more_than_it_has_and_as_much_as_fits(limit: int) -> None:
    budget = apxm.SharedBudget(max_total_tokens=limit)
    found = run_virtually(outcomes(budget, 100, pool()))
    failed = [one for one in found if isinstance(one, apxm.RunFailed)]
    done = [one.result if isinstance(one, apxm.RunFailed) else one for one in found]
    used = sum(
        attempt.usage.total or 0
        for result in done if isinstance(result, apxm.Result)
        for operation in result.trace.operations
        for attempt in operation.attempts
    )  # fmt: skip
    assert used == budget.tokens <= limit
    assert (len(failed) == 0) is (limit == 5000)
    for one in failed:
        assert one.stopped is not None
        assert (one.stopped.kind, one.stopped.limit, one.stopped.needed is not None) == ("tokens", limit, True)
        assert one.stopped.used is not None
        assert one.stopped.needed is not None
        assert one.stopped.used + one.stopped.needed > limit
    assert budget.judge(Cost(limit - budget.tokens)) is Verdict.FITS  # nothing is reserved any more


def test_what_others_have_reserved_is_waited_for() -> None:
    async def seconds() -> float:
        found = await outcomes(apxm.SharedBudget(max_total_tokens=400), 3, pool())
        assert all(isinstance(one, apxm.Result) for one in found)
        return asyncio.get_running_loop().time()

    # Some 110 tokens are reserved for each call, of which 15 are used: three at once fit, until 70 are used.
    assert 2 <= run_virtually(seconds()) < 6


def test_a_run_that_is_cancelled_holds_up_nobody() -> None:
    async def scenario() -> list[object]:
        program = apxm.compile_text(PROGRAM)
        budget, backends = apxm.SharedBudget(max_total_tokens=1000), pool()
        budget.reserve(Cost(900))  # of somebody else

        def run() -> asyncio.Task[apxm.Result]:
            return asyncio.create_task(apxm.run_async(program, text="row", budget=budget, backends=backends))

        first, second = run(), run()
        await asyncio.sleep(1)
        first.cancel()
        await asyncio.sleep(1)
        budget.settle(Cost(900), Cost(700))
        await asyncio.gather(first, second, return_exceptions=True)
        return [first.cancelled(), second.result().value]

    assert run_virtually(scenario()) == [True, "yes it is"]


def test_runs_of_several_event_loops_share_one() -> None:
    budget = apxm.SharedBudget(max_total_tokens=1500)
    found: list[object] = []

    def go_on() -> None:
        found.extend(asyncio.run(outcomes(budget, 60, pool(1))))

    threads = [threading.Thread(target=go_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 180
    assert {type(one) for one in found} == {apxm.Result, apxm.RunFailed}
    assert 1200 < budget.tokens <= 1500


def test_one_that_waits_in_a_loop_that_is_closed_is_forgotten() -> None:
    budget, woken = apxm.SharedBudget(max_total_tokens=100), list[str]()
    budget.reserve(Cost(90))

    async def waits(name: str) -> None:
        budget.judge(Cost(80), lambda: woken.append(name))

    asyncio.run(waits("closed"))

    async def scenario() -> None:
        await waits("open")
        budget.settle(Cost(90), Cost(0))
        await asyncio.sleep(0)

    asyncio.run(scenario())
    assert woken == ["open"]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_total_tokens": 0}, "the budget must be at least 1 token, not 0"),
        ({"max_cost": -1}, "the most that runs may cost must be"),
    ],
)
def test_numbers_that_make_no_sense(limits: dict[str, int], message: str) -> None:
    with pytest.raises(apxm.UsageError, match=message):
        apxm.SharedBudget(**limits)


def test_what_is_none_is_refused() -> None:
    program = apxm.compile_text(PROGRAM)
    with pytest.raises(apxm.UsageError, match="`budget` is a SharedBudget, not a float"):
        apxm.run(program, text="a", budget=5.0, backends=pool())  # type: ignore[arg-type]
    with pytest.raises(apxm.UsageError, match="the price of 'scripted' at backend 'scripted' is not known"):
        apxm.run(program, text="a", budget=apxm.SharedBudget(max_cost=5.0), backends=pool())
