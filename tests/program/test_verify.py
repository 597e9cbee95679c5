"""What must hold of a program before it may run."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from apxm.errors import ArtifactError
from apxm.program.expressions import Apply, DictOf, Literal, Logic, Operand, Settled, Sum
from apxm.program.nodes import Compute, Enter, Exit, Input, Operate, Output
from apxm.program.openers import Subflow, Switch
from apxm.program.program import AnyNode, Capability, Flow, FlowParameter, Plan, PlanNames, Program
from apxm.program.verify import verify
from tests.plans import ask, give, merge, plan, program, show

ARM = (Input(), ask("x"), give(1))


def enter(opener: int, port: int = 0) -> Enter:
    return Enter(opener=opener, port=port, value=Literal("v"))


BAD_PLANS: dict[str, tuple[tuple[AnyNode, ...], str]] = {
    "edge out of range": ((ask("a"), ask(7)), "node 1 has an edge out of range: from node 7 of 2"),
    "negative edge": ((ask("a"), ask(-1)), "node 1 has an edge out of range: from node -1 of 2"),
    "cycle": ((ask(1), ask(0)), "node 0 has an edge from node 1, which does not come before it: the plan has a cycle"),
    "self": ((ask("a", after=[0]),), "the plan has a cycle"),
    "input in the middle": ((ask("a"), Input()), "node 0 is a operate, but the first 1 nodes"),
    "operand without value": ((show("a"), ask(0)), "uses the value of node 0, a operate that gives none"),
    "unknown operation": ((Operate(operation="hack"),), "is the operation 'hack'"),
    "later operation": ((replace(ask("x"), operation="qmem"),), "is the operation 'qmem'"),
    "too few arguments": ((replace(ask("x"), arguments=()),), "gives 'ask' 0 arguments; it takes ask(prompt"),
    "empty merge": ((merge(),), "gives 'merge' 0 arguments"),
    "unknown option": ((ask("x", colour="red"),), "gives 'ask' an option 'colour'"),
    "option of a wrong type": ((ask("x", timeout="soon"),), "a 'timeout' that is not a literal float"),
    "option out of range": ((ask("x", retries=-1),), "a 'retries' of -1, which is out of range"),
    "timeout of nothing": ((ask("x", timeout=0.0),), "a 'timeout' of 0.0, which is out of range"),
    "result nested without end": (
        (replace(ask("x"), result="list[" * 99 + "str" + "]" * 99),),
        "a result of unknown type 'list[",
    ),
    "function as an operation": ((replace(ask("x"), operation="len"),), "is the operation 'len'"),
    "unknown function": ((Compute(value=Apply("hack", (Literal(1),))),), "computes 'hack', which this version"),
    "too few values": ((Compute(value=Apply("replace", (Literal("a"),))),), "computes 'replace' of 1 values"),
    "too many values": ((Compute(value=Apply("len", (Literal("a"),) * 2)),), "computes 'len' of 2 values"),
    "logic of nothing": ((Compute(value=Logic("and", ())),), "takes 'and' of nothing"),
    "value that is not waited for": ((ask("a"), Compute(after=(0,), value=Settled(1))), "uses value 1 of 1"),
    "value of what gives none": (
        (show("a"), Compute(after=(0,), value=Settled(0))),
        "of node 0, a operate that gives none",
    ),
    "operation that settles": ((ask("a"), replace(ask("x", after=[0]), arguments=(Settled(0),))), "uses value 0 of 1"),
    "operand of an expression": ((replace(ask("x"), arguments=(Operand(3),)),), "uses operand 3 of 0"),
    "not a number": ((Compute(value=Literal(float("nan"))),), "holds a literal that is no value of AIS"),
    "bytes": ((Compute(value=Literal(b"raw")),), "holds a literal that is no value of AIS"),
    "a key that is no text": ((Compute(value=Literal({1: "a"})),), "holds a literal that is no value of AIS"),
    "an integer of 65 bits": ((Compute(value=Sum((Literal(1 << 64),))),), "holds a literal that is no value of AIS"),
    "lopsided object": ((Compute(value=DictOf(("a",), ())),), "an object of 1 keys and 0 values"),
    "empty sum": ((Compute(value=Sum(())),), "adds no numbers"),
    "unknown type": ((replace(ask("x"), result="wish"),), "has a result of unknown type 'wish'"),
    "unknown plan": ((Subflow(plan=9),), "opens plan 9 of 2"),
    "labels": ((Switch(selector=Literal("x"), labels=("a", "b"), arms=(1,)), enter(0)), "has 2 labels for 1 arms"),
    "no arm": ((Switch(selector=Literal("x"), labels=(), arms=()),), "has 0 labels for 0 arms"),
    "same label": ((Switch(selector=Literal("x"), labels=("a", "a"), arms=(1, 1)), enter(0)), "the same label twice"),
    "different arms": ((Switch(selector=Literal("x"), labels=("a", "b"), arms=(1, 0)), enter(0)), "arms that differ"),
    "no opener": ((ask("a"), Exit(opener=0, port=0)), "belongs to node 0, which is no switch or call before it"),
    "port": ((Subflow(plan=1), enter(0), Exit(opener=0, port=4)), "uses port 4 of 1"),
    "input not delivered": (
        (Subflow(plan=1), Exit(opener=0, port=0)),
        "opens a plan of 1 inputs, and delivers into ports []",
    ),
    "delivered twice": ((Subflow(plan=1), enter(0), enter(0)), "delivers into ports [0, 0]"),
    "second exit": (
        (Subflow(plan=1), enter(0), Exit(opener=0, port=0), Exit(opener=0, port=0)),
        "a second exit of port 0",
    ),
    "enter behind exit": (
        (Subflow(plan=1), Exit(opener=0, port=0), enter(0)),
        "enters a frame behind one of its exits",
    ),
    "call with predecessors": ((ask("a"), Subflow(plan=1, after=(0,)), enter(1)), "cannot have predecessors"),
}


@pytest.mark.parametrize("name", BAD_PLANS)
def test_a_bad_plan(name: str) -> None:
    nodes, message = BAD_PLANS[name]
    with pytest.raises(ArtifactError) as caught:
        verify(program(plan(*nodes), plan(*ARM)))
    assert message in str(caught.value)


def test_a_plan_that_opens_itself_and_plans_that_open_each_other() -> None:
    with pytest.raises(ArtifactError, match="plan 0 opens itself"):
        verify(program(plan(Subflow(plan=0))))
    with pytest.raises(ArtifactError, match="opens itself: there is a cycle of plans"):
        verify(program(plan(Subflow(plan=1)), plan(Subflow(plan=2)), plan(Subflow(plan=1))))


def test_work_that_explodes_is_refused_and_a_deep_chain_of_calls_is_not() -> None:
    doubling = [plan(Subflow(plan=i + 1), Subflow(plan=i + 1)) for i in range(60)]
    with pytest.raises(ArtifactError, match="unfold into more than 4,000,000 nodes"):
        verify(program(*doubling, plan(ask("x"))))
    verify(program(*[plan(Subflow(plan=i + 1)) for i in range(5000)], plan(ask("x"))))


def test_inputs_and_outputs_must_match_what_is_declared() -> None:
    good = plan(ask("a"), give(0))
    for bad, message in [
        (Plan(nodes=good.nodes, inputs=3, outputs=(1,), values=1), "claims 3 of them as inputs"),
        (Plan(nodes=good.nodes, inputs=0, outputs=(), values=0), "do not match its output nodes"),
        (Plan(nodes=good.nodes, inputs=0, outputs=(0,), values=1), "do not match its output nodes"),
        (Plan(nodes=good.nodes, inputs=0, outputs=(1,), values=0), "is output 0, and has a value"),
        (Plan(nodes=(ask("a"), Output(port=0)), inputs=0, outputs=(1,), values=1), "and lacks a value"),
        (Plan(nodes=(ask("a"),), inputs=0, outputs=(), values=1), "should give 1 values and has 0 outputs"),
    ]:
        with pytest.raises(ArtifactError, match=message):
            verify(program(bad))


def altered(**changes: object) -> Program:
    good = program(plan(Input(), ask(0), give(1)), parameters=1)
    flow = replace(good.flows[0], **{k: v for k, v in changes.items() if k in Flow.__struct_fields__})
    rest = {k: v for k, v in changes.items() if k in Program.__struct_fields__}
    return replace(good, **{"flows": (flow,), **rest})


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (altered(entry=4), "its entry is flow 4 of 1"),
        (altered(flows=(), entry=None), "it has no flow"),
        (altered(plan=3), "flow Test.main runs plan 3 of 1"),
        (altered(result=None), "and its plan differ about whether it gives a value"),
        (altered(result="wish"), "uses an unknown type 'wish'"),
        (
            altered(parameters=(FlowParameter(name="a", type="str"),) * 2),
            "has 2 parameters, and its plan takes 1 inputs",
        ),
        (altered(parameters=(FlowParameter(name="a", type="int", required=False, default="x"),)), "a default for 'a'"),
    ],
)
def test_a_bad_flow(bad: Program, message: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        verify(bad)
    assert message in str(caught.value)


def test_a_bad_capability() -> None:
    good = altered()
    search = Capability(name="search", parameters=(), result="str", readonly=True)
    verify(replace(good, capabilities=(search,)))
    wrong = FlowParameter(name="a", type="int", required=False, default="x")
    for bad, message in [
        ((search, search), "two capabilities have the same name"),
        ((replace(search, result="wish"),), "capability search uses an unknown type 'wish'"),
        ((replace(search, parameters=(wrong,)),), "capability search has a default for 'a' that is not int"),
    ]:
        with pytest.raises(ArtifactError, match=message):
            verify(replace(good, capabilities=bad))


def test_a_call_of_a_tool_names_it_and_has_arguments() -> None:
    named = {"tool": Literal("search")}
    verify(program(plan(Operate(operation="inv", arguments=(Literal({}),), options=named, result="json"))))
    for bad, message in [
        (Operate(operation="inv", arguments=(Literal({}),), result="json"), "gives 'inv' no 'tool'"),
        (Operate(operation="inv", options=named, result="json"), "gives 'inv' 0 arguments"),
        (Operate(operation="inv", arguments=(Literal({}),), options={"tool": Literal(1)}), "not a literal str"),
    ]:
        with pytest.raises(ArtifactError, match=message):
            verify(program(plan(bad)))


def test_two_flows_of_one_name_and_names_that_do_not_match() -> None:
    good = altered()
    with pytest.raises(ArtifactError, match="two flows have the same name"):
        verify(replace(good, flows=good.flows * 2))
    with pytest.raises(ArtifactError, match="names do not match"):
        verify(replace(good, names=replace(good.names, plans=(PlanNames(path="x", nodes=()),))))
