"""Runs with a journal: what they tell it, and how the next one goes on from there. On real time, with real files."""

from __future__ import annotations

import asyncio
import threading
import zlib
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from apxm.backends.protocol import ModelRequest
from apxm.errors import BackendError, JournalError, UsageError
from apxm.journal import store
from apxm.journal.catalog import read
from apxm.journal.journal import Journal
from apxm.journal.rows import Answered, Ended, History, Printed, Traced, header_of
from apxm.program.program import Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.kept_trace import trace_of, unpacked
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import real_loop
from apxm.runtime.options import RunOptions
from apxm.runtime.recording import Recorder
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Status, Trace
from apxm.testing import ScriptedBackend, run_virtually
from tests.journal.journals import refuse
from tests.plans import ask, give, merge, plan, program, show

PATIENCE_S = 60
RUN = "20260131-235959-k3vd"
CHAIN = program(plan(ask("a"), ask(0), show(1), ask(1), merge(0, 1, 3), give(4)))


def instant(script: Callable[[ModelRequest], str | BackendError] = lambda r: f"[{r.prompt}]") -> ScriptedBackend:
    return ScriptedBackend(script, latency_ms=lambda _: 0)


def begin(folder: Path, p: Program) -> Journal:
    header = header_of(
        p, apxm="0", run_id=RUN, started=0, path="p.ais", kind="source", flow="A.main", inputs=(), options={}
    )
    return Journal.create(folder, header)


def execute(
    p: Program,
    backend: ScriptedBackend,
    journal: Journal,
    history: History | None = None,
    options: RunOptions | None = None,
    *,
    required: bool = False,
) -> Trace:
    recorder = Recorder(journal, "0", history, required=required)
    run = Run(LoadedProgram(p), p.flows[0], (), BackendPool({"scripted": backend}, "scripted"), options)
    try:
        with asyncio.Runner(loop_factory=real_loop) as runner:
            return runner.run(asyncio.wait_for(run.execute(recorder), PATIENCE_S))
    finally:
        journal.close()


def resume(p: Program, backend: ScriptedBackend, folder: Path, options: RunOptions | None = None) -> Trace:
    journal, history = Journal.reopen(folder, RUN)
    return execute(p, backend, journal, history, options)


def rows(folder: Path) -> list[object]:
    return [record.row for record in read(folder, RUN).records]


