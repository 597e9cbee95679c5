"""``apxm resume``: goes on with a journaled run."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer

from apxm.cli import options as o
from apxm.cli.inputs import refuse_overwriting
from apxm.cli.terminal import note
from apxm.errors import UsageError
from apxm.reports.summary import count


@o.grouped
def resume(
    run: o.RunId,
    max_concurrency: o.MaxConcurrency = None,
    timeout_s: o.Timeout = None,
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
        typer.Option(
            "--assume",
            metavar="OP=VALUE",
            help="Take VALUE for its outcome instead, JSON or, for a str, text; repeatable.",
        ),
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
    as_changed: Annotated[
        bool,
        typer.Option(
            "--as-changed",
            help="Run a script of Python as it is now, though it was edited. Every answer to a request that is still "
            "the same is kept, wherever it is made.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be asked and what it may cost, and ask nothing.")
    ] = False,
    *,
    shown: o.AnyRun,
) -> None:
    """Go on with a run that ended, however it did. What is finished is not done again, and all output is shown.

    Limits that are not given are those it began with; --timeout counts anew.

    \b
    Examples:
      apxm resume 20260131-235959-k3vd
      apxm resume last
      apxm resume k3vd --max-total-tokens 200000
      apxm resume last --edited --dry-run
      apxm resume last --as-changed
    """
    import asyncio
    from time import perf_counter

    from apxm.cli.interruption import signals_as_ctrl_c
    from apxm.cli.run_files import RunFiles, named_files
    from apxm.cli.session import Terminal, announce, closing, leave, link, show
    from apxm.cli.values import read_assumed
    from apxm.config.invocation import Invocation
    from apxm.config.selection import resolve
    from apxm.journal.catalog import read
    from apxm.journal.runs import find_run
    from apxm.journaling import reopen
    from apxm.reports.preview import preview_lines
    from apxm.reports.structs import as_json
    from apxm.runtime.loops import real_loop
    from apxm.runtime.replay import unknown_results
    from apxm.session import Session

    said = {**locals(), **vars(shown)}
    outputs = named_files(shown)
    refuse_overwriting({}, outputs, shown.config)
    begun = perf_counter()
    journaling = Invocation.of(said).journaling
    folder = journaling.folder
    assumed = read_assumed(assume, unknown_results(read(folder, find_run(folder, run)))) if assume else {}
    with ExitStack() as stack:
        stack.enter_context(signals_as_ctrl_c())
        earlier = reopen(
            run, journaling,
            config=shown.config, as_recorded=as_recorded, edited=edited, redo=redo or (), assume=assumed,
            kinds=("source", "artifact", "script"),
        )  # fmt: skip
        recorder = earlier.recorder
        stack.callback(recorder.close)
        refuse_overwriting({"the run's program": earlier.path, "the run's journal": str(recorder.path)}, outputs)
        if earlier.kind == "script":
            from apxm.cli.run_python import resume_script

            resume_script(earlier, shown, earlier.told.but(said), as_changed, dry_run)
        if as_changed:
            raise UsageError(
                "--as-changed is for scripts of Python, and this run is one of a program of AIS",
                hint="--edited goes on with it as its file is now",
            )
        terminal = Terminal(shown, RunFiles(shown, stack))
        told = terminal.listening(earlier.told.but(said))
        configured = resolve(told.selection)
        session = Session.resumed(earlier, told, configured.pool(), begun, configured.tools)
        if not shown.quiet:
            announce(configured, session, earlier.warnings)
        if edited or dry_run:
            found = session.preview()
            if not shown.quiet:
                for line in preview_lines(found):
                    note(line)
            if dry_run:
                if shown.json:
                    terminal.write(as_json(found), json=True)
                raise typer.Exit
        runner = stack.enter_context(asyncio.Runner(loop_factory=real_loop))
        link(session, runner)
        stack.enter_context(closing(session))
        if not shown.quiet:
            so_far = "with the edited program" if edited else f"{count(recorder.finished, 'call')} finished"
            note(f"run {session.run_id} goes on: {so_far}")
        status = show(session, terminal, runner)
    leave(session, status)
