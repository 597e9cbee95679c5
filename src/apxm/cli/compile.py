"""``apxm compile``: a source to an artifact."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from time import perf_counter_ns
from typing import Annotated

import typer

from apxm.cli.inputs import refuse_overwriting
from apxm.cli.options import EmitDiagnostics, Level, Quiet, Source
from apxm.cli.output import write
from apxm.cli.terminal import note, show_diagnostics
from apxm.errors import UsageError
from apxm.source import printable


def compile_source(
    file: Source,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="OUT.apxmobj", help="The artifact; default: the source's name."),
    ] = None,
    level: Level = 1,
    emit_diagnostics: EmitDiagnostics = None,
    emit_ir: Annotated[bool, typer.Option("--emit-ir", help="Print the IR after all passes.")] = False,
    emit_ir_after: Annotated[
        str | None, typer.Option("--emit-ir-after", metavar="PASS", help="Print the IR as this pass leaves it.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Compile a source file to an artifact that `apxm run` runs.

    With --emit-ir or --emit-ir-after, print the IR; an artifact is then written only where -o names one.

    \b
    Examples:
      apxm compile workflow.ais -o workflow.apxmobj
      apxm compile workflow.ais -O2 --emit-diagnostics diagnostics.json
      apxm compile workflow.ais --emit-ir-after cse
    """
    from apxm.cli.interruption import signals_as_ctrl_c
    from apxm.cli.sources import compile_file, diagnostics_json
    from apxm.files import OutputFile
    from apxm.ir.text import print_module
    from apxm.program.codec import encode

    if emit_ir and emit_ir_after is not None:
        raise UsageError("--emit-ir and --emit-ir-after print one IR each: choose one")
    prints_ir = emit_ir or emit_ir_after is not None
    target = str(Path(file).with_suffix(".apxmobj")) if output is None and not prints_ir else output
    refuse_overwriting({"the input": file}, {"-o": target, "--emit-diagnostics": emit_diagnostics})
    with ExitStack() as files:
        files.enter_context(signals_as_ctrl_c())
        artifact = files.enter_context(OutputFile(target)) if target else None
        diagnostics = files.enter_context(OutputFile(emit_diagnostics)) if emit_diagnostics else None
        compiled = compile_file(file, level, keep_ir_after=emit_ir_after)
        if not quiet:
            show_diagnostics(compiled.compilation.warnings)
        begun = perf_counter_ns()
        content = encode(compiled.compilation.program)
        encoding_ns = perf_counter_ns() - begun
        if artifact:
            artifact.write(content)
        if diagnostics:
            diagnostics.write(diagnostics_json(compiled, encoding_ns=encoding_ns))
    if prints_ir:
        write(compiled.compilation.ir or print_module(compiled.compilation.module))
    if target and not quiet:
        note(f"wrote {printable(target)}")
