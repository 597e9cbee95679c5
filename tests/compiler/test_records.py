"""Records, `T?` and `as`, from the text to the result: at every level, through an artifact, and as inputs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apxm.backends.protocol import ModelRequest
from apxm.compiler.pipeline import compile_source
from apxm.errors import UsageError
from apxm.operations.types import Value
from apxm.program.codec import decode, encode
from apxm.program.invocation import arguments_for
from apxm.program.nodes import Operate
from apxm.program.program import Program
from apxm.runtime.trace import Status, Trace
from apxm.source import SourceFile
from apxm.testing import ScriptedBackend, execute_virtually
from tests.compiler.records_reference import DECLARATIONS, NAMED, Misfit, converted, written_types

few = settings(max_examples=40, deadline=None)


def compiled(text: str, level: int) -> Program:
    return decode(encode(compile_source(SourceFile("test.ais", text), level=level).program))


def run(text: str, level: int, **arguments: Value) -> Trace:
    program = compiled(text, level)
    assert program.entry is not None
    flow = program.flows[program.entry]
    return execute_virtually(program, arguments=arguments_for(flow, arguments, program.record_types))


def failure(trace: Trace) -> tuple[str, str]:
    """Kind and message of the one operation, or the end of the run, that failed."""
    (failed,) = trace.failures
    return failed.kind, failed.message


LEVELS = pytest.mark.parametrize("level", [0, 1, 2])
PEOPLE = """
    type Address { city: str   zip: str? }
    type Person { name: str   age: float = 1   home: Address = {"city": "Paris"}   tags: list[str] = [] }
