"""A run with what is taken to be so of its endpoints: what each call brought, and what was to be expected of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import exp, log

from apxm.advice.expected import Expected, Kind, expected
from apxm.advice.laws import Law, Seen, Timeline, seen_at
from apxm.advice.measured import JOIN, NOBODY, MeasuredRun
from apxm.advice.scenario import Scenario, Try, Wall
from apxm.runtime.retries import RATE_LIMITED


class Known:
    """One way to explain a run: a law for each endpoint."""

    def __init__(
        self, run: MeasuredRun, laws: Sequence[Law], walls: Mapping[int, Wall], *, refuses: bool = True
    ) -> None:
        """Endpoints with `walls` refuse what is one call too many; or, where that is false, what they did refuse."""
        self.run = run
        self.walls = walls
        self._laws = tuple(laws)
        self._refuses = refuses
        self._calls: list[list[Seen]] = []
        self._works: dict[tuple[int, int], float] = {}
        """What each attempt at an endpoint would have taken alone, in ns, by node and attempt."""
        self._order: dict[tuple[int, int], int] = {}
        for endpoint, each in enumerate(self._laws):
            calls = seen_at(run, endpoint, RATE_LIMITED if refuses and endpoint in walls else None)
            self._calls.append(calls)
            works = Timeline(calls, each.slots).works(each.factor)
            for order, (call, work) in enumerate(zip(calls, works, strict=True)):
                self._works[call.node, call.attempt] = work
                self._order[call.node, call.attempt] = order

    # --- what calls bring ------------------------------------------------------------------------------------------

    @cached_property
    def expected(self) -> Mapping[int, float]:
        """What was to be expected of the call of each node that was answered, in ns."""
        found: dict[int, float] = {}
        for endpoint in range(len(self._laws)):
            if counted := self._counted(endpoint):
                of = self._expected(endpoint, by_place=True)
                found.update({call.node: exp(of(call.kind)) for call in counted})
        return found

    def ratios(self, endpoint: int) -> dict[int, float]:
        """What each call that an endpoint answered brought, over what was to be expected of it; by node."""
        return {
            call.node: self._works[call.node, call.attempt] / self.expected[call.node]
            for call in self._counted(endpoint)
        }

    def elsewhere(self, node: int, endpoint: int) -> float:
        """What the call of a node would bring at another endpoint, which has answered some."""
        last = self.run.nodes[node].attempts[-1]
        tokens = None if last.input is None or last.output is None else (last.input, last.output)
        return exp(self._at_any_place[endpoint](Kind(JOIN, tokens)))

    @cached_property
    def _at_any_place(self) -> Mapping[int, Expected]:
        return {
            endpoint: self._expected(endpoint, by_place=False)
            for endpoint in range(len(self._laws))
            if self._counted(endpoint)
        }

    def _expected(self, endpoint: int, *, by_place: bool) -> Expected:
        counted = self._counted(endpoint)
        logs = [log(self._works[call.node, call.attempt]) for call in counted]
        return expected([call.kind for call in counted], logs, by_place=by_place)

    def _counted(self, endpoint: int) -> list[Seen]:
        return [call for call in self._calls[endpoint] if call.counts and self._works[call.node, call.attempt] > 0]

    @cached_property
    def most_in_flight(self) -> tuple[int, ...]:
        """By endpoint."""
        return tuple(Timeline(calls, None).most for calls in self._calls)

    # --- the run ---------------------------------------------------------------------------------------------------

    def scenario(self) -> Scenario:
        """The run as it was."""
        run = self.run
        ends: list[int] = []
        waits: list[int] = []
        for node in run.nodes:
            begin = max([ends[other] for other in (*node.behind, *node.ordered)], default=0)
            waits.append(0 if node.place == JOIN else max(0, node.ready - begin))
            ends.append(begin if node.place == JOIN else node.routed)
        return Scenario(
            run=run,
            behind=[tuple(sorted({*node.behind, *node.ordered})) for node in run.nodes],
            waits=waits,
            tries=[self._tries(number) for number in range(len(run.nodes))],
            endpoints=[node.endpoint for node in run.nodes],
            laws=self._laws,
            walls=self.walls if self._refuses else {},
            retry_after={endpoint: wall.retry_after_s for endpoint, wall in self.walls.items()},
            limits=[endpoint.limits for endpoint in run.endpoints],
            max_concurrency=run.max_concurrency,
            tail=max(0, run.duration - max(ends, default=0)),
        )

    def _tries(self, number: int) -> tuple[Try, ...]:
        node = self.run.nodes[number]
        found: list[Try] = []
        end = node.ready
        for index, attempt in enumerate(node.attempts):
            if not (self._refuses and attempt.outcome == RATE_LIMITED and node.endpoint in self.walls):
                is_last = index == len(node.attempts) - 1
                way = 0 if node.endpoint == NOBODY else attempt.latency - attempt.worked
                found.append(
                    Try(
                        outcome=attempt.outcome,
                        work=round(self._works.get((number, index), attempt.latency)),
                        before=attempt.sent - attempt.granted + attempt.handed,
                        after=way + (node.routed - attempt.received if is_last else 0),
                        pause=max(0, attempt.asked - end),
                        order=self._order.get((number, index), 0),
                        was_over=attempt.sent + attempt.worked,
                        input=attempt.input,
                        output=attempt.output,
                    )
                )
            end = attempt.received
        return tuple(found)
