"""Tables on terminals of any width."""

from __future__ import annotations

import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apxm.reports.tables import aligned, markdown, paragraph

RUNS = [
    ["20260131-235959-k3vd", "interrupted", "1 operation", "8.0 KiB", "2026-01-31T23:59:59Z", "work/flow.ais: A.f"],
    ["20260201-000000-aaaa", "stopped", "12 operations", "812 bytes", "2026-02-01T00:00:00Z", "other.ais: A.main"],
]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """60 columns wide."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    return monkeypatch


@pytest.mark.usefixtures("terminal")
def test_columns_that_do_not_fit_stand_below_in_each_row_alike() -> None:
    assert aligned(RUNS, indent="") == [
        "20260131-235959-k3vd  interrupted  1 operation    8.0 KiB",
        "    2026-01-31T23:59:59Z  work/flow.ais: A.f",
        "20260201-000000-aaaa  stopped      12 operations  812 bytes",
        "    2026-02-01T00:00:00Z  other.ais: A.main",
    ]


@pytest.mark.usefixtures("terminal")
def test_a_long_last_column_is_wrapped_where_it_stands() -> None:
    rows = [["ask", "str", "One call."], ["verify", "verdict", "A verdict on a claim: confirmed, refuted or not."]]
    assert aligned(rows) == [
        "  ask     str      One call.",
        "  verify  verdict  A verdict on a claim: confirmed, refuted",
        "                   or not.",
    ]


@pytest.mark.usefixtures("terminal")
def test_a_markdown_table_becomes_a_block_per_row() -> None:
    headers = ["calls at once", "not below", "not above", "predicted", "95% interval"]
    assert markdown(headers, [["1", "9.00 s", "9.00 s", "9.00 s", "–"]] * 2) == [
        *["- calls at once  1", "  not below      9.00 s", "  not above      9.00 s"],
        *["  predicted      9.00 s", "  95% interval   –", ""],
        *["- calls at once  1", "  not below      9.00 s", "  not above      9.00 s"],
        *["  predicted      9.00 s", "  95% interval   –"],
    ]


def test_what_is_no_terminal_gets_one_line_per_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert len(aligned(RUNS)) == 2
    assert len(markdown(["a", "b"], [["x" * 50, "y" * 50]])) == 3
    assert paragraph("word " * 50) == ["word " * 50]


cells = st.lists(st.lists(st.text("ab cé-/", max_size=90), min_size=3, max_size=3), min_size=1, max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=cells, width=st.integers(20, 120), indent=st.sampled_from(["", "  "]))
def test_no_line_is_wider_than_the_terminal_and_nothing_is_lost(
    terminal: pytest.MonkeyPatch, rows: list[list[str]], width: int, indent: str
) -> None:
    terminal.setenv("COLUMNS", str(width))
    for lines in (aligned(rows, indent), markdown(["one", "two", "three"], rows)):
        assert max(map(len, lines)) <= width
        shown = "".join("".join(lines).split())
        assert all(word in shown for row in rows for cell in row for word in ["".join(cell.split())[:10]])
