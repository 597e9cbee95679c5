"""What the simulator has done, in Prometheus' text format."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from time import process_time

from apxm.backends.completion import TokenCounts
from apxm.backends.faults import FaultKind

_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60)

Samples = Sequence[tuple[str, float]]
"""What stands behind the name, and the value."""


class ServerMetrics:
    def __init__(self) -> None:
        self.connections = 0
        self.in_flight = 0
        self._most_in_flight = 0
        self._requests: Counter[int] = Counter()
        self._faults: Counter[FaultKind] = Counter()
        self._cancelled = 0
        self._input_tokens = 0
        self._output_tokens = 0
        self._buckets = [0] * (len(_BOUNDS_S) + 1)
        self._service_ns = 0
        self._late_ns = 0
        self._latest_ns = 0

    def begin_iteration(self) -> None:
        """The peaks are those of an iteration."""
        self._most_in_flight = self.in_flight
        self._latest_ns = 0

    def request(self, status: int) -> None:
        self._requests[status] += 1

    def call_began(self) -> None:
        self.in_flight += 1
        if self.in_flight > self._most_in_flight:
            self._most_in_flight = self.in_flight

    def fault(self, kind: FaultKind) -> None:
        self._faults[kind] += 1

    def call_refused(self) -> None:
        """The call met a fault before any work was done."""
        self.in_flight -= 1

    def call_cancelled(self) -> None:
        self.in_flight -= 1
        self._cancelled += 1

    def call_answered(self, usage: TokenCounts, service_ns: int, late_ns: int) -> None:
        self.in_flight -= 1
        self._input_tokens += usage.prompt_tokens
        self._output_tokens += usage.completion_tokens
        self._buckets[bisect_left(_BOUNDS_S, service_ns / 1e9)] += 1
        self._service_ns += service_ns
        self._late_ns += late_ns
        self._latest_ns = max(self._latest_ns, late_ns)

    def text(self) -> str:
        lines: list[str] = []
        for name, kind, meaning, samples in self._families():
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{suffix} {value}" for suffix, value in samples]
        return "\n".join(lines) + "\n"

    def _families(self) -> Iterator[tuple[str, str, str, Samples]]:
        ours = "apxm_simulator"
        requests = [(f'{{status="{status}"}}', count) for status, count in sorted(self._requests.items())]
        faults = [(f'{{kind="{kind}"}}', count) for kind, count in sorted(self._faults.items())]
        tokens = [('{kind="input"}', self._input_tokens), ('{kind="output"}', self._output_tokens)]
        late, latest = [("", self._late_ns / 1e9)], [("", self._latest_ns / 1e9)]
        cancelled, most = [("", self._cancelled)], [("", self._most_in_flight)]
        yield f"{ours}_requests_total", "counter", "Requests answered, by status.", requests
        yield f"{ours}_calls_cancelled_total", "counter", "Calls whose client left before the answer.", cancelled
        yield f"{ours}_faults_total", "counter", "Faults given, by kind.", faults
        yield f"{ours}_in_flight", "gauge", "Calls being worked on.", [("", self.in_flight)]
        yield f"{ours}_in_flight_max", "gauge", "Most calls in flight at one moment of this iteration.", most
        yield f"{ours}_connections", "gauge", "Open connections.", [("", self.connections)]
        yield f"{ours}_tokens_total", "counter", "LLM tokens of the calls answered.", tokens
        yield f"{ours}_service_seconds", "histogram", "Time worked on a call.", self._histogram()
        yield f"{ours}_late_seconds_total", "counter", "Time by which answers left later than they were meant to.", late
        yield f"{ours}_late_seconds_max", "gauge", "The same, of the latest answer of this iteration.", latest
        yield "process_cpu_seconds_total", "counter", "Processor time of the simulator.", [("", process_time())]

    def _histogram(self) -> Samples:
        samples: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*_BOUNDS_S, "+Inf"), self._buckets, strict=True):
            total += count
            samples.append((f'_bucket{{le="{bound}"}}', total))
        return [*samples, ("_sum", self._service_ns / 1e9), ("_count", total)]
