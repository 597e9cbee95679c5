"""``apxm execute`` and ``apxm run``: the same run, of a source and of an artifact."""

from __future__ import annotations

import os
from contextlib import ExitStack

from apxm.cli import options as o


def execute(
    file: o.Source,
    values: o.Values = None,
    arg: o.Named = None,
    flow: o.FlowName = None,
    level: o.Level = 1,
    emit_diagnostics: o.EmitDiagnostics = None,
    backend: o.BackendName = None,
    model: o.Model = None,
    latency: o.Latency = None,
    slowdown: o.Slowdown = None,
    faults: o.Faults = None,
    seed: o.Seed = None,
    max_concurrency: o.MaxConcurrency = None,
    timeout: o.Timeout = None,
    on_error: o.OnError = "finish",
    max_total_tokens: o.MaxTotalTokens = None,
    max_cost: o.MaxCost = None,
    journal: o.Journal = None,
    journal_dir: o.JournalDir = None,
    journal_sync: o.JournalSync = "full",
    require_journal: o.RequireJournal = False,
    emit_metrics: o.EmitMetrics = None,
    json: o.JSON = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    config: o.Config = None,
) -> None:
    """Compile a source file and run one of its flows.

    Standard output gets what the program prints, then its result; everything else goes to standard error.

    \b
    Examples:
      apxm execute workflow.ais
      apxm execute research.ais "the honey bee" --arg depth=3
      apxm execute workflow.ais --flow parallel_8 --emit-metrics metrics.json
      apxm execute workflow.ais --backend simulated --latency lognormal:800,0.4 --seed 7
    """
    from apxm.cli.inputs import refuse_overwriting
    from apxm.cli.interruption import signals_as_ctrl_c
    from apxm.cli.session import Invocation, Linked, run_program
    from apxm.cli.sources import compile_file, diagnostics_json
    from apxm.config.runs import Journaling
    from apxm.config.selection import Selection
    from apxm.reports.files import OutputFile
    from apxm.runtime.options import RunOptions

    refuse_overwriting(
        {"the input": file}, {"--emit-metrics": emit_metrics, "--emit-diagnostics": emit_diagnostics}, config
    )
    selection = Selection(
        backend=backend, model=model, latency=latency, slowdown=slowdown, faults=faults, seed=seed, file=config
    )
    journaling = Journaling(wanted=journal, folder=journal_dir, sync=journal_sync, required=require_journal)
    options = RunOptions(
        max_concurrency=max_concurrency, timeout_s=timeout, on_error=on_error,
        max_total_tokens=max_total_tokens, max_cost=max_cost,
    )  # fmt: skip
    invocation = Invocation(values or [], arg or [], selection, flow, options, journaling, json, quiet, verbose)
    with ExitStack() as files:
        files.enter_context(signals_as_ctrl_c())
        metrics = files.enter_context(OutputFile(emit_metrics)) if emit_metrics else None
        diagnostics = files.enter_context(OutputFile(emit_diagnostics)) if emit_diagnostics else None
        compiled = compile_file(file, level, flow_named=flow is not None)
        program, warnings = compiled.compilation.program, compiled.compilation.warnings
        if diagnostics:
            diagnostics.write(diagnostics_json(compiled, flow))
        origin = os.path.abspath(file), "source"
        run_program(Linked(program, origin, warnings, compile_ms=compiled.compile_ms), invocation, metrics)


def run(
    file: o.Artifact,
    values: o.Values = None,
    arg: o.Named = None,
    flow: o.FlowName = None,
    backend: o.BackendName = None,
    model: o.Model = None,
    latency: o.Latency = None,
    slowdown: o.Slowdown = None,
    faults: o.Faults = None,
    seed: o.Seed = None,
    max_concurrency: o.MaxConcurrency = None,
    timeout: o.Timeout = None,
    on_error: o.OnError = "finish",
    max_total_tokens: o.MaxTotalTokens = None,
    max_cost: o.MaxCost = None,
    journal: o.Journal = None,
    journal_dir: o.JournalDir = None,
    journal_sync: o.JournalSync = "full",
    require_journal: o.RequireJournal = False,
    emit_metrics: o.EmitMetrics = None,
    json: o.JSON = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    config: o.Config = None,
) -> None:
    """Run a flow of an artifact.

    Standard output gets what the program prints, then its result; everything else goes to standard error.

    \b
    Examples:
      apxm run workflow.apxmobj
      apxm run workflow.apxmobj --flow parallel_8 --emit-metrics metrics.json
    """
    from time import perf_counter

    from apxm import api
    from apxm.cli.inputs import refuse_overwriting, refuse_source
    from apxm.cli.interruption import signals_as_ctrl_c
    from apxm.cli.session import Invocation, Linked, run_program
    from apxm.config.runs import Journaling
    from apxm.config.selection import Selection
    from apxm.reports.files import OutputFile
    from apxm.runtime.options import RunOptions

    refuse_source(file, "execute")
    refuse_overwriting({"the input": file}, {"--emit-metrics": emit_metrics}, config)
    selection = Selection(
        backend=backend, model=model, latency=latency, slowdown=slowdown, faults=faults, seed=seed, file=config
    )
    journaling = Journaling(wanted=journal, folder=journal_dir, sync=journal_sync, required=require_journal)
    options = RunOptions(
        max_concurrency=max_concurrency, timeout_s=timeout, on_error=on_error,
        max_total_tokens=max_total_tokens, max_cost=max_cost,
    )  # fmt: skip
    invocation = Invocation(values or [], arg or [], selection, flow, options, journaling, json, quiet, verbose)
    with ExitStack() as files:
        files.enter_context(signals_as_ctrl_c())
        metrics = files.enter_context(OutputFile(emit_metrics)) if emit_metrics else None
        begun = perf_counter()
        program = api.load(file)
        artifact_ms = api.milliseconds(perf_counter() - begun)
        origin = os.path.abspath(file), "artifact"
        run_program(Linked(program, origin, artifact_ms=artifact_ms), invocation, metrics)
