"""Flows drawn at random look the same line by line and in lanes."""

from __future__ import annotations

import linecache
import sys
import types
from typing import Any
from unittest.mock import patch

import pytest

from apxm.errors import UsageError
from tests.lanes.comparing import compared
from tests.lanes.generating import Drawn


def loaded(source: str, name: str) -> dict[str, Any]:
    """The names of a module with that source, which tracebacks and twins find."""
    file = f"/drawn/{name}.py"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    module = types.ModuleType(name)
    with patch.dict(sys.modules, {name: module}):  # where classes look for it
        exec(compile(source, file, "exec"), vars(module))
    return vars(module)


def check(seed: int) -> str:
    """How one came out: ``same`` or ``refused``."""
    source = Drawn(seed).module()

    def make() -> tuple[Any, tuple[Any, ...]]:
        return loaded(source, f"drawn_{seed}")["main"], (list(range(6)),)

    try:
        _ = make()[0].lanes  # what depends on calls that only a run knows is told of there
    except UsageError:
        return "refused"
    try:
        compared(make, seed, may_ask_more="lookahead" in source)
    except BaseException as error:
        error.add_note(f"of seed {seed}: python -m tests.rewriting.test_same {seed}")
        raise
    return "same"


DIFFERED = (3671,)
"""Seeds whose flows were another thing in lanes once: draws before and behind a wait for the turn."""


@pytest.mark.parametrize("seed", [*range(200), *DIFFERED])
def test_a_flow_drawn_at_random_is_the_same_in_lanes(seed: int) -> None:
    check(seed)


@pytest.mark.soak
@pytest.mark.parametrize("first", range(1000, 6000, 500))
def test_many_flows_are(first: int) -> None:
    for seed in range(first, first + 500):
        check(seed)


if __name__ == "__main__":
    print(Drawn(int(sys.argv[1])).module())
