"""The page that ``--report`` writes, and ``apxm report``."""

from __future__ import annotations

import asyncio
import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest

from apxm.errors import ApxmError
from apxm.journal import runs
from apxm.journal.journal import Journal
from apxm.journal.rows import Ended, Traced
from apxm.reports.call_log import sdk_answer_parts, sdk_request_parts
from apxm.runtime.kept_trace import unpacked
from tests.cli.conftest import Apxm, Start
from tests.reports.pages import data_of, texts_of

SOURCE = 'agent A { @entry flow f() -> str { ask("first") -> a return ask(a) } }'
SCRIPT = """
import apxm

@apxm.flow
def label(rows):
    return [apxm.ask(row) for row in apxm.each(rows)]

print(label(["x", "y"]))
"""


@pytest.fixture(autouse=True)
def program() -> None:
    Path("f.ais").write_text(SOURCE)


def test_a_run_writes_its_page_with_its_source_and_its_texts(apxm: Apxm) -> None:
    ended = apxm("execute", "f.ais", "--latency", "constant:1", "--report", "run.html")
    assert ended.status == 0, ended.err
    page = Path("run.html").read_bytes()
    model = data_of(page)["model"]
    assert model["sources"] == [["f.ais", SOURCE]]
    assert [name for _, name, _ in texts_of(page, "a")] == ["prompt", "answer"]
    assert ended.out.strip() == model["runs"][0]["value"]


def test_a_run_that_fails_writes_its_page_too(apxm: Apxm) -> None:
    ended = apxm("execute", "f.ais", "--latency", "constant:1", "--faults", "empty:1", "--report", "run.html")
    assert ended.status == 1
    run = data_of(Path("run.html").read_bytes())["model"]["runs"][0]
    assert (run["status"], run["failures"][0]["path"]) == ("failed", "a")


def test_what_is_told_of_each_call_and_what_is_kept_of_it_go_together(apxm: Apxm) -> None:
    ended = apxm("execute", "f.ais", "--latency", "constant:1", "--report", "run.html", "-v")
    assert "prompt: first" in ended.err
    assert texts_of(Path("run.html").read_bytes(), "a")


def test_a_script_of_python_writes_its_page(apxm: Apxm) -> None:
    Path("s.py").write_text(SCRIPT)
    ended = apxm("run", "--latency", "constant:1", "--backend", "simulated", "--report", "run.html", "s.py")
    assert ended.status == 0, ended.err
    model = data_of(Path("run.html").read_bytes())["model"]
    assert len(model["runs"][0]["operations"]["path"]) == 2
    assert model["sources"][0][1] == SCRIPT


def test_a_page_is_no_file_that_the_run_reads_and_texts_are_left_out_of_a_page_alone(apxm: Apxm) -> None:
    ended = apxm("execute", "f.ais", "--report", "f.ais")
    assert (ended.status, "--report f.ais is the input itself" in ended.err) == (2, True)
    ended = apxm("execute", "f.ais", "--redact")
    assert (ended.status, "--redact leaves texts out of a report" in ended.err) == (2, True)


LOOP = """
agent A {
    @entry flow main() -> str {
        ask("Plan") -> plan
        for n in range(3) { return ask(f"Look at {n}: {plan}") } -> found
        return ask("Sum", join(found, " "))
    }
}
"""
JOURNALED = ("--journal", "--journal-dir", "runs", "--backend", "simulated", "--latency", "constant:20", "-q")


@pytest.fixture
def loop() -> None:
    Path("loop.ais").write_text(LOOP)
    Path("runs").mkdir()


def reported(apxm: Apxm, *arguments: str) -> dict[str, Any]:
    ended = apxm("report", *arguments, "--journal-dir", "runs", "-o", "page.html")
    assert ended.status == 0, ended.err
    return data_of(Path("page.html").read_bytes())["model"]


@pytest.mark.usefixtures("loop")
def test_a_journaled_run_has_the_same_page_as_one_that_writes_it_itself(apxm: Apxm) -> None:
    assert apxm("execute", "loop.ais", *JOURNALED, "--report", "own.html").status == 0
    own, kept = Path("own.html").read_bytes(), reported(apxm, "last")["runs"][0]
    (of_itself,) = data_of(own)["model"]["runs"]
    for part in ("sites", "edges", "losses", "value", "status", "name", "id", "backends"):
        assert kept[part] == of_itself[part], part
    assert kept["operations"] | {"texts": 0} == of_itself["operations"] | {"texts": 0}
    for path in kept["operations"]["path"]:
        assert texts_of(Path("page.html").read_bytes(), path) == texts_of(own, path)


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize("whole", [True, False])
def test_the_page_of_a_run_that_went_on_has_what_all_its_processes_did(apxm: Apxm, whole: bool) -> None:
    """Also where the first process was killed, and so left no instants."""
    ended = apxm("execute", "loop.ais", *JOURNALED, "--faults", "hang:@5", "--timeout", "0.4")
    assert ended.status == 4, ended.err
    if not whole:
        forget_instants(Path("runs"))
    ended = apxm("resume", "last", "--journal-dir", "runs", "-q", "--report", "own.html")
    assert ended.status == 0, ended.err
    for page in (reported(apxm, "last"), data_of(Path("own.html").read_bytes())["model"]):
        (run,) = page["runs"]
        assert [run["losses"] is not None, any("no instants" in note for note in run["notes"])] == [whole, not whole]
        paths = run["operations"]["path"]
        assert len(set(paths)) == 5
        assert len(paths) == 5 + whole  # the call that hung was made twice
        assert len(run["breaks"]) == 1
    assert texts_of(Path("own.html").read_bytes(), "plan")


