"""From the calls of a run to the records in its trace: the one place that makes raw operations."""

from __future__ import annotations

from collections.abc import Callable

from apxm.backends.protocol import UNKNOWN_USAGE, Usage
from apxm.runtime.trace import RawAttempt, Trace
from apxm.runtime.waiting import Call


class Records:
    """Writes the operations of one run that waited into its trace, as each of them is over."""

    def __init__(self, trace: Trace, now: Callable[[], int]) -> None:
        self._trace = trace
        self._raw = trace.raw
        self._now = now

    def path(self, call: Call) -> str:
        """The stable path of the operation."""
        return self._trace.path_of(call.frame.index, call.node)

    def keep(self, call: Call, outcome: str, usage: Usage, service: int | None, routed: int, began: int) -> None:
        """Keeps an operation whose last attempt has just ended; `began` is when our own work on the outcome did."""
        sent, received = call.sent, call.received
        if service is not None and service > received - sent:
            service = received - sent
        # From the second line on as in `failed_attempt`, which to call would cost more than the whole tuple.
        self._raw.append((
            call.frame.index, call.node, call.provider.name, call.ready, routed, call.earlier,
            call.asked, call.granted, sent, received, outcome, service, usage, call.slot_from, call.first,
        ))  # fmt: skip
        if call.clocked:
            overhead = self._trace.overhead
            overhead.input_collection.append(call.input_collection)
            overhead.token_routing.append(routed - began)
            overhead.dispatch.append(call.dispatch + self._now() - routed)

    def keep_earlier(self, call: Call) -> None:
        """Keeps the attempts of an operation that ends without one in flight."""
        if call.earlier:
            *earlier, last = call.earlier
            self._raw.append(
                (call.frame.index, call.node, call.provider.name, call.ready, self._now(), tuple(earlier), *last)
            )


def failed_attempt(call: Call, kind: str) -> RawAttempt:
    """The running attempt of a call, which has just failed and is followed by another one."""
    usage, service, answer = UNKNOWN_USAGE, None, call.answer
    if answer is not None:  # one that was of no use
        usage, service = answer.usage, answer.service_ns
        if service is not None and service > call.received - call.sent:
            service = call.received - call.sent
    return (
        call.asked, call.granted, call.sent, call.received, kind, service, usage, call.slot_from, call.first
    )  # fmt: skip
