"""Predictions by tokens: a program takes on virtual time what it takes on the engine itself."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from apxm.analysis.predict import Assumptions, Prediction, predict
from apxm.analysis.profile import Profile, decode_profile, encode_profile
from apxm.analysis.specified import specified_profile
from apxm.backends.settings import SimulatedSettings
from apxm.backends.simulated import SimulatedBackend
from apxm.program.expressions import Expression, Literal, Operand
from apxm.program.nodes import Operate
from apxm.program.program import Flow, Names, NodeName, Plan, PlanNames, Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run

ENGINE = "tokens:fixed=5,step=12,prefill=0.2,decode=0.5"


def profile(latency: str) -> Profile:
    return specified_profile("simulated", SimulatedSettings(latency=latency))


def chain(prompts: Sequence[str], limits: Sequence[int | None], *, linked: bool = False) -> Program:
    """Asks each prompt, with the answer before as its context where they are `linked`."""

    def options(limit: int | None) -> dict[str, Expression]:
        return {} if limit is None else {"max_tokens": Literal(limit)}

    nodes = tuple(
        Operate(
            operation="ask",
            operands=(i - 1,) if linked and i else (),
            arguments=(Literal(prompt), *([Operand(0)] if linked and i else [])),
            options=options(limit),
            result="str",
        )
        for i, (prompt, limit) in enumerate(zip(prompts, limits, strict=True))
    )
    names = tuple(NodeName(path=f"call{i}") for i in range(len(nodes)))
    return Program(
        plans=(Plan(nodes=nodes, inputs=0, outputs=()),),
        flows=(Flow(agent="A", name="f", parameters=(), result=None, plan=0),),
        entry=0,
        optimization_level=0,
        names=Names(file="f", plans=(PlanNames(path="A.f", nodes=names),)),
    )


def predicted(program: Program, latency: str, **assumed: dict[str, list[int]]) -> Prediction:
    return predict(program, program.flows[0], (), profile(latency), assumptions=Assumptions(**assumed))  # type: ignore[arg-type]


def measured(program: Program, latency: str) -> float:
    backend = SimulatedBackend(latency=latency)
    pool = BackendPool({"simulated": backend}, "simulated")
    trace = run_virtually(Run(LoadedProgram(program), program.flows[0], (), pool, RunOptions()).execute())
    return trace.duration / 1e6


@pytest.mark.parametrize("options", ["", ",slots=2", ",slots=3,chunk=64", ",chunk=128,cache"])
def test_calls_at_once_take_what_the_engine_takes(options: str) -> None:
    latency = f"{ENGINE}{options},answer=900"
    program = chain([f"{i} " + "x" * (400 * i + 50) for i in range(9)], [10 * i + 5 for i in range(9)])
    found = predicted(program, latency)
    assert found.mean_ms == pytest.approx(measured(program, latency), rel=0.003)
    assert not found.random


def test_an_answer_counts_where_it_is_the_context_of_a_later_call() -> None:
    """The last prompts hold 400 and 800 tokens that were said before."""
    latency = f"{ENGINE},answer=900"
    program = chain(["begin", "go on", "and on"], [400, 400, 10], linked=True)
    assert predicted(program, latency).mean_ms == pytest.approx(measured(program, latency), rel=0.003)


def test_the_beginnings_that_prompts_share_are_known() -> None:
    latency, shared = f"{ENGINE},slots=1,answer=900", "s" * 8000
    program = chain([f"{shared} {i}" for i in range(4)], [5] * 4)
    with_cache, without = (predicted(program, latency + cache).mean_ms for cache in (",cache", ""))
    assert with_cache == pytest.approx(measured(program, f"{latency},cache"), rel=0.003)
    assert without - with_cache == pytest.approx(3 * 2000 * 0.2, rel=0.02)


def test_two_answers_are_no_prefix_of_each_other() -> None:
    program = chain(["a", "b", "c", "d"], [300, 400, 5, 5])
    (plan,) = program.plans
    first, second, *last = plan.nodes
    linked = [replace(node, operands=(i,), arguments=(Operand(0),)) for i, node in enumerate(last)]  # type: ignore[type-var]
    program = replace(program, plans=(replace(plan, nodes=(first, second, *linked)),))
    with_cache = predicted(program, f"{ENGINE},answer=900,cache")
    assert with_cache.mean_ms == predicted(program, f"{ENGINE},answer=900").mean_ms


def test_an_answer_of_which_nobody_knows_how_long_it_is_is_a_range_and_named() -> None:
    engine = replace(profile(ENGINE).engine, answer_tokens=None)  # type: ignore[type-var]
    program = chain(["a", "b"], [None, 10])
    found = predict(program, program.flows[0], (), replace(profile(ENGINE), engine=engine))
    assert found.unknown == ("call0",)
    assert found.random
    low, high = found.interval80_ms
    assert high > 4 * low
    again = predict(program, program.flows[0], (), replace(profile(ENGINE), engine=engine))
    assert again == found


def test_earlier_runs_say_how_long_an_answer_is() -> None:
    program = chain(["a", "b"], [None, 700])
    found = predicted(program, ENGINE, lengths={"call0": [40], "call1": [40]})
    assert found.unknown == ()
    assert found.mean_ms == pytest.approx(5 + 12 + 0.4 + 39 * 13, rel=0.01)


def test_costs_that_are_not_known_well_make_an_interval() -> None:
    engine = profile(ENGINE).engine
    assert engine is not None
    covariance = ((0.0,) * 4, (0.0, 1.44, 0.0, 0.0), (0.0,) * 4, (0.0,) * 4)  # σ of a step: 1.2 ms, a tenth
    program = chain(["a"], [101])
    found = predict(
        program, program.flows[0], (), replace(profile(ENGINE), engine=replace(engine, covariance=covariance)), runs=199
    )
    low, high = found.interval80_ms
    assert found.mean_ms == pytest.approx(5 + 12 + 100 * 12.5, rel=0.03)
    assert (high - low) / found.mean_ms == pytest.approx(2 * 1.28 * 0.1, rel=0.2)


def test_a_profile_with_an_engine_comes_back_from_its_file_and_older_ones_are_read() -> None:
    known = profile(f"{ENGINE},slots=4,cache")
    assert decode_profile(encode_profile(known), where="p.json") == known
    older = encode_profile(replace(known, engine=None)).replace(b'"version": 2', b'"version": 1')
    assert decode_profile(older, where="p.json").engine is None
