"""Traces for Perfetto, read back as its importer reads them."""

from __future__ import annotations

from random import Random
from typing import Any

import apxm
from apxm.backends.protocol import ModelAnswer, ModelRequest, Price, Usage
from apxm.errors import BackendError
from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import flow
from apxm.program.program import Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.loops import run_virtually
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.telemetry.perfetto import MOST_ARROWS, trace_file
from apxm.testing import ScriptedBackend
from tests.lanes.comparing import ran
from tests.programs import random_source
from tests.telemetry.chrome import Read, read

SECOND_US = 1_000_000
TURNS = """agent A {
    flow deep(x: str) -> str { ask(x) -> y return y }
    @entry flow f() -> json {
        for x in ["a", "b"] { deep(x) -> y ask(f"{y}!") -> z return z } -> zs
        return zs
    }
}"""


def shown(program: Program, backend: ScriptedBackend | None = None, **options: Any) -> Read:
    """What the trace of a run on virtual time shows."""
    backend = backend or ScriptedBackend()

    async def main() -> bytes:
        pool = apxm.BackendPool({backend.name: backend}, backend.name)
        run = Run(LoadedProgram(program), program.flows[program.entry or 0], (), pool, RunOptions(**options))
        return trace_file(await run.execute(), "20300101-000000-abcd", run.who)

    return read(run_virtually(main()))


def lanes(found: Read, group: str) -> list[tuple[str, float, float]]:
    """Name, begin and end of each slice of a group, in seconds."""
    return [(s.name, s.begin / SECOND_US, s.end / SECOND_US) for s in found.of(group)]


def arrows(found: Read) -> set[tuple[str, str, str]]:
    return {(kind, source.name, target.name) for kind, source, target in found.arrows}


def wide(width: int) -> str:
    asks = "\n".join(f'ask("{k}") -> a{k}' for k in range(width))
    names = ", ".join(f"a{k}" for k in range(width))
    return f"agent A {{ @entry flow f() -> str {{ {asks}\nmerge({names}) -> all\nask(all) -> b return b }} }}"


def test_each_attempt_has_the_lowest_free_lane_and_what_waits_is_elsewhere() -> None:
    found = shown(apxm.compile_text(wide(3)), max_concurrency=2)
    assert lanes(found, "calls in flight") == [("a0", 0, 1), ("a1", 0, 1), ("a2", 1, 2), ("b", 2, 3)]
    first, second, third, last = (s.lane for s in found.of("calls in flight"))
    assert (first, second) == (third, third + 1)
    assert last == first
    assert lanes(found, "waiting") == [("a2: waits for a slot", 0, 1)]
    assert found.counters["in flight"] == [(0, 2), (SECOND_US, 1), (2 * SECOND_US, 1), (3 * SECOND_US, 0)]
    assert lanes(found, "run 20300101-000000-abcd") == [("A.f", 0, 3)]


def test_arrows_lead_through_what_does_not_wait_from_what_came_last() -> None:
    found = shown(apxm.compile_text(wide(3)))
    assert arrows(found) == {("dependency", f"a{k}", "b") for k in range(3)}
    many = shown(
        apxm.compile_text(wide(2 * MOST_ARROWS)),
        ScriptedBackend(latency_ms=lambda r: float(r.prompt) + 1 if r.prompt.isdecimal() else 1),
    )
    assert arrows(many) == {("dependency", f"a{k}", "b") for k in range(MOST_ARROWS, 2 * MOST_ARROWS)}


