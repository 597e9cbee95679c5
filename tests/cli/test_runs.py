"""`apxm runs`: list, show, prune."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from apxm.cli.runs import parse_size
from apxm.config.journal_settings import Journaling, runs_folder
from apxm.errors import ConfigurationError, UsageError
from apxm.journal.rows import Answered, Ended, Printed, Reserved, Settled, Started
from apxm.journal.runs import list_runs
from apxm.journal.store import store_of
from apxm.reports.journaled_runs import size
from tests.cli.conftest import Apxm
from tests.journal.journals import HEADER, RUN_ID, STARTED, write

SECOND = "20260201-000000-aaaa"
ROWS = [
    Answered("main/draft", b"\x01\x02", "an answer\x1b[2J", "openai", 1234, None),
    Started("main/send", b"\x03", "the-key"),
    Printed(1, "second"),
    Printed(0, "first\x07"),
    Reserved("main/draft", 0, 900, 0.02),
    Settled("main/draft", 0, 1300, 0.0125),
    Reserved("main/late", 1, 800, None),
]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    write(folder, ROWS)
    write(folder, [Ended("stopped", "the budget is used up")], SECOND, STARTED + 86_400)
    store_of(folder).rest()
    return folder


def test_a_list_shows_a_line_per_run_the_newest_first(apxm: Apxm, runs: Path) -> None:
    ended = apxm("runs", "list", "--journal-dir", runs.name)
    assert (ended.status, ended.err) == (0, "")
    lines = [line.split("  ") for line in ended.out.splitlines()]
    assert [line[0] for line in lines] == [SECOND, RUN_ID]
    assert [field for field in lines[1] if field][1:3] == ["interrupted", "1 operation"]
    assert lines[1][-1] == "work/flow.ais: Test.main"
    assert "stopped" in lines[0]


def test_a_list_as_json_is_an_array_of_objects(apxm: Apxm, runs: Path) -> None:
    (runs / "20260301-000000-bbbb.journal").write_text("damaged")
    listed = json.loads(apxm("runs", "list", "--json", "--journal-dir", str(runs)).out)
    assert [(run["id"], run["status"]) for run in listed] == [
        ("20260301-000000-bbbb", "damaged"),
        (SECOND, "stopped"),
        (RUN_ID, "interrupted"),
    ]
    assert listed[2] == {
        "id": RUN_ID,
        "program": "work/flow.ais",
        "flow": "Test.main",
        "started": "2026-01-31T23:59:59Z",
        "status": "interrupted",
        "operations": 1,
        "size_bytes": listed[2]["size_bytes"],
    }


def test_without_any_run_there_is_nothing_to_show(apxm: Apxm) -> None:
    assert apxm("runs", "list") == (0, "", "")
    assert apxm("runs", "list", "--json").out == "[]\n"
    assert not runs_folder().exists()


def test_the_default_folder_is_the_users_own(apxm: Apxm) -> None:
    folder = Journaling().make_folder()
    assert folder.is_relative_to(Path.home())
    assert folder.stat().st_mode & 0o777 == 0o700
    write(folder, [])
    assert apxm("runs", "list").out.startswith(RUN_ID)
    assert Journaling().make_folder() == folder


def test_a_default_folder_that_cannot_be_made_is_an_error_of_the_configuration(apxm: Apxm) -> None:
    del apxm
    runs_folder().parent.parent.mkdir(parents=True)
    runs_folder().parent.touch()
    with pytest.raises(ConfigurationError, match="the folder of the journals cannot be made"):
        Journaling().make_folder()


def test_a_run_is_shown_with_everything_escaped(apxm: Apxm, runs: Path) -> None:
    ended = apxm("runs", "show", "k3vd", "--journal-dir", str(runs))
    assert ended.status == 0
    shown = ended.out.splitlines()
    assert shown == [
        f"run      {RUN_ID}",
        f"program  work/flow.ais (source, -O0, SHA-256 {HEADER.program_digest[:12]}…)",
        'flow     Test.main("a", {"k": [1, 2.5, null]})',
        'options  backend "openai", seed 3',
        f"started  2026-01-31T23:59:59Z by apxm {HEADER.apxm}",
        "status   interrupted",
        shown[6],
        "",
        "1 operation finished:",
        '  main/draft  openai  1,234 in, – out  "an answer\\u001b[2J"',
        "",
        "outcome unknown:",
        "  main/send  key the-key",
        "",
        "printed:",
        "  first\\x07",
        "  second",
        "",
        "spent:",
        "  main/draft  attempt 0  1,300 tokens  cost 0.0125",
        "",
        "reserved, and never settled:",
        "  main/late  attempt 1  800 tokens  cost unknown",
    ]
    assert "status   stopped: the budget is used up" in apxm("runs", "show", SECOND, "--journal-dir", str(runs)).out


def test_a_run_as_json_has_its_rows_in_order(apxm: Apxm, runs: Path) -> None:
    shown = json.loads(apxm("runs", "show", RUN_ID, "--json", "--journal-dir", str(runs)).out)
    assert shown["inputs"] == ["a", {"k": [1, 2.5, None]}]
    assert shown["options"] == {"backend": "openai", "seed": 3}
    assert shown["message"] is None
    assert [row["row"] for row in shown["rows"]] == list(range(1, 8))
    assert shown["rows"][0] == {
        "row": 1,
        "time": "2026-01-31T23:59:59.000Z",
        "kind": "result",
        "path": "main/draft",
        "digest": "0102",
        "value": "an answer\x1b[2J",
        "backend": "openai",
        "input_tokens": 1234,
        "output_tokens": None,
        "model": None,
    }
    assert shown["rows"][2]["number"] == 1


def test_an_unknown_run_is_bad_usage_and_the_nearest_one_is_named(apxm: Apxm, runs: Path) -> None:
    ended = apxm("runs", "show", "20260131-235959-k3vz", "--journal-dir", str(runs))
    assert (ended.status, ended.out) == (2, "")
    assert f"did you mean {RUN_ID}?" in ended.err


def test_a_damaged_journal_is_an_error_of_the_file(apxm: Apxm, runs: Path) -> None:
    [path] = runs.glob("*.apxmlog")
    path.write_bytes(path.read_bytes().replace(b"the budget", b"the-budget"))
    ended = apxm("runs", "show", SECOND, "--journal-dir", str(runs))
    assert (ended.status, ended.out) == (1, "")
    assert path.name in ended.err
    assert f"the journal of run {SECOND} is damaged: row 1 does not match its checksum" in ended.err
    assert apxm("runs", "show", RUN_ID, "--journal-dir", str(runs)).status == 0


@pytest.mark.parametrize("command", ["list", "prune"])
def test_a_folder_that_is_named_must_be_there(apxm: Apxm, command: str) -> None:
    ended = apxm("runs", command, "--journal-dir", "nowhere")
    assert (ended.status, ended.out) == (2, "")
    assert "there is no folder 'nowhere'" in ended.err


def test_old_runs_are_removed_and_named(apxm: Apxm, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: STARTED + 86_400 * 30.5)
    dry = apxm("runs", "prune", "--dry-run", "--journal-dir", str(runs))
    assert dry.status == 0
    assert dry.out.startswith(f"{RUN_ID}  ")
    assert dry.out.endswith("last written 2026-01-31T23:59:59.000Z\n")
    assert dry.err.startswith("would remove 1 run, ")
    assert len(list_runs(runs)) == 2

    assert apxm("runs", "prune", "--journal-dir", str(runs)).out == dry.out
    assert [run.id for run in list_runs(runs)] == [SECOND]

    gone = apxm("runs", "prune", "--keep-bytes", "0", "--journal-dir", str(runs))
    assert gone.out.startswith(SECOND)
    assert gone.err.startswith("removed 1 run, ")
    assert list(runs.iterdir()) == []
    assert apxm("runs", "prune", "--journal-dir", str(runs)).err == "removed 0 runs, 0 bytes\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("1048576", 1_048_576),
        ("500MB", 500_000_000),
        ("500m", 500_000_000),
        ("1GiB", 1024**3),
        ("1.5 KiB", 1536),
        ("7 B", 7),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "much", "1XB", "1e9", "MB", "9" * 400])
def test_what_is_no_size_is_bad_usage(text: str) -> None:
    with pytest.raises(UsageError, match="--keep-bytes"):
        parse_size(text)


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (1024**3, "1.0 GiB"), (5 * 1024**5, "5,120.0 TiB")],
)
def test_sizes_are_shown_as_people_say_them(number: int, shown: str) -> None:
    assert size(number) == shown


def test_days_that_are_no_number_are_bad_usage(apxm: Apxm) -> None:
    ended = apxm("runs", "prune", "--keep-days", "nan")
    assert ended.status == 2
    assert "--keep-days is a number of days, not nan" in ended.err


def test_what_is_removed_is_named_as_json_too(apxm: Apxm, runs: Path) -> None:
    options = ("--keep-bytes", "0", "--dry-run", "--json", "--journal-dir", str(runs))
    found = json.loads(apxm("runs", "prune", *options).out)
    assert [list(run) for run in found] == [["id", "size_bytes", "last_written"]] * 2
    assert {run["id"] for run in found} == {RUN_ID, SECOND}
    assert json.loads(apxm("runs", "prune", "--keep-days", "9999", "--json", "--journal-dir", str(runs)).out) == []


def test_prompts_and_answers_of_a_run_are_shown_in_full(apxm: Apxm, tmp_path: Path) -> None:
    body = 'ask(t, system: "Be brief.") -> a ask("Then", a, retries: 0) -> b return b'
    (tmp_path / "two.ais").write_text(f"agent A {{ @entry flow f(t: str) -> str {{ {body} }} }}")
    (tmp_path / "runs").mkdir()
    topic = "bees\x1b[2J " + "x" * 5000
    options = ("--journal", "--journal-dir", "runs", "--latency", "constant:1", "--faults", "503:@2")
    apxm("execute", "two.ais", topic, *options)
    shown = apxm("runs", "show", "last", "--prompts", "--journal-dir", "runs")
    assert shown.status == 0
    first, second = shown.out.split("\n\n", 1)
    lines = first.splitlines()
    assert lines[0] == "1. a: ask at two.ais:1:42"
    assert "model simulated, backend simulated, " in lines[1]
    assert lines[2:4] == ["  system: Be brief.", "  prompt: bees\\x1b[2J " + "x" * 5000]
    assert lines[4].startswith("  answer: Simulated answer ")
    assert second.splitlines()[1] == "  no answer: it failed, was in flight at the end, or was not sent yet"
    found = json.loads(apxm("runs", "show", "last", "--prompts", "--json", "--journal-dir", "runs").out)
    one, two = found["calls"]
    assert (one["prompt"], one["system"], one["exact"], one["model"]) == (topic, "Be brief.", True, "simulated")
    assert one["answer"] == found["rows"][0]["value"]
    assert one["answered"] == found["rows"][0]["time"]
    assert (two["path"], two["answer"], two["answered"], two["exact"]) == ("b", None, None, None)
    assert "calls" not in json.loads(apxm("runs", "show", "last", "--json", "--journal-dir", "runs").out)
