"""The SSA itself: uses, copies, and when two constants are the same."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from apxm.ir.constructs import SwitchOp
from apxm.ir.core import PATH, Block, Op, SSAValue
from apxm.ir.literals import identity, size, written
from apxm.ir.operations import OPERATE_OPS
from apxm.ir.structure import YieldOp
from apxm.ir.text import print_module
from apxm.ir.values import ConstantOp, TextOp
from apxm.operations.types import STR
from tests.golden_files import built, inside_module

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def users(value: SSAValue) -> list[tuple[Op, int]]:
    return list(value.uses)


def test_a_value_knows_its_users_and_where_they_take_it() -> None:
    a, b = ConstantOp("a", STR), ConstantOp("b", STR)
    text = TextOp([a.result, b.result, a.result])
    assert users(a.result) == [(text, 0), (text, 2)]
    text.set_operands([b.result])
    assert (users(a.result), users(b.result)) == ([], [(text, 0)])
    text.drop()
    assert users(b.result) == []


def test_a_value_that_is_replaced_leaves_its_users_and_its_name() -> None:
    a, b, c = ConstantOp("a", STR), ConstantOp("b", STR), ConstantOp("c", STR)
    a.result.hint = "named"
    wide = TextOp([a.result, b.result, a.result])
    a.result.replace_by(c.result)
    assert wide.operands == [c.result, b.result, c.result]
    assert (users(a.result), users(c.result)) == ([], [(wide, 0), (wide, 2)])
    assert c.result.hint == "named"


def test_a_copy_shares_nothing_but_what_it_takes_from_outside() -> None:
    outside = ConstantOp("outside", STR)
    arm = Block()
    inner = ConstantOp("inner", STR)
    text = TextOp([inner.result, outside.result])
    text.attributes[PATH] = "p"
    arm.ops = [inner, text, YieldOp(text.result)]
    switch = SwitchOp(outside.result, ["a"], [arm], STR)
    other = ConstantOp("other", STR)
    values = {outside.result: other.result}
    copy = switch.copy(values)
    copied = copy.regions[0].ops
    assert copy.labels == ("a",)
    assert values[switch.results[0]] is copy.results[0]
    assert copied[1].operands == [copied[0].results[0], other.result]
    assert copied[2].operands == [copied[1].results[0]]
    copied[1].attributes[PATH] = "q"
    copy.drop()
    assert text.path == "p"
    assert users(outside.result) == [(text, 1), (switch, 0)]
    assert users(other.result) == []


def test_an_operation_without_effects_may_be_done_once_a_sample_may_not() -> None:
    prompt = ConstantOp("?", STR).result

    def ask(**literals: float) -> Op:
        return OPERATE_OPS["ask"]([prompt], {}, literals)

    assert [op.repeatable for op in (ask(), ask(temperature=0.5), ask(temperature=0.0))] == [False, False, True]
    assert [OPERATE_OPS[name]([prompt], {}, {}).repeatable for name in ("merge", "print")] == [True, False]


@given(values, values)
def test_constants_are_the_same_where_their_json_is(first: object, second: object) -> None:
    for one in (first, second):
        for other in (first, second):
            assert (identity(one) == identity(other)) == (json.dumps(one) == json.dumps(other))


def test_constants_of_different_types_differ() -> None:
    assert len({identity(value) for value in (1, 1.0, True, "1", "true", [1], "[1]", -0.0, 0.0, None, "null")}) == 11


@given(values)
def test_the_size_of_a_constant_is_that_of_its_json(value: object) -> None:
    assert size(value) == len(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def test_a_constant_is_written_as_the_lexer_of_mlir_reads_it() -> None:
    shown = {
        "null": None,
        "true": True,
        "1.0e-05": 1e-05,
        "-0.0": -0.0,
        '"é \\"q\\" \\\\ \\n\\t\\00"': 'é "q" \\ \n\t\0',
        '[1, {"a": []}]': [1, {"a": []}],
    }
    assert {written(value): value for value in shown.values()} == shown


def test_names_in_the_printed_text_are_those_of_the_source_and_all_different() -> None:
    module = built('agent A { flow main(x_1: str, x: str) -> str { ask(x_1) -> x_2  ask(x) -> _3  return "" } }')
    assert inside_module(print_module(module)).splitlines()[:3] == [
        "ais.flow entry @A.main(x_1 %x: str, x %x_1: str) -> str {",
        '  %x_2 = ais.ask(%x) : str {path: "x_2"}',
        '  %0 = ais.ask(%x_1) : str {path: "_3"}',
    ]
