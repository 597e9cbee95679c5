"""``apxm check --equal FILE.py``: whether anybody could tell a script from itself overlapped."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NoReturn

import typer

from apxm.backends.numbers import seconds
from apxm.cli import exits
from apxm.cli.inputs import is_script
from apxm.cli.output import write
from apxm.cli.terminal import note
from apxm.errors import UsageError
from apxm.reports.structs import as_json
from apxm.reports.summary import count, duration
from apxm.scripts.equality import Comparison, Difference, Equality
from apxm.scripts.script import Script
from apxm.source import printable, printable_lines

_MOST_INPUT = 64 * 1024 * 1024
_MOST_NAMED = 5


def check_equal(
    words: Sequence[str], each: Sequence[str], seed: int, schedules: int, timeout_s: float, json: bool
) -> NoReturn:
    """Compares the runs of a script, and leaves with the exit status. `words` are its file and what it is given."""
    path, *arguments = words
    if not is_script(path):
        raise UsageError("--equal compares the runs of a script of Python (.py)", where=path)
    script = Script(path, tuple(arguments), tuple(each))
    found = Equality(script, seed, schedules, seconds(timeout_s, "the timeout"), _standard_input()).compared()
    if json:
        write(as_json(found), json)
    else:
        for line in _lines(found):
            write(line)
        for line in _left_out(found):
            note(line)
    raise typer.Exit(0 if found.equal and found.calls and found.whole else exits.FAILED)


def _standard_input() -> bytes:
    """What each run of the script reads; nothing of a terminal."""
    if sys.stdin.isatty():
        return b""
    read = sys.stdin.buffer.read(_MOST_INPUT + 1)
    if len(read) > _MOST_INPUT:
        raise UsageError("standard input is too long to be given to each run: at most 64 MiB")
    return read


def _lines(found: Comparison) -> Iterator[str]:
    for difference in found.unstable:
        yield printable(f"not to be compared: two runs line by line differ. {difference.message}")
        yield from _details(difference)
    for difference in found.differences:
        yield printable(f"different: {difference.message}")
        yield from _details(difference)
    times = f"{duration(found.seconds * 1e3)} line by line, {duration(found.overlapped_seconds * 1e3)} overlapped"
    ahead = f", {count(found.ahead, 'call')} made ahead and thrown away" if found.ahead else ""
    said = f"{count(found.calls, 'call')}{ahead}; {times}; line by line it ends with {found.ending}"
    if not found.calls and found.equal:
        yield printable(f"nothing to compare: {said}")
    elif found.equal and not found.whole:
        yield printable(f"equal as far as it comes, and no more was compared: {said}")
        yield "`answers` of the backend `simulated` in .apxm/config.toml can give such answers that it goes on"
    elif found.equal:
        yield printable(f"equal in {count(found.schedules, 'schedule')} of latencies: {said}")
        yield "that is evidence, and no proof: other answers may lead elsewhere"
    else:
        yield printable(f"not equal: {said}")


def _details(difference: Difference) -> Iterator[str]:
    for line in difference.details:
        yield printable_lines(f"  {line}")


def _left_out(found: Comparison) -> Iterator[str]:
    """What the copies lacked."""
    for why, group in groupby(sorted(found.not_copied, key=lambda left: left.why), key=lambda left: left.why):
        paths = [left.path for left in group]
        more = f", and {len(paths) - _MOST_NAMED} more" if len(paths) > _MOST_NAMED else ""
        yield printable(f"not copied, {why}: {', '.join(paths[:_MOST_NAMED])}{more}")
