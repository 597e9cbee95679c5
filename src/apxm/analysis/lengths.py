"""How long answers were in earlier runs of a program."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apxm.journal.rows import History

Lengths = Mapping[str, Sequence[int]]
"""The tokens that answers had, by the path of the operation without its turns."""
NO_LENGTHS: Lengths = MappingProxyType({})
_TURN = re.compile(r"\[[0-9]+\]")


def without_turns(path: str) -> str:
    """The path of an operation, equal for all turns of the loops around it."""
    return _TURN.sub("", path)


def answer_lengths(runs: Iterable[History], backend: str) -> Lengths:
    """Those of the answers that `backend` gave in these runs, as far as it counted them."""
    found: dict[str, list[int]] = {}
    for run in runs:
        for row in run.results.values():
            if row.backend == backend and row.output_tokens:
                found.setdefault(without_turns(row.path), []).append(row.output_tokens)
    return found
