"""Calls that somebody watches, on the virtual clock: what is told, when, and in which order."""

from __future__ import annotations

import apxm
from apxm.backends.protocol import ModelAnswer, ModelRequest
from apxm.errors import BackendError
from apxm.journal.rows import Answered
from apxm.program.invocation import select_flow
from apxm.runtime.calls import Calls
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.observing import CallObserver, Outcome
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.waiting import Call
from apxm.testing import ScriptedBackend, run_virtually

CHAIN = 'agent A { @entry flow f() -> str { ask("one") -> a ask(f"two {a}") -> b return b } }'
MS = 1_000_000


class Told(CallObserver):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def began(self, path: str, call: Call) -> None:
        self.events.append(f"{path} began {len(call.earlier)}: {call.request.prompt}")

    def ended(self, path: str, call: Call, outcome: Outcome | None, duration: int | None) -> None:
        match outcome:
            case ModelAnswer():
                what = outcome.text
            case None:
                what = "given up"
            case _:
                what = outcome.kind
        self.events.append(f"{path} ended {len(call.earlier)} after {duration and duration / MS:g} ms: {what}")

    def pauses(self, path: str, pause: int) -> None:
        assert pause >= 0
        self.events.append(f"{path} pauses")

    def reused(self, path: str, request: ModelRequest, result: Answered) -> None:
        self.events.append(f"{path} reused: {request.prompt}: {result.value}")


def told(text: str, backend: ScriptedBackend, **options: float) -> list[str]:
    """What is told of a run of the entry of `text`."""
    observer = Told()
    program = apxm.compile_text(text)
    flow = select_flow(program, None)

    async def main() -> None:
        pool = apxm.BackendPool({backend.name: backend}, backend.name)
        await Run(LoadedProgram(program), flow, (), pool, RunOptions(observer=observer, **options)).execute()  # type: ignore[arg-type]

    run_virtually(main())
    return observer.events


def test_each_call_is_told_of_before_what_it_leads_to() -> None:
    assert told(CHAIN, ScriptedBackend(latency_ms=lambda _: 20)) == [
        "a began 0: one",
        "a ended 0 after 20 ms: [one]",
        "b began 0: two [one]",
        "b ended 0 after 20 ms: [two [one]]",
    ]


def test_failed_attempts_and_pauses_are_told_of() -> None:
    backend = ScriptedBackend(latency_ms=lambda _: 20, retries=2)
    lost = BackendError("connection", "lost", retryable=True)
    backend.script = lambda _: lost if len(backend.calls) == 1 else "fine"
    assert told('agent A { @entry flow f() -> str { ask("one") -> a return a } }', backend) == [
        "a began 0: one",
        "a ended 0 after 20 ms: connection",
        "a pauses",
        "a began 1: one",
        "a ended 1 after 20 ms: fine",
    ]


def test_what_is_in_flight_at_the_end_is_given_up() -> None:
    events = told(CHAIN, ScriptedBackend(latency_ms=lambda _: 60_000), timeout_s=1.5)
    assert events == ["a began 0: one", "a ended 0 after 1500 ms: given up"]


def test_a_call_over_its_time_is_told_of_as_such() -> None:
    text = 'agent A { @entry flow f() -> str { ask("one", timeout: 2, retries: 0) -> a return a } }'
    events = told(text, ScriptedBackend(latency_ms=lambda _: 60_000))
    assert events == ["a began 0: one", "a ended 0 after 2000 ms: timeout"]


def test_a_run_that_nobody_watches_has_calls_that_look_for_nobody() -> None:
    program = apxm.compile_text(CHAIN)
    backend = ScriptedBackend()
    made: list[type] = []

    async def main() -> None:
        pool = apxm.BackendPool({backend.name: backend}, backend.name)
        run = Run(LoadedProgram(program), select_flow(program, None), (), pool)
        await run.execute()
        made.append(type(run._calls))  # pyright: ignore[reportPrivateUsage]

    run_virtually(main())
    assert made == [Calls]
