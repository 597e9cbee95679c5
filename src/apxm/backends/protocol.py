"""What a backend is: something that answers model requests.

A backend is of one of two styles. A *callback* backend starts a call without a task and reports later; it must work
on virtual time. A *coroutine* backend is awaited in a task that the scheduler holds, and cancelled by cancelling that
task.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Annotated, Protocol, SupportsIndex, cast

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from apxm.backends.dialogue import OfferedTool, RequestedCall, Round, sound_calls
from apxm.errors import BackendError, OperationError
from apxm.operations.attachments import Attachment
from apxm.operations.schemas import AnswerFormat
from apxm.source import as_utf8, is_utf8

MOST_TOKENS = 1_000_000_000
"""The most that one call can have; whoever says more counts something else."""
MOST_SERVICE_NS = 2**63 - 1
"""292 years."""
SCHEMA_REFUSED = "schema_refused"
"""The kind of an error that says: this endpoint takes no JSON schema. The next attempt tells the model in words."""
TOOLS_REFUSED = "tools_refused"
"""The kind of an error that says: this endpoint takes no tools. Nobody answers such a request in another way."""
_AROUND_MESSAGES = 32
_AROUND_TOOLS = 1024
"""The most tokens by which endpoints explain to a model how tools are called; each tool and each call is inside of
`_AROUND_MESSAGES`."""


class ModelRequest(Struct, frozen=True, omit_defaults=True):
    """One chat call, ready to be sent."""

    prompt: str
    """The user's message, context included."""
    system: str | None = None
    """The program's system text; a backend may have one of its own for requests without."""
    instruction: str | None = None
    """What the operation itself has to tell the model, behind the system text."""
    model: str | None = None
    """Overrides the backend's own."""
    temperature: float | None = None
    max_tokens: int | None = None
    reasoning: bool = False
    """Whether to use the backend's reasoning setting; only set where `Backend.can_reason`."""
    reasoning_budget: int | None = None
    """Tokens to think with, where the source gives a number."""
    answer: AnswerFormat | None = None
    """What the answer has to be like; None where any text will do. A backend that has no way of its own to ask for that
    tells the model in words, which are part of `system_text`."""
    operation: str | None = None
    """The stable path of the operation that asks; only set where the backend says `by_operation`."""
    attachments: tuple[Attachment, ...] = ()
    tools: tuple[OfferedTool, ...] = ()
    """What the model may call instead of answering. An answer that calls has `ModelAnswer.calls`; a backend that cannot
    offer them answers without."""
    rounds: tuple[Round, ...] = ()
    """What it called for so far, behind the prompt."""
    may_call: bool = True
    """False where it is to answer now, from what the tools gave."""

    @property
    def offers(self) -> bool:
        """Whether the answer may be calls of tools. A format of its answer is then told in words: where it is asked for
        by a schema, many endpoints let the model write nothing else, and so call nothing."""
        return bool(self.tools) and self.may_call

    @property
    def dialogue(self) -> str:
        """All that is said behind the system's text: the prompt, and what tools were called for and gave."""
        if not self.rounds:
            return self.prompt
        return "\n\n".join([self.prompt, *(text for each in self.rounds for text in (each.text, *each.results))])

    @property
    def images(self) -> tuple[Attachment, ...]:
        return tuple(each for each in self.attachments if each.is_image) if self.attachments else ()

    @property
    def pdfs(self) -> tuple[Attachment, ...]:
        return tuple(each for each in self.attachments if each.is_pdf) if self.attachments else ()

    @property
    def largest_input(self) -> int:
        """The most input tokens of the request's texts: a token is at least a byte, and each message has a
        few around it."""
        texts = [self.prompt, self.system or "", self.instruction or "", self.answer.instruction if self.answer else ""]
        around = _AROUND_MESSAGES
        if self.tools:
            texts += [text for tool in self.tools for text in (tool.name, tool.schema, tool.description)]
            texts += [text for each in self.rounds for text in each.texts]
            parts = len(self.tools) + sum(1 + 2 * len(each.calls) for each in self.rounds)
            around += _AROUND_TOOLS + _AROUND_MESSAGES * parts
        return sum(len(text.encode(errors="surrogatepass")) for text in texts) + around

    def system_text(self, default: str | None = None, *, tells_format: bool = True) -> str | None:
        """What is sent as the system's message; `default` is the backend's own. None where there is nothing to say.
        `tells_format` is false for a backend that asks for the answer's format in a way of its own."""
        system = self.system if self.system is not None else default
        told = self.answer.instruction if self.answer is not None and tells_format else None
        return "\n\n".join(text for text in (system, self.instruction, told) if text) or None


