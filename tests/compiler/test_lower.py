"""Module → Program: what becomes a node, what folds, and how constructs open."""

from __future__ import annotations

from apxm.compiler.pipeline import compile_source
from apxm.program.codec import decode, encode
from apxm.program.expressions import Literal, Operand, Sum, TextOf
from apxm.program.nodes import Compute, Enter, Exit, Input, Operate, Output
from apxm.program.openers import Subflow, Switch
from apxm.program.program import AnyNode, FlowParameter, Plan, Program
from apxm.source import SourceFile


def compiled(text: str, level: int = 0) -> Program:
    """Through the codec, which verifies it."""
    return decode(encode(compile_source(SourceFile("dir/test.ais", text), level=level).program))


def kinds(plan: Plan) -> list[type[AnyNode]]:
    return [type(node) for node in plan.nodes]


def test_operations_are_nodes_and_values_fold_into_them() -> None:
    plan = compiled("""
        agent A {
            system: "Be brief."
            @entry flow main(topic: str, n: int) -> str {
                let next_one = n + 1
                let question = f"About {topic} {next_one}?"
                ask(question, topic, temperature: 0) -> a
                merge(a, a) -> both
                return both + "!"
            }
        }
    """).plans[0]
    assert plan.nodes == (
        Input(),
        Input(),
        Operate(
            operation="ask",
            operands=(0, 1),
            arguments=(
                TextOf((Literal("About "), Operand(0), Literal(" "), Sum((Operand(1), Literal(1))), Literal("?"))),
                Operand(0),
            ),
            options={"system": Literal("Be brief."), "temperature": Literal(0.0)},
            result="str",
        ),
        Operate(operation="merge", operands=(2,), arguments=(Operand(0), Operand(0)), result="str"),
        Output(operands=(3,), port=0, value=TextOf((Operand(0), Literal("!")))),
    )


def test_a_switch_is_an_opener_what_enters_and_what_leaves() -> None:
    program = compiled("""
        agent A {
            @entry flow main(kind: str) -> str {
                ask("slow") -> slow
                print("before")
                switch kind {
                    case " Yes " => { print(slow)  return kind }
                    default      => "no"
                } -> r
                print("after")
                return r
            }
        }
    """)
    main, yes, no = program.plans
    assert main.nodes[4:] == (
        Switch(operands=(0,), selector=Operand(0), labels=("yes",), arms=(1,), default=2),
        Enter(opener=4, port=0, operands=(2,), value=Operand(0)),
        Enter(opener=4, port=1, operands=(0,), value=Operand(0)),
        Enter(opener=4, port=2, requires=(3,)),
        Exit(opener=4, port=0),
        Exit(opener=4, port=1, after=(7,)),
        Operate(operation="print", after=(9,), arguments=(Literal("after"),)),
        Output(operands=(8,), port=0, value=Operand(0)),
        Output(port=1, requires=(10,)),
    )
    assert yes.nodes[3:] == (
        Operate(operation="print", operands=(0,), after=(2,), arguments=(Operand(0),)),
        Output(operands=(1,), port=0, value=Operand(0)),
        Output(port=1, requires=(3,)),
    )
    assert no.nodes[3:] == (Output(port=0, value=Literal("no")), Output(port=1, requires=(2,)))
    names = program.names
    assert names.file == "test.ais"
    assert [plan.path for plan in names.plans] == ["A.main", "A.main/r/yes", "A.main/r/default"]
    assert [(name.path, name.line) for name in names.plans[1].nodes if name.path] == [("r/yes/print#1", 7)]
    edges = {(edge.source, edge.target) for edge in names.plans[0].order_edges}
    assert edges == {(3, 4), (4, 10)}


