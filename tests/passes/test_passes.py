"""Each pass against its golden file, and what a region that runs again asks of them."""

from __future__ import annotations

import pytest

from apxm.compiler.pipeline import compile_source
from apxm.ir.core import PATH, PRIORITY, Block, Op, SSAValue
from apxm.ir.operations import OPERATE_OPS
from apxm.ir.structure import FlowOp, Module, ReturnOp, YieldOp
from apxm.ir.text import print_module
from apxm.ir.values import ConstantOp, TextOp
from apxm.ir.verify import verify_module
from apxm.operations.types import STR, Type
from apxm.passes.pipeline import LEVELS, Pass
from apxm.source import SourceFile
from tests.golden_files import built, check_golden, inside_module

PASSES = {pass_.name: pass_ for passes in LEVELS.values() for pass_ in passes}


def check_uses(module: Module) -> None:
    """That the uses of every value are the operands that there are."""
    for flow in module.flows.values():
        uses: dict[SSAValue, set[tuple[Op, int]]] = {}
        for op in flow.body.walk():
            for index, value in enumerate(op.operands):
                uses.setdefault(value, set()).add((op, index))
        defined = set(flow.body.arguments)
        for op in flow.body.walk():
            defined.update(op.results, *(region.arguments for region in op.regions))
        assert {value: set(value.uses) for value in defined if value.uses} == uses


@pytest.mark.parametrize("pass_", PASSES.values(), ids=PASSES)
def test_golden(pass_: Pass) -> None:
    def transformed(text: str) -> str:
        module = built(text)
        before = print_module(module)
        outcome = pass_.run(module)
        verify_module(module)
        check_uses(module)
        after = print_module(module)
        assert outcome.changed or after == before, "what did not change is not verified again"
        return inside_module(after)

    check_golden(pass_.name, transformed)


@pytest.mark.parametrize("pass_", PASSES.values(), ids=PASSES)
def test_done_twice_is_done_once(pass_: Pass) -> None:
    def twice(text: str) -> str:
        module = built(text)
        pass_.run(module)
        pass_.run(module)
        return inside_module(print_module(module))

    check_golden(pass_.name, twice)


def test_what_comes_out_of_a_flow_marked_no_fuse_is_not_fused() -> None:
    text = """
        agent A {
            @entry flow main(t: str) -> str { return helper(t) }
            @no_fuse flow helper(t: str) -> str { ask(t) -> a  ask("More: " + a) -> b  return b }
        }
    """
    found = compile_source(SourceFile("test.ais", text), level=2)
    assert print_module(found.module).count("ais.ask") == 4


# --- a construct of which no pass has heard --------------------------------------------------------------------------


class RepeatOp(Op):
    """Runs its region any number of times, each time with what it gave the time before."""

    __slots__ = ()
    name = "test.repeat"
    loops = True

    def __init__(self, start: SSAValue, carried: str, result: Type | None) -> None:
        super().__init__((start,), result, regions=(Block({carried: start.type}),))


def ask(prompt: SSAValue, path: str, *, temperature: float | None = None) -> Op:
    op = OPERATE_OPS["ask"]((prompt,), {}, {} if temperature is None else {"temperature": temperature})
    op.attributes[PATH] = path
    return op


def a_loop(*, used: bool, prints: bool) -> tuple[Module, RepeatOp]:
    """``ask(t) -> before``, and behind it a loop whose carried text goes through two calls that ask for the same."""
    flow = FlowOp("A", "main", {"t": STR}, {}, STR)
    (t,) = flow.body.arguments
    before = ask(t, "before", temperature=0.0)
    loop = RepeatOp(before.results[0], "draft", STR)
    loop.attributes[PATH] = "loop"
    (draft,) = loop.regions[0].arguments
    first, second = ask(draft, "loop/first", temperature=0.0), ask(t, "loop/second", temperature=0.0)
    last = ask(draft, "loop/last", temperature=0.0)
    merged = OPERATE_OPS["merge"]([op.results[0] for op in (first, second, last)], {}, {})
    printed = [OPERATE_OPS["print"]((draft,), {}, {})] if prints else []
    loop.regions[0].ops = [first, second, last, merged, *printed, YieldOp(merged.results[0])]
    flow.body.ops = [before, loop, ReturnOp(loop.value if used else t)]
    module = Module([flow])
    verify_module(module)
    return module, loop


def test_equal_operations_are_merged_within_one_time_of_a_loop_and_with_what_stands_above_it() -> None:
    module, loop = a_loop(used=True, prints=False)
    PASSES["cse"].run(module)
    verify_module(module)
    check_uses(module)
    assert [op.path for op in loop.regions[0].ops[:-2]] == ["loop/first"]
    assert [operand.owner for operand in loop.regions[0].ops[1].operands] == [
        loop.regions[0].ops[0],
        module.flows["A.main"].body.ops[0],
        loop.regions[0].ops[0],
    ]


@pytest.mark.parametrize("used", [True, False])
def test_what_a_region_gives_for_the_next_time_is_computed_though_nothing_uses_the_construct(used: bool) -> None:
    module, loop = a_loop(used=used, prints=True)
    outcome = PASSES["remove-unused"].run(module)
    verify_module(module)
    assert not outcome.changed
    assert loop.regions[0].gives


def test_a_loop_that_nothing_needs_goes() -> None:
    module, _ = a_loop(used=False, prints=False)
    outcome = PASSES["remove-unused"].run(module)
    check_uses(module)
    assert outcome.statistics == {"operations_removed": 2, "model_calls_removed": 4}
    assert [op.name for op in module.flows["A.main"].body.ops] == ["ais.return"]


def test_no_other_pass_changes_a_loop() -> None:
    module, loop = a_loop(used=True, prints=True)
    before = print_module(module)
    for name in ("inline", "canonicalize", "fuse-asks"):
        assert not PASSES[name].run(module).changed
    assert print_module(module) == before
    PASSES["priorities"].run(module)
    assert loop.attributes[PRIORITY] == 0
    assert [op.attributes.get(PRIORITY) for op in loop.regions[0].ops[:3]] == [1000, 1000, 1000]


def test_text_above_a_loop_is_joined_there_and_not_each_time() -> None:
    flow = FlowOp("A", "main", {"t": STR}, {}, STR)
    (t,) = flow.body.arguments
    inner = TextOp([t, t])
    printed, asked = TextOp([inner.results[0], t]), TextOp([t, t])
    loop = RepeatOp(t, "draft", STR)
    (draft,) = loop.regions[0].arguments
    line = TextOp([draft, printed.results[0]])
    first = ask(asked.results[0], "loop/first")
    more = ConstantOp("More: ", STR)
    question = TextOp([more.results[0], first.results[0]])
    second = ask(question.results[0], "loop/second")
    print_line = OPERATE_OPS["print"]((line.results[0],), {}, {})
    loop.regions[0].ops = [line, print_line, first, more, question, second, YieldOp(second.results[0])]
    flow.body.ops = [inner, printed, asked, loop, ReturnOp(loop.value)]
    module = Module([flow])
    for name in ("canonicalize", "fuse-asks"):
        PASSES[name].run(module)
        verify_module(module)
        check_uses(module)
    assert flow.body.ops[:-2] == [printed, asked]
    assert printed.operands == [t, t, t]
    assert line.operands == [draft, printed.results[0]]
    assert [op.path for op in loop.regions[0].ops if op.path] == ["loop/second"]
    fused = second.operands[0].owner
    assert isinstance(fused, TextOp)
    assert [value for value in fused.operands if not isinstance(value.owner, ConstantOp)] == [asked.results[0]]