def test_every_answer_and_line_is_in_the_journal_in_a_causal_order(tmp_path: Path) -> None:
    trace = execute(CHAIN, instant(), begin(tmp_path, CHAIN))
    found = rows(tmp_path)
    paths = [trace.path_of(0, node) for node in (0, 1, 3)]
    assert [row.path for row in found if isinstance(row, Answered)] == paths
    assert [row.value for row in found if isinstance(row, Answered)] == ["[a]", "[[a]]", "[[[a]]]"]
    assert [row for row in found if isinstance(row, Printed)] == [Printed(0, "[[a]]")]
    assert found[-1] == Ended("succeeded")


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        (CHAIN, RunOptions()),
        (CHAIN, RunOptions(max_total_tokens=1_000_000)),
        (program(plan(ask("a"), ask("b"), merge(0, 1), give(2))), RunOptions()),
    ],
    ids=["chain", "chain with a budget", "wide"],
)
def test_an_answer_waits_for_others_to_share_its_commit_only_where_there_may_be_some(
    tmp_path: Path, shape: Program, options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_GATHER_S", threading.TIMEOUT_MAX)
    monkeypatch.setattr(store, "perf_counter", lambda: 0.0)  # each commit is close behind the one before
    trace = execute(shape, instant(), begin(tmp_path, shape), options=options)
    assert trace.status is Status.SUCCEEDED


@pytest.mark.parametrize(("calls", "is_packed"), [(1, False), (50, True)])
def test_the_instants_of_a_run_are_kept_and_where_they_are_many_they_are_packed(
    tmp_path: Path, calls: int, is_packed: bool
) -> None:
    asked = program(plan(*(ask(f"{number}") for number in range(calls)), give(0)))
    trace = execute(asked, instant(), begin(tmp_path, asked))
    (content,) = [row.content for row in rows(tmp_path) if isinstance(row, Traced)]
    assert (content[:1] == zlib.compress(b"")[:1]) is is_packed
    kept = unpacked(content)
    assert trace_of(kept, asked, asked.flows[0]).operations == trace.operations
    assert kept.frames == bytes(4) + b"\xff" * 8 + bytes(4), "plan 0, without a parent or an opener, and no turn"
    assert is_packed or unpacked(zlib.compress(content)) == kept, "as versions before this one have them all"


def failing_at(number: int) -> ScriptedBackend:
    backend = instant()
    plain = backend.script
    backend.script = lambda r: (
        BackendError("connection", "lost", retryable=False) if len(backend.calls) >= number else plain(r)
    )
    return backend


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_run_that_goes_on_makes_no_call_again_and_prints_all_its_lines(tmp_path: Path, number: int) -> None:
    whole = execute(CHAIN, instant(), begin(tmp_path / "", CHAIN))
    for file in tmp_path.iterdir():
        file.unlink()
    first = execute(CHAIN, failing_at(number), begin(tmp_path, CHAIN))
    assert first.status is Status.FAILED
    backend = instant()
    second = resume(CHAIN, backend, tmp_path)
    assert (second.status, second.value, second.printed) == (Status.SUCCEEDED, whole.value, whole.printed)
    assert second.reused == number - 1
    assert len(backend.calls) == 3 - second.reused
    assert second.executed == whole.executed
    assert [row for row in rows(tmp_path) if isinstance(row, Printed)] == [Printed(0, "[[a]]")], "once"
    third = resume(CHAIN, backend, tmp_path)
    assert (third.value, third.reused) == (whole.value, 3)


def test_answers_to_other_requests_are_refused(tmp_path: Path) -> None:
    execute(CHAIN, failing_at(2), begin(tmp_path, CHAIN))
    other = instant()
    changed = program(plan(ask("b"), ask(0), show(1), ask(1), merge(0, 1, 3), give(4)))
    journal, history = Journal.reopen(tmp_path, RUN)
    with pytest.raises(JournalError, match=r"has an answer to .*, but to another request"):
        execute(changed, other, journal, history)
    assert not other.calls


def test_tokens_and_slots_are_held_until_the_answer_is_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that never commits: nothing that depends on an answer begins, and its slot is not given to another."""
    held: list[object] = []

    def hold(_journal: Journal, row: object, committed: object = None, *, urgent: bool = False) -> None:
        held.append((row, committed, urgent))

    monkeypatch.setattr(Journal, "append", hold)
    p = program(plan(ask("first"), ask(0), ask("second"), give(1)))
    backend = instant()
    journal = begin(tmp_path, p)
    trace = execute(p, backend, journal, options=RunOptions(max_concurrency=1, timeout_s=0.3))
    assert backend.prompts == ["first"]
    assert trace.status is Status.STOPPED
    assert [record.attempts[-1].outcome for record in trace.operations] == ["ok"], "it was paid for, and is told of"


def break_after(monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    commits = count(1)
    refuse(monkeypatch, lambda _: next(commits) > writes)


def test_without_its_journal_a_run_goes_on_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_after(monkeypatch, 1)
    said: list[str] = []
    trace = execute(CHAIN, instant(), begin(tmp_path, CHAIN), options=RunOptions(warn=said.append))
    assert trace.status is Status.SUCCEEDED
    assert trace.value == "[a]\n[[a]]\n[[[a]]]"
    assert len(said) == 1
    assert "nothing more is journaled: No space left on device" in said[0]
    assert len(rows(tmp_path)) == 1


def test_with_a_journal_that_is_required_it_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_after(monkeypatch, 1)
    backend = instant()
    trace = execute(CHAIN, backend, begin(tmp_path, CHAIN), required=True)
    assert trace.status is Status.STOPPED
    assert len(backend.calls) == 2, "what depends on an answer that is lost is not begun"
    monkeypatch.undo()
    assert resume(CHAIN, instant(), tmp_path).reused == 1


def budget(tokens: int) -> RunOptions:
    return RunOptions(max_total_tokens=tokens)


def test_a_budget_counts_over_all_processes_of_a_run(tmp_path: Path) -> None:
    # Each call may cost (1 to 7) + 32 + 100, and costs 2.
    p = program(plan(ask("a", max_tokens=100), ask(0, max_tokens=100), ask(1, max_tokens=100), give(2)))
    first = execute(p, instant(), begin(tmp_path, p), options=budget(136))
    assert first.budget is not None
    assert (first.status, first.budget.spent.tokens) == (Status.STOPPED, 2)
    second = resume(p, instant(), tmp_path, budget(138))
    assert second.budget is not None
    assert (second.status, second.reused, second.budget.spent.tokens) == (Status.STOPPED, 1, 4)
    third = resume(p, instant(), tmp_path, budget(1000))
    assert third.budget is not None
    assert (third.status, third.reused, third.budget.spent.tokens) == (Status.SUCCEEDED, 2, 6)


def test_what_was_in_flight_is_charged_in_the_next_process(tmp_path: Path) -> None:
    p = program(plan(ask("a", max_tokens=100), give(0)))
    slow = ScriptedBackend(latency_ms=lambda _: 60_000)
    options = RunOptions(max_total_tokens=1000, timeout_s=0.3)
    execute(p, slow, begin(tmp_path, p), options=options)
    second = resume(p, instant(), tmp_path, budget(1000))
    assert second.budget is not None
    assert second.budget.spent.tokens == (1 + 32 + 100) + 2


def test_virtual_time_has_no_journal(tmp_path: Path) -> None:
    journal = begin(tmp_path, CHAIN)
    pool = BackendPool({"scripted": instant()}, "scripted")
    run = Run(LoadedProgram(CHAIN), CHAIN.flows[0], (), pool)
    with pytest.raises(UsageError, match="a journal is written in real time"):
        run_virtually(run.execute(Recorder(journal, "0")))
    journal.close()