def test_a_call_passes_what_the_plan_of_the_flow_takes() -> None:
    program = compiled("""
        agent A {
            flow quiet(x: str, unused: int = 3) -> str { return ask(x) }
            flow loud(x: str) { print(x) }
            @entry flow main() -> str {
                quiet("a") -> a
                quiet("b")
                loud(a)
                return a
            }
        }
    """)
    quiet, loud, main = program.plans
    assert (quiet.inputs, len(quiet.outputs), loud.inputs, len(loud.outputs)) == (2, 1, 2, 1)
    assert main.nodes == (
        Input(),
        Subflow(plan=0),
        Enter(opener=1, port=0, value=Literal("a")),
        Enter(opener=1, port=1, value=Literal(3)),
        Exit(opener=1, port=0),
        Subflow(plan=0),
        Enter(opener=5, port=0, value=Literal("b")),
        Enter(opener=5, port=1, value=Literal(3)),
        Subflow(plan=1),
        Enter(opener=8, port=0, operands=(4,), value=Operand(0)),
        Enter(opener=8, port=1, requires=(0,)),
        Exit(opener=8, port=0, after=(10,)),
        Output(operands=(4,), port=0, value=Operand(0)),
        Output(port=1, requires=(11,)),
    )


def test_flows_are_declared_as_in_the_source() -> None:
    program = compiled("""
        agent A { flow one(xs: list[float] = [1]) -> float { return 1 } }
        agent B { @entry flow two(x: str) { print(x) } }
    """)
    one, two = program.flows
    assert (one.qualified_name, one.result, program.entry) == ("A.one", "float", 1)
    assert one.parameters == (FlowParameter(name="xs", type="list[float]", required=False, default=[1.0]),)
    assert two.signature == "two(x: str)"


def test_a_program_with_several_flows_and_no_entry_has_none() -> None:
    source = SourceFile("test.ais", "agent A { flow a() { print() } flow b() { print() } }")
    assert compile_source(source, needs_entry=False).program.entry is None


def test_a_large_value_with_several_users_is_computed_once() -> None:
    long = "x" * 1000
    program = compiled(f"""
        agent A {{
            @entry flow main(t: str) -> str {{
                let prompt = "{long}" + t
                ask(prompt) -> a
                ask(prompt) -> b
                merge(a, b) -> r
                return r
            }}
        }}
    """)
    plan = program.plans[0]
    assert kinds(plan) == [Input, Compute, Operate, Operate, Operate, Output]
    assert [node.operands for node in plan.nodes[2:4]] == [(1,), (1,)]


def test_a_large_constant_with_one_user_folds() -> None:
    program = compiled(f'agent A {{ flow main() -> str {{ return ask("{"x" * 100_000}") }} }}')
    assert kinds(program.plans[0]) == [Operate, Output]


def test_a_large_constant_is_delivered_into_arms_and_a_small_one_copied() -> None:
    program = compiled(f"""
        agent A {{
            @entry flow main(t: str) {{
                let small = "s"
                let large = "{"x" * 1000}"
                switch t {{ case "a" => print(small, large)  case "b" => print(large) }}
            }}
        }}
    """)
    assert [type(node) for node in program.plans[0].nodes].count(Enter) == 2
    printed = next(node for node in program.plans[1].nodes if isinstance(node, Operate))
    assert printed.arguments == (Literal("s"), Operand(0))


def test_expressions_stay_within_bounds() -> None:
    lets = "\n".join(f'let x{i + 1} = [x{i}, "y"]' for i in range(100))
    program = compiled(f"agent A {{ flow main(x0: str) {{\n{lets}\nprint(x100) }} }}")
    assert kinds(program.plans[0]).count(Compute) == 100 // 17


def test_a_value_that_doubles_is_not_written_out() -> None:
    lets = "\n".join(f"let x{i + 1} = [x{i}, x{i}]" for i in range(60))
    for level in (0, 1, 2):
        text = f'agent A {{ flow main() {{ let x0 = "text"\n{lets}\nprint(ask(x60)) }} }}'
        assert len(encode(compile_source(SourceFile("test.ais", text), level=level).program)) < 100_000
