"""What could have been otherwise, one thing at a time: each a small value that makes another scenario of a run."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from apxm.advice.known import Known
from apxm.advice.measured import JOIN, NOBODY, MeasuredRun, Node
from apxm.advice.rerun import Rerun
from apxm.advice.scenario import Hedge, Scenario, Try
from apxm.backends.protocol import Limits

STRAGGLER = 2.0
"""How many times as long as calls like it a straggler takes."""


class Change(Struct, frozen=True):
    """One thing that is otherwise."""

    kind: ClassVar[str]
    """A word for it, which never changes."""

    @property
    def about(self) -> Hashable:
        """What is changed: of several changes of it the best is told."""
        return self

    def title(self, run: MeasuredRun) -> str:
        """The change in words."""
        raise NotImplementedError

    def where(self, run: MeasuredRun) -> str:
        """``file:line``, a setting, or the endpoint that it is about."""
        raise NotImplementedError

    def made(self, known: Known, scenario: Scenario) -> Scenario:
        """The run with it."""
        raise NotImplementedError

    def cost(self, known: Known, changed: Rerun) -> float | None:
        """How much more the run would have cost; None where a price is not known."""
        del known, changed
        return 0.0


class Limit(Change, frozen=True):
    """Another number of calls that may be in flight at once."""

    kind = "limit"

    endpoint: int | None
    """Whose limit it is; None is the run's own."""
    to: int

    @property
    def about(self) -> Hashable:
        return self.kind, self.endpoint

    def title(self, run: MeasuredRun) -> str:
        before = run.max_concurrency if self.endpoint is None else run.endpoints[self.endpoint].limits.max_concurrency
        return f"limit {'none' if before is None else before} → {self.to}"

    def where(self, run: MeasuredRun) -> str:
        return "max_concurrency" if self.endpoint is None else _setting(run, self.endpoint, "max_concurrency")

    def made(self, known: Known, scenario: Scenario) -> Scenario:
        del known
        if self.endpoint is None:
            return replace(scenario, max_concurrency=self.to)
        limits = replace(scenario.limits[self.endpoint], max_concurrency=self.to)
        return _with_limits(scenario, self.endpoint, limits)


class InputsAtOnce(Change, frozen=True):
    """Another number of inputs of a batch that may be open at once."""

    kind = "inputs"

    to: int

    @property
    def about(self) -> Hashable:
        return self.kind

    def title(self, run: MeasuredRun) -> str:
        return f"inputs at once {run.inputs_at_once} → {self.to}"

    def where(self, run: MeasuredRun) -> str:
        del run
        return "max_concurrency of the batch"

    def made(self, known: Known, scenario: Scenario) -> Scenario:
        del known
        behind = list(scenario.behind)
        inputs = scenario.run.inputs
        for number, each in enumerate(inputs):  # that it ends for which one more begins
            behind[each.begin] = (inputs[number - self.to].end,) if number >= self.to else ()
        return replace(scenario, behind=behind)


class Rate(Change, frozen=True):
    """Another number of requests, or of tokens, in a minute."""

    kind = "rate"

    endpoint: int
    setting: str
    to: int

    def title(self, run: MeasuredRun) -> str:
        before: int = getattr(run.endpoints[self.endpoint].limits, self.setting)
        return f"{self.setting.replace('_', ' ')} {before:,} → {self.to:,}"

    def where(self, run: MeasuredRun) -> str:
        return _setting(run, self.endpoint, self.setting)

    def made(self, known: Known, scenario: Scenario) -> Scenario:
        del known
        limits = replace(scenario.limits[self.endpoint], **{self.setting: self.to})
        return _with_limits(scenario, self.endpoint, limits)


class Readonly(Change, frozen=True):
    """A tool that is declared to change nothing, so that its calls need no order among themselves."""

    kind = "readonly"

    tool: str
    place: int
    """The first one that calls it."""

    def title(self, run: MeasuredRun) -> str:
        del run
        return f"`{self.tool}` declared readonly"

    def where(self, run: MeasuredRun) -> str:
        return run.places[self.place].where

    def made(self, known: Known, scenario: Scenario) -> Scenario:
        del known
        run = scenario.run

        def reads(node: Node) -> bool:
            place = run.places[node.place]
            return place.readonly or place.tool == self.tool

        changed = _reordered(run, reads)
        return _with_order(scenario, lambda number, node: changed.get(number, node.ordered))


