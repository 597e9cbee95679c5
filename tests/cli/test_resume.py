"""``apxm resume``, and the options of a run that are about its journal and its budget."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from apxm.journal.catalog import read
from apxm.journal.journal import Journal
from apxm.journal.rows import Ended, Started, header_of
from apxm.journal.runs import list_runs
from apxm.operations.types import Value
from apxm.program import codec
from tests.cli.conftest import Apxm
from tests.journal.journals import refuse

SOURCE = """\
agent A {
    @entry flow main(topic: str) -> str {
        ask(f"first {topic}", max_tokens: 50) -> first
        print("between")
        ask(f"second {first}", max_tokens: 50) -> second
        return second
    }
}
"""
FAST = ("--latency", "constant:1")
JOURNAL = ("--journal-dir", "runs")


@pytest.fixture(autouse=True)
def source(tmp_path: Path) -> Path:
    (tmp_path / "a.ais").write_text(SOURCE)
    return tmp_path / "a.ais"


def stopped(apxm: Apxm, tokens: int = 100) -> str:
    """The id of a run whose budget was enough for its first call."""
    ended = apxm("execute", "a.ais", "bees", *FAST, "--journal", *JOURNAL, "--max-total-tokens", str(tokens))
    assert ended.status == 4, ended.err
    [run] = json.loads(apxm("runs", "list", "--json", *JOURNAL).out)
    assert (run["status"], run["operations"]) == ("stopped", 1)
    return run["id"]


def test_a_run_that_stopped_goes_on_with_more_and_prints_everything(apxm: Apxm) -> None:
    whole = apxm("execute", "a.ais", "bees", *FAST)
    run_id = stopped(apxm)
    ended = apxm("resume", run_id, *JOURNAL, "--max-total-tokens", "1000")
    assert (ended.status, ended.out) == (0, whole.out)
    assert "3 operations (1 from the journal), 1 LLM call in" in ended.err
    again = apxm("resume", "last", *JOURNAL)
    assert (again.status, again.out) == (0, whole.out)
    assert "0 LLM calls" in again.err


def test_limits_that_are_not_given_are_those_it_began_with(apxm: Apxm) -> None:
    run_id = stopped(apxm)
    ended = apxm("resume", run_id, *JOURNAL)
    assert ended.status == 4
    assert "the budget does not cover second" in ended.err
    assert f"`apxm resume {run_id}` goes on from here" in ended.err


def test_the_budget_is_told(apxm: Apxm, tmp_path: Path) -> None:
    run_id = stopped(apxm)
    ended = apxm("resume", run_id, *JOURNAL, "--max-total-tokens", "1000", "--json", "--emit-metrics", "m.json")
    report = json.loads(ended.out)
    assert report["run_id"] == run_id
    assert report["metrics"]["execution"]["nodes_reused"] == 1
    budget = report["metrics"]["budget"]
    assert budget == json.loads((tmp_path / "m.json").read_text())["budget"]
    assert (budget["max_total_tokens"], budget["max_cost"], budget["spent_cost"]) == (1000, None, None)
    assert budget["spent_tokens"] > 20


def test_the_limit_that_a_budget_sets_is_shown_where_it_sets_one(apxm: Apxm, source: Path) -> None:
    shown = "budget: answers to calls without a max_tokens have at most 4,096 tokens"
    budget = ("--max-total-tokens", "100000")
    assert shown not in apxm("execute", "a.ais", "bees", *FAST, *budget).err
    source.write_text(SOURCE.replace(", max_tokens: 50", "", 1))
    assert shown not in apxm("execute", "a.ais", "bees", *FAST).err
    assert shown in apxm("execute", "a.ais", "bees", *FAST, *budget, "--journal", *JOURNAL).err
    assert shown in apxm("resume", "last", *JOURNAL).err


def test_a_changed_program_is_refused_and_the_difference_named(apxm: Apxm, source: Path) -> None:
    run_id = stopped(apxm)
    for change, difference in (
        (('"second {first}"', '"other {first}"'), "A.main/second does something else"),
        (("-> second\n", '-> second\n        ask("new") -> third\n        print(third)\n'), "operation A.main/"),
        (("flow main(topic: str)", "flow main(topic: str, more: int = 1)"), "flow A.main was main(topic: str) -> str"),
    ):
        source.write_text(SOURCE.replace(*change))
        ended = apxm("resume", run_id, *JOURNAL)
        assert (ended.status, ended.out) == (1, "")
        assert "the program has changed since the run began" in ended.err
        assert difference in ended.err
    recorded = apxm("resume", run_id, *JOURNAL, "--as-recorded", "--max-total-tokens", "1000")
    assert recorded.status == 0
    source.unlink()
    assert apxm("resume", run_id, *JOURNAL).status == 0, "what is in the journal is enough"


KEYS = """\
agent A {
    @entry flow main(form: json = {"name": "?", "age": "?", "city": "?"}) -> str {
        ask("Fill this form for Ann.", {"name": "?", "age": "?", "city": {"zip": 1, "at": 2}}, max_tokens: 50) -> ann
        ask("Now for Bob.", form, ann, max_tokens: 50) -> bob
        return bob
    }
}
"""


@pytest.mark.parametrize("inputs", [(), ('{"zeta": {"b": 1, "a": [2]}, "alpha": 3}',)])
def test_a_run_and_what_goes_on_with_it_send_keys_in_the_order_of_the_source(
    apxm: Apxm, source: Path, inputs: tuple[str, ...]
) -> None:
    source.write_text(KEYS)
    whole = apxm("execute", "a.ais", *inputs, *FAST)
    assert apxm("compile", "a.ais").status == 0
    assert apxm("run", "a.apxmobj", *inputs, *FAST).out == whole.out
    for command, file in (("execute", "a.ais"), ("run", "a.apxmobj")):
        journal, budget = ("--journal-dir", command), ("--max-total-tokens", "200")
        ended = apxm(command, file, *inputs, *FAST, "--journal", *journal, *budget)
        assert ended.status == 4, ended.err
        resumed = apxm("resume", "last", *journal, "--max-total-tokens", "10000")
        assert (resumed.status, resumed.out) == (0, whole.out), resumed.err
        assert "2 operations (1 from the journal), 1 LLM call in" in resumed.err


def test_another_order_of_keys_is_another_program(apxm: Apxm, source: Path) -> None:
    source.write_text(KEYS)
    ended = apxm("execute", "a.ais", *FAST, "--journal", *JOURNAL, "--max-total-tokens", "100")
    assert ended.status == 4, ended.err
    source.write_text(KEYS.replace('{"zip": 1, "at": 2}', '{"at": 2, "zip": 1}'))
    refused = apxm("resume", "last", *JOURNAL)
    assert "the program has changed since the run began: A.main/ann does something else" in refused.err


def test_a_file_whose_name_is_not_utf8_compiles_and_is_journaled(apxm: Apxm, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.ais")
    (tmp_path / name).write_text(SOURCE)
    assert apxm("compile", name, "-o", "a.apxmobj").status == 0
    whole = apxm("run", "a.apxmobj", "bees", *FAST)
    assert apxm("execute", name, "bees", *FAST, "--journal", *JOURNAL).out == whole.out
    assert "caf\\udce9.ais" in apxm("runs", "show", "last", *JOURNAL).out
    assert apxm("resume", "last", *JOURNAL).out == whole.out


def test_half_of_a_surrogate_pair_in_a_value_is_refused_before_the_run(apxm: Apxm, source: Path) -> None:
    source.write_text(KEYS)
    for journal in ((), ("--journal", *JOURNAL)):
        refused = apxm("execute", "a.ais", '{"k": "\\ud800"}', *FAST, *journal)
        assert refused.status == 2
        assert "and form.k is text with half of a surrogate pair" in refused.err


@pytest.mark.parametrize(
    "change",
    [
        ("agent A {", "// a comment\n\nagent A { // and one more"),
        ('ask(f"first {topic}", max_tokens: 50)', 'ask(\n    f"first {topic}",\n\n    max_tokens: 50)'),
        ("    ", ""),
        ("\n", "\r\n"),
    ],
    ids=["comments", "layout", "indentation", "line ends"],
)
def test_what_changes_only_in_its_looks_is_the_same_program(apxm: Apxm, source: Path, change: tuple[str, str]) -> None:
    run_id = stopped(apxm)
    source.write_text(SOURCE.replace(*change), newline="")
    ended = apxm("resume", run_id, *JOURNAL, "--max-total-tokens", "1000")
    assert ended.status == 0, ended.err
    assert "1 from the journal" in ended.err


CASES = """\
agent A {
    @entry flow main(kind: str) -> str {
        ask("first", max_tokens: 50) -> first
        print(first)
        switch kind {
            case "a" => ask("of a", max_tokens: 50)
            default => ask("of others", max_tokens: 50)
        } -> answer
        return answer
    }
}
"""


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (("return answer", "return answer + first"), "A.main gives something else"),
        (("switch kind", "switch first"), "decides by something else, or between other cases"),
    ],
)
def test_the_difference_that_is_named_is_one(
    apxm: Apxm, source: Path, change: tuple[str, str], difference: str
) -> None:
    source.write_text(CASES)
    assert apxm("execute", "a.ais", "a", *FAST, "--journal", *JOURNAL).status == 0
    source.write_text(CASES.replace(*change))
    ended = apxm("resume", "last", *JOURNAL)
    assert ended.status == 1
    assert difference in ended.err


def configured(folder: Path) -> Path:
    """The project's configuration there: a simulated backend `dry`, of model `one`."""
    config = folder / ".apxm/config.toml"
    config.parent.mkdir()
    config.write_text('[backends.dry]\nkind = "simulated"\nmodel = "one"\nlatency = "constant:1"\n')
    return config