"""


@LEVELS
@pytest.mark.parametrize(("number", "expected"), [(1, "made"), (2, "x2")])
def test_an_object_in_an_arm_is_the_record_of_the_other_arm(level: int, number: int, expected: str) -> None:
    text = (
        PEOPLE
        + """
        agent A {
            @entry flow main(n: int, p: Person) -> list[Person] {
                if n == 1 { return [p] } else { return [{"age": n, "name": "x" + n}] } -> people
                return people
            }
        }
        """
    )
    trace = run(text, level, n=number, p={"name": "made", "age": 2.0})
    home = {"city": "Paris", "zip": None}
    assert trace.value == [{"name": expected, "age": 2.0, "home": home, "tags": []}]


@LEVELS
def test_an_object_that_is_written_out_takes_the_defaults_in_the_order_of_the_fields(level: int) -> None:
    text = (
        PEOPLE
        + """
        agent A {
            @entry flow main(n: int) -> json { return [made({"age": n, "name": "x" + n}), {"name": "c"} as Person] }
            flow made(p: Person) -> Person { return p }
        }
    """
    )
    person = {"name": "x3", "age": 3.0, "home": {"city": "Paris", "zip": None}, "tags": []}
    trace = run(text, level, n=3)
    assert json.dumps(trace.value) == json.dumps([person, {**person, "name": "c", "age": 1.0}])


@LEVELS
def test_fields_are_read_and_a_missing_optional_reads_as_null(level: int) -> None:
    text = (
        PEOPLE
        + """
        agent A {
            @entry flow main(p: Person) -> json {
                print(p.home.city, p.home.zip, f"{p.home} {p.age}")
                return [p.home.zip, p.age + 1, p.tags]
            }
        }
    """
    )
    trace = run(text, level, p={"name": "Ada", "age": 3})
    assert trace.printed == ['Paris null {"city":"Paris","zip":null} 3.0']
    assert trace.value == [None, 4.0, []]


@LEVELS
def test_null_goes_through_flows_and_arms(level: int) -> None:
    text = """
        agent A {
            @entry flow main(o: str?, n: int?) -> json {
                switch "" + o { case "null" => maybe(o)  default => o } -> arm
                return {"arm": arm, "floats": floats([n, 2]), "text": "" + o, "as": n as float}
            }
            flow maybe(o: str?) -> str? { return o }
            flow floats(xs: list[float?]) -> list[float?] { return xs }
        }
    """
    trace = run(text, level, o=None, n=1)
    assert json.dumps(trace.value) == '{"arm": null, "floats": [1.0, 2.0], "text": "null", "as": 1.0}'
    trace = run(text, level, o="x", n=None)
    assert failure(trace) == ("wrong_type", "expected a float, found null")


@LEVELS
def test_a_cast_fails_what_needs_it_with_what_was_found_and_where(level: int) -> None:
    text = (
        PEOPLE
        + """
        agent A {
            @entry flow main(j: json) -> json {
                print("before")
                let p = j as list[Person]
                let unused = j as int
                return p
            }
        }
    """
    )
    trace = run(text, level, j=[{"name": "Ada", "home": {"city": 1}}])
    assert trace.printed == ["before"]
    assert trace.status is Status.FAILED
    assert failure(trace) == ("wrong_type", "expected a list[Person], and the value[0].home.city is 1")


@LEVELS
def test_a_cast_that_is_known_before_the_run_is_the_same(level: int) -> None:
    text = """
        agent A {
            @entry flow main() -> json {
                let j = {"n": 1, "o": null_of({"a": 1})}
                return [j.n as int, j.n as float, (j as json).n]
            }
            flow null_of(j: json) -> json { return j.a }
        }
    """
    assert json.dumps(run(text, level).value) == "[1, 1.0, 1]"
    wrong = 'agent A { @entry flow main() -> int { let j = {"n": "1"}  return j.n as int } }'
    assert failure(run(wrong, level)) == ("wrong_type", "expected an int, found a str")


STEPS = {
    "steps": [{"text": "Copy.", "after": []}, {"text": "Switch.", "after": [1]}, {"text": "Rest.", "after": [1, 2]}]
}
VERDICT = {"reason": "It is old.", "label": "refuted", "confidence": 0.8}


@LEVELS
def test_plans_and_verdicts_have_text_forms_of_their_own(level: int) -> None:
    text = """
        agent A {
            @entry flow main(p: plan, v: verdict) -> str {
                print(p)
                print(f"{v}!" + v, [v.label], {"v": v.confidence})
                print(open(v), merge(v, "x"))
                switch v { case "confirmed" => "yes"  case "refuted" => "no"  case "insufficient" => v } -> said
                take(v, said) -> taken
                return taken
            }
            flow open(v: json) -> str { return "" + v }
            flow take(text: str, said: str) -> str { return said + ", " + text }
        }
    """
    trace = run(text, level, p=STEPS, v={**VERDICT, "confidence": 1})
    shown = "refuted (confidence 1): It is old."
    compact = '{"reason":"It is old.","label":"refuted","confidence":1.0}'
    assert "\n".join(trace.printed) == (
        "1. Copy.\n2. Switch. (after 1)\n3. Rest. (after 1, 2)\n"
        f'{shown}!{shown} ["refuted"] {{"v":1.0}}\n{compact} [{compact},"x"]'
    )
    assert trace.value == f"no, {shown}"


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({}, "p must be a Person, and p.name is missing"),
        ({"name": "a", "home": {"city": None}}, "p must be a Person, and p.home.city is None"),
        (
            {"name": "a", "nmae": 1},
            "p must be a Person, and p.nmae is no field of it; there are: name, age, home, tags",
        ),
        ({"name": "a", "tags": ["a", 1]}, "p must be a Person, and p.tags[1] is 1"),
        ("Ada", "p must be a Person, not a str"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_with_its_place(given_: Value, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        run(PEOPLE + "agent A { @entry flow main(p: Person) -> json { return p } }", 1, p=given_)
    assert (refused.value.message, refused.value.hint) == (message, "its signature is main(p: Person) -> json")


@LEVELS
def test_what_may_be_null_compares_and_joins(level: int) -> None:
    text = (
        PEOPLE
        + """
        agent A {
            @entry flow main(o: str?, q: Person?, v: verdict, n: int?) -> json {
                if o == null { return null } else { return o } -> again
                if q == null { return 0 } else { return (q as Person).age + 1 } -> age
                let typed: float? = n
                loop (max: 3, best: o, v2: v) {
                    until v2 == "refuted" and best != null
                    next best: "found"
                    next v2: {"reason": "", "label": "refuted", "confidence": 1}
                } -> last
                let same = [null == o, o == "x", v == "confirmed", n == 1.0, null in [o], v != v]
                return [again, age, typed, last.best, "" + last.v2, same]
            }
        }
    """
    )
    verdict = {"reason": "r", "label": "confirmed", "confidence": 0.5}
    trace = run(text, level, o=None, q={"name": "Ada"}, v=verdict, n=1)
    same = [True, False, True, True, True, False]
    assert json.dumps(trace.value) == json.dumps([None, 2.0, 1.0, "found", "refuted (confidence 1): ", same])
    trace = run(text, level, o="x", q=None, v={**verdict, "label": "refuted"}, n=None)
    same = [False, True, False, False, False, False]
    assert json.dumps(trace.value) == json.dumps(["x", 0.0, None, "x", "refuted (confidence 0.5): r", same])


# --- what models answer ----------------------------------------------------------------------------------------------

ASKING = (
    PEOPLE
    + """
    agent A {
        @entry flow main(topic: str) -> json {
            ask("Who?", topic, schema: Person) -> who
            ask("Kind?", choices: ["Yes", "no"]) -> kind
            switch kind { case "yes" => who.name  case "NO" => "nobody" } -> name
            plan("Go.", who.age) -> p
            verify(name, p) -> v
            switch v { case "confirmed" => "c"  case "refuted" => "r"  case "insufficient" => "i" } -> said
            ask("How many?", schema: int?) -> count
            ask("Sum up.", v, said, kind) -> last
            return [name, who.home.zip, said, count, last]
        }
    }
