"""`flow.explain()`: the command's words as keywords, and the lengths of real arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from apxm import ask, each, flow
from apxm.analysis.profile import encode_profile
from apxm.analysis.specified import specified_profile
from apxm.backends.settings import SimulatedSettings
from apxm.errors import ConfigurationError, UsageError
from apxm.explaining.explanation import FunctionExplained
from apxm.explaining.text import Explained


@flow
def label(rows: list[str], style: str = "short", rounds: int = 2) -> list[str]:
    found: list[str] = []
    for row in each(rows):
        answer = ask(f"Label this: {row}", style)
        for _ in range(rounds):
            answer = ask(f"Better: {row}", answer)
        found.append(answer)
    return found


def only(explained: Explained) -> FunctionExplained:
    (function,) = explained.found.functions
    return function


def calls(explained: Explained) -> str:
    return only(explained).calls.low


@pytest.fixture(autouse=True)
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("two.toml").write_text(
        'default_backend = "cheap"\n'
        '[backends.cheap]\nkind = "openai"\nendpoint = "http://127.0.0.1:9/v1"\nmodel = "m"\n'
        "prices = { m = { input = 0.0, output = 1.0 }, n = { input = 0.0, output = 2.0 } }\n"
        '[backends.slow]\nkind = "simulated"\nlatency = "constant:7000"\n'
    )


def test_lengths_of_real_arguments() -> None:
    rows = ["a bee", "a stone", "a fern"]
    assert calls(label.explain(rows=rows, style="long", rounds=4)) == "15"
    assert calls(label.explain(rows=500, rounds=4)) == "2,500"
    assert calls(label.explain({"rows": set(rows)}, rounds=0)) == "3"
    assert calls(label.explain(rows=rows, rounds=-1)) == "3"


def test_arguments_without_a_length_leave_formulas() -> None:
    assert calls(label.explain(rows=iter("ab"), rounds=True)) == "len(rows)·rounds + len(rows)"
    assert calls(label.explain(rows=["a"])) == "rounds + 1"


def test_what_is_no_parameter_and_no_length_is_an_error() -> None:
    with pytest.raises(UsageError, match="nothing here goes through `row`, whose length is given") as raised:
        label.explain(row=["a bee"])
    assert raised.value.hint == "did you mean rows?"


def test_a_method_is_explained_by_its_arguments() -> None:
    class Labels:
        @flow
        def each_of(self, rows: list[str]) -> list[str]:
            return [ask(row) for row in each(rows)]

    assert calls(Labels().each_of.explain(rows=["a", "b"])) == "2"


def test_times_are_those_of_a_profile_and_of_as_many_calls_at_once_as_are_said() -> None:
    Path("slow.json").write_bytes(encode_profile(specified_profile("slow", SimulatedSettings(latency="constant:3000"))))
    times = only(label.explain(rows=4, rounds=0, profile=Path("slow.json"), p=[2, 1, 2])).times
    assert times is not None
    assert [(each.slots, each.predicted_ms.low) for each in times.at] == [(1, 12000.0), (2, 6000.0)]
    with pytest.raises(ConfigurationError, match="there is no file 'no', and no profile"):
        label.explain(profile="no")
    with pytest.raises(UsageError, match="p must be at least 1, not 0"):
        label.explain(p=[0])


def cost(explained: Explained) -> str | None:
    found = only(explained).costs
    return None if found is None else found.cost


def test_prices_are_those_of_the_backend_that_would_be_asked() -> None:
    assert cost(label.explain(rows=1000, rounds=0)) is None
    assert cost(label.explain(rows=1000, rounds=0, config="two.toml")) == "0.256"
    assert cost(label.using(config="two.toml", model="n").explain(rows=1000, rounds=0)) == "0.512"
    assert cost(label.using(backend="slow").explain(rows=1000, rounds=0, config="two.toml")) is None


def test_a_simulated_backend_of_the_flow_says_how_long_it_takes() -> None:
    for explained in (
        label.using(backend="slow", config="two.toml").explain(rows=2, rounds=0),
        label.using(backend="simulated", latency="constant:7000").explain(rows=2, rounds=0),
    ):
        times = only(explained).times
        assert times is not None
        assert times.t1_ms.low == 14000.0
