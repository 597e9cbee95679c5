"""What a module may not be, which a pass could get wrong: built by hand, since no source can say it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest

from apxm.ir.constructs import SwitchOp
from apxm.ir.core import PATH, Block, InvalidModule, Op, SSAValue
from apxm.ir.operations import OPERATE_OPS
from apxm.ir.structure import CallOp, FlowOp, Module, ReturnOp, YieldOp
from apxm.ir.values import ConstantOp, DictOp, FieldOp, ListOp, SumOp, TextOp, ToFloatOp
from apxm.ir.verify import verify_module
from apxm.operations.types import BOOL, FLOAT, INT, JSON, STR, Type, Value, list_of
from tests.golden_files import built

Ops = list[Op]


def flow(
    body: Callable[..., Ops],
    result: Type | None = None,
    *,
    name: str = "main",
    defaults: Mapping[str, Value] | None = None,
    **parameters: Type,
) -> FlowOp:
    """`body` makes the operations from the values of the parameters."""
    made = FlowOp("A", name, parameters, defaults or {}, result)
    made.body.ops = body(*made.body.arguments)
    return made


def returning(*ops: Op) -> Ops:
    """Operations, and at their end the result of the last one."""
    return [*ops, ReturnOp(ops[-1].value)]


def ask(prompt: SSAValue, options: Mapping[str, SSAValue] | None = None, **literals: Value) -> Op:
    return at("a", OPERATE_OPS["ask"]([prompt], options or {}, literals))


def printing(value: SSAValue, path: str = "print#1") -> Op:
    return at(path, OPERATE_OPS["print"]([value], {}, {}))


def at(path: str, op: Op) -> Op:
    op.attributes[PATH] = path
    return op


def of_type(op: Op, type_: Type) -> Op:
    """`op`, with another result than it has."""
    op.results[0].type = type_
    return op


def arm(*ops: Op, given: SSAValue | None = None) -> Block:
    made = Block()
    made.ops = [*ops, YieldOp(*([] if given is None else [given]))]
    return made


def leaking(t: SSAValue) -> Ops:
    inner = at("a", OPERATE_OPS["merge"]([t], {}, {}))
    return [SwitchOp(t, ["a"], [arm(inner)], None), ReturnOp(inner.value)]


def above(t: SSAValue) -> Ops:
    first = ask(t)
    assert first.value is not None
    return [at("b", OPERATE_OPS["ask"]([first.value], {}, {})), first, ReturnOp(t)]


def two_ends(t: SSAValue) -> Ops:
    return [ReturnOp(t), ReturnOp(t)]


CASES: dict[str, tuple[FlowOp | list[FlowOp], str]] = {
    "a value is used above its definition": (
        flow(above, STR, t=STR),
        r"^A\.main: ais\.ask uses a value that is not defined above it$",
    ),
    "a value of an arm is used outside": (
        flow(leaking, STR, t=STR),
        r"^A\.main: ais\.return uses a value that is not defined above it$",
    ),
    "an option that the operation does not have": (
        flow(lambda t: returning(ask(t, budget=5)), STR, t=STR),
        r"^ask has no literal option 'budget'; it is ask\(prompt, context…, tools: list",
    ),
    "a value for such an option": (
        flow(lambda t: returning(ask(t, {"budget": t})), STR, t=STR),
        r"^ask has no option 'budget'; it is ask\(prompt",
    ),
    "a literal option out of its range": (
        flow(lambda t: returning(ask(t, temperature=3.0)), STR, t=STR),
        r"^the option 'temperature' goes from 0 to 2, found 3\.0$",
    ),
    "a literal option of another type": (
        flow(lambda t: returning(ask(t, max_tokens="five")), STR, t=STR),
        r"^the option 'max_tokens' is int, found 'five'$",
    ),
    "a value where a literal belongs": (
        flow(lambda t, n: returning(ask(t, {"max_tokens": n})), STR, t=STR, n=INT),
        r"^the option 'max_tokens' is a literal, found a value$",
    ),
    "an option of another type": (
        flow(lambda t, n: returning(ask(t, {"system": n})), STR, t=STR, n=INT),
        r"^system is str, found int$",
    ),
    "a merge of nothing": (
        flow(lambda: returning(OPERATE_OPS["merge"]([], {}, {})), JSON),
        r"^expected at least 1 operands, found 0$",
    ),
    "a result that the operation does not have": (
        flow(lambda t, n: returning(of_type(OPERATE_OPS["merge"]([t, n], {}, {}), STR)), STR, t=STR, n=INT),
        r"^expected the result list\[json\], found str$",
    ),
    "a constant of another type": (flow(lambda: returning(ConstantOp(1.5, INT)), INT), r"^1\.5 is no int$"),
    "text that is a number": (flow(lambda: returning(ConstantOp(1, STR)), STR), r"^1 is no str$"),
    "a truth value that is a number": (flow(lambda: returning(ConstantOp(1, BOOL)), BOOL), r"^1 is no bool$"),
    "a constant that is not finite": (flow(lambda: returning(ConstantOp(math.inf, FLOAT)), FLOAT), r" is no float$"),
    "one within json": (flow(lambda: returning(ConstantOp([math.nan], JSON)), JSON), r" is no json$"),
    "a text that is no text": (
        flow(lambda t: returning(of_type(TextOp([t]), JSON)), JSON, t=STR),
        r"^expected the result str, found json$",
    ),
    "a sum of text": (
        flow(lambda t: returning(SumOp([t])), INT, t=STR),
        r"^expected numbers, found str$",
    ),
    "a sum of nothing": (flow(lambda: returning(SumOp([])), INT), r"^expected at least one operand, found none$"),
    "a list of other items": (
        flow(lambda n: returning(ListOp([n], FLOAT)), list_of(FLOAT), n=INT),
        r"^expected items of float, found int$",
    ),
    "a conversion of what is a float already": (
        flow(lambda x: returning(ToFloatOp(x)), FLOAT, x=FLOAT),
        r"^expected int or a list of it, found float$",
    ),
    "an object with more keys than values": (
        flow(lambda n: returning(DictOp(["a", "b"], [n])), JSON, n=INT),
        r"^expected a key per operand, found 2 for 1$",
    ),
    "a field of another type": (
        flow(lambda j: returning(of_type(FieldOp(j, "a"), STR)), STR, j=JSON),
        r"^expected the result json, found str$",
    ),
    "a flow that gives another type than it says": (
        flow(lambda n: [ReturnOp(n)], STR, n=INT),
        r"^expected str, found int$",
    ),
    "a flow that gives nothing": (flow(lambda: [ReturnOp()], STR), r"^expected str, found none$"),
    "a flow that gives something": (flow(lambda t: [ReturnOp(t)], t=STR), r"^expected none, found str$"),
    "an arm that gives nothing": (
        flow(lambda t: returning(SwitchOp(t, ["x"], [arm()], STR)), STR, t=STR),
        r"^expected str, found none$",
    ),
    "labels that are not folded": (
        flow(lambda t: [SwitchOp(t, ["Yes"], [arm()], None), ReturnOp()], t=STR),
        r"^expected labels that are trimmed, folded and all different$",
    ),
    "labels that are equal": (
        flow(lambda t: [SwitchOp(t, ["a", "a"], [arm(), arm()], None), ReturnOp()], t=STR),
        r"^expected labels that are trimmed, folded and all different$",
    ),
    "no labels": (
        flow(lambda t: [SwitchOp(t, [], [arm()], None), ReturnOp()], t=STR),
        r"^expected at least one case$",
    ),
    "an arm too many": (
        flow(lambda t: [SwitchOp(t, ["a"], [arm(), arm(), arm()], None), ReturnOp()], t=STR),
        r"^expected an arm per label, found 3 for 1$",
    ),
    "a switch on a number": (
        flow(lambda n: [SwitchOp(n, ["1"], [arm()], None), ReturnOp()], n=INT),
        r"^expected one operand, the selector, a str$",
    ),
    "a default that does not fit its parameter": (
        flow(lambda _: [ReturnOp()], defaults={"n": "one"}, n=INT),
        r"^the default of 'n' is int, found 'one'$",
    ),
    "a default of no parameter": (
        flow(lambda: [ReturnOp()], defaults={"n": 1}),
        r"^a default for 'n', which is no parameter$",
    ),
    "a call of no flow": (
        flow(lambda: [CallOp("A.other", [], None), ReturnOp()]),
        r"^A\.main: a call of A\.other, which is no flow of the module$",
    ),
    "a call with other arguments": (
        [
            flow(lambda n: [CallOp("A.other", [n, n], None), ReturnOp()], n=INT),
            flow(lambda _: [ReturnOp()], name="other", t=STR),
        ],
        r"^A\.main: A\.other takes str, found int, int$",
    ),
    "a call with another result": (
        [
            flow(lambda: [CallOp("A.other", [], STR), ReturnOp()]),
            flow(lambda: [ReturnOp()], name="other"),
        ],
        r"^A\.main: A\.other gives None, found str$",
    ),
    "flows that call each other": (
        [
            flow(lambda: [CallOp("A.other", [], None), ReturnOp()]),
            flow(lambda: [CallOp("A.main", [], None), ReturnOp()], name="other"),
        ],
        r"^flows call each other in a circle: A\.main -> A\.other -> A\.main$",
    ),
    "two operations of one path": (
        flow(lambda t: [printing(t), printing(t), ReturnOp()], t=STR),
        r'^A\.main: the path "print#1" stands twice$',
    ),
    "one of them in an arm": (
        flow(lambda t: [printing(t), SwitchOp(t, ["a"], [arm(printing(t))], None), ReturnOp()], t=STR),
        r'^A\.main: the path "print#1" stands twice$',
    ),
    "a flow without an end": (
        flow(lambda t: [printing(t)], t=STR),
        r"^expected ais\.return at the end of a block, found ais\.print$",
    ),
    "a flow without anything": (flow(list), r"^expected ais\.return at the end of a block, found nothing$"),
    "a flow that ends as an arm does": (
        flow(lambda: [YieldOp()]),
        r"^expected ais\.return at the end of a block, found ais\.yield$",
    ),
    "an end that is none": (
        flow(two_ends, STR, t=STR),
        r"^A\.main: ais\.return stands above the end of its block$",
    ),
}


@pytest.mark.parametrize(("flows", "message"), CASES.values(), ids=CASES)
def test_what_is_wrong_with_a_module_is_told(flows: FlowOp | list[FlowOp], message: str) -> None:
    with pytest.raises(InvalidModule, match=message):
        verify_module(Module(flows if isinstance(flows, list) else [flows]))


def test_flows_stand_behind_those_they_call() -> None:
    module = built("""
        agent A {
            flow main(t: str) -> str { return helper(t) }
            flow helper(t: str) -> str { return t }
        }
    """)
    assert [flow.symbol for flow in module.callees_first()] == ["A.helper", "A.main"]
