"""Flows that go on: what was answered is not asked again, and what was done once is not done again."""

from __future__ import annotations

import linecache
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import apxm
from apxm.api import RunFailed
from apxm.errors import JournalError, UsageError
from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import Flow, flow
from apxm.lanes.edits import noted
from apxm.lanes.marks import pure, step, thread
from apxm.reports.summary import summary_line

FAILS = {"after": 10**6}


@flow
def labelled(rows: list[int], extra: str = "") -> list[str]:
    found: list[str] = []
    for row in each(rows):
        answer = ask(f"label {row}{extra}")
        if len(found) >= FAILS["after"]:
            raise OSError("the disk is full")
        found.append(ask("again", answer))
    return found


@pytest.fixture
def journaled(tmp_path: Path) -> Flow[..., list[str]]:
    FAILS["after"] = 10**6
    return labelled.using(backend="simulated", latency="constant:1", journal=True, journal_dir=tmp_path)


def run_named(error: BaseException) -> str:
    (note,) = error.__notes__
    return note.split()[1].rstrip(":")


def test_what_was_answered_is_not_asked_again(journaled: Flow[..., list[str]]) -> None:
    FAILS["after"] = 0
    with pytest.raises(OSError, match="full") as failed:
        journaled.run(range(5))
    FAILS["after"] = 10**6
    result = journaled.resume(run_named(failed.value), range(5))
    assert result.value == journaled.using(journal=False).run(range(5)).value
    assert 0 < result.trace.reused < result.trace.executed == 10
    assert result.metrics.llm.total_requests == 10 - result.trace.reused


def test_a_program_that_takes_another_way_is_told_of_where_it_does(journaled: Flow[..., list[str]]) -> None:
    run = journaled.run(range(3)).run_id
    with pytest.raises(JournalError, match=r"took another way at labelled:\d+\[0\]") as other:
        journaled.resume(run, range(3), extra="!")
    assert other.value.where == f"{__file__}:{labelled.function.__code__.co_firstlineno + 4}"
    changed = journaled.using(as_changed=True).resume(run, [0, 1, 2, 3])
    assert (changed.trace.reused, changed.trace.executed) == (6, 8)


def test_with_changed_arguments_each_answer_goes_to_its_request(journaled: Flow[..., list[str]]) -> None:
    first = journaled.run([1, 2, 2, 3])
    changed = journaled.using(as_changed=True).resume(first.run_id, [0, 3, 2, 1])
    assert (changed.trace.reused, changed.trace.executed) == (6, 8)
    again = journaled.resume(first.run_id, [0, 3, 2, 1])
    assert (again.value, again.trace.reused) == (changed.value, 8)


@flow
def in_rounds(rounds: int) -> list[str]:
    found: list[str] = []
    for k in range(rounds):
        for row in each(range(2)):
            found.append(ask(f"{k} {row}"))
    return found


def test_a_loop_that_runs_again_has_paths_of_its_own(tmp_path: Path) -> None:
    program = in_rounds.using(backend="simulated", latency="constant:1", journal=True, journal_dir=tmp_path)
    result = program.run(2)
    again = program.resume(result.run_id, 2)
    assert (again.value, again.trace.reused) == (result.value, 4)
    line = in_rounds.function.__code__.co_firstlineno + 5
    paths = [f"in_rounds:{line}[0]", f"in_rounds:{line}[1]", f"in_rounds:{line}#2[0]", f"in_rounds:{line}#2[1]"]
    assert [result.trace.path_of(one.frame, one.node) for one in result.trace.operations] == paths


DONE: list[str] = []


@step
def fetched(name: str) -> dict[str, str]:
    DONE.append(name)
    return {"name": name}


@step(effect=True)
def sent(text: str) -> int:
    DONE.append(text)
    return len(text)


@flow
def stepping(names: list[str]) -> list[int]:
    found: list[int] = []
    for name in each(names):
        page = fetched(name)
        found.append(sent(ask(page["name"])))
    return found


def test_a_step_is_done_once_in_all_processes(tmp_path: Path) -> None:
    DONE.clear()
    program = stepping.using(backend="simulated", latency="constant:1", journal=True, journal_dir=tmp_path)
    result = program.run(["a", "b"])
    assert sorted(DONE)[2:] == ["a", "b"]
    assert len(DONE) == 4
    assert program.resume(result.run_id, ["a", "b"]).value == result.value
    assert len(DONE) == 4


