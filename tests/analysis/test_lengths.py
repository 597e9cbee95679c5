"""How long answers will be, from the journals of earlier runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from apxm import api
from apxm.analysis.lengths import Lengths, answer_lengths, without_turns
from apxm.analysis.static import analyze
from apxm.backends.protocol import ModelRequest
from apxm.errors import BackendError
from apxm.journal.runs import earlier_runs
from apxm.runtime.limits import BackendPool
from apxm.testing import ScriptedBackend
from tests.analysis.test_predicted_engine import profile

SOURCE = """agent A { @entry flow main(words: list[str]) -> list[str] {
    for word in words { ask(word) -> long return long } -> found
    ask("short") -> short
    return found + [short]
} }"""
ENGINE = "tokens:fixed=0,step=10,prefill=0,decode=0"
"""A token of an answer takes 10 ms, and nothing else any time."""


def worded(request: ModelRequest) -> str:
    """As many words as the prompt has letters; of those the backend makes tokens."""
    return " ".join(["word"] * (20 if request.prompt == "short" else len(request.prompt)))


def refused(_request: ModelRequest) -> BackendError:
    return BackendError("http_status", "no", retryable=False)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Four runs of a program, of which one failed and one asked another backend; the journals of them."""
    file, folder = tmp_path / "words.ais", tmp_path / "runs"
    file.write_text(SOURCE)
    for name, words in (("local", ["a" * 100, "b" * 300]), ("local", ["c" * 200]), ("other", ["d" * 900])):
        backend = ScriptedBackend(worded, lambda _: 0, name)
        api.run(
            api.compile(str(file)), {"words": words}, backends=BackendPool({name: backend}, name),
            journal=True, journal_dir=folder,
        )  # fmt: skip
    failing = BackendPool({"local": ScriptedBackend(refused, lambda _: 0, "local")}, "local")
    with pytest.raises(api.RunFailed):
        api.run(api.compile(str(file)), {"words": ["e"]}, backends=failing, journal=True, journal_dir=folder)
    return tmp_path


def lengths(runs: Path, file: str = "words.ais", most: int = 20) -> Lengths:
    return answer_lengths(earlier_runs(runs / "runs", str(runs / file), "A.main", most), "local")


def test_answers_of_all_turns_count_for_their_operation(runs: Path) -> None:
    found = lengths(runs)
    assert {path: sorted(tokens) for path, tokens in found.items()} == {
        path: [100, 200, 300] if "long" in path else [20, 20] for path in found
    }
    assert sorted(path.rpartition("/")[2] for path in found) == ["long", "short"]


def test_only_the_last_runs_of_this_very_file_count(runs: Path) -> None:
    assert lengths(runs, "other.ais") == {}
    # The failed one and that of the other backend are newer; the one but last of those that ended well is `c`.
    assert sorted(tokens for found in lengths(runs, most=2).values() for tokens in found) == [20, 200]


def test_an_analysis_takes_answers_to_be_as_long_as_they_were(runs: Path) -> None:
    program = api.compile(str(runs / "words.ais"))
    found = analyze(program, program.flows[0], (1,), profile(ENGINE), {"words": ["x"]}, lengths=lengths(runs))
    assert found.t_inf_ms.expected == pytest.approx(200 * 10)  # their mean; the other one takes 200 ms beside it
    assert found.output_tokens.expected == pytest.approx(220)
    assert found.unknown_lengths == ()
    low, high = found.at[0].interval80_ms
    assert (low, high) == (pytest.approx(1200, rel=0.01), pytest.approx(3200, rel=0.01))


def test_turns_are_no_part_of_a_name() -> None:
    assert without_turns("A.f/loop[3]/body[12]/ask") == "A.f/loop/body/ask"
