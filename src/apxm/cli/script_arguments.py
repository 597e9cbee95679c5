"""Which words of a command line belong to a script, and which to us."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from typer.core import TyperCommand

from apxm.cli.inputs import is_script

_LOOP = re.compile(r".+\.py:\d+")


class ScriptCommand(TyperCommand):
    """A command whose file may be a script. What stands behind one is the script's, whatever it looks like, but for
    ``--each FILE.py:LINE``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # of click, or of what typer has of it
        at = self._file_at(args)
        if at is None or not is_script(args[at]):
            return super().parse_args(ctx, args)
        promised, given = _promised(args[at + 1 :])
        own = [word for word in args[:at] if word != "--"]
        return super().parse_args(ctx, [*own, *promised, "--", args[at], *given])

    def _file_at(self, args: Sequence[str]) -> int | None:
        """Where the first word stands that is neither an option nor the value of one."""
        valued = {name for option in self.params if not getattr(option, "is_flag", True) for name in option.opts}
        at = 0
        while at < len(args) and args[at].startswith("-"):
            at += 2 if args[at] in valued else 1
        return at if at < len(args) else None


def _promised(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those that name loops, and those that are the script's."""
    promised: list[str] = []
    given: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            return promised, [*given, word, *left]
        if word == "--each" and left and _LOOP.fullmatch(left[0]):
            promised += [word, left.pop(0)]
        elif word.startswith("--each=") and _LOOP.fullmatch(word.removeprefix("--each=")):
            promised.append(word)
        else:
            given.append(word)
    return promised, given


class EqualCommand(ScriptCommand):
    """A command that runs a script where ``--equal`` stands before it; else what stands behind a script is its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        at = self._file_at(args)
        return super().parse_args(ctx, args) if "--equal" in args[:at] else TyperCommand.parse_args(self, ctx, args)


def takes_scripts(command: Callable[..., None]) -> Callable[..., None]:
    """The command, as the command line is read for one whose file may be a script."""
    command.parsed_by = ScriptCommand  # pyright: ignore[reportFunctionMemberAccess]
    return command


def compares_scripts(command: Callable[..., None]) -> Callable[..., None]:
    """As `takes_scripts`, for one that runs scripts only to compare them."""
    command.parsed_by = EqualCommand  # pyright: ignore[reportFunctionMemberAccess]
    return command
