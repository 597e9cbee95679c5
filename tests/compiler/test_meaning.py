"""Random programs mean the same at -O0 and -O1 as read line by line."""

from __future__ import annotations

import hashlib
from functools import partial
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apxm.backends.protocol import ModelRequest
from apxm.compiler.pipeline import compile_source
from apxm.errors import OperationError
from apxm.ir.text import print_module
from apxm.ir.verify import verify_module
from apxm.operations.types import Value
from apxm.passes.pipeline import LEVELS
from apxm.program.codec import decode, encode
from apxm.program.nodes import Operate
from apxm.program.openers import Opener, Subflow
from apxm.program.program import Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Status
from apxm.source import SourceFile
from apxm.testing import ScriptedBackend, execute_virtually
from tests.compiler import reference
from tests.programs import LABELS, sources
from tests.tools.scripted import ScriptedToolbox

few = settings(max_examples=25, deadline=None)


def answer(prompt: str, system: str | None) -> str:
    """Short, decided by what was sent, and often a label, bare or as models write one."""
    digest = hashlib.sha256(f"{prompt}|{system}".encode()).digest()
    before, after = (("", ""), ("", "."), ("**", "**"), ('"', '".'))[digest[2] % 4]
    return f"{before}{LABELS[digest[1] % len(LABELS)]}{after}" if digest[0] < 160 else digest.hex()[:6]


def backend(seed: int) -> ScriptedBackend:
    """Answers as above, in any order."""
    random = Random(seed)
    return ScriptedBackend(
        script=lambda request: answer(request.prompt, request.system_text()),
        latency_ms=lambda _request: random.choice((0, 1, 10, 100)),
    )


def compiled(text: str, level: int) -> Program:
    return decode(encode(compile_source(SourceFile("test.ais", text), level=level).program))


@few
@given(sources(), st.integers(0, 9), st.sampled_from([0, 1]))
def test_a_run_prints_and_gives_what_the_text_says_line_by_line(text: str, seed: int, level: int) -> None:
    module = compile_source(SourceFile("test.ais", text), level=0).module
    entry = next(flow for flow in module.flows if flow.endswith(".main"))
    value, printed, failed = reference.run(module, entry, [], answer)
    trace = execute_virtually(compiled(text, level), backend(seed))
    assert trace.printed == printed
    # Above level 0 an operation whose result nothing uses is gone, and its failure with it.
    assert (trace.status is Status.FAILED) == failed or (level and failed)
    if value is reference.FAILED:
        assert trace.status is Status.FAILED
    elif trace.status is Status.SUCCEEDED:
        assert trace.value == value


class World:
    """What the tools of random programs see and change. Some changes fail."""

    def __init__(self, failed: object) -> None:
        self.changes: list[str] = []
        self.failed = failed

    def tool(self, name: str, arguments: dict[str, Value]) -> Value:
        text = arguments["q"]
        digest = hashlib.sha256(f"{name}{text}".encode()).digest()
        if digest[0] < 20:
            return self.failed
        if name == "change":
            self.changes.append(text)
        return LABELS[(digest[1] + len(self.changes)) % len(LABELS)]


@few
@given(sources(tools=True), st.integers(0, 9), st.sampled_from([0, 1]))
def test_tools_see_and_change_the_world_as_the_text_says_line_by_line(text: str, seed: int, level: int) -> None:
    module = compile_source(SourceFile("test.ais", text), level=0).module
    entry = next(flow for flow in module.flows if flow.endswith(".main"))
    read, ran = World(reference.FAILED), World(OperationError("tool_failed", "no"))
    value, printed, failed = reference.run(module, entry, [], answer, read.tool)
    random = Random(seed)
    tools = ScriptedToolbox(
        {name: (random.choice((0, 1, 10, 100)), partial(ran.tool, name)) for name in ("look", "change")}
    )
    program = compiled(text, level)
    pool = BackendPool({"scripted": backend(seed)}, "scripted")
    trace = run_virtually(
        Run(LoadedProgram(program), program.flows[program.entry or 0], (), pool, tools=tools).execute()
    )
    assert ran.changes == read.changes
    assert trace.printed == printed
    assert (trace.status is Status.FAILED) == failed or (level and failed)
    if trace.status is Status.SUCCEEDED:
        assert trace.value == value


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("selector", ['"**Billing.**"', 'ask("Which?")'])
@pytest.mark.parametrize("default", ["", 'default => "swallowed"'])
def test_a_label_within_marks_takes_its_arm_at_every_level(level: int, selector: str, default: str) -> None:
    text = f"""
        agent A {{
            flow main() -> str {{
                switch {selector} {{ case "other" => "wrong"  case "BILLING" => "right"  {default} }}
            }}
        }}
    """
    trace = execute_virtually(compiled(text, level), ScriptedBackend(script=lambda _request: "**Billing.**"))
    assert trace.value == "right"


@few
@given(sources())
def test_levels_above_0_make_no_call_that_level_0_does_not(text: str) -> None:
    def requests(level: int) -> list[ModelRequest]:
        scripted = backend(0)
        execute_virtually(compiled(text, level), scripted)
        return sorted((call.request for call in scripted.calls), key=repr)

    unoptimized = requests(0)
    for request in requests(1):
        unoptimized.remove(request)


@few
@given(sources(), st.sampled_from([0, 1, 2]))
def test_the_same_source_gives_the_same_bytes(text: str, level: int) -> None:
    first, second = (encode(compile_source(SourceFile("test.ais", text), level=level).program) for _ in range(2))
    assert first == second


def paths(program: Program, plan: int, prefix: str = "") -> dict[str, str]:
    """What each operation of a flow is, by full path, calls unfolded."""
    found: dict[str, str] = {}
    for node, name in zip(program.plans[plan].nodes, program.names.plans[plan].nodes, strict=True):
        match node:
            case Operate():
                assert prefix + name.path not in found
                found[prefix + name.path] = node.operation
            case Subflow():
                found |= paths(program, node.plan, f"{prefix}{name.path}/")
            case Opener():
                for opened in node.opened:
                    found |= paths(program, opened, prefix)
            case _:
                assert name.path == ""
    return found


@few
@given(sources(), st.sampled_from([1, 2]))
def test_an_operation_has_the_same_path_at_every_level(text: str, level: int) -> None:
    unoptimized, optimized = compiled(text, 0), compiled(text, level)
    for before, after in zip(unoptimized.flows, optimized.flows, strict=True):
        assert paths(optimized, after.plan).items() <= paths(unoptimized, before.plan).items()


@pytest.mark.parametrize("level", [0, 1, 2])
def test_order_edges_name_both_ends_and_the_rule(level: int) -> None:
    program = compiled('agent A { flow main() { print("one")  print("two") } }', level)
    names = program.names.plans[0]
    edges = [(names.nodes[e.source].path, names.nodes[e.target].path, e.rule) for e in names.order_edges]
    assert edges == [
        ("print#1", "print#2", "output then output: program order; if the first fails the second still happens")
    ]


@few
@given(sources())
def test_a_pass_leaves_a_valid_module_and_owns_up_to_every_change(text: str) -> None:
    module = compile_source(SourceFile("test.ais", text), level=0).module
    for pass_ in LEVELS[2]:
        before = print_module(module)
        changed = pass_.run(module).changed
        verify_module(module)
        assert changed or print_module(module) == before, pass_.name