@step
def looked_up(name: str) -> str:
    answer = ask(f"look up {name}")
    if name == "b" and len(DONE) < 2:
        DONE.append(name)
        raise OSError("the line is dead")
    DONE.append(name)
    return answer


@flow
def looking_up(names: list[str]) -> list[str]:
    return [looked_up(name) for name in names]


def test_what_a_step_asks_has_paths_behind_its_own(tmp_path: Path) -> None:
    DONE.clear()
    program = looking_up.using(backend="simulated", latency="constant:1", journal=True, journal_dir=tmp_path)
    with pytest.raises(OSError, match="dead") as failed:
        program.run(["a", "b"])
    again = program.resume(run_named(failed.value), ["a", "b"])
    assert (again.trace.reused, again.metrics.llm.total_requests, DONE) == (2, 0, ["a", "b", "b"])


SCRIPT = """
import os, signal, sys
from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import flow
from apxm.lanes.marks import step

@step(effect=True)
def sent(row):
    print("sent", row, flush=True)
    if row == 2 and len(sys.argv) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return row

@flow
def main(rows):
    for row in each(rows):
        sent(row)
        ask(f"{row}")
    return "whole"

program = main.using(backend="simulated", latency="constant:1", journal=True, journal_dir=sys.argv[1])
print(program.resume("last", [0, 1, 2, 3]).value if len(sys.argv) == 3 else program.run([0, 1, 2, 3]).value)
"""


def test_an_effect_of_which_nobody_knows_the_end_is_not_made_again_by_itself(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    folder = str(tmp_path / "runs")
    killed = subprocess.run([sys.executable, script, folder], capture_output=True, text=True, check=False)
    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, "sent 0\nsent 1\nsent 2\n")
    again = subprocess.run([sys.executable, script, folder, "again"], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "sent" not in again.stdout
    assert "--redo" in again.stderr


def test_a_thread_lets_others_go_on(tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=60)

    @flow
    def blocking(rows: list[int]) -> list[int]:
        return [thread(both.wait) for _ in each(rows)]

    result = blocking.using(backend="simulated", journal_dir=tmp_path).run([1, 2])
    assert sorted(result.value or ()) == [0, 1]


def test_what_a_thread_raises_is_raised_in_its_lane(tmp_path: Path) -> None:
    @flow
    def failing() -> str:
        try:
            thread(os.stat, "/no/such/file")
        except FileNotFoundError:
            return "caught"
        return ""

    assert failing.using(backend="simulated", journal_dir=tmp_path).run().value == "caught"


class Reader:
    """Has state, of which the user says that it does not matter."""

    def __init__(self) -> None:
        self.read = 0

    @pure
    def ask(self, row: int) -> str:
        self.read += 1
        return ask(f"{row}")


def test_what_the_user_calls_pure_needs_no_turn() -> None:
    from tests.lanes.comparing import ran

    reader = Reader()

    @flow
    def reading(rows: list[int]) -> list[str]:
        return [reader.ask(row) for row in each(rows)]

    _, trace = ran(lambda: reading.lanes([1, 2, 3]), lambda: 1_000_000_000)
    assert (trace.duration, reader.read) == (1_000_000_000, 3)


@flow
def slow() -> str:
    try:
        return ask("slow")
    finally:
        DONE.append("closed")


def test_a_run_that_a_limit_ends_says_so_and_closes_what_is_open(tmp_path: Path) -> None:
    DONE.clear()
    limited = slow.using(backend="simulated", latency="constant:60000", timeout_s=0.01, journal_dir=tmp_path)
    with pytest.raises(RunFailed) as failed:
        limited.run()
    assert failed.value.stopped is not None
    assert (failed.value.stopped.kind, DONE) == ("timeout", ["closed"])


@flow
def translating() -> None:
    try:
        int(ask("a number"))
    except ValueError:
        raise KeyError("no number")  # noqa: B904  # what it comes of is to be told all the same


def test_an_exception_keeps_what_it_comes_of(tmp_path: Path) -> None:
    with pytest.raises(KeyError) as raised:
        translating.using(backend="simulated", journal_dir=tmp_path).run()
    assert isinstance(raised.value.__context__, ValueError)
    assert not raised.value.__suppress_context__


def test_an_option_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="a flow has no option 'bakend'") as refused:
        slow.using(bakend="simulated").run()
    assert refused.value.hint == "did you mean backend?"


