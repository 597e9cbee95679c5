"""A flow that stands above what it uses: when it was made, its module had none of that."""

from __future__ import annotations

import pytest

from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import flow
from tests.lanes.comparing import compared

NOTES: list[str] = []


@flow
def above(rows: list[str]) -> tuple[list[str], list[str]]:
    NOTES.clear()
    found, thing = [], Thing()
    for row in each(rows):
        answer = ask(f"{row} {len(NOTES)} {thing.size()}")
        note(answer)
        found.append(answer + thing[answer])
    return found, NOTES[:]


def note(answer: str) -> None:
    NOTES.append(answer)


class Thing:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def size(self) -> int:
        return len(self.seen)

    def __getitem__(self, key: str) -> str:
        self.seen.append(key)
        return key


@pytest.mark.parametrize("seed", range(3))
def test_what_stands_below_a_flow_is_looked_into(seed: int) -> None:
    compared(lambda: (above, (["a", "b", "c", "a"],)), seed)
