"""One operation that waits for a model, and the backend it waits for."""

from __future__ import annotations

from typing import Protocol, cast

from msgspec import Struct

from apxm.backends.protocol import AnyBackend, CallbackBackend, CoroutineBackend, Handle, ModelAnswer, ModelRequest
from apxm.errors import BackendError, OperationError
from apxm.runtime.deadlines import limit_ns
from apxm.runtime.handlers.model import ModelCall
from apxm.runtime.limits import BackendSlots
from apxm.runtime.state import Frame
from apxm.runtime.trace import Place, RawAttempt

Outcome = ModelAnswer | OperationError


class Owner(Protocol):
    """Who is told what an attempt does."""

    def receive(self, call: Call, outcome: Outcome) -> None: ...

    def held_up(self, call: Call, duration: int, where: str, /) -> None:
        """The backend kept the event loop busy in one step, for at least so many ns, at a place of its code."""
        ...


class BoundBackend:
    """A backend as a run uses it."""

    __slots__ = ("begin", "call", "can_reason", "info", "name", "simulated", "slots", "timeout_ns")

    def __init__(self, backend: AnyBackend, slots: BackendSlots) -> None:
        self.info = backend.info
        self.name = backend.info.name
        self.simulated = backend.info.simulated
        self.can_reason = backend.can_reason
        self.slots = slots
        self.timeout_ns = None if backend.timeout_s is None else limit_ns(backend.timeout_s)
        self.begin = cast(CallbackBackend, backend).begin if hasattr(backend, "begin") else None
        self.call = None if self.begin else cast(CoroutineBackend, backend).call


class Call(Struct, eq=False):
    """One operation that waits for a model. A `Struct`, because making one costs a quarter of a class's `__init__`."""

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
    handle: Handle | None = None
    """Of the running attempt."""

    @property
    def slots(self) -> BackendSlots:
        return self.backend.slots

    @property
    def rank(self) -> int:
        return self.frame.base + self.handler.priority

    def receive(self, outcome: Outcome) -> None:
        """The running attempt is over."""
        self.owner.receive(self, outcome)

    def timeout(self) -> BackendError:
        """Why its attempt failed, where its time is over."""
        limit, info = (self.limit or 0) / 1e9, self.backend.info
        where = f" ({info.endpoint})" if info.endpoint else ""
        return BackendError(
            "timeout", f"no answer from backend {info.name!r}{where} within {limit:g} s", retryable=True
        )
