"""What a failed attempt says of the endpoint behind a gate, and whether it is made again."""

from __future__ import annotations

from apxm.backends.protocol import SCHEMA_REFUSED
from apxm.errors import BackendError, OperationError
from apxm.operations.answers import UNFIT
from apxm.runtime.gates import Gate
from apxm.runtime.retries import LONGEST_RETRY_AFTER_S, RATE_LIMITED, SHORT_PAUSE_NS, RetryBudget, pause_ns
from apxm.runtime.waiting import Binding, Call

UNPAID = frozenset(
    {"http_status", "rate_limited", "redirect", "configuration", "unsendable", "unreachable", "open_files"}
)
"""Kinds of failure in which no model worked."""
_NO_FAILURES = (SCHEMA_REFUSED, UNFIT)
"""Outcomes of attempts that are followed by one which asks in another way, and say nothing of the endpoint's health."""


class EndpointFailures:
    """Those of the attempts that one run makes at one endpoint."""

    def __init__(self, gate: Gate, retries: int, budget: RetryBudget, run: Binding) -> None:
        """`retries` is how often an attempt is made again where the program does not say."""
        self._gate = gate
        self._retries = retries
        self._budget = budget
        self._run = run
        self._told = False
        """Whether the caller knows that attempts fail there: whoever waits shall know why, once."""
        self._told_of_schemas = False
        """Whether the caller knows that the endpoint takes none."""

    def retry(self, call: Call, error: OperationError, now: int) -> int | None:
        """When an attempt that failed at `now` is made again, as `Provider.retry` has it."""
        if not isinstance(error, BackendError):
            return None
        if error.kind == SCHEMA_REFUSED and all(attempt[4] != SCHEMA_REFUSED for attempt in call.earlier):
            self._gate.answered += 1
            if not self._told_of_schemas:
                self._told_of_schemas = True
                self._run.warn(call, f"{error}; answers are asked for in words from now on")
            return 0
        patience = self._patience(call, error, now)
        self._judge(call, error, now)
        most = self._retries if call.operation.retries is None else call.operation.retries
        may_pass = error.retryable and (error.retry_after_s or 0) <= LONGEST_RETRY_AFTER_S
        failed = sum(attempt[4] not in _NO_FAILURES for attempt in call.earlier)
        if not may_pass or failed >= most or (patience is not None and patience <= 0):
            return None
        hoping = call.hoping_since is not None
        pause = SHORT_PAUSE_NS if hoping else pause_ns(failed, self._run.random)
        if self._gate.adaptive is not None and error.retry_after_s is not None:
            pause = max(pause, round(error.retry_after_s * 1e9))  # others may be welcome all the same
        if failed and not self._told:
            self._told = True
            limit = f"for {error.patience_s:g} s" if hoping else f"up to {most} times"
            self._run.warn(call, f"{error.message}; tried again, {limit}, as others may be")
        return pause

    def delay(self, call: Call, now: int) -> int:
        """How much longer a pause lasts, as `Provider.delay` has it: a retry waits until the process can afford it."""
        # What was one call too many for the endpoint has been no burden to it, and comes again as slowly as it bears.
        # Where nobody listens there is nobody to be burdened.
        free = call.earlier[-1][4] in (RATE_LIMITED, *_NO_FAILURES) or call.hoping_since is not None
        return 0 if free else self._budget.take(now)

    def _patience(self, call: Call, error: BackendError, now: int) -> int | None:
        """How many ns more it is worth trying again; None where the number of retries alone decides."""
        if error.patience_s is None or call.operation.retries is not None:
            call.hoping_since = None
            return None
        if call.hoping_since is None:
            call.hoping_since = now
        return call.hoping_since + round(error.patience_s * 1e9) - now

    def _judge(self, call: Call, error: BackendError, now: int) -> None:
        gate, granted = self._gate, call.granted
        if call.ticket is not None:
            call.ticket.refused = error.kind == RATE_LIMITED or error.overloaded
        if error.retry_after_s is not None and error.retry_after_s <= LONGEST_RETRY_AFTER_S:
            gate.pause(now + round(error.retry_after_s * 1e9))
        if error.kind == RATE_LIMITED:
            gate.answered += 1
            gate.refused(granted, now)
        elif not error.retryable:
            gate.answered += 1
        else:
            gate.broke(error, granted, now, hurried=call.hoping_since is not None)