def forget_instants(folder: Path) -> None:
    """As if each process so far had been killed before it could write them down."""
    run_id = runs.find_run(folder, "last")
    _, history = runs.show_run(folder, run_id)
    shutil.rmtree(folder)
    folder.mkdir()
    journal = Journal.create(folder, history.header)

    async def again() -> None:
        journal.start(lambda _error: None)
        for record in history.records:
            if not isinstance(record.row, Traced | Ended):
                journal.append(record.row)
        await journal.closed()

    asyncio.run(again())


@pytest.mark.usefixtures("loop")
def test_the_page_of_a_journaled_script_has_its_graph_and_says_that_prompts_are_missing(apxm: Apxm) -> None:
    Path("s.py").write_text(SCRIPT)
    assert apxm("run", *JOURNALED, "s.py").status == 0
    page = reported(apxm, "last")
    (run,) = page["runs"]
    assert len(run["operations"]["path"]) == 2
    assert [site[6] for site in run["sites"]] == [2]
    assert "Prompts are not in the journal" in run["notes"][0]
    assert page["sources"][0][1] == SCRIPT


@pytest.mark.usefixtures("loop")
def test_two_runs_beside_each_other_say_what_changed_and_what_was_answered_otherwise(apxm: Apxm) -> None:
    assert apxm("execute", "loop.ais", *JOURNALED).status == 0
    first = runs.find_run(Path("runs"), "last")
    Path("loop.ais").write_text(LOOP.replace("range(3)", "range(4)"))
    assert apxm("execute", "loop.ais", *JOURNALED).status == 0
    second = next(run.id for run in runs.list_runs(Path("runs")) if run.id != first)
    page = reported(apxm, first, second)
    by_path = {change["path"]: change for change in page["changes"]}
    assert by_path["plan"]["calls"] == [1, 1]
    assert by_path["plan"]["number"] == 0
    assert [change["calls"] for change in page["changes"] if change["calls"][0] > 1] == [[3, 4]]
    assert sum(change["number"] for change in page["changes"]) == 1  # the sum has one text more
    redacted = reported(apxm, first, second, "--redact")
    assert "Simulated answer" not in json.dumps(redacted)


@pytest.mark.usefixtures("loop")
def test_a_run_that_goes_on_has_a_page_of_what_it_was_answered_so_far(apxm: Apxm, start: Start) -> None:
    process = start("execute", "loop.ais", *JOURNALED, "--faults", "hang:@3")
    try:
        while len(texts := answers_so_far()) < 2:
            assert process.poll() is None, process.communicate()
        (run,) = reported(apxm, "last")["runs"]
        assert (run["status"], run["losses"]) == ("running", None)
        assert "plan" in texts
    finally:
        process.kill()
        process.wait()


def answers_so_far() -> list[str]:
    found = runs.list_runs(Path("runs"))
    return list(runs.show_run(Path("runs"), found[0].id)[1].results) if found else []


def test_what_an_sdk_asks_and_is_answered_is_told_message_by_message() -> None:
    body = {"model": "m", "messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": [1]}]}
    assert sdk_request_parts(body) == [
        ("system", "Be brief"), ("message", '{"role":"user","content":[1]}'), ("request", '{"model":"m"}'),
    ]  # fmt: skip
    assert sdk_answer_parts('{"choices": [{"message": {"content": "Yes"}}]}') == [("answer", "Yes")]
    assert sdk_answer_parts("no JSON") == [("answer", "no JSON")]


def test_instants_that_are_damaged_are_refused() -> None:
    for content in (b"", b"\xdc\x00", zlib.compress(b"\x90")):
        with pytest.raises(ApxmError, match="instants of the run is damaged"):
            unpacked(content)


@pytest.mark.parametrize("program", ["label.ais", "label.py"])
def test_a_batch_has_one_page_in_which_its_inputs_share_the_places_of_the_program(apxm: Apxm, program: str) -> None:
    Path("label.ais").write_text('agent A { @entry flow f(q: str) -> str { ask(q) -> a return ask("again", a) } }')
    Path("label.py").write_text(
        'import apxm\n@apxm.flow\ndef f(q: str):\n    a = apxm.ask(q)\n    return apxm.ask("again", a)\n'
    )
    Path("in.jsonl").write_text("".join(f'{{"q": "t{n}"}}\n' for n in range(3)))
    files = ("--input", "in.jsonl", "--output", "out.jsonl", "--report", "page.html")
    ended = apxm("batch", program, *files, "--backend", "simulated", "--latency", "constant:20")
    assert ended.status == 0, ended.err
    page = Path("page.html").read_bytes()
    model = data_of(page)["model"]
    (run,) = model["runs"]
    ids = [json.loads(line)["id"] for line in Path("out.jsonl").read_text().splitlines()]
    assert sorted(entry[0] for entry in model["inputs"]) == sorted(ids)
    assert [site[6] for site in run["sites"]] == [3, 3]
    assert run["edges"] == [[0, 1]]
    assert run["figures"]["calls"] == 6
    assert len(run["operations"]["critical"]) == 2  # of the longest input alone
    for number, path in enumerate(run["operations"]["path"]):
        assert path.partition("/")[0] in ids
        assert [part[1] for part in texts_of(page, path)][-1] == "answer", number
