"""Arguments and options that several commands share, and groups of them that a command takes as one parameter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

import typer

from apxm.cli import completion

Source = Annotated[str, typer.Argument(metavar="FILE.ais", help="The source to compile.", show_default=False)]
Artifact = Annotated[str, typer.Argument(metavar="FILE.apxmobj", help="What `apxm compile` wrote.", show_default=False)]
Named = Annotated[
    list[str] | None,
    typer.Option(
        "--arg",
        metavar="NAME=VALUE",
        help="A parameter by its name; @FILE is what a file holds, @- standard input, @@ a literal @; repeatable.",
    ),
]
Args = Annotated[
    str | None,
    typer.Option(
        "--args", metavar="FILE.json", help="A JSON object with parameters; - is standard input. --arg goes before it."
    ),
]
FlowName = Annotated[
    str | None,
    typer.Option(
        "--flow",
        metavar="NAME",
        help="Which flow, as NAME or Agent.NAME; default: the entry.",
        autocompletion=completion.flow_names,
    ),
]
Level = Annotated[int, typer.Option("-O", min=0, max=2, metavar="LEVEL", help="Optimize: -O0, -O1 or -O2.")]
EmitDiagnostics = Annotated[
    str | None,
    typer.Option("--emit-diagnostics", metavar="F.json", help="Write what the compiler did, as JSON."),
]
BackendName = Annotated[
    str | None,
    typer.Option(
        "--backend",
        metavar="NAME",
        help="Answer by this backend instead of the default one.",
        autocompletion=completion.backend_names,
    ),
]
Model = Annotated[str | None, typer.Option("--model", metavar="M", help="The model to ask for.")]
Latency = Annotated[
    str | None,
    typer.Option(
        "--latency",
        metavar="SPEC",
        help="Of the simulated backend: constant:MS, lognormal:MEDIAN_MS,SIGMA, trace:MS,MS,… or tokens:…",
    ),
]
Slowdown = Annotated[
    str | None,
    typer.Option("--slowdown", metavar="SPEC", help="Of the simulated backend: usl:ALPHA,BETA or curve:1=1,4=2.1,…"),
]
Seed = Annotated[
    int | None, typer.Option("--seed", metavar="N", help="Of the simulated backend's random latencies and faults.")
]
ToolLatency = Annotated[
    list[str] | None,
    typer.Option("--tool-latency", metavar="[NAME=]MS", help="How long simulated tools take, or one; repeatable."),
]
MaxConcurrency = Annotated[
    int | None, typer.Option("--max-concurrency", min=1, metavar="P", help="Most calls in flight at once.")
]
MaxOpenTurns = Annotated[
    int,
    typer.Option(
        "--max-open-turns", min=1, metavar="N", help="Most turns of one for or loop open at once.", show_default=True
    ),
]
Timeout = Annotated[float | None, typer.Option("--timeout", metavar="S", help="Stop the whole run after S seconds.")]
MaxTotalTokens = Annotated[
    int | None,
    typer.Option("--max-total-tokens", min=1, metavar="N", help="Stop before the calls use more than N tokens."),
]
MaxCost = Annotated[
    float | None,
    typer.Option("--max-cost", metavar="AMOUNT", help="Stop before the calls cost more, by the configured prices."),
]
JournalDir = Annotated[
    str | None,
    typer.Option("--journal-dir", metavar="DIR", help="The folder of the journals; default: the user's own."),
]
Each = Annotated[
    list[str] | None,
    typer.Option("--each", metavar="FILE.py:LINE", help="The loop there is promised to be independent; repeatable."),
]
RunId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="Which run: its id, so much of its begin or end as no other has, or last.",
        show_default=False,
        autocompletion=completion.run_ids,
    ),
]
Report = Annotated[
    str | None,
    typer.Option("--report", metavar="F.html", help="Write a page for a browser: timeline, graph, prompts, answers."),
]
Redact = Annotated[bool, typer.Option("--redact", help="Leave prompts, answers and sources out of the page.")]
JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="On standard error, say only what went wrong.")]
Config = Annotated[
    str | None, typer.Option("--config", metavar="FILE", help="Use this configuration file and no other.")
]
ProfileName = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="P",
        help="What `apxm calibrate` wrote: a file, or the name of the backend. Default: what the configuration "
        "says of a simulated backend, and of any other a typical time per operation.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Which flow to run, and with which values."""

    values: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VALUE…",
            help="The flow's parameters in order: text as it is, other types as JSON. Put -- before a negative number.",
            show_default=False,
        ),
    ] = None
    arg: Named = None
    args: Args = None
    flow: FlowName = None


