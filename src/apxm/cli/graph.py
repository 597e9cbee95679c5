"""``apxm graph``: what of a program waits for what, as a picture."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated

import typer

from apxm.cli import options as o
from apxm.cli.inputs import is_artifact, is_script, refuse_overwriting
from apxm.cli.output import write
from apxm.cli.terminal import note
from apxm.errors import ApxmError, UsageError
from apxm.source import printable

if TYPE_CHECKING:
    from apxm.reports.graph import ProgramGraph

_ENDINGS = (".svg", ".dot", ".mmd")
_LAYOUT_S = 60.0
"""How long Graphviz may take."""


def graph(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="A source (.ais), an artifact or a file of Python.", show_default=False),
    ],
    output: Annotated[
        str | None,
        typer.Option("-o", metavar="FILE.svg|.dot|.mmd", help="Write a picture, or its text for Graphviz or Mermaid."),
    ] = None,
    flow: o.FlowName = None,
    level: o.Level = 1,
    json: o.JSON = False,
) -> None:
    """Show the graph of a program: its operations, and what each waits for. Runs nothing.

    In the terminal it is rows by level, of up to 40 operations. Of a file of Python it is what its text says.

    \b
    Examples:
      apxm graph workflow.ais
      apxm graph workflow.ais --flow parallel_8 -o workflow.svg
      apxm graph label.py -o label.mmd
      apxm graph workflow.apxmobj --json
    """
    from apxm.files import OutputFile
    from apxm.reports.graph import MOST_IN_TERMINAL, graph_text
    from apxm.reports.structs import as_json
    from apxm.reports.summary import count

    ending = "" if output is None else PurePath(output).suffix
    if output is not None and ending not in _ENDINGS:
        raise UsageError(
            f"-o {printable(output)} ends with {printable(ending) or 'nothing'}: the ending says what is written",
            hint=f"one of {', '.join(_ENDINGS)}",
        )
    refuse_overwriting({"the input": file}, {"-o": output})
    with ExitStack() as files:
        written = files.enter_context(OutputFile(output)) if output is not None else None
        found = _read(file, flow, level)
        if written is not None:
            written.write(_drawn(found, ending))
    if json:
        write(as_json(found), json)
    elif written is None:
        if len(found.nodes) > MOST_IN_TERMINAL:
            raise UsageError(
                f"{found.name.lstrip('.')} has {count(len(found.nodes), 'operation')}, and a terminal shows up to "
                f"{MOST_IN_TERMINAL}",
                hint="-o graph.svg draws it, --flow NAME chooses a part, --json prints it",
            )
        for line in graph_text(found):
            write(line)
    else:
        note(f"wrote {printable(str(output))}: {count(len(found.nodes), 'operation')}")


def _read(file: str, flow: str | None, level: int) -> ProgramGraph:
    from apxm import api
    from apxm.program.invocation import select_flow
    from apxm.reports.graph import program_graph

    if is_script(file):
        from apxm.cli.explain import python_text
        from apxm.explaining.skeleton import skeleton
        from apxm.flows.flow import marked
        from apxm.flows.twins import TWINS

        return skeleton(file, python_text(file), TWINS, marked, flow)
    if is_artifact(file) or file.endswith(".apxmobj"):
        program = api.load(file)
    else:
        from apxm.cli.sources import compile_file

        program = compile_file(file, level, flow_named=flow is not None).compilation.program
    return program_graph(program, select_flow(program, flow))


def _drawn(found: ProgramGraph, ending: str) -> bytes:
    from apxm.reports.graph import graph_dot, graph_mermaid

    if ending == ".mmd":
        return graph_mermaid(found).encode()
    text = graph_dot(found).encode()
    return text if ending == ".dot" else _laid_out(text)


def _laid_out(text: bytes) -> bytes:
    """What Graphviz draws of it. Raises `UsageError` where it is not installed."""
    import shutil
    import subprocess

    program = shutil.which("dot")
    if program is None:
        raise UsageError(
            "a picture is laid out by Graphviz, whose program `dot` is not found",
            hint="install it (apt install graphviz, brew install graphviz), or write .dot or .mmd, which need none",
        )
    try:
        ran = subprocess.run([program, "-Tsvg"], input=text, capture_output=True, timeout=_LAYOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise ApxmError(
            f"Graphviz took more than {_LAYOUT_S:g} s", hint="write .dot, and lay a part of it out"
        ) from None
    if ran.returncode:
        raise ApxmError(f"Graphviz failed: {printable(ran.stderr.decode(errors='replace').strip())}")
    return ran.stdout
