"""The seam for whatever waits: all that a kind of waiting operation says about itself. Nothing else knows the kinds.

A kind is two classes in one file of `handlers/`. Its `WaitingOperation`s are the nodes of a plan, known before any run.
Its `Provider`s do what they ask for, one per run and whoever is asked: a backend, a tool, a store, a person. A `Call`
is one operation of one run while it waits. docs/design/0014-waiting.md says how to add a kind.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from random import Random
from typing import Any, Protocol

from msgspec import Struct

from apxm.backends.protocol import BackendInfo, Clock, Handle, Tell, Usage
from apxm.errors import ApxmError, OperationError
from apxm.operations.types import Value
from apxm.runtime.budget import NOTHING, Cost
from apxm.runtime.content import ContentFiles
from apxm.runtime.frames import Frame
from apxm.runtime.gates import Gate, Ticket
from apxm.runtime.limits import BackendPool
from apxm.runtime.phases import READY, Phase
from apxm.runtime.trace import Place, RawAttempt
from apxm.tools.schemas import Declaration
from apxm.tools.toolbox import Toolbox


class Answer(Protocol):
    """What a provider makes of a good outcome. What it means as a `Value` is the operation's to say."""

    @property
    def usage(self) -> Usage: ...

    @property
    def service_ns(self) -> int | None:
        """How long whoever answered says to have worked; None where that says nothing."""
        ...


class Binding(Struct, frozen=True, dict=True):
    """What a run has for the providers of its operations."""

    pool: BackendPool
    tools: Toolbox
    declarations: Mapping[str, Declaration]
    """What the program declares of tools, by name."""
    seed: int
    files: ContentFiles
    warn: Callable[[Call, str], None]
    """Tells the caller of the run something about a call; what is said once is the provider's to know."""

    @cached_property
    def random(self) -> Random:
        """The pauses between attempts are drawn from it, those of all providers in the order in which they come."""
        return Random(self.seed)


class WaitingOperation:
    """One operation of a plan that waits, as it is known before any run."""

    __slots__ = ("priority", "provider", "retries", "timeout_ns")

    provider: Hashable
    """The key of whoever does it: operations with equal keys have one `Provider` in a run."""
    priority: int
    """The longest path from it to the end of its plan, in ms."""
    timeout_ns: int | None
    """The time limit of an attempt; None for that of the provider."""
    retries: int | None
    """How often the program says that a failed attempt may be made again; None where it does not say."""
    first_timeout_ns: int | None = None
    """The time limit for the first part of an answer, as `timeout_ns`."""

    @property
    def needs(self) -> Hashable:
        """What its provider has to have for it, such as a model; of operations with equal needs one is linked."""
        return None

    @property
    def has_content(self) -> bool:
        """Whether it sends images or files."""
        return False

    def content_flaws(
        self, _provider: Provider, _files: ContentFiles, _where: str, _inputs: Sequence[Value], /
    ) -> Iterable[ApxmError]:
        """Why those that the program names cannot be sent; found out before the first call of a run. `_where` is the
        operation's place."""
        return ()

    def bind(self, run: Binding) -> Provider:
        """The provider for all operations with this one's key. Raises `ConfigurationError` where there is none."""
        raise NotImplementedError

    def request(self, values: list[Value], form: Any) -> Any:
        """What is asked, from the values of its frame; `form` is the provider's. Raises `OperationError`."""
        raise NotImplementedError

    def value(self, answer: Any, request: Any) -> Value:
        """What its answer to a request is to the program. Raises `OperationError`, where it is of no use."""
        raise NotImplementedError

    def revised(self, _call: Call, _answer: Any, _error: OperationError, /) -> Any:
        """What is asked at once, in a further attempt, where `value` raised `error` of an answer; None for nothing."""
        return None


