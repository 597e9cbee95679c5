"""What is kept of a run to run it again: it comes back as it was, and what nobody wrote is refused."""

from __future__ import annotations

import zlib
from base64 import b64encode
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from apxm import api
from apxm.advice.graph import measured
from apxm.advice.measured import JOIN, MeasuredRun, packed, unpacked
from apxm.errors import ApxmError
from tests.advice.test_rerun import ITEMS, LOOP, ran


@pytest.fixture(scope="module")
def run() -> MeasuredRun:
    return measured(ran(api.compile_text(LOOP), 4, ITEMS, latency="lognormal:500,0.3", faults="500:0.2"))


def test_it_comes_back_as_it_was(run: MeasuredRun) -> None:
    assert unpacked(packed(run)) == run


def test_nothing_that_was_said_is_in_it(run: MeasuredRun) -> None:
    said = msgspec.msgpack.encode(run)
    assert b"Draft item" not in said
    assert b"Simulated answer" not in said


def test_a_fan_in_before_a_fan_out_has_an_edge_for_each_and_none_for_each_pair() -> None:
    text = """
    agent A { @entry flow f(items: list[str]) -> str {
      for x in items { return ask(f"First {x}") } -> first
      for x in items { return ask(f"Second {x}", first) } -> second
      return ask("Sum up", second)
    } }
    """
    found = measured(ran(api.compile_text(text), None, ([f"{k}" for k in range(50)],), latency="constant:10"))
    assert sum(node.place == JOIN for node in found.nodes) == 2
    assert sum(len(node.behind) for node in found.nodes) < 50 * 5


@pytest.mark.parametrize(
    "text",
    ["", "no base64", b64encode(b"no zlib").decode(), b64encode(zlib.compress(b"no run")).decode()],
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ApxmError, match="its trace is damaged"):
        unpacked(text)


@pytest.mark.parametrize(
    "wrong",
    [{"place": 99}, {"endpoint": 7}, {"behind": (5000,)}, {"attempts": ()}, {"behind": (-1,)}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_does_not_fit_together_is_refused(run: MeasuredRun, wrong: dict[str, Any]) -> None:
    *nodes, last = run.nodes
    with pytest.raises(ApxmError, match="do not fit together"):
        unpacked(packed(replace(run, nodes=(*nodes, replace(last, **wrong)))))


def test_what_unpacks_into_more_than_any_run_has_is_refused() -> None:
    bomb = b64encode(zlib.compress(b"\0" * (300 << 20), 9)).decode()
    with pytest.raises(ApxmError, match="it is too large"):
        unpacked(bomb)
