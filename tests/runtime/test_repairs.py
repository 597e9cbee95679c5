"""Answers of a type in a run: read, asked for once more where they do not fit, and counted, at exact instants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apxm.analysis.measure import measure
from apxm.analysis.metrics import LinkPhases
from apxm.backends.protocol import (
    SCHEMA_REFUSED,
    BackendInfo,
    Limits,
    ModelAnswer,
    ModelRequest,
    Price,
    Usage,
)
from apxm.errors import BackendError
from apxm.journal.catalog import read
from apxm.journal.journal import Journal
from apxm.journal.rows import Answered, Discarded, Reserved, Settled, header_of
from apxm.journal.runs import find_run, show_run
from apxm.operations.answers import UNFIT
from apxm.program.nodes import Operate
from apxm.program.program import Program
from apxm.reports.call_log import CallLines
from apxm.reports.journaled_runs import run_text
from apxm.reports.summary import summary_line
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import real_loop, run_virtually
from apxm.runtime.options import RunOptions
from apxm.runtime.recording import Recorder, request_digest
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Status, Trace
from apxm.testing import ScriptedBackend, execute_virtually
from tests.plans import ask, give, plan, program

RUN = "20260131-235959-k3vd"


def typed(result: str, *, prompt: str = "How many?", **options: Any) -> Operate:
    node = ask(prompt, **options)
    return Operate(operation="ask", arguments=node.arguments, options=node.options, result=result)


NUMBERS = program(plan(typed("list[int]"), give(0)))


def saying(*answers: str | BackendError) -> ScriptedBackend:
    """Gives the answers in turn, a second each."""
    left = [*answers]
    return ScriptedBackend(lambda _: left.pop(0))


class Coroutine:
    """The same in the other style."""

    def __init__(self, *answers: ModelAnswer | BackendError) -> None:
        self.info = BackendInfo(name="scripted", kind="scripted", model="scripted", simulated=True)
        self.limits = Limits(retries=0)
        self.can_reason = False
        self.left = [*answers]
        self.requests: list[ModelRequest] = []

    async def call(self, request: ModelRequest) -> ModelAnswer:
        self.requests.append(request)
        await asyncio.sleep(1)
        outcome = self.left.pop(0)
        if isinstance(outcome, BackendError):
            raise outcome
        return outcome

    async def close(self) -> None:
        pass


def attempts(trace: Trace, operation: int = 0) -> list[tuple[float, float, str, int | None]]:
    """When each was sent and received, in seconds, its outcome, and the tokens it used."""
    return [(a.sent / 1e9, a.received / 1e9, a.outcome, a.usage.total) for a in trace.operations[operation].attempts]


def failure(trace: Trace) -> tuple[str, str]:
    (failed,) = trace.failures
    assert failed.where.startswith("test.ais:")
    return failed.kind, failed.message


def test_an_answer_is_the_value_of_its_type() -> None:
    backend = saying('{"answer": [1, 2]}')
    trace = execute_virtually(NUMBERS, backend)
    assert trace.value == [1, 2]
    (call,) = backend.calls
    assert call.request.answer is not None
    assert json.loads(call.request.answer.schema)["properties"]["answer"]["items"] == {"type": "integer"}
    assert call.request.answer.schema in (call.request.system_text() or ""), "who knows of no formats tells it in words"


def test_a_label_is_the_one_that_the_program_wrote() -> None:
    p = program(plan(typed("str", choices=["Yes", "No"]), give(0)))
    assert execute_virtually(p, saying("**yes**.")).value == "Yes"


def test_text_is_asked_for_as_ever() -> None:
    backend = saying('{"answer": "x"}')
    assert execute_virtually(program(plan(ask("Hi"), give(0))), backend).value == '{"answer": "x"}'
    assert backend.calls[0].request.answer is None


def test_what_does_not_fit_is_asked_for_once_more_at_once() -> None:
    backend = saying("one and two", "[1, 2]")
    trace = execute_virtually(NUMBERS, backend)
    assert (trace.status, trace.value, trace.failed) == (Status.SUCCEEDED, [1, 2], 0)
    assert attempts(trace) == [(0, 1, UNFIT, 2 + 3), (1, 2, "ok", 36 + 2)]
    first, second = backend.calls
    assert second.request.prompt == (
        "How many?\n\nYou have answered before:\n\none and two\n\nThat is of no use: the answer does not fit: expected "
        'JSON of the type list[int], found "one and two". Answer again, with all of it right.'
    )
    assert second.request.answer == first.request.answer


def test_of_a_long_answer_the_beginning_comes_back() -> None:
    backend = saying("x" * 100_000, "[1]")
    assert execute_virtually(NUMBERS, backend).value == [1]
    assert 20_000 < len(backend.prompts[1]) < 20_500


def test_so_it_is_in_a_task() -> None:
    backend = Coroutine(ModelAnswer("one", Usage(5, 6)), ModelAnswer("[1]", Usage(7, 8)))
    run = Run(LoadedProgram(NUMBERS), NUMBERS.flows[0], (), BackendPool({"scripted": backend}, "scripted"))
    trace = run_virtually(run.execute())
    assert trace.value == [1]
    assert attempts(trace) == [(0, 1, UNFIT, 11), (1, 2, "ok", 15)]
    assert "one" in backend.requests[1].prompt


def test_a_second_answer_that_does_not_fit_is_the_error() -> None:
    trace = execute_virtually(NUMBERS, saying("one", '["two"]'))
    assert failure(trace) == (UNFIT, "the answer does not fit: expected a list[int], and the value[0] is a str")
    assert [outcome for *_, outcome, _ in attempts(trace)] == [UNFIT, UNFIT]
    metrics = measure(trace, LinkPhases(), ScriptedBackend().info)
    assert (metrics.llm.total_requests, metrics.llm.repairs) == (2, 1)


def test_an_answer_that_was_cut_off_is_not_asked_for_again() -> None:
    backend = Coroutine(ModelAnswer('{"answer": [1,', cut_off=True))
    run = Run(LoadedProgram(NUMBERS), NUMBERS.flows[0], (), BackendPool({"scripted": backend}, "scripted"))
    kind, message = failure(run_virtually(run.execute()))
    assert kind == UNFIT
    assert message.endswith("; it was cut off by a limit of tokens, and a larger max_tokens leaves room for all")


def test_a_part_that_fits_is_an_answer_though_the_rest_was_cut_off() -> None:
    backend = Coroutine(ModelAnswer("[1]\n\nThis is bec", cut_off=True))
    run = Run(LoadedProgram(NUMBERS), NUMBERS.flows[0], (), BackendPool({"scripted": backend}, "scripted"))
    assert run_virtually(run.execute()).value == [1]


def test_a_repair_is_no_retry() -> None:
    lost = BackendError("connection", "lost", retryable=True)
    backend = saying("one", lost, "[1]")
    backend.retries = 1
    trace = execute_virtually(NUMBERS, backend)
    assert trace.value == [1]
    assert [outcome for *_, outcome, _ in attempts(trace)] == [UNFIT, "connection", "ok"]
    assert backend.prompts[2] == backend.prompts[1], "what is tried again is the repair"
    backend = saying("one", lost, "[1]")
    assert failure(execute_virtually(NUMBERS, backend))[0] == "connection", "with no retries there is none"


def test_there_is_one_repair_however_often_it_is_tried() -> None:
    lost = BackendError("connection", "lost", retryable=True)
    backend = saying("one", lost, "two")
    backend.retries = 5
    assert failure(execute_virtually(NUMBERS, backend))[0] == UNFIT
    assert len(backend.calls) == 3


def test_an_endpoint_that_takes_no_schema_is_asked_again_at_once_and_for_nothing() -> None:
    refused = BackendError(SCHEMA_REFUSED, "b takes no schema", retryable=True, hint="say so")
    warned: list[str] = []
    backend = saying(refused, "[1]")
    backend.prices = {"scripted": Price(1, 1)}
    options = RunOptions(max_total_tokens=10_000, warn=warned.append)
    trace = execute_virtually(NUMBERS, backend, options=options)
    assert (trace.value, trace.failed) == ([1], 0)
    assert attempts(trace) == [(0, 1, SCHEMA_REFUSED, None), (1, 2, "ok", 3)]
    assert trace.budget is not None
    assert trace.budget.spent.tokens == 3
    assert warned == ["n0: b takes no schema (hint: say so); answers are asked for in words from now on"]


def test_of_many_calls_that_find_out_at_once_one_tells_of_it() -> None:
    refused = BackendError(SCHEMA_REFUSED, "b takes no schema", retryable=True)
    warned: list[str] = []
    p = program(plan(*[typed("int") for _ in range(5)], give(0)))
    trace = execute_virtually(p, saying(*[refused] * 5, *"12345"), options=RunOptions(warn=warned.append))
    assert (trace.failed, len(warned)) == (0, 1)


def test_who_refuses_schemas_for_ever_fails() -> None:
    refused = BackendError(SCHEMA_REFUSED, "b takes no schema", retryable=True)
    assert failure(execute_virtually(NUMBERS, saying(refused, refused)))[0] == SCHEMA_REFUSED


def test_a_repair_waits_for_its_slot_behind_what_was_ready_before() -> None:
    p = program(plan(typed("int", prompt="a"), ask("b"), give(0)))
    backend = ScriptedBackend(lambda r: "1" if r.prompt != "a" else "none")
    trace = execute_virtually(p, backend, options=RunOptions(max_concurrency=1))
    assert trace.value == 1
    assert sorted((call.sent_ms, call.request.prompt[:1]) for call in backend.calls) == [
        (0, "a"),
        (1000, "b"),
        (2000, "a"),
    ]
    assert trace.max_in_flight == 1


# --- what it costs -------------------------------------------------------------------------------------------------


def test_both_answers_are_paid_for() -> None:
    backend = saying("one", "[1]")
    backend.prices = {"scripted": Price(1e6, 1e6)}
    trace = execute_virtually(NUMBERS, backend, options=RunOptions(max_cost=10_000.0, max_total_tokens=10_000))
    used = [usage for *_, usage in attempts(trace)]
    assert used[0] == 3
    assert trace.budget is not None
    assert trace.budget.spent.tokens == sum(filter(None, used))
    assert trace.budget.charged.tokens == 0, "nothing of it is an assumption"
    metrics = measure(trace, LinkPhases(), backend.info)
    assert metrics.llm.total_input_tokens == sum(a.usage.input_tokens or 0 for a in trace.operations[0].attempts)
    assert metrics.llm.total_output_tokens == 2
    assert metrics.llm.avg_latency_ms == 1000
    assert metrics.work_span.t1_ms == 2000
    assert " 2 LLM calls (1 repair) in " in summary_line(metrics)


def test_how_far_a_run_is_tells_what_both_used() -> None:
    backend = saying("one", "[1]")
    run = Run(LoadedProgram(NUMBERS), NUMBERS.flows[0], (), BackendPool({"scripted": backend}, "scripted"))
    trace = run_virtually(run.execute())
    assert run.progress().tokens == sum(usage or 0 for *_, usage in attempts(trace)) > 10


def bound(request: ModelRequest) -> int:
    return request.largest_input + 50


def test_the_repair_is_reserved_by_its_own_size() -> None:
    first = saying("one", "[1]")
    execute_virtually(NUMBERS_OF_50, first)
    worst = [bound(call.request) for call in first.calls]
    assert worst[0] < worst[1]
    enough = RunOptions(max_total_tokens=3 + worst[1])
    assert execute_virtually(NUMBERS_OF_50, saying("one", "[1]"), options=enough).value == [1]
    trace = execute_virtually(NUMBERS_OF_50, saying("one", "[1]"), options=RunOptions(max_total_tokens=2 + worst[1]))
    assert trace.status is Status.STOPPED
    assert trace.stopped is not None
    assert (trace.stopped.kind, trace.stopped.used, trace.stopped.needed) == ("tokens", 3, worst[1])
    assert attempts(trace) == [(0, 1, UNFIT, 3)]


NUMBERS_OF_50 = program(plan(typed("list[int]", max_tokens=50), give(0)))


def test_the_schema_counts_in_what_a_call_may_cost() -> None:
    backend = saying("[1]")
    execute_virtually(NUMBERS_OF_50, backend)
    request = backend.calls[0].request
    assert request.answer is not None
    assert request.largest_input >= len(request.prompt) + len(request.answer.schema)


# --- the journal ---------------------------------------------------------------------------------------------------


def journal_of(folder: Path, p: Program) -> Journal:
    header = header_of(
        p, apxm="0", run_id=RUN, started=0, path="p.ais", kind="source", flow="A.main", inputs=(), options={}
    )
    return Journal.create(folder, header)


def execute(
    journal: Journal, backend: ScriptedBackend, history: Any = None, options: RunOptions | None = None
) -> Trace:
    backend.latency_ms = lambda _: 0
    recorder = Recorder(journal, "0", history)
    pool = BackendPool({"scripted": backend}, "scripted")
    run = Run(LoadedProgram(NUMBERS), NUMBERS.flows[0], (), pool, options)
    try:
        with asyncio.Runner(loop_factory=real_loop) as runner:
            return runner.run(asyncio.wait_for(run.execute(recorder), 60))
    finally:
        journal.close()


def rows(folder: Path, *kinds: type) -> Sequence[Any]:
    return [record.row for record in read(folder, RUN).records if isinstance(record.row, kinds)]


def test_the_journal_has_what_was_of_no_use_and_the_answer_to_the_programs_own_request(tmp_path: Path) -> None:
    backend = saying("one", "[1]")
    assert execute(journal_of(tmp_path, NUMBERS), backend).value == [1]
    discarded, answered = rows(tmp_path, Discarded, Answered)
    assert (discarded.path, discarded.attempt, discarded.backend, discarded.usage) == (
        "n0",
        0,
        "scripted",
        Usage(2, 1),
    )
    assert 'found "one"' in discarded.message
    assert (answered.value, answered.usage) == ([1], Usage(32, 1))
    assert answered.digest == request_digest(backend.calls[0].request, "scripted", "scripted")
    journal, history = Journal.reopen(tmp_path, RUN)
    again = execute(journal, saying(), history)
    assert (again.value, again.reused) == ([1], 1)


def test_what_was_paid_for_an_answer_of_no_use_is_not_lost_with_the_process(tmp_path: Path) -> None:
    """The repair is in flight when the process ends."""
    options = RunOptions(max_total_tokens=20_000)
    lost = BackendError("connection", "lost", retryable=False)
    execute(journal_of(tmp_path, NUMBERS), saying("one", lost), options=options)
    reserved, settled = rows(tmp_path, Reserved), rows(tmp_path, Settled)
    assert [(row.attempt, row.tokens) for row in settled] == [(0, 3), (1, reserved[1].tokens)]
    journal, history = Journal.reopen(tmp_path, RUN)
    assert [row.usage.total for row in history.discarded] == [3]
    trace = execute(journal, saying("[1]"), history, options)
    assert trace.value == [1]
    assert trace.budget is not None
    assert trace.budget.spent.tokens == 3 + reserved[1].tokens + 3


def test_a_request_for_another_type_is_another_request() -> None:
    requests: list[ModelRequest] = []
    for result in ("str", "int", "list[int]"):
        backend = saying("1" if result != "list[int]" else "[1]")
        execute_virtually(program(plan(typed(result), give(0))), backend)
        requests.append(backend.calls[0].request)
    assert len({request_digest(request, "b", "m") for request in requests}) == 3


# --- what is shown -------------------------------------------------------------------------------------------------


def test_a_run_that_is_shown_names_what_was_of_no_use(tmp_path: Path) -> None:
    execute(journal_of(tmp_path, NUMBERS), saying("one", "[1]"))
    lines = run_text(*show_run(tmp_path, find_run(tmp_path, RUN)))
    at = lines.index("answers that were of no use:")
    assert lines[at + 1].split()[:7] == ["n0", "scripted", "2", "in,", "1", "out", "the"]


def test_whoever_watches_sees_both_questions() -> None:
    said: list[str] = []
    trace = execute_virtually(NUMBERS, saying("one", "[1]"), options=RunOptions(observer=CallLines(said.append)))
    assert trace.value == [1]
    asked, unfit, again, asked_again, answered = said
    assert "  prompt: How many?" in asked
    assert "  schema: {" in asked
    assert "fails after 1.00 s" in unfit
    assert again.endswith("n0 is asked again in another way")
    assert "You have answered before:" in asked_again
    assert "answer: [1]" in answered
