"""``apxm batch``: one program over many inputs."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Annotated

import typer

from apxm.cli import options as o
from apxm.cli.inputs import refuse_overwriting
from apxm.errors import UsageError


@o.grouped
def batch(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A source (.ais), an artifact, or FILE.py[:FLOW] with a flow of Python.",
            show_default=False,
        ),
    ],
    input: Annotated[
        str,
        typer.Option(
            "--input",
            metavar="FILE",
            help="The inputs: .jsonl, .csv, .tsv or .parquet, by path or URL; - is standard input.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output", metavar="OUT.jsonl", help="Where results go, a line each; a path or URL.", show_default=False
        ),
    ],
    format: Annotated[
        str | None, typer.Option("--format", metavar="F", help="Of the inputs: jsonl, csv, tsv or parquet.")
    ] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option("--arg", metavar="NAME=VALUE", help="A parameter that all inputs share, as for `apxm execute`."),
    ] = None,
    flow: o.FlowName = None,
    level: o.Level = 1,
    max_concurrency: Annotated[
        int | None,
        typer.Option(
            "--max-concurrency",
            min=1,
            metavar="P",
            help="Most inputs at once; default: what the backend allows of calls, else 256.",
        ),
    ] = None,
    on_error: Annotated[
        str,
        typer.Option(
            "--on-error", metavar="continue|stop", help="After an input failed, go on, or begin no further one."
        ),
    ] = "continue",
    ordered: Annotated[
        bool, typer.Option("--ordered", help="Put the lines of the output in the order of the inputs at the end.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Do the inputs again that failed before.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew, and lose what the output holds.")] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="Take the first N inputs only.")
    ] = None,
    journal: Annotated[
        bool | None,
        typer.Option(
            "--journal/--no-journal",
            help="Keep what inputs that are not over were answered; default: where a backend is real.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say how many inputs are left, and what calls, tokens, cost and time that may take; ask nothing.",
        ),
    ] = False,
    max_total_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-total-tokens", min=1, metavar="N", help="Stop before all inputs together use more than N tokens."
        ),
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(
            "--max-cost", metavar="AMOUNT", help="Stop before all inputs together cost more, by the configured prices."
        ),
    ] = None,
    profile: o.ProfileName = None,
    dedupe: Annotated[
        bool,
        typer.Option(
            "--dedupe/--no-dedupe",
            help="Make calls that are equal in every byte, at temperature 0, once.",
        ),
    ] = True,
    with_input: Annotated[
        bool, typer.Option("--with-input", help="Give each line of the output its input, too.")
    ] = False,
    engine: Annotated[
        str,
        typer.Option("--engine", metavar="local|ray", help="Where runs are: in this process, or on a Ray cluster."),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="HOST:PORT",
            help="Of the Ray cluster; default: RAY_ADDRESS, else one that is begun on this machine.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, metavar="N", help="Processes of --engine ray; default: one for each of its processors."
        ),
    ] = None,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", metavar="S", help="The most that one input may take.")
    ] = None,
    max_open_turns: o.MaxOpenTurns = 4096,
    report: o.Report = None,
    redact: o.Redact = False,
    json: Annotated[bool, typer.Option("--json", help="At the end, print one JSON object that sums up.")] = False,
    quiet: o.Quiet = False,
    config: o.Config = None,
    *,
    answering: o.Answering,
) -> None:
    """Run a program for each row of a file.

    A column is the parameter of its name. Each input that is over has a line in the output, `{"line", "id", "value"}`
    or `{"line", "id", "error"}`. The same command again goes on where it ended, however it did, and does nothing twice.

    \b
    Examples:
      apxm batch label.ais --input rows.csv --output labels.jsonl
      apxm batch label.ais --input rows.csv --output labels.jsonl --retry-failed
      apxm batch review.py:review --input changes.jsonl --output reviews.jsonl --max-concurrency 32 --ordered
    """
    from apxm.batches.batch import BatchOptions
    from apxm.batches.urls import plain_path
    from apxm.cli.interruption import signals_as_ctrl_c
    from apxm.cli.run_batch import PYTHON, Asked, run_batch
    from apxm.files import OutputFile

    input, output = plain_path(input), plain_path(output)
    code = file if (python := PYTHON.fullmatch(file)) is None else python[1]
    read = {"the program": code, "the input": None if input == "-" else input}
    refuse_overwriting(read, {"--output": output, "--report": report}, config)
    if redact and report is None:
        raise UsageError("--redact leaves texts out of a report: give --report too")
    for suffix in (".batch", ".spent", ".part"):
        refuse_overwriting(read, {"beside --output,": os.path.realpath(output) + suffix}, config)
    said = {
        **vars(answering),
        "flow": flow,
        "timeout_s": timeout_s,
        "max_open_turns": max_open_turns,
        "config": config,
        "journal": journal,
    }
    asked = Asked(
        file, input, output, format, tuple(arg or ()), level, max_concurrency,
        BatchOptions(limit=limit, on_error=on_error, with_input=with_input),
        ordered, retry_failed, overwrite, dedupe, max_total_tokens, max_cost, dry_run, profile, json, quiet, redact,
        engine, address, workers,
    )  # fmt: skip
    with ExitStack() as stack:
        stack.enter_context(signals_as_ctrl_c())
        page = stack.enter_context(OutputFile(report)) if report is not None else None
        status = run_batch(asked, said, page)
    raise typer.Exit(status)