class NoTurn(Change, frozen=True):
    """Iterations of an `each` that do not wait for their turn in front of an operation."""

    kind = "turn"

    place: int

    def title(self, run: MeasuredRun) -> str:
        return f"no wait for the turn in front of `{run.places[self.place].path}`"

    def where(self, run: MeasuredRun) -> str:
        return run.places[self.place].where

    def made(self, known: Known, scenario: Scenario) -> Scenario:
        del known
        return _with_order(scenario, lambda _, node: () if node.place == self.place else node.ordered)


class Faster(Change, frozen=True):
    """An operation that takes half as long."""

    kind = "faster"

    place: int

    def title(self, run: MeasuredRun) -> str:
        return f"`{run.places[self.place].path}` twice as fast"

    def where(self, run: MeasuredRun) -> str:
        return run.places[self.place].where

    def made(self, known: Known, scenario: Scenario) -> Scenario:
        del known
        return _with_tries(
            scenario, self.place, lambda _, tries: [each._replace(work=each.work // 2) for each in tries]
        )


class OtherEndpoint(Change, frozen=True):
    """An operation that another backend does, which the run has asked, too."""

    kind = "model"

    place: int
    endpoint: int

    @property
    def about(self) -> Hashable:
        return self.kind, self.place

    def title(self, run: MeasuredRun) -> str:
        other = run.endpoints[self.endpoint]
        return f"`{run.places[self.place].path}` by {other.name} ({other.model})"

    def where(self, run: MeasuredRun) -> str:
        return run.places[self.place].where

    def made(self, known: Known, scenario: Scenario) -> Scenario:
        def moved(node: int, tries: Sequence[Try]) -> Sequence[Try]:
            # One that took longer than others do takes longer there, too.
            times = known.elsewhere(node, self.endpoint) / known.expected[node] if node in known.expected else 1.0
            return [each._replace(work=round(times * each.work)) for each in tries]

        endpoints = [
            self.endpoint if node.place == self.place else scenario.endpoints[number]
            for number, node in enumerate(scenario.run.nodes)
        ]
        return replace(_with_tries(scenario, self.place, moved), endpoints=endpoints)

    def cost(self, known: Known, changed: Rerun) -> float | None:
        del changed
        run = known.run
        total = 0.0
        for node in run.nodes:
            for attempt in node.attempts if node.place == self.place else ():
                there = _price(run, self.endpoint, None, attempt.input, attempt.output)
                here = _price(run, node.endpoint, run.places[node.place].model, attempt.input, attempt.output)
                if there is None or here is None:
                    return None
                total += there - here
        return total


class Hedged(Change, frozen=True):
    """A second call wherever the first one is late; whichever is answered first counts."""

    kind = "hedging"

    endpoint: int
    after: int
    """How late, in ns."""

    def title(self, run: MeasuredRun) -> str:
        del run
        return f"a second request after {self.after / 1e9:.3g} s"

    def where(self, run: MeasuredRun) -> str:
        return run.endpoints[self.endpoint].name

    def made(self, known: Known, scenario: Scenario) -> Scenario:
        ratios = known.ratios(self.endpoint)
        second = {node: [known.expected[node] * ratio for ratio in ratios.values()] for node in ratios}
        return replace(scenario, hedge=Hedge(self.after, second))

    def cost(self, known: Known, changed: Rerun) -> float | None:
        run = known.run
        total = 0.0
        for number in changed.hedged:
            node = run.nodes[number]
            last = node.attempts[-1]
            more = _price(run, node.endpoint, run.places[node.place].model, last.input, last.output)
            if more is None:
                return None
            total += more
        return total


class NoStragglers(Change, frozen=True):
    """No call takes more than twice as long as calls like it."""

    kind = "stragglers"

    endpoint: int

    def title(self, run: MeasuredRun) -> str:
        del run
        return "no call slower than twice what calls like it take"

    def where(self, run: MeasuredRun) -> str:
        return run.endpoints[self.endpoint].name

    def made(self, known: Known, scenario: Scenario) -> Scenario:
        tries = list(scenario.tries)
        for node, ratio in known.ratios(self.endpoint).items():
            if ratio > STRAGGLER:
                *earlier, last = tries[node]
                tries[node] = [*earlier, last._replace(work=round(STRAGGLER * known.expected[node]))]
        return replace(scenario, tries=tries)


class NoFailures(Change, frozen=True):
    """Every call is answered at its first attempt."""

    kind = "retries"

    endpoint: int

    def title(self, run: MeasuredRun) -> str:
        del run
        return "no failed attempts"

    def where(self, run: MeasuredRun) -> str:
        return "tools" if self.endpoint == NOBODY else run.endpoints[self.endpoint].name

    def made(self, known: Known, scenario: Scenario) -> Scenario:
        del known
        tries = [
            [each[-1]._replace(pause=0)] if self._is_tried_again(node) else each
            for node, each in zip(scenario.run.nodes, scenario.tries, strict=True)
        ]
        walls = {endpoint: wall for endpoint, wall in scenario.walls.items() if endpoint != self.endpoint}
        return replace(scenario, tries=tries, walls=walls)

    def cost(self, known: Known, changed: Rerun) -> float | None:
        del changed
        run = known.run
        total = 0.0
        for node in filter(self._is_tried_again, run.nodes):
            for attempt in node.attempts[:-1]:
                if attempt.input is not None or attempt.output is not None:  # else no model worked, or nobody knows
                    paid = _price(run, node.endpoint, run.places[node.place].model, attempt.input, attempt.output)
                    if paid is None:
                        return None
                    total -= paid
        return total

    def _is_tried_again(self, node: Node) -> bool:
        return node.endpoint == self.endpoint and len(node.attempts) > 1 and node.attempts[-1].outcome == "ok"


def _setting(run: MeasuredRun, endpoint: int, name: str) -> str:
    return f"backends.{run.endpoints[endpoint].name}.{name}"


def _price(run: MeasuredRun, endpoint: int, model: str | None, prompt: int | None, answer: int | None) -> float | None:
    """What a call costs; None where that is not known."""
    if endpoint == NOBODY:
        return 0.0
    asked = run.endpoints[endpoint]
    price = asked.limits.prices.get(model or asked.model)
    if price is None or prompt is None or answer is None:
        return None
    return (prompt * price.input + answer * price.output) / 1e6


def _with_limits(scenario: Scenario, endpoint: int, limits: Limits) -> Scenario:
    changed = list(scenario.limits)
    changed[endpoint] = limits
    return replace(scenario, limits=changed)


def _with_tries(scenario: Scenario, place: int, change: Callable[[int, Sequence[Try]], Sequence[Try]]) -> Scenario:
    """With others for the operations of a place."""
    tries = [
        change(number, each) if node.place == place else each
        for number, (node, each) in enumerate(zip(scenario.run.nodes, scenario.tries, strict=True))
    ]
    return replace(scenario, tries=tries)


def _with_order(scenario: Scenario, ordered: Callable[[int, Node], Sequence[int]]) -> Scenario:
    """With other nodes that each only waits for because things are to happen in their order."""
    behind = [tuple(sorted({*node.behind, *ordered(number, node)})) for number, node in enumerate(scenario.run.nodes)]
    return replace(scenario, behind=behind)


def _reordered(run: MeasuredRun, reads: Callable[[Node], bool]) -> dict[int, tuple[int, ...]]:
    """What calls of tools come behind for the sake of order, by node, where those that `reads` names change nothing.

    Two of these need no order (`operations.effects.order_between`). One that changes something comes behind all before
    it, so nobody has to look past that.
    """
    found: dict[int, tuple[int, ...]] = {}
    for number, node in enumerate(run.nodes):
        if not _is_tool(run, node) or not node.ordered:
            continue
        behind: list[int] = []
        left, seen = list(node.ordered), set(node.ordered)
        while left:
            at = left.pop()
            other = run.nodes[at]
            passes = other.place == JOIN or (_is_tool(run, other) and reads(other))
            if other.place != JOIN and not (passes and reads(node)):
                behind.append(at)
            if passes:
                further = [each for each in (*other.behind, *other.ordered) if other.place == JOIN] or other.ordered
                left += [each for each in further if each not in seen]
                seen.update(further)
        found[number] = tuple(sorted(behind))
    return found


def _is_tool(run: MeasuredRun, node: Node) -> bool:
    return node.place != JOIN and run.places[node.place].tool is not None
