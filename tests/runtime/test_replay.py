"""The calls of an earlier run, from its journal alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

import apxm
from apxm.errors import BackendError
from apxm.journal.catalog import read
from apxm.journal.rows import Answered, History, TimedRow
from apxm.runtime.replay import replayed_calls
from apxm.testing import ScriptedBackend

NESTED = """\
agent A {
    flow tell(x: str) -> str {
        think(f"Tell {x}", budget: 100) -> t
        return t
    }
    @entry flow main(topic: str) -> str {
        ask(f"Kind of {topic}", system: "Brief.", max_tokens: 50) -> kind
        tell("one") -> x
        tell("two") -> y
        switch kind {
            case "a" => ask("in a")
            default => ask("in default", x)
        } -> z
        ask("last", y, z) -> l
        return l
    }
}
"""
PATHS = ["kind", "x/t", "y/t", "z/default/ask#1", "l"]


def run(folder: Path, backend: ScriptedBackend, level: int = 1, **options: object) -> History:
    """Runs it to its end, well or badly, and reads its journal."""
    pool = apxm.BackendPool({backend.name: backend}, backend.name)
    program = apxm.compile_text(NESTED, name="nested.ais", level=level)
    try:
        run_id = apxm.run(program, topic="bees", backends=pool, journal=True, journal_dir=folder, **options).run_id  # type: ignore[arg-type]
    except apxm.RunFailed as failed:
        run_id = failed.result.run_id
    return read(folder, run_id)


@pytest.mark.parametrize("can_reason", [False, True])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_each_request_is_found_again_in_program_order(tmp_path: Path, level: int, can_reason: bool) -> None:
    backend = ScriptedBackend(latency_ms=lambda _: 0, can_reason=can_reason)
    calls = replayed_calls(run(tmp_path, backend, level))
    assert [call.path for call in calls] == PATHS
    assert all(call.exact for call in calls)
    sent = {call.request.prompt: call.request for call in backend.calls}
    assert {call.request.prompt: call.request for call in calls} == sent
    assert calls[1].request.reasoning is can_reason
    assert calls[0].where == "nested.ais:7:9"


def test_what_a_budget_adds_to_a_request_is_no_part_of_it(tmp_path: Path) -> None:
    calls = replayed_calls(run(tmp_path, ScriptedBackend(latency_ms=lambda _: 0), max_total_tokens=100_000))
    assert [(call.exact, call.request.max_tokens) for call in calls] == [
        (True, 50), (True, None), (True, None), (True, None), (True, None)
    ]  # fmt: skip


def test_a_call_without_an_answer_is_shown_and_what_needs_it_is_not(tmp_path: Path) -> None:
    backend = ScriptedBackend(latency_ms=lambda _: 0)
    lost = BackendError("connection", "lost", retryable=False)
    backend.script = lambda request: lost if request.prompt == "Tell two" else "fine"
    calls = replayed_calls(run(tmp_path, backend))
    assert [(call.path, call.result is not None, call.exact) for call in calls] == [
        ("kind", True, True),
        ("x/t", True, True),
        ("y/t", False, None),
        ("z/default/ask#1", True, True),
    ]


def without_models(history: History) -> History:
    """As a version wrote it that did not say which model was asked."""
    older = History(history.header)
    for record in history.records:
        row = record.row
        older.add(TimedRow(record.time, msgspec.structs.replace(row, model=None) if isinstance(row, Answered) else row))
    return older


def test_a_journal_of_before_is_read_and_its_requests_are_not_verified(tmp_path: Path) -> None:
    calls = replayed_calls(without_models(run(tmp_path, ScriptedBackend(latency_ms=lambda _: 0))))
    assert [(call.path, call.exact) for call in calls] == [(path, None) for path in PATHS]
    assert calls[0].request.prompt == "Kind of bees"


def test_a_request_that_is_not_the_one_that_was_answered_says_so(tmp_path: Path) -> None:
    history = run(tmp_path, ScriptedBackend(latency_ms=lambda _: 0))
    history.results["kind"] = msgspec.structs.replace(history.results["kind"], digest=b"other")
    assert [call.exact for call in replayed_calls(replace(history))][:2] == [False, True]
