"""``apxm analyze`` and ``apxm simulate``: how long a flow will take, before it runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

import typer

from apxm.cli import options as o
from apxm.cli.inputs import is_artifact
from apxm.cli.output import write
from apxm.cli.terminal import note, show_diagnostics, show_warning
from apxm.source import printable

if TYPE_CHECKING:
    from apxm.analysis.lengths import Lengths
    from apxm.analysis.profile import Profile
    from apxm.operations.types import Value
    from apxm.program.program import Flow, Program
    from apxm.tools.simulated import ToolLatencies

_MOST_RUNS = 20
"""The last runs of a flow from which the lengths of its answers are taken."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which flow is asked about, with which values and which profile of an endpoint."""

    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A source (.ais) or an artifact (.apxmobj).", show_default=False)
    ]
    values: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VALUE…",
            help="The flow's parameters in order, as for `apxm execute`; any may be left out.",
            show_default=False,
        ),
    ] = None
    arg: o.Named = None
    args: o.Args = None
    turns: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="NAME=N",
            help="How many items the list of a parameter has, by its name, or how many turns a loop, by its path; "
            "repeatable.",
        ),
    ] = None
    flow: o.FlowName = None
    level: o.Level = 1
    profile: o.ProfileName = None


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What both commands are told besides: what is random, and how it is shown."""

    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of the draws.")] = 0
    tool_latency: o.ToolLatency = None
    json: o.JSON = False
    quiet: o.Quiet = False
    config: o.Config = None

    @cached_property
    def tools(self) -> ToolLatencies:
        """How long tools take."""
        from apxm.tools.simulated import parse_latencies

        return parse_latencies(self.tool_latency or ())

    def read(self, asked: Question) -> tuple[Profile | None, Program, Flow, dict[str, Value]]:
        """The profile, the program, its flow, and the values that are given; the warnings of a source are shown."""
        from apxm import api
        from apxm.cli.values import read_known
        from apxm.config.profiles import known_profile
        from apxm.config.selection import Selection
        from apxm.program.invocation import select_flow

        profile = known_profile(asked.profile, Selection(file=self.config))
        if is_artifact(asked.file) or asked.file.endswith(".apxmobj"):
            program = api.load(asked.file)
        else:
            from apxm.cli.sources import compile_file

            compilation = compile_file(asked.file, asked.level, flow_named=asked.flow is not None).compilation
            if not self.quiet:
                show_diagnostics(compilation.warnings)
            program = compilation.program
        flow = select_flow(program, asked.flow)
        return profile, program, flow, read_known(flow, asked.values or [], asked.arg or [], asked.args)

    def lengths(self, program: Program, flow: Flow, profile: Profile | None) -> Lengths:
        """Those of answers in the last runs of the flow, where the profile knows what a token costs."""
        from apxm.analysis.lengths import NO_LENGTHS, answer_lengths
        from apxm.config.journal_settings import runs_folder
        from apxm.errors import JournalError
        from apxm.journal.runs import earlier_runs
        from apxm.reports.summary import count

        folder = runs_folder()
        if profile is None or profile.engine is None or program.origin is None or not folder.is_dir():
            return NO_LENGTHS
        try:
            runs = earlier_runs(folder, program.origin[0], flow.qualified_name, _MOST_RUNS)
        except JournalError as error:
            show_warning(f"how long answers were in earlier runs is not known: {error}")
            return NO_LENGTHS
        found = answer_lengths(runs, profile.backend)
        if found and not self.quiet:
            of = f"the last {count(len(runs), 'run')}" if len(runs) > 1 else "the last run"
            note(f"answers are taken to be as long as in {of} of this flow on {profile.backend}")
        return found


@o.grouped
def analyze(
    asked: Question,
    p: Annotated[
        str, typer.Option("--p", metavar="P,P,…", help="Predict for these numbers of calls at once.")
    ] = "1,2,4,8",
    *,
    drawn: Drawn,
) -> None:
    """Say before any run how long a flow will take, and what it will ask for.

    Work T1, span T_inf, the critical path, bounds and predictions for several numbers of calls at once, LLM calls and
    their tokens. Calls no model.

    \b
    Examples:
      apxm analyze workflow.ais --flow parallel_8
      apxm analyze workflow.apxmobj --profile local --p 1,4,16 --json
      apxm analyze editor.ais --with topics=100 --with final=3
    """
    from apxm.analysis.static import analyze as analyze_flow
    from apxm.backends.numbers import counts
    from apxm.cli.values import read_turns
    from apxm.reports.analysis import analysis_text
    from apxm.reports.structs import as_json

    slots = counts(p, "--p")
    turns = read_turns(asked.turns or ())
    profile, program, flow, given = drawn.read(asked)
    lengths = drawn.lengths(program, flow, profile)
    found = analyze_flow(program, flow, slots, profile, given, drawn.seed, drawn.tools, turns, lengths)
    write(as_json(found) if drawn.json else analysis_text(found), drawn.json)


@o.grouped
def simulate(
    asked: Question,
    max_concurrency: o.MaxConcurrency = None,
    runs: Annotated[int, typer.Option("--runs", min=1, metavar="K", help="How many runs, each with other draws.")] = 20,
    *,
    drawn: Drawn,
) -> None:
    """Run a flow on virtual time, with the real scheduler and the profile of an endpoint: an hour takes milliseconds.

    What answers would decide is drawn: a `switch` takes any of its arms, a condition holds every other time, and a list
    has 0 to 2 items. Calls no model.

    \b
    Examples:
      apxm simulate workflow.ais --flow parallel_8 --profile local
      apxm simulate research.ais "the honey bee" --max-concurrency 4 --runs 100 --json
    """
    from apxm.analysis.known import assumed_turns, by_node
    from apxm.analysis.predict import predict
    from apxm.analysis.static import assumptions_of, latencies, with_stand_ins
    from apxm.cli.values import read_turns
    from apxm.reports.analysis import prediction_text
    from apxm.reports.structs import as_json
    from apxm.runtime.handlers.table import LoadedProgram

    turns = read_turns(asked.turns or ())
    profile, program, flow, given = drawn.read(asked)
    arguments, unknown = with_stand_ins(flow, given, program.record_types, turns)
    known = by_node(program, flow, assumed_turns(program, flow, turns))
    assumed = assumptions_of(flow, unknown, known, turns, drawn.lengths(program, flow, profile))
    if not drawn.quiet:
        called = LoadedProgram(program).tools(flow)
        note(printable(f"latencies: {latencies(profile, drawn.tools if called else None)}"))
        if unknown:
            note(f"not given, so what it decides is drawn: {', '.join(unknown)}")
    found = predict(program, flow, arguments, profile, max_concurrency, runs, drawn.seed, drawn.tools, assumed)
    write(as_json(found) if drawn.json else prediction_text(found), drawn.json)
