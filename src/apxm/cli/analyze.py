"""``apxm analyze`` and ``apxm simulate``: how long a flow will take, before it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from apxm.cli import options as o

File = Annotated[
    str, typer.Argument(metavar="FILE", help="A source (.ais) or an artifact (.apxmobj).", show_default=False)
]
Values = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="VALUE…",
        help="The flow's parameters in order, as for `apxm execute`; any may be left out.",
        show_default=False,
    ),
]
ProfileName = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="P",
        help="What `apxm calibrate` wrote: a file, or the name of the backend. Default: what the configuration says of "
        "a simulated backend, and of any other a typical time per operation.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Of the draws.")]


def analyze(
    file: File,
    values: Values = None,
    arg: o.Named = None,
    flow: o.FlowName = None,
    level: o.Level = 1,
    profile: ProfileName = None,
    p: Annotated[
        str, typer.Option("--p", metavar="P,P,…", help="Predict for these numbers of calls at once.")
    ] = "1,2,4,8",
    seed: Seed = 0,
    json: o.JSON = False,
    quiet: o.Quiet = False,
    config: o.Config = None,
) -> None:
    """Say before any run how long a flow will take, and what it will ask for.

    Work T1, span T_inf, the critical path, bounds and predictions for several numbers of calls at once, LLM calls and
    their tokens. Calls no model.

    \b
    Examples:
      apxm analyze workflow.ais --flow parallel_8
      apxm analyze workflow.apxmobj --profile local --p 1,4,16 --json
    """
    from apxm.analysis.static import analyze as analyze_flow
    from apxm.backends.numbers import counts
    from apxm.cli.output import write, write_json
    from apxm.cli.programs import load_program
    from apxm.cli.values import read_known
    from apxm.config.profiles import known_profile
    from apxm.program.invocation import select_flow
    from apxm.reports.analysis import analysis_text
    from apxm.reports.structs import as_json

    slots = counts(p, "--p")
    known = known_profile(profile, config)
    program = load_program(file, level, flow_named=flow is not None, quiet=quiet)
    chosen = select_flow(program, flow)
    given = read_known(chosen, values or [], arg or [])
    found = analyze_flow(program, chosen, slots, known, given, seed)
    if json:
        write_json(as_json(found))
    else:
        write(analysis_text(found))


def simulate(
    file: File,
    values: Values = None,
    arg: o.Named = None,
    flow: o.FlowName = None,
    level: o.Level = 1,
    profile: ProfileName = None,
    max_concurrency: o.MaxConcurrency = None,
    runs: Annotated[int, typer.Option("--runs", min=1, metavar="K", help="How many runs, each with other draws.")] = 20,
    seed: Seed = 0,
    json: o.JSON = False,
    quiet: o.Quiet = False,
    config: o.Config = None,
) -> None:
    """Run a flow on virtual time, with the real scheduler and the profile of an endpoint: an hour takes milliseconds.

    A `switch` on what a model would say takes any of its arms. Calls no model.

    \b
    Examples:
      apxm simulate workflow.ais --flow parallel_8 --profile local
      apxm simulate research.ais "the honey bee" --max-concurrency 4 --runs 100 --json
    """
    from apxm.analysis.predict import predict
    from apxm.analysis.static import latencies, with_stand_ins
    from apxm.cli.output import write, write_json
    from apxm.cli.programs import load_program
    from apxm.cli.terminal import note
    from apxm.cli.values import read_known
    from apxm.config.profiles import known_profile
    from apxm.program.invocation import select_flow
    from apxm.reports.analysis import prediction_text
    from apxm.reports.structs import as_json
    from apxm.source import printable

    known = known_profile(profile, config)
    program = load_program(file, level, flow_named=flow is not None, quiet=quiet)
    chosen = select_flow(program, flow)
    arguments, unknown = with_stand_ins(chosen, read_known(chosen, values or [], arg or []))
    if not quiet:
        note(printable(f"latencies: {latencies(known)}"))
        if unknown:
            note(f"not given, so a switch on it takes any arm: {', '.join(unknown)}")
    found = predict(program, chosen, arguments, known, max_concurrency, runs, seed)
    if json:
        write_json(as_json(found))
    else:
        write(prediction_text(found))
