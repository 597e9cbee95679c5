"""From source to Program: phases, what is kept, what is refused, and how it grows."""

from __future__ import annotations

import cProfile
import os
import subprocess
import sys
from collections.abc import Callable

import msgspec
import pytest

from apxm.compiler.check import check_source
from apxm.compiler.diagnostics import compiler_diagnostics
from apxm.compiler.pipeline import compile_source
from apxm.errors import SourceError, UsageError
from apxm.ir.text import print_module
from apxm.language.parser import DEEPEST_NESTING
from apxm.operations.types import DEEPEST_TYPE
from apxm.program.codec import decode, encode
from apxm.program.nodes import Operate
from apxm.program.openers import Subflow
from apxm.program.statistics import flow_statistics
from apxm.program.verify import verify
from apxm.source import SourceFile

SEED = """
agent ScalabilityTest {
    @entry flow parallel_2() -> str {
        ask("Task A") -> a
        ask("Task B") -> b
        merge(a, b) -> result
        return result
    }
    flow unused() -> str { ask("no one wants it")  return "x" }
}
"""


def source(text: str) -> SourceFile:
    return SourceFile("workflow.ais", text)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_diagnostics(level: int) -> None:
    found = compiler_diagnostics(compile_source(source(SEED), level=level), input="dir/workflow.ais", encoding_ns=5000)
    data = msgspec.to_builtins(found)
    assert list(data) == [
        "input",
        "optimization_level",
        "compilation_phases",
        "dag_statistics",
        "flows",
        "passes_applied",
        "passes",
        "warnings",
    ]
    phases = data["compilation_phases"]
    assert list(phases) == ["total_ms", "parse_ms", "check_ms", "build_ms", "passes_ms", "artifact_gen_ms"]
    assert phases["total_ms"] == pytest.approx(sum(ms for name, ms in phases.items() if name != "total_ms"), abs=0.01)
    assert data["dag_statistics"] == {
        "total_nodes": 3,
        "entry_nodes": 2,
        "exit_nodes": 1,
        "total_edges": 2,
        "critical_path_length": 2,
        "max_width": 2,
    }
    assert data["flows"]["ScalabilityTest.unused"]["total_nodes"] == (1 if level == 0 else 0)
    applied = ["inline", "canonicalize", "cse", "remove-unused"] * bool(level)
    applied += ["fuse-asks"] * (level == 2) + ["priorities"] * bool(level)
    assert list(data["passes_applied"]) == applied == [pass_["name"] for pass_ in data["passes"]]
    assert [(warning["line"], warning["column"]) for warning in data["warnings"]] == [(9, 28)]


def test_the_statistics_are_of_the_flow_that_was_asked_for() -> None:
    compilation = compile_source(source(SEED), level=0)
    assert compiler_diagnostics(compilation, input="x", flow="unused").dag_statistics.total_nodes == 1
    with pytest.raises(UsageError, match="no flow called 'missing'"):
        compiler_diagnostics(compilation, input="x", flow="missing")


@pytest.mark.parametrize(
    ("level", "said", "advice"),
    [
        (0, "is made in vain", "from -O1 on it is not"),
        (1, "will not be made", "only at -O0"),
        (2, "will not be", "-O0"),
    ],
)
def test_the_warning_of_an_unused_call_says_what_this_level_does(level: int, said: str, advice: str) -> None:
    compilation = compile_source(source(SEED), level=level)
    (warning,) = compilation.warnings
    assert said in warning.message
    assert warning.help is not None
    assert advice in warning.help
    assert flow_statistics(compilation.program)["ScalabilityTest.unused"].total_nodes == (level == 0)


def test_checking_and_compiling_warn_of_the_same() -> None:
    seed = source(SEED)
    assert check_source(seed) == compile_source(seed).warnings


def test_the_ir_is_kept_as_a_pass_left_it() -> None:
    built = compile_source(source(SEED), keep_ir_after="build")
    removed = compile_source(source(SEED), keep_ir_after="remove-unused")
    last = compile_source(source(SEED), keep_ir_after="priorities")
    assert built.ir is not None
    assert removed.ir is not None
    assert "no one wants it" in built.ir
    assert "no one wants it" not in removed.ir
    assert "priority" not in removed.ir
    assert last.ir == print_module(last.module)
    assert compile_source(source(SEED)).ir is None


@pytest.mark.parametrize(("level", "name"), [(0, "inline"), (1, "fuse-asks"), (1, "nonsense")])
def test_a_pass_that_the_level_does_not_have_is_a_usage_error(level: int, name: str) -> None:
    with pytest.raises(UsageError, match=f"-O{level} has no pass '{name}'") as refused:
        compile_source(source(SEED), level=level, keep_ir_after=name)
    assert "build" in (refused.value.hint or "")


def test_an_unknown_level_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no optimization level 3"):
        compile_source(source(SEED), level=3)


