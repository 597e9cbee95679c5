"""What a run was told, by whoever began it: in Python, on a command line, or by the process that it goes on from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from apxm.config.journal_settings import Journaling
from apxm.config.selection import Selection
from apxm.errors import UsageError
from apxm.operations.plain import kind_of
from apxm.runtime.options import RunOptions


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """What a run was told, beside its program and the values of its parameters.

    Each part is what one layer acts on. Whoever asks for a run says it by the names of the fields of all of them.
    """

    flow: str | None = None
    """The flow's name; None is the program's entry."""
    selection: Selection = field(default_factory=Selection)
    options: RunOptions = field(default_factory=RunOptions)
    journaling: Journaling = field(default_factory=Journaling)

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Invocation:
        """The invocation that is `said` by name; what is None, or no name of a field, is not. Raises `UsageError`."""
        refuse_kinds(said, _KINDS)
        return cls(
            flow=said.get("flow"),
            selection=Selection(**_named(Selection, {**said, "file": said.get("config")})),
            options=RunOptions(**_named(RunOptions, said)),
            journaling=Journaling(**_named(Journaling, said)),
        )

    def but(self, said: Mapping[str, Any]) -> Invocation:
        """The invocation with other options, as far as they are `said`. Raises `UsageError`."""
        return replace(self, options=replace(self.options, **_named(RunOptions, said)))


Kinds = Mapping[str, tuple[tuple[type, ...], str]]
"""What options are, by their names: the classes, and the words for them."""
_TEXT = (str,), "a text"
_YES_OR_NO = (bool,), "True or False"
_KINDS: Kinds = {
    **dict.fromkeys(("backend", "model", "latency", "slowdown", "faults"), _TEXT),
    **dict.fromkeys(("journal", "require_journal", "simulate_tools"), _YES_OR_NO),
    "config": ((str, os.PathLike), "the path of a file"),
    "journal_dir": ((str, os.PathLike), "the path of a folder"),
}


def refuse_kinds(said: Mapping[str, Any], kinds: Kinds) -> None:
    """Raises `UsageError` for what is `said` that is nothing of its kind."""
    for name, (classes, what) in kinds.items():
        if said.get(name) is not None and not isinstance(said[name], classes):
            raise UsageError(f"{name}= is {what}, not {kind_of(said[name])}")


def _named(part: type[Selection | RunOptions | Journaling], said: Mapping[str, Any]) -> dict[str, Any]:
    names = (field.name for field in fields(part))
    return {name: said[name] for name in names if said.get(name) is not None}