def test_a_run_may_be_given_its_id_before_it_begins(tmp_path: Path) -> None:
    run_id = apxm.new_run_id()
    named = slow.using(backend="simulated", latency="constant:1", journal_dir=tmp_path, run_id=run_id)
    assert named.run().run_id == run_id
    assert slow.using(journal_dir=tmp_path).resume(run_id).trace.reused == 1
    with pytest.raises(JournalError, match="there is a run of this id already"):
        named.run()
    with pytest.raises(UsageError, match="goes on, and has its id already"):
        named.resume(run_id)
    with pytest.raises(UsageError, match=r"'\.\./x' is no id of a run"):
        slow.using(run_id="../x").run()


@flow
def through(rows: set[object]) -> int:
    found: list[str] = []
    for row in each(rows):
        found.append(ask(f"one {row}"))
    return len(found) + len([ask(f"two {row}") for row in each(rows)])


@pytest.mark.parametrize(
    ("rows", "seed", "journal", "told"),
    [
        ({"a", "b"}, "random", True, 2),
        ({1, 2.5}, "random", True, 0),
        ({"a"}, "7", True, 0),
        ({"a"}, "random", False, 0),
    ],
)
def test_a_set_is_told_of_where_a_run_may_go_on(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    rows: set[object],
    seed: str,
    journal: bool,
    told: int,
) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", seed)
    through.using(backend="simulated", latency="constant:1", journal=journal, journal_dir=tmp_path).run(rows)
    assert caplog.text.count("goes through a set, whose order is another one in each process") == told


def test_a_run_in_another_order_goes_on_as_changed(tmp_path: Path) -> None:
    told = looking_up.using(backend="simulated", latency="constant:1", journal=True, journal_dir=tmp_path)
    DONE[:] = ["", ""]
    run = told.run(["a", "b", "c"]).run_id
    again = told.using(as_changed=True).resume(run, ["c", "a", "b"])
    assert (again.trace.reused, again.metrics.llm.total_requests, DONE[2:]) == (3, 0, ["a", "b", "c"])


EDITED = """
import apxm

{above}@apxm.flow
def main(rows):
    found = []
    for row in apxm.each(rows):
        found.append(apxm.ask(f"{what} {{row}}"))
    return found
"""


def loaded(path: Path, **parts: str) -> Flow[..., list[str]]:
    path.write_text(EDITED.format(**{"above": "", "what": "label"} | parts))
    linecache.clearcache()
    noted.cache_clear()  # as in another process
    names: dict[str, Any] = {"__name__": "edited"}
    exec(compile(path.read_text(), str(path), "exec"), names)
    return names["main"].using(backend="simulated", latency="constant:1", journal=True, journal_dir=path.parent)


def test_an_edited_flow_goes_on_only_as_changed(tmp_path: Path) -> None:
    path = tmp_path / "edited.py"
    first = loaded(path).run(range(3))
    moved = loaded(path, above="# a comment\n\n").resume(first.run_id, range(3))
    assert (moved.value, moved.trace.reused, moved.trace.executed) == (first.value, 3, 3)
    another = loaded(path, above="MORE = 1\n\n")
    with pytest.raises(JournalError, match=f"was edited since run {first.run_id} began") as refused:
        another.resume(first.run_id, range(3))
    assert refused.value.where == str(path)
    changed = another.using(as_changed=True).resume(first.run_id, range(4))
    assert (changed.trace.reused, changed.trace.executed) == (3, 4)


@step
def written_out(row: int) -> str:
    return f"{row}"


@flow
def fetching(rows: list[int], fails: bool) -> list[str]:
    found = [ask(written_out(row)) for row in rows]
    if fails:
        raise OSError("full")
    return found


def test_what_comes_from_the_journal_is_part_of_what_was_done(tmp_path: Path) -> None:
    told = fetching.using(backend="simulated", latency="constant:1", journal=True, journal_dir=tmp_path)
    with pytest.raises(OSError, match="full") as failed:
        told.run([1, 2, 3], True)
    again = told.using(as_changed=True).resume(run_named(failed.value), [1, 2, 3, 4, 5], False)
    counted = again.metrics.execution
    assert (counted.nodes_executed, counted.nodes_reused, again.metrics.llm.total_requests) == (10, 6, 2)
    assert summary_line(again.metrics).startswith("succeeded: 10 operations (6 from the journal), 2 LLM calls in ")