def test_each_attempt_shows_and_so_do_the_pauses_between_them() -> None:
    def script(_request: ModelRequest) -> ModelAnswer | BackendError:
        if len(backend.calls) < 3:
            return BackendError("rate_limit", "slow down", retryable=True)
        return ModelAnswer("yes", Usage(1, 1), service_ns=400_000_000)

    backend = ScriptedBackend(script, retries=3, prices={"scripted": Price(1_000_000, 2_000_000)})
    program = apxm.compile_text('agent A { @entry flow f() -> str {\nask("q") -> a\nreturn a } }', name="q.ais")
    found = shown(program, backend)
    first, second, third = found.of("calls in flight")
    assert [s.name for s in (first, second, third)] == ["a", "a (attempt 2)", "a (attempt 3)"]
    assert [s.name for s in found.of("waiting")] == ["a: pause before attempt 2", "a: pause before attempt 3"]
    assert [(s.begin, s.end) for s in found.of("waiting")] == [(first.end, second.begin), (second.end, third.begin)]
    assert arrows(found) == {("retry", "a", "a (attempt 2)"), ("retry", "a (attempt 2)", "a (attempt 3)")}
    assert first.args == {
        "operation": "ask", "where": "q.ais:2:1", "backend": "scripted", "model": "scripted",
        "attempt": 1, "outcome": "rate_limit",
    }  # fmt: skip
    assert third.args == {
        "operation": "ask", "where": "q.ais:2:1", "backend": "scripted", "model": "scripted",
        "attempt": 3, "outcome": "ok", "input tokens": 1, "output tokens": 1, "service ms": 400.0, "cost": 3.0,
    }  # fmt: skip


def test_turns_flows_and_calls_without_duration_are_drawn_as_well() -> None:
    found = shown(apxm.compile_text(TURNS), ScriptedBackend(latency_ms=lambda _request: 0))
    assert len(found.of("calls in flight")) == 4
    assert {name for name, _, _ in lanes(found, "calls in flight")} == {
        f"zs[{k}]/{x}" for k in (1, 2) for x in ("y/y", "z")
    }
    assert arrows(found) == {("dependency", f"zs[{k}]/y/y", f"zs[{k}]/z") for k in (1, 2)}


def test_random_programs_with_failures_and_limits_give_sound_traces() -> None:
    drawn = Random(5)
    slices = 0
    for seed in range(60):
        random = Random(seed)
        program = apxm.compile_text(random_source(random, fields=False))

        def script(request: ModelRequest, random: Random = random) -> str | BackendError:
            return BackendError("server", "no", retryable=True) if random.random() < 0.2 else request.prompt[:20]

        backend = ScriptedBackend(script, latency_ms=lambda _request: drawn.choice((0, 1, 7, 300)), retries=2)
        found = shown(program, backend, max_concurrency=drawn.choice((None, 1, 3)))
        slices += len(found.slices)
        assert all(source.end <= target.begin for _, source, target in found.arrows)
    assert slices > 200


def test_a_flow_of_python_has_its_calls_and_what_each_waited_for() -> None:
    @flow
    def label(rows: list[str]) -> list[str]:
        return [ask(f"{ask(row)}!") for row in each(rows)]

    _, trace = ran(lambda: label.lanes(["a", "b"]), lambda: 1_000_000_000)
    found = read(trace_file(trace, "20300101-000000-abcd"))
    assert [(begin, end) for _, begin, end in lanes(found, "calls in flight")] == [(0, 1), (0, 1), (1, 2), (1, 2)]
    kinds = [kind for kind, _, _ in found.arrows]
    assert kinds == ["dependency", "dependency"]
    assert all(source.lane == target.lane for _, source, target in found.arrows)


def test_a_result_in_python_gives_its_file() -> None:
    result = apxm.run(apxm.compile_text(wide(1)), backend="simulated", latency="constant:1")
    assert [name for name, _, _ in lanes(read(result.perfetto_trace()), "calls in flight")] == ["a0", "b"]


def test_joins_behind_each_other_have_arrows_in_the_number_of_operations_not_its_square() -> None:
    sizes: list[float] = []
    for width in (100, 800):
        text = wide(width).replace(
            "ask(all) -> b return b", "\n".join(f"ask(all) -> b{k}" for k in range(width)) + ' return ""'
        )
        found = shown(apxm.compile_text(text, level=0))
        sizes.append(len(found.arrows) / width)
    assert sizes == [MOST_ARROWS, MOST_ARROWS]


def test_whatever_a_program_is_called_it_is_json() -> None:
    name = 'quo"te <b> ✓'
    program = apxm.compile_text('agent A { @entry flow f() -> str { ask("q") -> a return a } }', name=name)
    found = shown(program)
    assert found.of("calls in flight")[0].args["where"] == f"{name}:1:36"