class Usage(Struct, frozen=True, gc=False, omit_defaults=True):
    """The LLM tokens that one call used; None where the endpoint does not say.

    It is carried as it is from the answer into the records of a run. The garbage collector does not look at it, so a
    record that holds it beside numbers need not be looked at either.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    """Those of the input that the endpoint had read before, and did not read again."""

    @property
    def total(self) -> int | None:
        """Input and output together; None where one of them is not known."""
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens


UNKNOWN_USAGE = Usage()
"""The usage of a call of which the endpoint says nothing, or which it did not answer."""


class ModelAnswer(Struct, frozen=True, omit_defaults=True):
    text: str
    usage: Usage = UNKNOWN_USAGE
    service_ns: int | None = None
    """Time the endpoint says it worked on the call; None where it says nothing."""
    model: str | None = None
    """The model that the endpoint says answered."""
    cut_off: bool = False
    """Whether the text ends where a limit of tokens did, not where the model would have ended it."""
    calls: tuple[RequestedCall, ...] = ()
    """The tools that it wants called, instead of having answered; the text is then what it says beside that."""


def plausible(number: object, most: int) -> int | None:
    """`number` where it is a whole one from 0 to `most`, of whatever type of numbers; else None."""
    if type(number) is int:
        whole = number
    elif isinstance(number, bool):
        return None
    elif isinstance(number, float):
        whole = int(number) if number.is_integer() else -1
    else:
        try:
            whole = operator.index(cast(SupportsIndex, number))
        except TypeError:
            return None
    return whole if 0 <= whole <= most else None


def sound_outcome(outcome: object) -> ModelAnswer | OperationError:
    """What came of a call, as a run can use it, whoever wrote the backend.

    Texts and numbers of subclasses become plain ones, and halves of surrogate pairs U+FFFD. Of what an endpoint cannot
    mean it does not say anything. So whatever comes later, a budget, a journal, metrics, a profile, can add its numbers
    up, store and divide them. Raises `TypeError`, saying what it is instead, for what is no answer at all.
    """
    # Of each answer, so in the quickest way: `isinstance` takes five times as long to say no.
    if (
        type(outcome) is ModelAnswer
        and type(outcome.text) is str
        and type(outcome.usage) is Usage
        and not outcome.calls
    ):
        usage, service = outcome.usage, outcome.service_ns
        given, taken, cached = usage.input_tokens, usage.output_tokens, usage.cached_tokens
        if (
            (given is None or (type(given) is int and 0 <= given <= MOST_TOKENS))
            and (taken is None or (type(taken) is int and 0 <= taken <= MOST_TOKENS))
            and (cached is None or (type(cached) is int and 0 <= cached <= MOST_TOKENS))
            and (service is None or (type(service) is int and 0 <= service <= MOST_SERVICE_NS))
            and is_utf8(outcome.text)
        ):
            return outcome
    match outcome:
        case OperationError():
            return _sound_error(outcome)
        case ModelAnswer(text=str() as text, usage=Usage(given, taken, cached), service_ns=service, calls=calls):
            return replace(
                outcome,
                text=as_utf8(str.__str__(text)),
                usage=Usage(*(plausible(count, MOST_TOKENS) for count in (given, taken, cached))),
                service_ns=plausible(service, MOST_SERVICE_NS),
                calls=sound_calls(calls),
            )
        case ModelAnswer(text=str()):
            raise TypeError(f"a ModelAnswer whose usage is a {type(outcome.usage).__name__}, expected a Usage")
        case ModelAnswer():
            raise TypeError(f"a ModelAnswer whose text is a {type(outcome.text).__name__}, expected a str")
        case _:
            raise TypeError(f"a {type(outcome).__name__}, expected a ModelAnswer")


def _sound_error(error: OperationError) -> OperationError:
    for name in ("kind", "message"):
        if not isinstance(getattr(error, name, None), str):
            raise TypeError(f"a {type(error).__name__} whose {name} is no str")
    for name in ("retry_after_s", "patience_s"):
        pause: object = getattr(error, name, None)
        if not isinstance(pause, int | float | None):
            found = type(pause).__name__
            raise TypeError(f"a {type(error).__name__} whose {name} is a {found}, expected a number or None")
        if pause is not None and not math.isfinite(pause):
            raise TypeError(f"a {type(error).__name__} whose {name} is {pause}, expected a number or None")
    return error


class Clock(Protocol):
    """Time as a run sees it: the real clock, or the virtual one."""

    def now(self) -> int:
        """Nanoseconds since an arbitrary origin; never goes back."""
        ...

    def call_at(self, when: int, callback: Callable[[], None]) -> Handle:
        """Calls `callback` at `when` (ns) or as soon after as the loop can, never before."""
        ...


class Handle(Protocol):
    """Something begun that can be given up."""

    def cancel(self) -> object:
        """Gives it up; afterwards it reports nothing. Harmless when it is already over."""
        ...


class BackendInfo(Struct, frozen=True, omit_defaults=True):
    """What the user is told about a backend, and what the metrics of a run say of it. Never holds a key."""

    name: str
    """The backend's name in the configuration."""
    kind: str
    model: str
    endpoint: str | None = field(default_factory=lambda: None)  # made, so that metrics do not omit it; likewise below
    simulated: bool = field(default_factory=bool)
    description: str = ""
    """The backend in words for people: ``qwen3-8b at http://127.0.0.1:8000/v1``. Results and metrics leave it out."""


