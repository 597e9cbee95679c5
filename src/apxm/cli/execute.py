"""``apxm execute`` and ``apxm run``: the same run, of a source and of an artifact."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer

from apxm.cli import options as o
from apxm.cli.inputs import is_script, refuse_overwriting, refuse_source
from apxm.cli.script_arguments import takes_scripts
from apxm.errors import UsageError


@o.grouped
def execute(
    file: o.Source,
    inputs: o.Inputs,
    level: o.Level = 1,
    emit_diagnostics: o.EmitDiagnostics = None,
    *,
    new: o.NewRun,
    shown: o.AnyRun,
) -> None:
    """Compile a source file and run one of its flows.

    Standard output gets what the program prints, then its result; everything else goes to standard error.

    \b
    Examples:
      apxm execute workflow.ais
      apxm execute research.ais "the honey bee" --arg depth=3
      apxm execute summary.ais --arg document=@report.md --args options.json
      git log -1 | apxm execute review.ais --arg change=@-
      apxm execute workflow.ais --flow parallel_8 --emit-metrics metrics.json
      apxm execute workflow.ais --backend simulated --latency lognormal:800,0.4 --seed 7
    """
    from apxm.analysis.metrics import LinkPhases
    from apxm.cli.interruption import signals_as_ctrl_c
    from apxm.cli.run_files import RunFiles, named_files
    from apxm.cli.session import run_program
    from apxm.cli.sources import compile_file, diagnostics_json
    from apxm.config.invocation import Invocation
    from apxm.files import OutputFile

    outputs = {**named_files(shown), "--emit-diagnostics": emit_diagnostics}
    refuse_overwriting({"the input": file, "the file of --args": inputs.args}, outputs, shown.config)
    told = Invocation.of(vars(inputs) | vars(new) | vars(shown))
    with ExitStack() as files:
        files.enter_context(signals_as_ctrl_c())
        left = RunFiles(shown, files)
        diagnostics = files.enter_context(OutputFile(emit_diagnostics)) if emit_diagnostics else None
        compiled = compile_file(file, level, flow_named=told.flow is not None)
        if diagnostics:
            diagnostics.write(diagnostics_json(compiled, told.flow))
        phases = LinkPhases(compile_ms=compiled.compile_ms)
        found = compiled.compilation
        run_program(found.program, inputs, told, shown, left, phases, found.warnings)


@takes_scripts
@o.grouped
def run(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="What `apxm compile` wrote, or a script of Python (.py).", show_default=False
        ),
    ],
    inputs: o.Inputs,
    each: o.Each = None,
    *,
    new: o.NewRun,
    shown: o.AnyRun,
) -> None:
    """Run a flow of an artifact, or a script of Python.

    Standard output gets what the program prints, then its result; everything else goes to standard error. What stands
    behind a script is given to it, but for --each.

    \b
    Examples:
      apxm run workflow.apxmobj
      apxm run workflow.apxmobj --flow parallel_8 --emit-metrics metrics.json
      apxm run label.py rows.jsonl
      apxm run --max-concurrency 8 --each label.py:12 label.py rows.jsonl
    """
    from time import perf_counter

    from apxm import api
    from apxm.analysis.metrics import LinkPhases
    from apxm.cli.interruption import signals_as_ctrl_c
    from apxm.cli.run_files import RunFiles, named_files
    from apxm.cli.session import run_program
    from apxm.config.invocation import Invocation
    from apxm.session import milliseconds

    if is_script(file):
        from apxm.cli.run_python import run_script

        run_script(file, inputs, new, shown, each or ())
    refuse_source(file, "execute")
    if each:
        raise UsageError("--each names loops of Python, and this is no script", where=file)
    refuse_overwriting({"the input": file, "the file of --args": inputs.args}, named_files(shown), shown.config)
    told = Invocation.of(vars(inputs) | vars(new) | vars(shown))
    with ExitStack() as files:
        files.enter_context(signals_as_ctrl_c())
        left = RunFiles(shown, files)
        begun = perf_counter()
        program = api.load(file)
        phases = LinkPhases(artifact_ms=milliseconds(perf_counter() - begun))
        run_program(program, inputs, told, shown, left, phases)
