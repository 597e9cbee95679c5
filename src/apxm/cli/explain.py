"""``apxm explain``: what lanes would do with a file of Python, of which nothing runs; or what would have made a run
quicker (`advice.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import decode_source
from typing import Annotated

import typer

from apxm.cli import completion, exits
from apxm.cli import options as o
from apxm.cli.inputs import refuse_collection
from apxm.cli.output import write
from apxm.cli.terminal import note, show_diagnostics
from apxm.errors import UsageError
from apxm.reading import read_named
from apxm.source import Diagnostic, printable

SUFFIX = ".py"
BACKEND = "unknown-backend"
"""What tells of a backend that is configured nowhere."""
_LARGEST = 16 << 20
_SLOTS = "1,8,64"


def explain(
    what: Annotated[
        str,
        typer.Argument(
            metavar="FILE.py|RUN_ID|F.json",
            help="The Python to explain; or a run that is over: its id, or the metrics that it wrote.",
            show_default=False,
            autocompletion=completion.run_ids,
        ),
    ],
    lengths: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="NAME=N",
            help="How many items a list has, by its name as the formulas show it, or how many turns a `while`, by its "
            "line; repeatable.",
        ),
    ] = None,
    p: Annotated[
        str, typer.Option("--p", metavar="P,P,…", help="Say how long it takes with these numbers of calls at once.")
    ] = _SLOTS,
    profile: o.ProfileName = None,
    config: o.Config = None,
    journal_dir: o.JournalDir = None,
    quiet: o.Quiet = False,
    json: o.JSON = False,
) -> None:
    """Say what would overlap in a Python file, and what waits; or what would have made a run quicker. Runs nothing.

    Of each loop of a file around a call of a model it says whether its iterations are independent, which lines decide
    that, what waits for its turn, how many calls there are, and how `apxm run` is told to promise it. Where it cannot
    see, it says so.

    Of a run it says what gains most, with lines and settings: a higher limit, one order less, one operation twice as
    fast, another model, a second request, no stragglers, no failures. Its trace runs again for each, on virtual time.

    \b
    Examples:
      apxm explain label.py
      apxm explain label.py --with rows=500 --profile local --json
      apxm explain last
      apxm explain metrics.json --json
    """
    from apxm.cli.advice import explain_run, is_measured

    if is_measured(what):
        if lengths or p != _SLOTS:
            raise UsageError("--with and --p are about a file of Python, and this is a run")
        if not explain_run(what, profile, config, journal_dir, as_json=json, quiet=quiet):
            raise typer.Exit(exits.FAILED)
        return
    file = what
    from apxm.backends.numbers import counts
    from apxm.cli.values import read_turns
    from apxm.config.profiles import known_price, known_profile
    from apxm.config.selection import Selection
    from apxm.explaining.explanation import Given
    from apxm.explaining.files import explained_file
    from apxm.explaining.text import explanation_text, summary
    from apxm.flows.flow import marked
    from apxm.flows.twins import TWINS
    from apxm.reports.structs import as_json

    slots = tuple(counts(p, "--p"))
    text = python_text(file)
    told = Selection(file=config)
    given = Given(read_turns(lengths or ()), slots, known_profile(profile, told), known_price(told))
    found = explained_file(file, text, TWINS, marked, given)
    write(as_json(found) if json else explanation_text(found, {file: text}), json)
    if not (quiet or json):
        note(summary(found))
    unknown = [each for each in checked(file, text, config) if each.code == BACKEND] if "backend" in text else []
    show_diagnostics(unknown)
    if (
        unknown
        or any(loop.is_error for function in found.functions for loop in function.loops)
        or any(function.is_flow and function.refused for function in found.functions)
    ):
        raise typer.Exit(exits.FAILED)


def python_text(path: str) -> str:
    """The text of a file of Python. Raises `UsageError`."""
    refuse_collection(path)
    if not path.endswith(SUFFIX):
        raise UsageError(
            f"{printable(path)} is no Python file",
            hint="`apxm analyze` tells how long the flow of a source or an artifact takes, "
            "and `apxm explain RUN_ID` what would have made a run of it quicker",
        )
    content = read_named(path, _LARGEST + 1)
    if len(content) > _LARGEST:
        raise UsageError(f"the file is larger than {_LARGEST >> 20} MiB", where=path)
    try:
        return decode_source(content)
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        raise UsageError(f"its text cannot be read: {error}", where=path, hint="save the file as UTF-8") from None


def checked(path: str, text: str, config: str | None) -> Sequence[Diagnostic]:
    """What there is to say of a file of Python."""
    from apxm.config.inventory import Inventory
    from apxm.scripts.checking import Configured, checked_file

    inventory = cache(Inventory)  # most files name nothing of it

    def backend(name: str) -> None:
        inventory(config).get(name)

    def tool(name: str) -> None:
        inventory(config).must_have_tool(name)

    return checked_file(path, text, Configured(backend, tool))