@dataclass(frozen=True, kw_only=True)
class Answering:
    """Who answers, and how what is simulated behaves."""

    backend: BackendName = None
    model: Model = None
    latency: Latency = None
    slowdown: Slowdown = None
    faults: Annotated[
        str | None,
        typer.Option(
            "--faults", metavar="SPEC", help="Of the simulated backend: KIND:PROBABILITY,KIND:@K,KIND:>N,…,seed:N"
        ),
    ] = None
    seed: Seed = None
    simulate_tools: Annotated[
        bool | None,
        typer.Option(
            "--simulate-tools/--real-tools",
            help="Call no tool, and draw what it would give; default: where the backend is simulated.",
            show_default=False,
        ),
    ] = None
    tool_latency: ToolLatency = None


@dataclass(frozen=True, kw_only=True)
class NewRun(Answering):
    """What only a run that begins is told, but for its limits."""

    max_concurrency: MaxConcurrency = None
    max_open_turns: MaxOpenTurns = 4096
    timeout_s: Timeout = None
    on_error: Annotated[
        str,
        typer.Option(
            "--on-error",
            metavar="finish|cancel",
            help="After a failure, finish what does not need its result, or cancel everything.",
        ),
    ] = "finish"
    max_total_tokens: MaxTotalTokens = None
    max_cost: MaxCost = None
    journal: Annotated[
        bool | None,
        typer.Option(
            "--journal/--no-journal", help="Journal the run; default: where a backend is real.", show_default=False
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class AnyRun:
    """What each process that carries a run is told: of its journal, its configuration, and how it is shown."""

    journal_dir: JournalDir = None
    journal_sync: Annotated[
        str,
        typer.Option(
            "--journal-sync", metavar="full|normal", help="What it outlives: a power cut too, or a crash only."
        ),
    ] = "full"
    require_journal: Annotated[
        bool, typer.Option("--require-journal", help="Do not start, and do not go on, without a journal.")
    ] = False
    emit_metrics: Annotated[
        str | None, typer.Option("--emit-metrics", metavar="F.json", help="Write the run's metrics, as JSON.")
    ] = None
    report: Report = None
    redact: Redact = False
    trace_file: Annotated[
        str | None,
        typer.Option("--trace-file", metavar="F.json", help="Write when each call ran, as a trace for Perfetto."),
    ] = None
    otel: Annotated[
        bool, typer.Option("--otel", help="Send spans to an OpenTelemetry collector, as the variables OTEL_… say.")
    ] = False
    stream: Annotated[
        bool, typer.Option("--stream", help="Show the result as it comes, where it is the answer of one call.")
    ] = False
    json: JSON = False
    quiet: Quiet = False
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="On standard error, tell of each call: prompt, answer, times, attempts."),
    ] = False
    config: Config = None


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer reads it: in place of each parameter that is a group, a dataclass, the options of that."""
    parameters: list[Parameter] = []
    groups: dict[str, tuple[Any, list[str]]] = {}
    for name, parameter in signature(command, eval_str=True).parameters.items():
        group = parameter.annotation
        if isinstance(group, type) and is_dataclass(group):
            options = signature(group, eval_str=True).parameters
            parameters += options.values()
            groups[name] = group, list(options)
        else:
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))

    @wraps(command)
    def with_options(**given: Any) -> None:
        for name, (group, options) in groups.items():
            given[name] = group(**{option: given.pop(option) for option in options})
        command(**given)

    with_options.__signature__ = Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
    with_options.__annotations__ = {}  # the signature has them
    return with_options
