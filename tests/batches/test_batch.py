"""Many inputs through one program, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest

import apxm
from apxm.batches.batch import Batch, BatchOptions
from apxm.batches.inputs import open_input
from apxm.batches.tally import Tally
from apxm.batches.work import Work
from apxm.errors import UsageError
from apxm.runtime.loops import run_virtually
from tests.batches.working import PROGRAM, results_of


def rows(number: int) -> list[dict[str, Any]]:
    return [{"text": f"row {k}"} for k in range(number)]


def test_what_is_left_counts_the_part_of_a_file_that_was_read_and_not_only_the_rows_that_were_begun(
    tmp_path: Path,
) -> None:
    file, tally = tmp_path / "in.jsonl", Tally(lambda: 0.0)
    file.write_text('{"text": "a"}\n' * 300)
    source = open_input(str(file))
    asyncio.run(Batch(cast(Work, None), source, BatchOptions(), tally, None).is_empty())
    source.close()
    assert (tally.read, tally.fetched, tally.left(source)) == (0, 300, 300)


def test_each_input_gives_what_a_run_of_it_gives() -> None:
    found = results_of(rows(5))
    program = apxm.compile_text(PROGRAM)
    values = [apxm.run(program, row, backend="simulated", latency="constant:1").value for row in rows(5)]
    assert [(each.index, each.input, each.value, each.error) for each in found] == [
        (k, row, value, None) for k, (row, value) in enumerate(zip(rows(5), values, strict=True))
    ]


@pytest.mark.parametrize("ordered", [True, False])
def test_so_many_inputs_are_open_at_once(ordered: bool) -> None:
    async def seconds() -> float:
        program = apxm.compile_text(PROGRAM)
        options = {"backend": "simulated", "latency": "constant:1000", "max_concurrency": 4, "ordered": ordered}
        async for _ in program.batch_async(rows(10), **options):
            pass
        return asyncio.get_running_loop().time()

    assert run_virtually(seconds()) == pytest.approx(3 * 2.0, abs=0.01)  # 4, 4 and 2 inputs of two calls each


def test_results_come_in_order_or_as_they_come() -> None:
    # The first call takes longer than all others.
    latency = "trace:9000,10,20,30,40,50,60,70"
    assert [each.index for each in results_of(rows(4), latency, ordered=True)] == [0, 1, 2, 3]
    assert [each.index for each in results_of(rows(4), latency, ordered=False)] == [1, 2, 3, 0]


def test_in_order_what_runs_ahead_is_bounded() -> None:
    taken = list[int]()

    def items() -> Iterator[dict[str, Any]]:
        for k in range(1000):
            taken.append(k)
            yield {"text": f"row {k}"}

    async def first() -> int:
        program = apxm.compile_text(PROGRAM)
        latency = "trace:" + ",".join(["99999999", *["10"] * 2000])
        async for _ in program.batch_async(
            items(), backend="simulated", latency=latency, max_concurrency=4, timeout_s=1000.0
        ):
            return len(taken)
        raise AssertionError

    assert run_virtually(first()) <= 4 * 4 + 1


def test_an_input_that_fails_ends_no_other() -> None:
    found = results_of([{"text": "a"}, {"text": 5}, {"txt": "a"}, "b", {"text": "c"}])
    assert [each.error and each.error.kind for each in found] == [None, "input", "input", "input", None]
    messages = [each.error.message for each in found if each.error]
    assert messages[0] == "text must be a str, not 5"
    assert "no value" in messages[1] or "needs a value for text" in messages[1]
    assert messages[2] == "a mapping with the parameters is expected, not a str"


def test_a_run_that_fails_says_why() -> None:
    found = results_of(rows(3), faults="503:1.0")
    assert [(each.error.kind, each.error.operation) for each in found if each.error] == [("http_status", "label")] * 3
    (late,) = results_of(rows(1), timeout_s=1.5)
    assert late.error
    assert (late.value, late.error.kind) == (None, "timeout")


def test_after_a_failure_nothing_more_is_begun_where_that_is_said() -> None:
    found = results_of([{"text": "a"}, {"text": 1}, *rows(100)], on_error="stop", max_concurrency=1)
    assert [each.error is None for each in found] == [True, False]


def test_values_of_an_only_parameter() -> None:
    program = "agent A { @entry flow main(text: str) -> str { return text } }"
    assert [each.value for each in results_of(["a", {"text": "b"}], program=program)] == ["a", "b"]


def test_nothing_in_nothing_out() -> None:
    assert results_of([]) == []
    assert results_of(iter([])) == []


def test_items_are_taken_as_they_are_needed() -> None:
    taken = list[int]()

    async def some() -> None:
        program = apxm.compile_text(PROGRAM)
        items = ({"text": f"row {taken.append(k) or k}"} for k in count())
        options = {"backend": "simulated", "latency": "constant:1000", "max_concurrency": 2}
        results = program.batch_async(items, **options)
        async for each in results:
            if each.index == 9:
                break
        await results.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtually(some())
    assert len(taken) < 30


@pytest.mark.parametrize(
    ("items", "options", "message"),
    [
        ("text", {}, "batch takes many inputs, not a str"),
        ({"text": "a"}, {}, "batch takes many inputs, not a dict"),
        (5, {}, "batch takes many inputs, not 5"),
        ([], {"max_conurrency": 2}, "no option 'max_conurrency'"),
        ([], {"max_concurrency": 0}, "concurrency"),
        ([], {"on_error": "finish"}, "can continue or stop"),
        ([], {"require_journal": True}, "no journals"),
        ([{"txt": 1}], {}, "needs a value for text"),
    ],
)
def test_what_is_refused(items: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        results_of(items, **options)


def test_in_a_flow_it_is_refused() -> None:
    program = apxm.compile_text(PROGRAM)

    @apxm.flow
    def outer() -> None:
        list(program.batch([{"text": "a"}]))

    with pytest.raises(UsageError, match="no part of a run"):
        outer.using(backend="simulated").run()


def test_from_a_thread_of_its_own() -> None:
    program = apxm.compile_text(PROGRAM)
    batch = program.batch(iter(rows(20)), backend="simulated", latency="constant:1", max_concurrency=4)
    assert [each.index for each in batch] == list(range(20))
    for each in program.batch(({"text": f"{k}"} for k in count()), backend="simulated", latency="constant:1"):
        if each.index == 30:
            break
    with pytest.raises(UsageError, match="needs a value for text"):
        next(iter(program.batch([{}], backend="simulated")))


def test_what_iterating_over_items_raises_is_raised() -> None:
    def items() -> Iterator[dict[str, Any]]:
        yield {"text": "a"}
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        results_of(items())


@pytest.mark.parametrize("ordered", [True, False])
def test_a_budget_is_that_of_all_inputs_and_the_end_of_it_is_raised_behind_all_results(ordered: bool) -> None:
    found = list[apxm.BatchResult]()

    async def gather() -> None:
        program = apxm.compile_text(PROGRAM)
        options = {"backend": "simulated", "latency": "constant:1000", "max_concurrency": 8, "ordered": ordered}
        async for each in program.batch_async(rows(100), max_total_tokens=9000, **options):
            found.append(each)

    with pytest.raises(apxm.BatchStopped) as raised:
        run_virtually(gather())
    stopped = raised.value
    done = [each for each in found if each.error is None]
    left = [each for each in found if each.error is not None]
    assert 20 < len(done) < 99
    assert 1 <= len(left) <= 8
    assert {each.error.kind for each in left if each.error is not None} == {"tokens"}
    assert stopped.index in {each.index for each in left}
    assert str(stopped).startswith(f"the batch ended at input {stopped.index}: the budget does not cover ")
    assert (stopped.stopped.kind, stopped.stopped.limit) == ("tokens", 9000)
    if ordered:
        assert [each.index for each in found] == list(range(len(found)))


def test_a_budget_of_the_batch_and_another_one_are_refused_together() -> None:
    with pytest.raises(UsageError, match="max_cost is a budget of the batch, and `budget` is another one"):
        results_of(rows(1), max_cost=1.0, budget=apxm.SharedBudget(max_cost=1.0))
