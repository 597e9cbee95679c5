"""One operation that waits for a model, and the backend it waits for."""

from __future__ import annotations

from typing import Protocol, cast

from msgspec import Struct
from msgspec.structs import replace

from apxm.backends.protocol import AnyBackend, CallbackBackend, CoroutineBackend, Handle, ModelAnswer, ModelRequest
from apxm.errors import BackendError, OperationError
from apxm.runtime.budget import DEFAULT_MAX_TOKENS, Cost, Tariff
from apxm.runtime.deadlines import limit_ns
from apxm.runtime.gates import Gate, Ticket
from apxm.runtime.handlers.model import ModelCall
from apxm.runtime.state import Frame
from apxm.runtime.trace import Place, RawAttempt

Outcome = ModelAnswer | OperationError


NOTHING = Cost()
UNPAID = frozenset(
    {"http_status", "rate_limited", "redirect", "configuration", "unsendable", "unreachable", "open_files"}
)
"""Kinds of failure in which no model worked."""
_ASSUMED_OUTPUT = 1024
"""Tokens, of a call without a limit."""


class Owner(Protocol):
    """Who is told what an attempt does."""

    def ended(self, call: Call, attempt: int, outcome: object) -> None:
        """A callback backend says so of the attempt of that number, from 0; perhaps not for the first time, from inside
        `begin`, or in a thread of its own."""
        ...

    def held_up(self, call: Call, duration: int, where: str, /) -> None:
        """The backend kept the event loop busy in one step, for at least so many ns, at a place of its code."""
        ...


class BoundBackend:
    """A backend as a run uses it."""

    __slots__ = ("begin", "call", "can_reason", "gate", "info", "limits", "name", "simulated", "tariff", "timeout_ns")

    def __init__(self, backend: AnyBackend, gate: Gate) -> None:
        self.info = backend.info
        self.name = backend.info.name
        self.simulated = backend.info.simulated
        self.can_reason = backend.can_reason
        self.gate = gate
        self.limits = backend.limits
        self.tariff = Tariff(self.limits)
        self.timeout_ns = None if self.limits.timeout_s is None else limit_ns(self.limits.timeout_s)
        self.begin = cast(CallbackBackend, backend).begin if hasattr(backend, "begin") else None
        self.call = None if self.begin else cast(CoroutineBackend, backend).call


class Call(Struct, eq=False, gc=False):
    """One operation that waits for a model.

    A `Struct`, because making one costs a quarter of a class's `__init__`; and not looked at by the garbage collector,
    which else takes a fifth of a wide fan-out. Its handle mostly leads back to it, so whoever ends an attempt clears
    that.
    """

    owner: Owner
    frame: Frame
    node: int
    handler: ModelCall
    backend: BoundBackend
    request: ModelRequest
    ready: int
    asked: int
    """When the running attempt, or the next one, could start if there is a slot."""
    clocked: bool
    """Whether the scheduler's own time for it is measured."""
    since: int
    """If so: when our own work on it last began."""
    input_collection: int
    """If so: our own time, in ns, until its operands were collected; waiting left out, as in the next one."""
    dispatch: int
    """If so: to begin and to end its last attempt."""
    earlier: tuple[RawAttempt, ...] = ()
    """Attempts that failed, before the running one."""
    running: bool = False
    """Whether an attempt holds a slot."""
    granted: int = 0
    slot_from: Place | None = None
    sent: int | None = None
    """Of the running attempt; None until then."""
    limit: int | None = None
    """Time limit of the running attempt, in ns."""
    timed_out: bool = False
    hoping_since: int | None = None
    """When it first failed in a way that is worth little patience (`BackendError.patience_s`); None where it last
    failed in another one."""
    handle: Handle | None = None
    """Of the running attempt."""

    ticket: Ticket | None = None
    """Of the running attempt; None where nothing is limited."""
    tokens: int = 0
    """What an attempt costs at most; 0 where nobody counts them."""
    worst: Cost = NOTHING
    """What an attempt can cost the run, which has a budget."""
    used: int | None = None
    """What the running attempt cost; None until the endpoint says so."""

    @property
    def gate(self) -> Gate:
        return self.backend.gate

    @property
    def retries(self) -> int:
        """How often it may be tried again."""
        own = self.handler.retries
        return self.backend.limits.retries if own is None else own

    @property
    def original(self) -> ModelRequest:
        """The request as the program makes it, without what a budget adds."""
        own = self.handler.max_tokens
        return self.request if self.request.max_tokens == own else replace(self.request, max_tokens=own)

    def limit_answer(self) -> None:
        """In a run with a budget an answer has a limit, and so an attempt a worst case."""
        backend = self.backend
        if self.request.max_tokens is None:
            most = backend.limits.max_tokens or DEFAULT_MAX_TOKENS
            self.request = replace(self.request, max_tokens=most)
        self.worst = backend.tariff.worst(self.request, self.model)

    @property
    def model(self) -> str:
        return self.request.model or self.backend.info.model

    def settle(self, answer: ModelAnswer, received: int) -> None:
        """What the answer says about its cost, and about when the request arrived."""
        usage = answer.usage
        if usage.input_tokens is not None and usage.output_tokens is not None:
            self.used = usage.input_tokens + usage.output_tokens
        if answer.service_ns is not None and self.ticket is not None:
            self.gate.arrived(self.ticket, received - answer.service_ns)

    def cost(self, outcome: Outcome | None) -> Cost | None:
        """Of the running attempt, which had this outcome, or was given up; None where nobody knows."""
        if isinstance(outcome, ModelAnswer):
            return self.backend.tariff.actual(outcome.usage, self.model)
        if self.sent is None or (outcome is not None and outcome.kind in UNPAID):
            return NOTHING
        return None

    def most_tokens(self) -> int:
        """What an attempt costs at most."""
        request = self.request
        limits = self.backend.limits
        return limits.own_input + request.largest_input + (request.max_tokens or limits.max_tokens or _ASSUMED_OUTPUT)

    @property
    def rank(self) -> int:
        return self.frame.base + self.handler.priority

    def first_ended(self, outcome: object) -> None:
        """Its callback backend says that the first attempt is over."""
        self.owner.ended(self, 0, outcome)

    def patience(self, error: BackendError, now: int) -> int | None:
        """For how many ns more it is worth trying again after `error`; None where its retries alone decide."""
        if error.patience_s is None or self.handler.retries is not None:
            self.hoping_since = None
            return None
        if self.hoping_since is None:
            self.hoping_since = now
        return self.hoping_since + round(error.patience_s * 1e9) - now

    def timeout(self) -> BackendError:
        """Why its attempt failed, where its time is over."""
        limit, info = (self.limit or 0) / 1e9, self.backend.info
        where = f" ({info.endpoint})" if info.endpoint else ""
        return BackendError(
            "timeout", f"no answer from backend {info.name!r}{where} within {limit:g} s", retryable=True
        )
