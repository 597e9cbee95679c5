"""What `priorities` knows of turns, and that it stays quick and within bounds whatever nests."""

from __future__ import annotations

import pytest

from apxm.ir.core import PRIORITY
from apxm.passes.priorities import priorities
from tests.golden_files import built


def before(body: str) -> int:
    """The priority of the call that all of `body` comes behind."""
    module = built(f'agent A {{ flow main(xs: list[str]) -> str {{ ask("x") -> first {body} return r }} }}')
    priorities(module)
    (flow,) = module.flows.values()
    return next(op.attributes[PRIORITY] for op in flow.body.ops if op.path == "first")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("loop (max: 5, n: first) { next n: ask(n) } -> r", 6000),
        ('for x in ["a", "b", "c"] (n: first) { ask(n, x) -> m  next n: m } -> r', 4000),
        ('for x in [first, "b", "c"] (n: first) { ask(n, x) -> m  next n: m } -> r', 4000),
        ("for x in xs (n: first) { ask(n, x) -> m  next n: m } -> r", 2000),
        ('for x in ["a", "b", "c"] (n: "") { ask(first, x) -> m  next n: n + m } -> r', 2000),
        ("loop (max: 2, n: first) { loop (max: 3, k: n) { next k: ask(k) } -> k  next n: k } -> r", 7000),
        ("loop (max: 3, n: first) { until n == first  next n: ask(n) } -> r", 2750),
        ('loop (max: 4, n: first) { if n == "a" { return ask(n) } else { return n } -> m  next n: m } -> r', 5000),
    ],
)
def test_a_chain_of_turns_is_as_long_as_its_turns(body: str, expected: int) -> None:
    assert before(body) == expected


def test_loops_in_each_other_are_looked_at_once_and_cut_to_what_an_artifact_holds() -> None:
    heads = "".join(f"loop (max: 9000, v{n}: {f'v{n - 1}' if n else 'first'}) {{ " for n in range(20))
    tails = "".join(f"next v{n}: w{n + 1} }} -> w{n} " for n in reversed(range(20)))
    assert before(f"{heads} ask(v19) -> w20 {tails} let r = w0") < 2**40
