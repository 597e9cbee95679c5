"""``apxm resume``: goes on with a journaled run."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer

from apxm.cli import options as o


def resume(
    run: o.RunId,
    max_concurrency: o.MaxConcurrency = None,
    timeout: o.Timeout = None,
    on_error: Annotated[
        str | None, typer.Option("--on-error", metavar="finish|cancel", help="As for `apxm execute`.")
    ] = None,
    max_total_tokens: o.MaxTotalTokens = None,
    max_cost: o.MaxCost = None,
    redo: Annotated[
        list[str] | None,
        typer.Option("--redo", metavar="OP", help="Make this operation of an unknown outcome again; repeatable."),
    ] = None,
    assume: Annotated[
        list[str] | None,
        typer.Option("--assume", metavar="OP=VALUE", help="Take VALUE, in JSON, for its outcome instead; repeatable."),
    ] = None,
    as_recorded: Annotated[
        bool, typer.Option("--as-recorded", help="Run the program as it was, though its file has changed.")
    ] = False,
    edited: Annotated[
        bool,
        typer.Option(
            "--edited",
            help="Run the program as its file is now. Answers to requests that are still the same are kept; what will "
            "be asked again, and its cost, is said before.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be asked and what it may cost, and ask nothing.")
    ] = False,
    journal_dir: o.JournalDir = None,
    journal_sync: o.JournalSync = "full",
    require_journal: o.RequireJournal = False,
    emit_metrics: o.EmitMetrics = None,
    json: o.JSON = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    config: o.Config = None,
) -> None:
    """Go on with a run that ended, however it did. What is finished is not done again, and all output is shown.

    Limits that are not given are those it began with; --timeout counts anew.

    \b
    Examples:
      apxm resume 20260131-235959-k3vd
      apxm resume last
      apxm resume k3vd --max-total-tokens 200000
      apxm resume last --edited --dry-run
    """
    from time import perf_counter

    from apxm import api
    from apxm.analysis.metrics import LinkPhases
    from apxm.cli.inputs import refuse_overwriting
    from apxm.cli.interruption import signals_as_ctrl_c
    from apxm.cli.session import Shown, Terminal, announce, closing, exit_status, show_run
    from apxm.cli.values import read_assumed
    from apxm.config.runs import Journaling
    from apxm.config.selection import resolve
    from apxm.journaling import reopen
    from apxm.reports.files import OutputFile
    from apxm.reports.preview import preview_lines
    from apxm.reports.structs import as_json
    from apxm.reports.summary import count
    from apxm.reports.terminal import note
    from apxm.runtime.handlers.table import LoadedProgram
    from apxm.runtime.limits import BackendPool
    from apxm.runtime.options import RunOptions
    from apxm.runtime.scheduler import Run
    from apxm.version import VERSION

    refuse_overwriting({}, {"--emit-metrics": emit_metrics}, config)
    begun = perf_counter()
    journaling = Journaling(folder=journal_dir, sync=journal_sync, required=require_journal)
    assumed = read_assumed(assume or [])
    with ExitStack() as stack:
        stack.enter_context(signals_as_ctrl_c())
        earlier = reopen(
            journaling,
            run,
            VERSION,
            config=config,
            as_recorded=as_recorded,
            as_edited=edited,
            redo=redo or (),
            assume=assumed,
        )
        recorder = earlier.recorder
        stack.callback(recorder.close)
        read = {"the run's program": earlier.path, "the run's journal": str(recorder.path)}
        refuse_overwriting(read, {"--emit-metrics": emit_metrics})
        metrics = stack.enter_context(OutputFile(emit_metrics)) if emit_metrics else None
        terminal = Terminal(Shown(json, quiet, verbose, metrics))
        kept = earlier.kept(
            max_concurrency=max_concurrency, on_error=on_error, max_total_tokens=max_total_tokens, max_cost=max_cost
        )
        options = RunOptions(
            timeout_s=timeout, output=terminal.emit, warn=terminal.warn, observer=terminal.observer, **kept
        )
        configured = resolve(earlier.selection)
        earlier.refuse_another_backend(configured.default)
        pool = BackendPool(configured.backends, configured.default)
        loaded = LoadedProgram(earlier.program)
        started = Run(loaded, earlier.flow, earlier.inputs, pool, options)
        if not quiet:
            announce(configured, started, earlier.warnings)
        if edited or dry_run:
            found = earlier.preview(loaded, pool, options)
            if not quiet:
                for line in preview_lines(found):
                    note(line)
            if dry_run:
                if json:
                    terminal.output.json(as_json(found))
                raise typer.Exit
        stack.enter_context(closing(recorder, journaling))
        if not quiet:
            so_far = "with the edited program" if edited else f"{count(recorder.finished, 'call')} finished"
            note(f"run {recorder.run_id} goes on: {so_far}")
        phases = LinkPhases(validation_ms=api.milliseconds(perf_counter() - begun))
        status = show_run(started, recorder, pool, phases, recorder.run_id, terminal)
    raise typer.Exit(exit_status(status, recorder))
