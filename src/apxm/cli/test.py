"""``apxm test``: the examples that stand beside the flows of a source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from apxm.cli import exits
from apxm.cli import options as o
from apxm.cli.inputs import refuse_artifact
from apxm.cli.output import write
from apxm.cli.progress import ProgressLine
from apxm.cli.terminal import note, show_diagnostics, show_error
from apxm.errors import SourceError, UsageError
from apxm.reports.summary import count
from apxm.source import Diagnostic, printable, printable_lines

if TYPE_CHECKING:
    from apxm.testing.checking import Outcome

_PATIENCE_S = 2.0
"""How long nothing is said of how far it is."""


def run_examples(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE.ais…", help="The sources with examples.", show_default=False)
    ],
    only: Annotated[
        str | None, typer.Option("-k", metavar="TEXT", help="Only examples whose call contains TEXT.")
    ] = None,
    level: o.Level = 1,
    json: o.JSON = False,
    quiet: o.Quiet = False,
) -> None:
    """Run the examples that stand beside flows, as comments. Calls no model, and takes no time: it is virtual.

    An example says what models answer to prompts that a pattern is found in, and what is expected then. It goes on over
    the comments right below it.

    \b
      // example: main("bees") answers {"Facts": "They dance.", "": "Bees dance."}
      //     gives "Bees dance." calls 2 takes 2s

    \b
    Examples:
      apxm test summary.ais
      apxm test flows/*.ais -k main --json
    """
    from apxm.reports.structs import as_json

    progress = ProgressLine(wanted=not quiet)
    begun = perf_counter()
    found = Found()

    def told(outcome: Outcome) -> None:
        if not json:
            progress.clear()
            _write(outcome, quiet)
        if perf_counter() - begun > _PATIENCE_S:
            progress.say(f"{count(len(found.outcomes), 'example')} done")

    _check(files, only, level, found, told)
    progress.clear()
    if not (found.outcomes or found.wrong or found.unreadable):
        chosen = "" if only is None else f" whose call contains {printable(only)!r}"
        raise UsageError(
            f"there is no example{chosen} in {count(len(files), 'file')}",
            hint='an example is a comment above a flow: // example: main("…") gives "…"',
        )
    if json:
        write(as_json(found.entries(len(files))), json)
    show_diagnostics(found.wrong)
    for error in found.unreadable:
        show_error(error)
    if not quiet and not json:
        passed = len(found.outcomes) - found.failed
        note(f"{count(len(found.outcomes), 'example')}: {passed} passed, {found.failed} failed")
    if found.unreadable or found.wrong or found.failed:
        raise typer.Exit(exits.USAGE if found.unreadable else exits.FAILED)


@dataclass(eq=False)
class Found:
    """What became of the examples of some files."""

    outcomes: list[Outcome] = field(default_factory=list["Outcome"])
    wrong: list[Diagnostic] = field(default_factory=list[Diagnostic])
    """What is wrong with sources and examples, so that they could not be run."""
    unreadable: list[UsageError] = field(default_factory=list[UsageError])

    @property
    def failed(self) -> int:
        return sum(bool(outcome.problems) for outcome in self.outcomes)

    def entries(self, files: int) -> dict[str, object]:
        """The object of ``--json``."""
        from apxm.reports.structs import diagnostic_entry

        return {
            "files": files,
            "passed": len(self.outcomes) - self.failed,
            "failed": self.failed,
            "examples": [_entry(outcome) for outcome in self.outcomes],
            "unreadable": [{"file": error.where, "message": error.message} for error in self.unreadable],
            "diagnostics": [diagnostic_entry(diagnostic) for diagnostic in self.wrong],
        }


def _check(files: Sequence[str], only: str | None, level: int, found: Found, tell: Callable[[Outcome], None]) -> None:
    """Runs the examples of `files`; `tell` gets each that was run."""
    from apxm.compiler.pipeline import compile_source
    from apxm.language.parser import read_source
    from apxm.testing.checking import check_example
    from apxm.testing.example import MalformedExample
    from apxm.testing.notation import read_examples

    for path in files:
        try:
            refuse_artifact(path, "check --equal")
            source = read_source(path)
            program = compile_source(source, level=level, needs_entry=False).program
        except SourceError as error:
            found.wrong += error.diagnostics
            continue
        except UsageError as error:
            found.unreadable.append(error)
            continue
        examples, wrong = read_examples(source)
        for example in examples:
            if only is not None and only not in example.call:
                continue
            try:
                found.outcomes.append(check_example(program, example))
            except MalformedExample as error:
                wrong.append(error.diagnostic)
            else:
                tell(found.outcomes[-1])
        found.wrong += sorted(wrong, key=lambda diagnostic: diagnostic.span.start)


def _write(outcome: Outcome, quiet: bool) -> None:
    """The line of an example, and below it what was not as it says."""
    span = outcome.example.span
    if outcome.problems or not quiet:
        verdict = "FAILED" if outcome.problems else "passed"
        write(printable(f"{span.source.path}:{span.line}: {outcome.example.call} {verdict}"))
    for problem in outcome.problems:
        lines = [f"{problem.span.place}: {problem.message}", *(f"  {line}" for line in problem.details)]
        write("\n".join(f"    {printable_lines(line)}" for line in lines))


def _entry(outcome: Outcome) -> dict[str, object]:
    span = outcome.example.span
    return {
        "file": span.source.path,
        "line": span.line,
        "column": span.column,
        "call": outcome.example.call,
        "passed": not outcome.problems,
        "calls": outcome.calls,
        "duration_s": outcome.duration_s,
        "problems": [
            {"line": problem.span.line, "column": problem.span.column, "message": problem.message,
             "details": problem.details}
            for problem in outcome.problems
        ],
    }  # fmt: skip
