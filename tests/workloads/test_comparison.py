"""What `apxm workloads run` prints: tables, the curve in characters, JSON, the drawn curve."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from apxm.errors import UsageError
from apxm.reports.tables import markdown
from apxm.workloads.comparison import ComparisonResults, comparison_json, read_comparison
from apxm.workloads.comparison_tables import comparison_text
from apxm.workloads.curve import check_plotting, draw_curve, terminal_curve
from tests.workloads.comparisons import comparison

GOLDEN = Path(__file__).parent / "comparison.golden"


def shown(found: ComparisonResults) -> str:
    guesses = {"a constant": dict.fromkeys((1, 2, 8), 1000.0), "the previous N": {2: 1005.0, 8: 1105.0}}
    return f"{comparison_text(found, guesses)}\n{terminal_curve(found)}\n"


def test_everything_that_is_printed() -> None:
    """To renew the golden file after a change that is meant, write `shown(comparison())` into it."""
    assert shown(comparison()) == GOLDEN.read_text(encoding="utf-8")


def test_one_system_alone_has_no_row_of_the_other_and_langgraph_no_tables_of_ours() -> None:
    apxm, langgraph = shown(comparison(langgraph=False)), shown(comparison(apxm=False))
    assert "LangGraph" not in apxm
    assert "A-PXM" not in langgraph
    assert "Where the time went" in apxm
    assert "Where the time went" not in langgraph


@pytest.mark.parametrize("widths", [(1,), (4,), (1, 4096), (3, 5), (1, 2, 4, 8, 16, 32, 64)])
def test_any_widths_make_a_curve_that_stays_within_its_frame(widths: tuple[int, ...]) -> None:
    lines = terminal_curve(comparison(widths)).splitlines()
    assert len(lines) == 19
    assert max(map(len, lines)) <= 72
    assert str(widths[-1]) in lines[-2]


def test_json_has_the_published_names_and_reads_back() -> None:
    found = comparison(widths=(2,))
    text = comparison_json(found)
    assert read_comparison(text) == found
    report = json.loads(text)
    facts = ["workload", "endpoint", "seed", "iterations", "versions"]
    assert list(report) == [*facts, "results", "calibration", "failed_runs"]
    assert report["calibration"] == {"seconds": 11.75, "calls": 8, "error": 0.0512, "in_time": False}
    (result,) = report["results"]
    assert list(result) == ["n", "apxm", "langgraph"]
    shared = [
        "duration_ms", "duration_ci95_ms", "samples_ms", "llm_calls", "avg_latency_ms", "max_parallelism",
        "t1_estimated_ms", "t1_isolated_ms", "speedup_estimated", "efficiency_estimated", "speedup",
        "theoretical_speedup", "efficiency",
    ]  # fmt: skip
    assert list(result["langgraph"]) == shared
    own = ["overhead_us", "predicted_ms", "prediction_error", "losses_ms", "processor_us"]
    assert list(result["apxm"]) == [*shared, *own]
    assert list(result["apxm"]["overhead_us"]) == ["input_collection", "dispatch", "token_routing", "total"]
    assert list(result["apxm"]["losses_ms"]) == [
        "isolated", "contention", "variation", "transport", "retries", "waiting", "runtime",
    ]  # fmt: skip


def test_other_json_is_not_read_as_a_comparison() -> None:
    with pytest.raises(msgspec.ValidationError):
        read_comparison("{}")


def test_a_markdown_table_is_padded_and_its_numbers_stand_to_the_right() -> None:
    assert markdown(("N", "System", "Time"), [("8", "A-PXM", "1,005ms"), ("64", "LangGraph", "–")]) == [
        "|  N | System    |    Time |",
        "|---:|-----------|--------:|",
        "|  8 | A-PXM     | 1,005ms |",
        "| 64 | LangGraph |       – |",
    ]


def test_a_plot_of_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match=r"must end in \.svg or \.png"):
        check_plotting("curve.pdf")


def test_without_matplotlib_a_plot_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match=r"pip install 'apxm\[plots\]'"):
        check_plotting("curve.svg")


def test_the_drawn_curve_names_its_lines_and_is_the_same_every_time() -> None:
    pytest.importorskip("matplotlib", reason="the extra `plots`")
    svg = draw_curve(comparison(), ".svg")
    assert svg == draw_curve(comparison(), ".svg")
    for words in ("Theoretical (y = x)", "A-PXM", "LangGraph", "N (independent calls)", "Speedup", "usl:0.1,0"):
        assert words in svg.decode()
    assert draw_curve(comparison((1, 64)), ".png").startswith(b"\x89PNG")
