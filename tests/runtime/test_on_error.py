"""What a failure does to everything that does not need its result."""

from __future__ import annotations

import apxm
from apxm.backends.protocol import ModelRequest
from apxm.errors import BackendError
from apxm.runtime.options import RunOptions
from apxm.runtime.trace import Status, Trace
from apxm.testing import ScriptedBackend, execute_virtually
from tests.plans import ask, plan, program, show

CANCEL = RunOptions(on_error="cancel")
LATENCIES = {"quick": 100, "bad": 200, "slow": 1000}


def backend(*, retryable: bool = False, failures: int = 1000) -> ScriptedBackend:
    """Fails the first calls whose prompt is "bad"."""
    left = [failures]

    def script(request: ModelRequest) -> str | BackendError:
        if request.prompt == "bad" and left[0]:
            left[0] -= 1
            return BackendError("broken", "it broke", retryable=retryable)
        return "fine"

    return ScriptedBackend(script, latency_ms=lambda request: LATENCIES[request.prompt])


THREE = program(plan(ask("quick"), ask("bad"), ask("slow"), show(2)))


def outcomes(trace: Trace) -> list[tuple[str, float]]:
    return [(attempt.outcome, attempt.received / 1e6) for record in trace.operations for attempt in record.attempts]


def test_by_default_what_does_not_need_the_failed_one_goes_on() -> None:
    trace = execute_virtually(THREE, backend())
    assert (trace.status, trace.duration / 1e6, trace.printed) == (Status.FAILED, 1000, ["fine"])


def test_with_cancel_the_first_failure_ends_the_run_and_what_is_finished_is_kept() -> None:
    used = backend()
    trace = execute_virtually(THREE, used, options=CANCEL)
    assert (trace.status, trace.duration / 1e6, trace.printed) == (Status.FAILED, 200, [])
    assert outcomes(trace) == [("ok", 100), ("broken", 200), ("cancelled", 200)]
    assert [failure.message for failure in trace.failures] == ["it broke"]
    assert (trace.executed, trace.failed) == (2, 1)
    assert used.calls[2].cancelled


def test_nothing_that_waits_for_a_slot_starts_any_more() -> None:
    used = backend()
    five = program(plan(ask("bad"), ask("slow"), ask("quick"), ask("quick"), ask("quick")))
    trace = execute_virtually(five, used, options=RunOptions(max_concurrency=2, on_error="cancel"))
    assert (trace.status, trace.duration / 1e6) == (Status.FAILED, 200)
    assert sorted(used.prompts) == ["bad", "slow"]


def test_an_operation_that_is_tried_again_has_not_failed_yet() -> None:
    two = program(plan(ask("bad", retries=1), ask("slow")))
    once = execute_virtually(two, backend(retryable=True, failures=1), options=CANCEL)
    assert once.status is Status.SUCCEEDED
    assert [outcome for outcome, _ in outcomes(once)] == ["broken", "ok", "ok"]
    twice = execute_virtually(two, backend(retryable=True), options=CANCEL)
    assert [outcome for outcome, _ in outcomes(twice)] == ["broken", "broken", "cancelled"]


def test_a_failure_in_place_counts_too() -> None:
    p = apxm.compile_text("""
        agent A {
            @entry flow f() {
                ask("slow") -> later
                print(later)
                switch ask("quick") {
                    case "yes" => print("yes")
                }
            }
        }
    """)
    trace = execute_virtually(p, backend(), options=CANCEL)
    assert (trace.status, trace.duration / 1e6) == (Status.FAILED, 100)
    assert [failure.kind for failure in trace.failures] == ["no_match"]
