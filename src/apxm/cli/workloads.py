"""``apxm workloads``: the programs that measure what A-PXM claims."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from apxm.cli import completion
from apxm.cli.inputs import refuse_overwriting
from apxm.cli.options import JSON, Config, Quiet
from apxm.cli.output import write
from apxm.cli.progress import ProgressLine
from apxm.cli.terminal import confirm_calls, note
from apxm.errors import UsageError
from apxm.source import printable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from apxm.workloads.endpoints import SharedEndpoint

workloads_app = typer.Typer(help="List, check or run the workloads.", no_args_is_help=True, rich_markup_mode=None)


@workloads_app.command("list")
def list_workloads(json: JSON = False) -> None:
    """List the workloads: number, name, and what each is about."""
    from apxm.reports.structs import as_json
    from apxm.reports.tables import aligned
    from apxm.workloads.catalog import WORKLOADS

    rows = [[str(w.number), w.name, w.summary] for w in WORKLOADS]
    write(as_json(WORKLOADS) if json else "\n".join(aligned(rows, indent="")), json)


@workloads_app.command("check")
def check(json: JSON = False) -> None:
    """Compile every workload, run its flows on virtual time, and import its LangGraph program. Calls no model."""
    from apxm.reports.structs import as_json
    from apxm.reports.tables import aligned
    from apxm.workloads import checks
    from apxm.workloads.catalog import WORKLOADS

    found = [entry for workload in WORKLOADS for entry in checks.check(workload)]
    rows = [[c.outcome, c.workload, c.subject, c.detail] for c in found]
    write(as_json(found) if json else "\n".join(aligned(rows, indent="")), json)
    if any(entry.outcome == "failed" for entry in found):
        raise typer.Exit(1)


@workloads_app.command("run")
def run(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|NUMBER",
            help="Which workload, as `list` shows it.",
            show_default=False,
            autocompletion=completion.workload_names,
        ),
    ],
    n: Annotated[
        str, typer.Option("--n", metavar="N,N,…", help="The numbers of calls to measure, up to 4096 each.")
    ] = "1,2,4,8",
    iterations: Annotated[int, typer.Option("--iterations", min=1, metavar="K", help="Measured runs of each.")] = 3,
    warmup: Annotated[int, typer.Option("--warmup", min=0, metavar="K", help="Runs before those, not counted.")] = 1,
    latency: Annotated[
        str | None,
        typer.Option(
            "--latency",
            metavar="SPEC",
            help="Of the simulator: constant:MS, lognormal:MEDIAN_MS,SIGMA or trace:MS,MS,…; default constant:1000.",
        ),
    ] = None,
    slowdown: Annotated[
        str | None,
        typer.Option("--slowdown", metavar="SPEC", help="Of the simulator: usl:ALPHA,BETA or curve:1=1,4=2.1,…"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Of the simulator's random latencies; default 0.")
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            "--backend",
            metavar="NAME",
            help="Ask this configured backend instead; its calls may cost money.",
            autocompletion=completion.backend_names,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before calling a configured backend.")] = False,
    json: JSON = False,
    output: Annotated[str | None, typer.Option("-o", "--output", metavar="F.json", help="Write the JSON to F.")] = None,
    plot: Annotated[
        str | None, typer.Option("--plot", metavar="F.svg|F.png", help="Draw the speedup curve (needs matplotlib).")
    ] = None,
    apxm_only: Annotated[bool, typer.Option("--apxm-only", help="Measure A-PXM alone.")] = False,
    langgraph_only: Annotated[bool, typer.Option("--langgraph-only", help="Measure LangGraph alone.")] = False,
    calibrate_for: Annotated[
        float | None,
        typer.Option(
            "--calibrate-for",
            min=0,
            metavar="SECONDS",
            help="Most time for the calls from which A-PXM's runs are predicted; default: as long as the runs take.",
        ),
    ] = None,
    quiet: Quiet = False,
    config: Config = None,
) -> None:
    """Measure a workload on A-PXM and on LangGraph, side by side, on one HTTP endpoint.

    Without --backend the endpoint is a simulator, started for this run: it costs nothing.

    \b
    Examples:
      apxm workloads run 4_scalability
      apxm workloads run 4 --slowdown usl:0.1,0 --plot speedup.svg
      apxm workloads run 4 --n 1,8,64,512 --apxm-only --json -o results.json
      apxm workloads run 4 --backend local --iterations 5
    """
    import asyncio
    from contextlib import ExitStack
    from pathlib import PurePath

    from apxm.backends.numbers import counts
    from apxm.cli.interruption import signals_as_ctrl_c
    from apxm.files import OutputFile
    from apxm.runtime.loops import real_loop
    from apxm.workloads.catalog import find
    from apxm.workloads.comparing import SystemComparison
    from apxm.workloads.comparison import comparison_json
    from apxm.workloads.comparison_tables import comparison_text
    from apxm.workloads.curve import check_plotting, draw_curve, terminal_curve
    from apxm.workloads.langgraph_system import load_peer
    from apxm.workloads.measuring import Schedule
    from apxm.workloads.scalability import WIDEST

    workload = find(name)
    schedule = Schedule(counts(n, "--n", WIDEST), iterations, warmup)
    if langgraph_only and calibrate_for is not None:
        raise UsageError("--calibrate-for: of A-PXM's runs, which --langgraph-only leaves out")
    if apxm_only and langgraph_only:
        raise UsageError("--apxm-only and --langgraph-only leave nothing to measure")
    refuse_overwriting({}, {"-o": output, "--plot": plot}, config)
    if plot:
        check_plotting(plot)
    progress = ProgressLine(wanted=not quiet)
    with ExitStack() as stack:
        stack.callback(progress.clear)
        stack.enter_context(signals_as_ctrl_c())
        json_file = stack.enter_context(OutputFile(output)) if output else None
        plot_file = stack.enter_context(OutputFile(plot)) if plot else None
        endpoint = stack.enter_context(_endpoint(backend, latency, slowdown, seed, config))
        progress.say("loading")
        peer = None if apxm_only else load_peer(workload.peer)
        comparing = SystemComparison(
            schedule, endpoint, apxm=not langgraph_only, peer=peer, report=progress.say, calibrate_for=calibrate_for
        )
        runner = stack.enter_context(asyncio.Runner(loop_factory=real_loop))
        runner.get_loop()
        progress.clear()
        if not quiet:
            note(printable(f"model: {endpoint.description}"))
        if backend is not None:
            confirm_calls(comparing.calls, endpoint.description, yes)
        compared = runner.run(comparing.run())
        progress.clear()
        text = comparison_json(compared.comparison)
        if json_file:
            json_file.write(f"{text}\n".encode())
        if plot_file and plot:
            plot_file.write(draw_curve(compared.comparison, PurePath(plot).suffix))
        if not json:
            text = f"{comparison_text(compared.comparison, compared.guesses)}\n{terminal_curve(compared.comparison)}"
        write(text, json)


def _endpoint(
    backend: str | None, latency: str | None, slowdown: str | None, seed: int | None, config: str | None
) -> AbstractContextManager[SharedEndpoint]:
    from apxm.backends.latency import DEFAULT_LATENCY
    from apxm.workloads import endpoints

    if backend is None:
        if config is not None:
            raise UsageError("--config names backends, and none is asked", hint="name one with --backend")
        return endpoints.simulated(latency or DEFAULT_LATENCY, slowdown or "none", seed or 0)
    options = {"--latency": latency, "--slowdown": slowdown, "--seed": seed}
    if given := [option for option, value in options.items() if value is not None]:
        raise UsageError(f"{' and '.join(given)}: of the simulator, which is not asked where --backend names another")
    return endpoints.configured(backend, config)