def test_a_source_with_errors_is_not_compiled() -> None:
    with pytest.raises(SourceError, match="undefined"):
        compile_source(source("agent A { flow main() -> str { return missing } }"))


def test_the_bytes_do_not_depend_on_the_process() -> None:
    script = (
        "import sys; from random import Random; from apxm.compiler.pipeline import compile_source as c;"
        "from apxm.program.codec import encode; from apxm.source import SourceFile; from hashlib import sha256;"
        "from tests.programs import random_source;"
        "[print(sha256(encode(c(SourceFile('x', random_source(Random(i))), level=2).program)).hexdigest())"
        " for i in range(8)]"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.getcwd()},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def call_tree(depth: int) -> str:
    flows = [f"flow f{i + 1}(x: str) -> str {{ f{i}(x) -> a  f{i}(a) -> b  return merge(a, b) }}" for i in range(depth)]
    main = f'@entry flow main() -> str {{ return f{depth}("x") }}'
    return "\n".join(["agent A {", "flow f0(x: str) -> str { return ask(x) }", *flows, main, "}"])


def test_an_exponential_call_tree_stays_small() -> None:
    compilation = compile_source(source(call_tree(16)))
    operations = sum(isinstance(node, Operate) for plan in compilation.program.plans for node in plan.nodes)
    calls = sum(isinstance(node, Subflow) for plan in compilation.program.plans for node in plan.nodes)
    assert operations < 3000
    assert calls > 0
    # Beyond a bound the statistics do not unfold calls: main is one of them.
    assert flow_statistics(compilation.program)["A.main"].total_nodes >= 1
    assert flow_statistics(compilation.program)["A.f5"].total_nodes == 2**6 - 1


@pytest.mark.parametrize("level", [0, 1])
def test_flows_may_call_each_other_a_thousand_deep(level: int) -> None:
    flows = "\n".join(f"flow f{i + 1}(x: str) -> str {{ return f{i}(x) }}" for i in range(1000))
    main = '@entry flow main() -> str { return f1000("x") }'
    text = f"agent A {{ flow f0(x: str) -> str {{ return ask(x) }}\n{flows}\n{main} }}"
    program = compile_source(source(text), level=level).program
    assert len(program.flows) == 1002
    verify(program)


def fan_out(size: int) -> str:
    asks = "\n".join(f'helper("Task {i}: " + t) -> a{i}' for i in range(size))
    names = ", ".join(f"a{i}" for i in range(size))
    helper = "flow helper(x: str) -> str { ask(x) -> y  print(y)  return y }"
    return f"agent A {{ {helper} @entry flow main(t: str) -> str {{\n{asks}\nreturn merge({names}) }} }}"


def chain(size: int) -> str:
    steps = "\n".join(f'let x{i + 1} = x{i} + "more"  ask(x{i}) -> a{i}  print(a{i})' for i in range(size))
    return f"agent A {{ flow main(x0: str) -> str {{\n{steps}\nreturn ask(x{size}) }} }}"


@pytest.mark.parametrize("shape", [fan_out, chain])
@pytest.mark.parametrize("level", [0, 2])
def test_work_per_operation_does_not_grow_with_the_program(shape: Callable[[int], str], level: int) -> None:
    def work(size: int) -> int:
        text = shape(size)
        profile = cProfile.Profile()
        profile.runcall(compile_source, source(text), level=level)
        profile.create_stats()
        return sum(calls for _, calls, *_ in profile.stats.values())

    work(10)  # builds the grammar
    assert work(400) < 4 * 1.1 * work(100)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_deepest_type_compiles(level: int) -> None:
    wrapped = " ".join(f"let a{i + 1} = [a{i}]" for i in range(DEEPEST_TYPE))
    text = f"agent A {{ flow main(a0: json) -> json {{ {wrapped} print(a{DEEPEST_TYPE}) return a{DEEPEST_TYPE} }} }}"
    compilation = compile_source(source(text), level=level)
    verify(compilation.program)
    assert "list[" * DEEPEST_TYPE in print_module(compilation.module)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_constructs_nest_as_deep_as_a_source_can_say(level: int) -> None:
    deepest = DEEPEST_NESTING - 4

    def nested(depth: int, inside: str) -> str:
        return 'switch x { case "a" => { ' * depth + inside + " }  default => x }" * depth

    text = f"""
        agent A {{
            flow deep(x: str) -> str {{ {nested(deepest // 2, "ask(x) -> y  return y")} }}
            @entry flow main(x: str) -> str {{ {nested(deepest // 2, "deep(x) -> y  return y")} }}
        }}
    """
    compilation = compile_source(source(text), level=level)
    assert print_module(compilation.module).count("ais.switch") == deepest // 2 * (2 if level == 0 else 3)
    verify(decode(encode(compilation.program)))