class Price(Struct, frozen=True, forbid_unknown_fields=True):
    """What a million tokens cost, in whatever currency the user thinks in."""

    input: Annotated[float, Meta(ge=0, le=1e6)]
    output: Annotated[float, Meta(ge=0, le=1e6)]


class Limits(Struct, frozen=True, kw_only=True):
    """What a backend allows, and what it costs. The first three hold over all runs of the process; None is no limit."""

    max_concurrency: int | None = None
    """Most calls in flight at once."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    """Input and output together."""
    timeout_s: float | None = None
    """How long one attempt may take, in seconds from when it is sent, for calls that name no limit."""
    timeout_first_token_s: float | None = None
    """How long the first part of its answer may take, likewise. Where it is set, all answers come in parts."""
    max_tokens: int | None = None
    """How long an answer may be, for calls that name no limit."""
    image_tokens: int = 50_000
    """The most tokens that one image counts."""
    pdf_tokens: int = 400_000
    """The most tokens that one PDF counts: a hundred pages, each as text and as an image."""
    own_input: int = 0
    """Tokens that the backend itself adds to each request, at most."""
    prices: dict[str, Price] = {}
    """What each model costs, by its name."""
    retries: int = 6
    """Further attempts after one that failed in a way that may pass, for calls that name none. At 20% faults three
    leave a thousand calls all right one time in five."""

    @property
    def by_the_minute(self) -> bool:
        return self.requests_per_minute is not None or self.tokens_per_minute is not None

    def largest_input(self, request: ModelRequest) -> int:
        """The most input tokens that a request can count."""
        held = self.image_tokens * len(request.images) + self.pdf_tokens * len(request.pdfs)
        return self.own_input + request.largest_input + held


NO_LIMITS = Limits()


class Backend(Protocol):
    """What the two styles share."""

    @property
    def info(self) -> BackendInfo: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def can_reason(self) -> bool:
        """Whether `ModelRequest.reasoning` means something to it."""
        ...

    # Beside these, what only some kinds say: `by_operation`, whether requests name the operation that asks; `prepare`,
    # which raises `ConfigurationError` before a run where its first call would; `listed`, its models; `can_see` and
    # `can_read_pdf`, whether it takes images and PDFs; `temperature`, that of calls without one; where answers come in
    # parts, `begin_stream(request, clock, tell, done)` or `call_stream(request, tell)`, whose `tell` may be called from
    # any thread before the call ends.

    async def close(self) -> None:
        """Gives back connections. Nothing is in flight any more."""
        ...


Tell = Callable[[str], None]
"""Is told the text of an answer in parts, in their order, as they come; the empty text says that the model has begun
something else, such as a thought. Joined they are the answer's text."""


class CallbackBackend(Backend, Protocol):
    def begin(self, request: ModelRequest, clock: Clock, done: Callable[[ModelAnswer | BackendError], None]) -> Handle:
        """Starts a call. `done` is called once, from whichever thread, unless the handle is cancelled: the first time
        counts. What a callback given to `clock` raises ends the run."""
        ...


class CoroutineBackend(Backend, Protocol):
    async def call(self, request: ModelRequest) -> ModelAnswer:
        """Makes a call. Raises `BackendError`; anything else fails the operation as a defect of the backend. Cancelling
        it closes its connection."""
        ...


AnyBackend = CallbackBackend | CoroutineBackend
