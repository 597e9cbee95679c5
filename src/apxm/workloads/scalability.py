"""Workload 4 at any width: `N` independent asks and a merge, in the form of workloads/4_scalability/workflow.ais."""

from __future__ import annotations

from collections.abc import Sequence

from apxm.compiler.pipeline import compile_source
from apxm.language.parser import read_source
from apxm.program.program import Flow, Program
from apxm.source import SourceFile
from apxm.workloads.catalog import SCALABILITY

WIDEST = 4096
WRITTEN = (2, 4, 8)
"""The widths of workflow.ais."""


def prompts(width: int) -> list[str]:
    """`Task A` … `Task Z`, `Task AA`, …: what a run of this width asks, in order."""
    return [f"Task {_letters(index)}" for index in range(width)]


def flow_name(width: int) -> str:
    return f"parallel_{width}"


def source_text(widths: Sequence[int]) -> str:
    """One agent with a flow per width, the first of them its entry. Of `WRITTEN` it is workflow.ais, byte for byte."""
    flows = [_flow(width, "@entry " if index == 0 else "") for index, width in enumerate(widths)]
    return "agent ScalabilityTest {\n" + "\n".join(flows) + "}\n"


def programs(widths: Sequence[int]) -> dict[int, tuple[Program, Flow]]:
    """The compiled program and flow of each width: of workflow.ais where it has one, else generated."""
    written = compile_source(read_source(str(SCALABILITY.source)), needs_entry=False).program
    found: dict[int, tuple[Program, Flow]] = {}
    for width in widths:
        flow = next((flow for flow in written.flows if flow.name == flow_name(width)), None)
        if flow is not None:
            found[width] = written, flow
        else:
            generated = SourceFile(f"{flow_name(width)}.ais", source_text([width]))
            program = compile_source(generated).program
            found[width] = program, program.flows[0]
    return found


def _flow(width: int, mark: str) -> str:
    names = [_name(index) for index in range(width)]
    lines = [
        f"    // {width}-way parallel",
        f"    {mark}flow {flow_name(width)}() -> str {{",
        *(f'        ask("{prompt}") -> {name}' for prompt, name in zip(prompts(width), names, strict=True)),
        f"        merge({', '.join(names)}) -> result",
        "        return result",
        "    }",
        "",
    ]
    return "\n".join(lines)


def _name(index: int) -> str:
    """`a` … `z` as in workflow.ais, then `task_aa`, …: words of the language, such as `if`, are among the bare ones."""
    letters = _letters(index).lower()
    return letters if len(letters) == 1 else f"task_{letters}"


def _letters(index: int) -> str:
    """`A` for 0 … `Z` for 25, `AA` for 26: the columns of a spreadsheet."""
    letters = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters
