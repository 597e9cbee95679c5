"""A run as a notebook shows it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from apxm import api
from apxm.api import RunFailed
from apxm.flows.asking import ask
from apxm.flows.batch import BatchFailed
from apxm.flows.each import each
from apxm.flows.flow import flow
from apxm.reports.timeline import MOST_BARS, timeline
from tests.lanes.comparing import ran
from tests.lanes.talking import SECOND

SVG = "{http://www.w3.org/2000/svg}"


@flow
def label(rows: list[str]) -> list[str]:
    return [ask(row) for row in each(rows)]


SIMULATED: dict[str, Any] = {"backend": "simulated", "latency": "constant:1"}


def words(html: str) -> str:
    return re.sub(r"<[^>]*>", "", re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL))


def test_a_result_says_how_it_ended_and_what_it_took() -> None:
    result = label.using(**SIMULATED).run(["a", "b"])
    html = result._repr_html_()
    assert re.match(r"label succeeded in [\d.]+ m?s · 2 LLM calls · \d+ tokens", words(html))
    assert "Simulated answer" in html
    assert f"run {result.run_id}" in html
    ElementTree.fromstring(html.replace("<details open>", "<details>"))  # well-formed, and one element


def test_there_is_a_bar_for_each_call_with_its_path() -> None:
    _, trace = ran(lambda: label.lanes(["a", "b", "c"]), lambda: SECOND)
    drawn = ElementTree.fromstring(timeline(trace))
    titles = [title.text for title in drawn.iter(f"{SVG}title")]
    line = label.function.__code__.co_firstlineno + 2
    assert titles == ["3 calls in 1.00 s", *(f"label:{line}[{k}]: 1.00 s, ok" for k in range(3))]
    assert [(bar.get("x"), bar.get("width")) for bar in drawn.iter(f"{SVG}rect")] == [("0.0", "640.0")] * 3


def test_of_many_calls_it_shows_how_many_there_were_at_once() -> None:
    rows = [f"{k}" for k in range(MOST_BARS + 1)]

    def main() -> list[str]:
        return [*label.lanes(rows), ask("one more")]

    drawn = ElementTree.fromstring(timeline(ran(main, lambda: SECOND)[1]))
    assert [title.text for title in drawn.iter(f"{SVG}title")] == ["42 calls in 2.00 s, at most 41 at once"]
    area = next(iter(drawn.iter(f"{SVG}path"))).get("d") or ""
    heights = re.findall(r"V([\d.]+)h", area)
    assert heights == ["0.0"] * 81 + [f"{60 - 60 / 41:.1f}"] * 79


def test_what_it_shows_is_escaped() -> None:
    result = label.using(**SIMULATED).run(["<script>alert(1)</script>\x1b[31m"])
    html = result._repr_html_()
    assert "<script" not in html
    assert "\x1b" not in html


def test_a_large_value_is_shown_in_part_and_a_dict_in_its_order(tmp_path: Path) -> None:
    @flow
    def large() -> Any:
        return {"z": list(range(100_000)), "a": "x" * 100_000}

    html = large.using(**SIMULATED, journal_dir=tmp_path).run()._repr_html_()
    assert len(html) < 10_000
    assert html.index("&#x27;z&#x27;") < html.index("&#x27;a&#x27;")
    assert "<svg" not in html  # nobody was asked


def test_a_value_that_cannot_be_shown_is_named() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise ValueError

    @flow
    def odd() -> Any:
        return Odd()

    html = odd.using(**SIMULATED).run()._repr_html_()
    assert "Odd" in html


def test_failures_are_told() -> None:
    program = api.compile_text('agent A { @entry flow main() -> str { ask("?", retries: 0) -> a return a } }')
    with pytest.raises(RunFailed) as failed:
        api.run(program, backend="simulated", latency="constant:1", faults="500:1")
    assert "failed" in words(failed.value.result._repr_html_())

    @flow
    def asked(row: str) -> str:
        return ask(row, retries=0)

    with pytest.raises(BatchFailed):
        asked.using(**SIMULATED, faults="500:1").batch(["a"])


def test_the_cost_is_that_of_priced_answers(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    head = 'default_backend = "fast"\n[backends.fast]\nkind = "simulated"\nlatency = "constant:1"\n'
    config.write_text(head)
    without = label.using(config=config).run(["a"])
    assert without.cost is None
    assert "cost" not in words(without._repr_html_())
    config.write_text(f'{head}prices."{without.backend.model}" = {{ input = 1e6, output = 1e6 }}\n')
    result = label.using(config=config).run(["a"])
    llm = result.metrics.llm
    assert result.cost == (llm.total_input_tokens or 0) + (llm.total_output_tokens or 0)
    assert f"cost {result.cost:.4g}" in words(result._repr_html_())
