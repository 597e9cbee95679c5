"""The programs of workload 4: the seed's, byte for byte, and any other width in the same form."""

from __future__ import annotations

import pytest

from apxm.backends.numbers import counts
from apxm.errors import UsageError
from apxm.program.nodes import Operate
from apxm.workloads.catalog import SCALABILITY
from apxm.workloads.scalability import WIDEST, WRITTEN, programs, prompts, source_text


def test_what_is_generated_for_the_seeds_widths_is_the_seeds_file() -> None:
    assert source_text(WRITTEN) == SCALABILITY.source.read_text(encoding="utf-8")


def test_prompts_go_on_after_the_alphabet_as_columns_of_a_spreadsheet_do() -> None:
    names = prompts(4096)
    assert [names[i] for i in (0, 1, 25, 26, 27, 51, 52, 701, 702)] == [
        "Task A", "Task B", "Task Z", "Task AA", "Task AB", "Task AZ", "Task BA", "Task ZZ", "Task AAA",
    ]  # fmt: skip
    assert len(set(names)) == 4096


@pytest.mark.parametrize("width", [1, 2, 3, 8, 26, 27, 300])
def test_a_width_is_that_many_independent_asks_of_those_prompts_and_a_merge(width: int) -> None:
    # 300 names include `as`, `if`, `in`, `is` and `or`, words of the language.
    program, flow = programs([width])[width]
    operations = [node for node in program.plans[flow.plan].nodes if isinstance(node, Operate)]
    *asks, merge = operations
    assert [ask.operation for ask in asks] == ["ask"] * width
    assert [ask.operands for ask in asks] == [()] * width
    assert [ask.arguments[0].value for ask in asks] == prompts(width)  # type: ignore[union-attr]
    assert (merge.operation, len(merge.operands)) == ("merge", width)


def test_a_width_that_the_file_holds_is_run_from_the_file() -> None:
    found = programs([2, 3, 8])
    assert {width: program.names.file for width, (program, _) in found.items()} == {
        2: "workflow.ais",
        3: "parallel_3.ais",
        8: "workflow.ais",
    }


def test_widths_are_read_in_rising_order_each_once() -> None:
    assert counts("8, 1,2,2", "--n", WIDEST) == (1, 2, 8)


@pytest.mark.parametrize("text", ["", "two", "1,,2", "0", "-1", "4097", "1.5"])
def test_widths_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--n"):
        counts(text, "--n", WIDEST)
