"""Loops whose iterations meet in the names of another module: as its attributes, by other names, by its functions."""

# What these functions do is what is tested, so they are written as people write them.
# ruff: noqa

from __future__ import annotations

from typing import Any

import pytest

from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import flow
from tests.lanes.comparing import compared, loops_in
from tests.rewriting import shared_state
from tests.rewriting.shared_state import SEEN as memory


def item(rows):
    out = []
    for row in each(rows):
        a = ask(shared_state.prompt(row))
        shared_state.STATE["last"] = a
        out.append(a)
    return out


def added(rows):
    out = []
    for row in each(rows):
        a = ask(f"{row} {shared_state.known()}")
        shared_state.SEEN.append(a)
        out.append(a)
    return out


def added_behind_a_call(rows):
    out = []
    for row in each(rows):
        a = ask(row)
        shared_state.SEEN.append(a)
        out.append(ask(str(shared_state.known())))
    return out


def counted(rows):
    out = []
    for row in each(rows):
        a = ask(row)
        shared_state.count += 1
        out.append(ask(shared_state.numbered(a)))
    return out, shared_state.count


def counted_in_front_of_a_call(rows):
    out = []
    for row in each(rows):
        shared_state.count += 1
        a = ask(row)
        out.append(ask(shared_state.numbered(a)))
    return out, shared_state.count


def note(a):
    shared_state.SEEN.append(a)


def by_a_function(rows):
    out = []
    for row in each(rows):
        a = ask(f"{row} {len(shared_state.SEEN)}")
        note(a)
        out.append(a)
    return out


def by_another_name(rows):
    out = []
    for row in each(rows):
        a = ask(f"{row} {shared_state.known()}")
        memory.append(a)
        out.append(a)
    return out


def by_both_names(rows):
    out = []
    for row in each(rows):
        a = ask(f"{row} {len(shared_state.SEEN)}")
        memory.append(a)
        out.append(a)
    return out


def given(rows):
    out = []
    for row in each(rows):
        a = ask(f"{row} {shared_state.known()}")
        shared_state.put(shared_state.SEEN, a)
        out.append(a)
    return out


def attribute(rows):
    out = []
    for row in each(rows):
        a = ask(shared_state.toned(row))
        shared_state.settings.tone = a
        out.append(a)
    return out


def imported(rows):
    out = []
    for row in each(rows):
        from tests.rewriting.shared_state import SEEN, text_of_seen

        a = ask(row, text_of_seen())
        SEEN.append(a)
        out.append(a)
    return out


def save(a):
    from tests.rewriting.shared_state import SEEN as seen

    seen.append(a)


def load():
    from tests.rewriting.shared_state import SEEN

    return "".join(SEEN)


def imported_by_functions(rows):
    out = []
    for row in each(rows):
        a = ask(row, load())
        save(a)
        out.append(a)
    return out


def only_read(rows):
    out = []
    for row in each(rows):
        a = ask(shared_state.prompt(row))
        out.append(ask(a, shared_state.settings.tone))
    return out


LOOPS = loops_in(globals())


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_no_one_sees_a_difference(loop: Any, seed: int) -> None:
    made = flow(loop)

    def begun() -> tuple[Any, tuple[Any, ...]]:
        shared_state.begin()
        return made, (["xxxx", "y", "zz", "xxxx"],)

    alone, lanes = compared(begun, seed)
    if loop is only_read:
        assert lanes.duration < alone.duration * 0.7