def test_another_model_is_refused(apxm: Apxm, tmp_path: Path) -> None:
    config = configured(tmp_path)
    ended = apxm("execute", "a.ais", "bees", "--journal", *JOURNAL, "--max-total-tokens", "100")
    assert ended.status == 4, ended.err
    config.write_text(config.read_text().replace("one", "two"))
    refused = apxm("resume", "last", *JOURNAL)
    assert refused.status == 1
    assert "has an answer to first, but to another request" in refused.err


def test_another_backend_is_refused_before_it_is_asked(
    apxm: Apxm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the key that chose a real model is not set any more: then a simulated one would answer."""
    config = configured(tmp_path)
    ended = apxm("execute", "a.ais", "bees", "--journal", *JOURNAL, "--max-total-tokens", "1")
    assert ended.status == 4, ended.err
    before = json.loads(apxm("runs", "show", "last", "--json", *JOURNAL).out)
    config.unlink()
    refused = apxm("resume", "last", *JOURNAL, "--max-total-tokens", "1000")
    assert (refused.status, refused.out) == (1, "")
    assert "the run began with backend 'dry', and now 'simulated' would answer" in refused.err
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    refused = apxm("resume", "last", *JOURNAL, "--max-total-tokens", "1000")
    assert "and now 'openai' would answer" in refused.err
    assert json.loads(apxm("runs", "show", "last", "--json", *JOURNAL).out) == before


def test_it_is_configured_by_the_folder_it_began_in(
    apxm: Apxm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(tmp_path)
    apxm("execute", "a.ais", "bees", "--journal", *JOURNAL, "--max-total-tokens", "100")
    folder = str(tmp_path / "runs")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    ended = apxm("resume", "last", "--journal-dir", folder, "--max-total-tokens", "1000")
    assert ended.status == 0, ended.err
    assert ended.err.startswith("model: one")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"backend": 5}, r"Expected `str \| null`, got `int` - at `\$.backend`"),
        ({"file": ["a"]}, r"at `\$.file`"),
        ({"max_concurrency": "many"}, r"at `\$.max_concurrency`"),
        ({"max_cost": 0}, "the most a run may cost must be a number above 0"),
        ({"on_error": "explode"}, "on an error a run can finish or cancel"),
    ],
)
def test_options_of_a_journal_that_make_no_sense_are_refused(
    apxm: Apxm, tmp_path: Path, options: dict[str, Value], expected: str
) -> None:
    unknown(tmp_path, options)
    ended = apxm("resume", "last", *JOURNAL, "--redo", "send")
    assert ended.status in (1, 2)
    assert re.search(expected, ended.err)


def unknown(tmp_path: Path, options: dict[str, Value] | None = None) -> str:
    """A run in which an operation with an outside effect began, and nobody knows its end."""
    import apxm

    program = apxm.compile(tmp_path / "a.ais")
    header = header_of(
        program,
        apxm="0",
        run_id="20260131-235959-k3vd",
        started=0,
        path=str(tmp_path / "a.ais"),
        kind="source",
        flow="A.main",
        inputs=("bees",),
        options={"latency": "constant:1"} | (options or {}),
    )
    assert codec.decode(header.program) == program
    (tmp_path / "runs").mkdir()
    journal = Journal.create(tmp_path / "runs", header)

    async def began() -> None:
        journal.start(lambda _: None)
        journal.append(Started("send", b"digest", "key"))

    import asyncio

    asyncio.run(began())
    journal.close()
    return header.run_id


def test_an_operation_of_an_unknown_outcome_is_asked_about(apxm: Apxm, tmp_path: Path) -> None:
    run_id = unknown(tmp_path)
    before = read(tmp_path / "runs", run_id).records
    ended = apxm("resume", run_id, *JOURNAL)
    assert (ended.status, ended.out) == (1, "")
    assert "send began, and the journal does not have its result: it may have changed something" in ended.err
    assert "--redo send makes it again, --assume send=VALUE says what it gave" in ended.err
    assert read(tmp_path / "runs", run_id).records == before
    assert apxm("resume", run_id, *JOURNAL, "--redo", "sent").status == 2
    assert apxm("resume", run_id, *JOURNAL, "--assume", "send=nothing").status == 2
    half = apxm("resume", run_id, *JOURNAL, "--assume", 'send={"to": "\\ud800"}')
    assert half.status == 2
    assert "and in it .to is text with half of a surrogate pair" in half.err
    assert apxm("resume", run_id, *JOURNAL, "--assume", 'send="done"').status == 0
    assert apxm("resume", run_id, *JOURNAL, "--redo", "send").status == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--journal-sync", "sometimes"), "a journal is written full or normal, not 'sometimes'"),
        (("--no-journal", "--require-journal"), "a journal cannot be required and not be wanted"),
        (("--max-cost", "0"), "the most a run may cost must be a number above 0"),
        (("--max-cost", "nan"), "the most a run may cost must be a number above 0"),
        (("--max-cost", "1"), "the price of 'simulated' at backend 'simulated' is not known"),
    ],
)
def test_options_that_make_no_sense_are_refused(apxm: Apxm, arguments: tuple[str, ...], message: str) -> None:
    ended = apxm("execute", "a.ais", "bees", *FAST, "--journal", *JOURNAL, *arguments)
    assert (ended.status, ended.out) == (2, "")
    assert message in ended.err
    assert not Path("runs").exists(), "a run that does not start leaves no journal"


def test_a_simulated_run_has_a_journal_only_where_somebody_asks(apxm: Apxm, tmp_path: Path) -> None:
    assert apxm("execute", "a.ais", "bees", *FAST, *JOURNAL).status == 0
    assert not (tmp_path / "runs").exists()
    assert apxm("execute", "a.ais", "bees", *FAST, *JOURNAL, "--require-journal").status == 0
    assert len(list_runs(tmp_path / "runs")) == 1


@pytest.fixture
def full_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that has no room for the last row of a run."""
    refuse(monkeypatch, lambda rows: any(isinstance(row, Ended) for row in rows))


@pytest.mark.usefixtures("full_at_the_end")
@pytest.mark.parametrize("resumed", [False, True])
def test_a_disk_that_fills_with_the_last_row_is_told_and_costs_no_result(apxm: Apxm, resumed: bool) -> None:
    command = ("execute", "a.ais", "bees", *FAST, "--journal") if not resumed else ("resume", "last")
    if resumed:
        apxm("execute", "a.ais", "bees", *FAST, "--journal", *JOURNAL)
    ended = apxm(*command, *JOURNAL)
    assert ended.status == 0
    assert ended.out.startswith("between\nSimulated answer")
    assert "warning" in ended.err
    assert "the journal cannot be written, and nothing more is journaled: No space left on device" in ended.err
    required = apxm(*command, *JOURNAL, "--require-journal")
    assert required.status == 4
    assert required.out == ended.out
    assert "nothing more is journaled: No space left on device" in required.err


WITHOUT_ROOM = """\
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
from apxm.cli.main import main
main()
"""


@pytest.mark.parametrize(("more", "status"), [((), 0), (("--require-journal",), 4)])
def test_so_is_one_that_is_really_full(tmp_path: Path, more: tuple[str, ...], status: int) -> None:
    (tmp_path / "big.ais").write_text(
        'agent A { @entry flow main(x: str) -> str { ask("q") -> a print(f"{a}' + "{x}" * 20 + '") return a } }'
    )
    arguments = ("execute", "big.ais", "x" * 50_000, *FAST, "--journal", *more)
    command = [sys.executable, "-c", WITHOUT_ROOM, *arguments]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == status, ended.stderr
    assert ended.stdout.splitlines()[1].startswith("Simulated answer")
    assert "nothing more is journaled: " in ended.stderr


def test_a_run_that_was_stopped_says_by_what(apxm: Apxm) -> None:
    run_id = stopped(apxm)
    shown = apxm("runs", "show", run_id, *JOURNAL).out
    assert "stopped: the budget does not cover second, which may cost" in shown
    assert "of 100 tokens used" in shown
    slow = ("execute", "a.ais", "bees", "--latency", "constant:60000", "--journal", *JOURNAL)
    ended = apxm(*slow, "--timeout", "0.2", "--emit-metrics", "m.json")
    assert ended.status == 4
    assert "the time limit of 0.2 s was reached after 0.2" in ended.err
    assert "; pending: first" in ended.err
    assert "stopped: the time limit of 0.2 s" in apxm("runs", "show", "last", *JOURNAL).out
    found = json.loads(Path("m.json").read_text())["execution"]["stopped"]
    assert (found["kind"], found["limit"], found["pending"]) == ("timeout", 0.2, ["first"])
