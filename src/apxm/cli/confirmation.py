"""Asking before calls are made that may cost money."""

from __future__ import annotations

import sys

import typer

from apxm.cli.terminal import note, tell
from apxm.errors import UsageError


def confirm_calls(calls: int, who: str, yes: bool) -> None:
    """Says how many calls `who` may get, and asks; leaves with status 1 on a no. Raises `UsageError` where nobody can
    be asked."""
    note(f"this makes up to {calls:,} calls")
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            f"up to {calls:,} calls to {who} need a yes, and standard input is no terminal", hint="add --yes"
        )
    tell("go on? [y/N] ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise typer.Exit(1)