"""
)


def answer(request: ModelRequest) -> str:
    first = request.prompt.split("\n")[0]
    known = {
        "Who?": '{"name": "Ada", "age": 36, "tags": null}',
        "Kind?": "**YES.**",
        "Go.": json.dumps(STEPS),
        "Ada": json.dumps(VERDICT),
        "How many?": '{"answer": null}',
        "Sum up.": request.prompt,
    }
    return known[first]


@LEVELS
def test_answers_are_values_of_what_the_call_says(level: int) -> None:
    backend = ScriptedBackend(script=answer)
    program = compiled(ASKING, level)
    trace = execute_virtually(program, backend, arguments=["x"])
    verified = next(call.request.prompt for call in backend.calls if call.request.prompt.startswith("Ada"))
    assert verified == "Ada\n\nContext 1: 1. Copy.\n2. Switch. (after 1)\n3. Rest. (after 1, 2)"
    last = "Sum up.\n\nContext 1: refuted (confidence 0.8): It is old.\n\nContext 2: r\n\nContext 3: Yes"
    assert trace.value == ["Ada", None, "r", None, last]


def test_calls_that_give_values_of_a_type_are_not_fused() -> None:
    text = """
        agent A {
            @entry flow main() -> str {
                ask("Which?", choices: ["a", "b"]) -> a
                ask(f"Why {a}?") -> b
                ask(f"Really {b}?") -> c
                return ask(f"As a text: {c}", schema: json) as str
            }
        }
    """
    program = compiled(text, 2)
    asked = [node for node in program.plans[0].nodes if isinstance(node, Operate)]
    typed = [(node.result, "choices" in node.options) for node in asked]
    assert typed == [("str", True), ("str", False), ("json", False)]


# --- against a second implementation -------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 2.0]) | st.sampled_from(["a", "1"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), inner, max_size=4)
    ),
    max_leaves=6,
)


def fitting(type_: str) -> st.SearchStrategy[Any]:
    """Values that mostly are of a type."""
    if type_.endswith("?"):
        return st.none() | fitting(type_[:-1])
    if type_.startswith("list["):
        return st.lists(fitting(type_[5:-1]), max_size=2)
    if type_ in NAMED:
        return st.fixed_dictionaries({}, optional={name: fitting(inner) for name, inner, _ in NAMED[type_]})
    return json_values | {"int": st.integers(-3, 3), "str": st.just("x")}.get(type_, json_values)


@few
@given(st.data(), written_types, st.sampled_from([0, 1]))
def test_as_gives_what_the_page_says(data: st.DataObject, type_: str, level: int) -> None:
    value = data.draw(fitting(type_) | json_values)
    trace = run(f"{DECLARATIONS} agent A {{ flow main(j: json) -> json {{ return j as {type_} }} }}", level, j=value)
    try:
        expected = converted(value, type_)
    except Misfit:
        assert trace.status is Status.FAILED
        assert failure(trace)[0] == "wrong_type"
    else:
        assert trace.status is Status.SUCCEEDED
        assert json.dumps(trace.value) == json.dumps(expected)


@few
@given(st.data(), written_types)
def test_an_input_is_refused_where_as_fails_or_a_field_is_unknown(data: st.DataObject, type_: str) -> None:
    value = data.draw(fitting(type_) | json_values)
    text = f"{DECLARATIONS} agent A {{ flow main(x: {type_}) -> json {{ return x }} }}"
    try:
        expected = converted(value, type_, strict=True)
    except Misfit:
        with pytest.raises(UsageError):
            run(text, 1, x=value)
    else:
        assert json.dumps(run(text, 1, x=value).value) == json.dumps(expected)


@few
@given(st.data(), written_types, st.sampled_from([0, 1]))
def test_what_is_written_out_is_checked_as_an_input_is(data: st.DataObject, type_: str, level: int) -> None:
    value = data.draw(fitting(type_))
    if "null" in json.dumps(value):
        return
    text = f"{DECLARATIONS} agent A {{ flow main(x: {type_} = {json.dumps(value)}) -> json {{ return x }} }}"
    try:
        expected = converted(value, type_, strict=True)
    except Misfit:
        with pytest.raises(Exception, match=r"error\["):
            compiled(text, level)
    else:
        assert json.dumps(run(text, level).value) == json.dumps(expected)
