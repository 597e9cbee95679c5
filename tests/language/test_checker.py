"""What the checker adds to a correct tree."""

from pathlib import Path

import pytest

from apxm.compiler.check import check_source
from apxm.errors import SourceError
from apxm.language.checked import CheckedTree, FlowCall, OperationCall
from apxm.language.checker import check
from apxm.language.parser import parse, read_source
from apxm.language.syntax import CallExpression, CallStatement, Expression, Let, Return, Statement, Switch
from apxm.source import SourceFile

PROGRAMS = Path(__file__).with_name("programs")


def checked(text: str) -> CheckedTree:
    return check(parse(SourceFile("t.ais", text)))


def written(expression: Expression) -> str:
    span = expression.span
    return span.source.text[span.start : span.end]


def body_of(tree: CheckedTree, flow: int = 0) -> tuple[Statement, ...]:
    return tree.tree.agents[-1].flows[flow].body.statements


def call_in(statement: Statement) -> CallExpression:
    assert isinstance(statement, CallStatement)
    return statement.call


@pytest.mark.parametrize("name", ["scalability.ais", "researcher.ais"])
def test_the_example_programs_are_correct(name: str):
    assert check_source(read_source(PROGRAMS / name)) == ()


def test_the_entry_of_the_scalability_workload():
    entry = check(parse(read_source(PROGRAMS / "scalability.ais"))).entry
    assert entry is not None
    assert entry.name.text == "parallel_2"


def test_a_caller_who_names_the_flow_needs_no_entry():
    tree = parse(SourceFile("t.ais", 'agent A { flow f() { print("f") } flow g() { print("g") } }'))
    assert check(tree, needs_entry=False).entry is None
    with pytest.raises(SourceError):
        check(tree)


def test_the_arguments_of_an_operation_are_sorted_out():
    tree = checked("""
        agent A {
            system: "terse"
            model: "m"
            flow f(x: str) -> str {
                ask("p", x, timeout: 5, model: "other", retries: 1) -> a
                think(prompt: a, budget: 10) -> b
                return merge(a, b)
            }
        }
    """)
    ask, think = (tree.calls[call_in(statement)] for statement in body_of(tree)[:2])
    assert isinstance(ask, OperationCall)
    assert ask.operation.name == "ask"
    assert [written(argument) for argument in ask.arguments] == ['"p"', "x"]
    assert [(name, written(value)) for name, value in ask.options.items()] == [
        ("system", '"terse"'),
        ("model", '"other"'),
        ("timeout", "5"),
        ("retries", "1"),
    ]
    assert isinstance(think, OperationCall)
    assert [written(argument) for argument in think.arguments] == ["a"]
    assert {name: written(value) for name, value in think.options.items()} == {
        "budget": "10",
        "system": '"terse"',
        "model": '"m"',
    }


def test_defaults_of_an_agent_are_those_of_the_calls_in_it():
    tree = checked("""
        agent A { model: "a"  flow g() -> str { return ask("x") } }
        agent B { model: "b"  @entry flow f() -> str { return A.g() + ask("y") } }
    """)
    models = {
        written(call): written(found.options["model"])
        for call, found in tree.calls.items()
        if isinstance(found, OperationCall)
    }
    assert models == {'ask("x")': '"a"', 'ask("y")': '"b"'}


def test_the_arguments_of_a_flow_are_in_the_order_of_its_parameters():
    tree = checked("""
        agent A {
            flow g(a: str, b: int = 2, c: list[str] = []) -> str { return a + b + c }
            @entry flow f() -> str { g("x", c: ["y"]) -> r  return r }
        }
    """)
    found = tree.calls[call_in(body_of(tree, 1)[0])]
    assert isinstance(found, FlowCall)
    assert found.flow is tree.tree.agents[0].flows[0]
    assert [written(argument) for argument in found.arguments] == ['"x"', "2", '["y"]']
    assert [str(tree.types[argument]) for argument in found.arguments] == ["str", "int", "list[str]"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1", "int"),
        ("-1.5", "float"),
        ("true", "bool"),
        ('"x"', "str"),
        ('f"{i}"', "str"),
        ("1 + i", "int"),
        ("1 + i + 1.0", "float"),
        ("1 + i + s", "str"),
        ("s + j + l", "str"),
        ("[]", "list[nothing]"),
        ("[1, 2.5]", "list[float]"),
        ("[[1], [2.5]]", "list[list[float]]"),
        ('[1, "x"]', "list[json]"),
        ('{"k": 1}', "json"),
        ("j.a.b", "json"),
        ("ask(j)", "str"),
        ("merge(s, s)", "str"),
        ("merge(s, i)", "list[json]"),
        ("wait_all(s, s)", "list[str]"),
        ("wait_all(l)", "list[json]"),
    ],
)
def test_an_expression_has_this_type(expression: str, expected: str):
    tree = checked(f"agent A {{ flow f(i: int, s: str, j: json, l: list[str]) {{ let x = {expression}  print(x) }} }}")
    statement = body_of(tree)[0]
    assert isinstance(statement, Let)
    assert str(tree.types[statement.value]) == expected


def test_what_is_expected_decides_the_type_of_a_list():
    tree = checked("agent A { flow f() -> list[float] { return [1] }  flow main() -> list[str] { return [] } }")
    found: list[str] = []
    for flow in (0, 1):
        statement = body_of(tree, flow)[0]
        assert isinstance(statement, Return)
        assert statement.value is not None
        found.append(str(tree.types[statement.value]))
    assert found == ["list[float]", "list[str]"]


def test_the_types_of_constructs():
    tree = checked("""
        agent A {
            flow f(x: str) -> json {
                switch x { case "a" => 1  case "b" => { switch x { case "c" => 2.5 } } } -> bound
                switch x { case "a" => print(bound)  default => { print("b") } }
                switch x { case "a" => x  default => { return bound } }
            }
            @entry flow main(x: str) {
                switch x { case "a" => print("a")  default => { return } }
            }
        }
    """)
    bound, effects, tail = body_of(tree)
    (in_flow_without_result,) = body_of(tree, 1)
    assert isinstance(bound, Switch)
    inner = bound.cases[1].body.statements[0]
    assert isinstance(inner, Switch)
    assert {construct: str(found) for construct, found in tree.results.items()} == {
        bound: "float",
        inner: "float",
        tail: "json",
    }
    assert tree.tail == {inner, tail}
    assert effects not in tree.results
    assert in_flow_without_result not in tree.tail


def test_a_chain_of_flows_may_be_as_long_as_the_file():
    flows = "\n".join(f"flow f{i}() -> str {{ return f{i + 1}() }}" for i in range(3000))
    tree = checked(
        f'agent A {{ @entry flow main() -> str {{ return f0() }} {flows} flow f3000() -> str {{ return "x" }} }}'
    )
    assert tree.entry is not None


def test_a_result_that_crosses_many_flows_has_its_effects_found():
    flows = "\n".join(f"flow f{i}() -> str {{ return f{i + 1}() }}" for i in range(300))
    last = 'flow f300() -> str { print("x")  return "x" }'
    source = SourceFile("t.ais", f"agent A {{ @entry flow main() {{ f0() }} {flows} {last} }}")
    assert check_source(source) == ()
