"""``apxm resume --edited`` and ``--dry-run``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from apxm.journal.catalog import read
from tests.cli.conftest import Apxm

SOURCE = """\
agent A {
    @entry flow main(topic: str) -> str {
        ask(f"first {topic}") -> first
        ask(f"second {first}") -> second
        print(first)
        return ask("third", second)
    }
}
"""
JOURNAL = ("--journal-dir", "runs")


@pytest.fixture
def run_id(apxm: Apxm, tmp_path: Path) -> str:
    """Of a run whose budget was not enough for its third call."""
    (tmp_path / "a.ais").write_text(SOURCE.replace('", second', '", second, max_tokens: 5000'))
    begun = ("execute", "a.ais", "bees", "--latency", "constant:1", "--journal", *JOURNAL)
    ended = apxm(*begun, "--max-total-tokens", "5000")
    assert ended.status == 4, ended.err
    [run] = json.loads(apxm("runs", "list", "--json", *JOURNAL).out)
    assert run["operations"] == 2
    return run["id"]


def test_the_refusal_says_how_to_go_on(apxm: Apxm, tmp_path: Path, run_id: str) -> None:
    (tmp_path / "a.ais").write_text(SOURCE)
    refused = apxm("resume", run_id, *JOURNAL)
    assert refused.status == 1
    assert "--edited goes on with it as it is now" in refused.err
    (tmp_path / "a.ais").write_text(SOURCE.replace("return", "retrun"))
    refused = apxm("resume", run_id, *JOURNAL)
    assert (refused.status, "a.ais:6:" in refused.err) == (1, True)
    assert "the program has changed since the run began: it has errors now, the first: " in refused.err
    assert "--as-recorded goes on with it as it was" in refused.err


def test_an_edited_run_says_what_it_asks_before_it_does(apxm: Apxm, tmp_path: Path, run_id: str) -> None:
    (tmp_path / "a.ais").write_text(SOURCE.replace("second {", "zweitens {"))
    before = read(tmp_path / "runs", run_id).records
    said = apxm("resume", run_id, *JOURNAL, "--edited", "--dry-run")
    assert (said.status, said.out) == (0, "")
    _, _, kept, again, then, takes = said.err.splitlines()
    assert kept == "1 answer kept"
    assert again == "asked again, with another request: second"
    assert then == "then, as these answer: ask#1"
    assert re.fullmatch(r"that takes about [\d,]+ tokens \(at most [\d,]+\); what it costs is not known, .*", takes)
    assert read(tmp_path / "runs", run_id).records == before
    told = apxm("resume", run_id, *JOURNAL, "--edited", "--dry-run", "--json", "--quiet")
    assert (json.loads(told.out)["asked"], told.err) == (["second"], "")
    ended = apxm("resume", run_id, *JOURNAL, "--edited", "--max-total-tokens", "50000")
    assert (ended.status, ended.err.splitlines()[2:6]) == (0, [kept, again, then, takes])
    fresh = apxm("execute", "a.ais", "bees", "--latency", "constant:1")
    assert ended.out == fresh.out
    [edited] = [
        row
        for row in json.loads(apxm("runs", "show", "last", "--json", *JOURNAL).out)["rows"]
        if row["kind"] == "edited"
    ]
    assert edited.keys() == {"row", "time", "kind", "program_digest", "inputs", "inputs_digest"}
    again = apxm("resume", run_id, *JOURNAL)
    assert (again.status, again.out) == (0, fresh.out)


def test_what_cannot_be_gone_on_with_is_refused_and_changes_nothing(apxm: Apxm, tmp_path: Path, run_id: str) -> None:
    before = read(tmp_path / "runs", run_id).records
    (tmp_path / "a.ais").write_text(SOURCE.replace("return", "retrun"))
    wrong = apxm("resume", run_id, *JOURNAL, "--edited")
    assert wrong.status == 1
    assert "a.ais:6:" in wrong.err
    both = apxm("resume", run_id, *JOURNAL, "--edited", "--as-recorded")
    assert (both.status, "either as recorded or as edited" in both.err) == (2, True)
    (tmp_path / "a.ais").unlink()
    gone = apxm("resume", run_id, *JOURNAL, "--edited")
    assert gone.status == 2
    assert f"the file that run {run_id} began with is not there" in gone.err
    assert read(tmp_path / "runs", run_id).records == before


def test_another_model_is_asked_again_where_one_says_so(apxm: Apxm, tmp_path: Path) -> None:
    (tmp_path / "a.ais").write_text(SOURCE)
    config = tmp_path / ".apxm/config.toml"
    config.parent.mkdir()
    config.write_text('[backends.dry]\nkind = "simulated"\nmodel = "one"\nlatency = "constant:1"\n')
    assert apxm("execute", "a.ais", "bees", "--journal", *JOURNAL).status == 0
    config.write_text(config.read_text().replace("one", "two"))
    refused = apxm("resume", "last", *JOURNAL)
    assert refused.status == 1
    assert "--edited asks again what would be another request now" in refused.err
    ended = apxm("resume", "last", *JOURNAL, "--edited")
    assert ended.status == 0
    assert "0 answers kept" in ended.err