class Provider:
    """Whoever does the waiting operations of a kind, in one run.

    Either `begin` or `call` is there. What a kind does not say stays at the defaults here: it asks nobody before it
    begins, has no time limit, costs nothing, is never tried again, and leaves nothing in a journal but its answer.
    """

    kind = "provider"
    """The noun by which messages tell what it is, such as ``backend``."""
    name: str
    """Its name in messages, traces and journals, where it stands for the pool that its slots belong to."""
    info: BackendInfo | None = None
    """What the user is told about it, if anything."""
    virtual: bool = False
    """Whether it works on virtual time."""
    form: Any = None
    """Whatever its requests depend on besides the values."""
    timeout_ns: int | None = None
    """The time limit of an attempt, for operations without one."""
    first_timeout_ns: int | None = None
    """The time limit for the first part of an answer, likewise; where there is one, answers come in parts."""
    gate: Gate | None = None
    """Whose leave an attempt needs. Where there is none it takes no slot of the run either, and reserves no budget."""
    by_operation: bool = False
    """Whether what it is sent names the operation that asks."""
    records_started: bool = False
    """Whether a journal is told before an attempt begins, so that one with an outside effect is never made twice."""
    unpaid: frozenset[str] = frozenset()
    """Kinds of failure that cost nothing."""

    begin: Callable[[Any, Clock, Callable[[Any], None]], Handle] | None = None
    """Begins an attempt without a task, given the request, the clock, and what to call with the outcome: once, from
    whichever thread, unless the handle was cancelled."""
    call: Callable[[Any], Awaitable[object]] | None = None
    """Makes an attempt in a task, which is cancelled to give it up."""
    begin_stream: Callable[[Any, Clock, Tell, Callable[[Any], None]], Handle] | None = None
    """As `begin`, for an answer that comes in parts; None where it cannot. So is `call_stream` to `call`."""
    call_stream: Callable[[Any, Tell], Awaitable[object]] | None = None

    @property
    def title(self) -> str:
        """``backend 'local'``"""
        return f"{self.kind} {self.name!r}"

    def answer(self, call: Call, outcome: object) -> Answer | OperationError:
        """What came of an attempt, as a run can use it, whoever made it."""
        raise NotImplementedError

    def named(self, request: Any, _path: str, /) -> Any:
        """The request as it is sent, by the operation at that path; for one that says `by_operation`."""
        return request

    def timeout(self, limit_s: float, what: str = "answer") -> OperationError:
        """Why an attempt failed whose time is over, for `what` it did not bring."""
        return OperationError("timeout", f"no {what} from {self.title} within {limit_s:g} s")

    def variant(self, _request: Any, /) -> str | None:
        """Which of several that it has is asked, such as a backend's model; digests and rows of the journal name it."""
        return None

    async def missing(self, _operations: Sequence[Any], _alone: bool, /) -> Sequence[ApxmError]:
        """What keeps it from doing these operations, found out before the first call of a run.

        `alone` says that the run needs nothing else: then its first call would tell as much, and nothing were paid
        before.
        """
        return ()

    # --- trying again ----------------------------------------------------------------------------------------------

    def retry(self, _call: Call, _error: OperationError, _now: int, /) -> int | None:
        """The pause in ns before an attempt that has just failed may be made again; None for never."""
        return None

    def delay(self, _call: Call, _now: int, /) -> int:
        """How many ns more a pause has to last that is over; 0 where the next attempt may go."""
        return 0

    # --- what it uses ----------------------------------------------------------------------------------------------

    def most_tokens(self, _request: Any, /) -> int:
        """The most tokens that an attempt takes of its gate's minute."""
        return 0

    def bounded(self, request: Any, /) -> tuple[Any, Cost]:
        """The request as a run with a budget makes it, and the most that an attempt then costs."""
        return request, NOTHING

    def cost(self, _operation: Any, _usage: Usage, /) -> Cost | None:
        """What an attempt cost that used so much; None where nobody knows."""
        return NOTHING

    def unpriced(self, _operation: Any, /) -> str | None:
        """What nobody wrote down a price for, where it is not known what attempts cost in money."""
        return None

    def bounds(self, _operation: Any, /) -> bool:
        """Whether `bounded` limits what neither the program nor anything else does."""
        return False


class Streaming(Protocol):
    """How the running attempt of a call is made, where its answer comes in parts."""

    def begin(self, done: Callable[[Any], None]) -> Handle:
        """As `Provider.begin`."""
        ...

    async def call(self) -> object:
        """As `Provider.call`."""
        ...


class Call(Struct, eq=False, gc=False):
    """One operation of one run that waits.

    A `Struct`, because making one costs a quarter of a class's `__init__`; and not looked at by the garbage collector,
    which else takes a fifth of a wide fan-out. Its handle and its stream lead back to it, so whoever ends an attempt
    clears these. Whoever keeps one that is over, and can be reached from its run, keeps the run for good.
    """

    ended: Callable[[Call, int, object], None]
    """Told of the outcome of each attempt that began without a task, with its number from 0."""
    frame: Frame
    node: int
    operation: WaitingOperation
    provider: Provider
    request: Any
    """What is asked; in a run with a budget, as bounded by that."""
    ready: int
    asked: int
    """When the running attempt, or the next one, could start if there is a slot."""
    clocked: bool
    """Whether the scheduler's own time for it is measured."""
    since: int
    """When our own work on it last began, if it is clocked."""
    input_collection: int
    """Our own time, in ns, until its operands were collected, if it is clocked; waiting left out, as in `dispatch`."""
    dispatch: int
    """Our own time, in ns, to begin and to end its last attempt, if it is clocked."""
    phase: Phase = READY
    earlier: tuple[RawAttempt, ...] = ()
    """The attempts that failed, before the running one."""
    granted: int = 0
    slot_from: Place | None = None
    sent: int = 0
    """When the running attempt was sent; it says nothing before the phase `SENT`."""
    first: int | None = None
    """When the first part of the answer was there; None where it comes whole."""
    stream: Streaming | None = None
    """None where its answer comes whole."""
    received: int = 0
    """When the answer was there, once there is one."""
    answer: Answer | None = None
    limit: int | None = None
    """The time limit of the running attempt, in ns; None where there is none, or it is over."""
    handle: Handle | None = None
    """What gives up the running attempt, or the pause before the next one."""
    hoping_since: int | None = None
    """When it first failed in a way that is worth little patience (`BackendError.patience_s`); None where it last
    failed in another one."""
    ticket: Ticket | None = None
    """The gate's leave for the running attempt; None where nothing is limited."""
    tokens: int = 0
    """The most that an attempt takes of its gate's minute; 0 where nobody counts."""
    worst: Cost = NOTHING
    """The most that an attempt can cost the run, which has a budget."""
    made: Any = None
    """The request as the program makes it, where another one is asked: bounded by a budget, or revised."""

    @property
    def original(self) -> Any:
        """The request as the program makes it, whatever is asked."""
        return self.request if self.made is None else self.made

    def revise(self, request: Any) -> None:
        """Lets the next attempt ask `request`, whose bounds nobody knows yet."""
        self.made, self.request = self.original, request
        self.tokens, self.worst = 0, NOTHING

    @property
    def rank(self) -> int:
        """The longest path from it to the end of the run, in ms; the highest goes first."""
        return self.frame.base + self.operation.priority

    def timeout(self) -> OperationError:
        """Why its attempt failed, where its time is over."""
        limit = self.operation.timeout_ns or self.provider.timeout_ns or 0
        return self.provider.timeout(limit / 1e9)

    def first_ended(self, outcome: object) -> None:
        """Its provider says that the first attempt is over. A `partial` of `ended` takes twice as long to make."""
        self.ended(self, 0, outcome)
