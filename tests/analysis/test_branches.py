"""Work and span of frames that open any number of times, beside a machine that runs one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from apxm.analysis.branches import Branches
from apxm.program.frames import SCENARIOS
from apxm.program.program import AnyNode, Enter, Exit, Input, Opener, Operand, Operate, Program, Subflow
from apxm.program.unfolding import unfold
from tests.plans import ask, give, plan, program
from tests.random_plans import random_program
from tests.repeated import repeat


def spans(p: Program) -> list[float]:
    """The least, the expected and the longest path, an operation weighing 1."""
    graph = Branches(p, unfold(p, p.flows[0]))
    weights = [0] * graph.size
    for frame, record in enumerate(graph.frames):
        for i, node in enumerate(p.plans[record.plan].nodes):
            weights[graph.number(frame, i)] = int(isinstance(node, Operate))
    return [graph.span(weights, scenario) for scenario in SCENARIOS]


def enter(opener: int, source: int, port: int = 0) -> Enter:
    return Enter(opener=opener, port=port, operands=(source,), value=Operand(0))


def repeated(least: int, most: int | None) -> Program:
    """A call, what it gives to the frames of a chain of two, and a call behind them; beside, another call."""
    return program(
        plan(
            ask("before"),
            ask("beside"),
            repeat(1, least=least, most=most),
            enter(2, 0),
            Exit(opener=2, port=0),
            ask("behind", 4),
            give(5),
        ),
        plan(Input(), ask("one", 0), ask("two", 1), give(2)),
    )


@pytest.mark.parametrize(
    ("least", "most", "expected"),
    [
        (1, 1, [4, 4, 4]),
        (0, 1, [1, 3, 4]),
        (2, 5, [4, 9, 12]),
        (0, 0, [1, 2, 2]),
        (0, None, [1, 3, inf]),
    ],
)
def test_frames_follow_each_other_at_worst_and_run_beside_each_other_at_best(
    least: int, most: int | None, expected: list[float]
) -> None:
    assert spans(repeated(least, most)) == expected


def test_work_without_a_limit_has_no_most() -> None:
    p = repeated(0, None)
    graph = Branches(p, unfold(p, p.flows[0]))
    assert [graph.total([3, 2], scenario) for scenario in SCENARIOS] == [3, 4, inf]


def with_repeats(random: Random, p: Program) -> Program:
    """The program, with frames of any number where it calls."""

    def change(node: AnyNode) -> AnyNode:
        if not isinstance(node, Subflow) or random.random() < 0.3:
            return node
        least = random.randrange(3)
        return repeat(node.plan, least=least, most=least + random.randrange(3))

    return replace(p, plans=tuple(replace(each, nodes=tuple(map(change, each.nodes))) for each in p.plans))


class Machine:
    """Runs a program node by node, each operation taking 1, and takes any of its alternatives."""

    def __init__(self, random: Random, p: Program, *, strict: bool) -> None:
        self.random = random
        self.plans = p.plans
        self.strict = strict
        """Whether frames of one opener wait for all that they are given, and for what leaves the one before; else they
        begin at once."""

    def frame(self, plan: int, opened: int, entered: Sequence[int]) -> tuple[list[int], int]:
        """When each output is there, and when all is over."""
        nodes = self.plans[plan].nodes
        ends: list[int] = []
        left: dict[int, list[int]] = {}
        last = opened
        for i, node in enumerate(nodes):
            before = [ends[p] for p in (*node.operands, *node.after, *node.requires)] or [opened]
            if isinstance(node, Input):
                before.append(entered[i])
            elif isinstance(node, Exit):
                if node.opener not in left:
                    enters = {
                        n.port: ends[k]
                        for k, n in enumerate(nodes[:i])
                        if isinstance(n, Enter) and n.opener == node.opener
                    }
                    left[node.opener], over = self.opened(
                        nodes[node.opener], ends[node.opener], [enters[k] for k in sorted(enters)]
                    )
                    last = max(last, over)
                before += [ends[node.opener], left[node.opener][node.port]]
            ends.append(max(before) + isinstance(node, Operate))
        return [ends[output] for output in self.plans[plan].outputs], max([last, *ends])

    def opened(self, opener: AnyNode, at: int, entered: list[int]) -> tuple[list[int], int]:
        assert isinstance(opener, Opener)
        (opening,) = opener.openings
        assert opening.most is not None
        count = self.random.randint(opening.least, opening.most)
        if opening.is_exact:
            return self.frame(self.random.choice(opening.plans), at, entered)
        outputs = len(self.plans[opening.plans[0]].outputs)
        if self.strict:
            begin = last = max(at, *entered)
            for _ in range(count):
                left, over = self.frame(self.random.choice(opening.plans), begin, [begin] * len(entered))
                begin, last = max(left), max(last, over)
            return [begin] * outputs, last
        left, last = [at] * outputs, at
        for _ in range(count):
            more, over = self.frame(self.random.choice(opening.plans), at, entered)
            left, last = list(map(max, left, more)), max(last, over)
        return left, last


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_run_lies_between_the_least_and_the_longest_path(seed: int) -> None:
    random = Random(seed)
    p = with_repeats(random, random_program(random))
    low, _, high = spans(p)
    for _ in range(5):
        assert low <= Machine(random, p, strict=False).frame(0, 0, [])[1]
        assert Machine(random, p, strict=True).frame(0, 0, [])[1] <= high
