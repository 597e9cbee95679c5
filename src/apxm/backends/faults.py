"""What a simulated endpoint does wrong, on demand: `none`, or `KIND:PROBABILITY`, `KIND:@K`, `KIND:>N` and `seed:N` in
any number.

Whether a call meets a fault by chance is a function of what is asked and of how often it was asked before, as a random
latency is (see `Draws.uniform`): a retry draws anew, and the order in which different calls arrive decides nothing.
`@K` is the K-th call to arrive, whatever it asks, and `>N` each that arrives while N others are in flight.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from types import MappingProxyType
from typing import Literal, get_args

import msgspec

from apxm.backends.completion import ChatChoice, ChatMessage, Completion, TokenCounts
from apxm.backends.latency import Draws
from apxm.backends.numbers import DECIMAL
from apxm.backends.protocol import ModelAnswer
from apxm.errors import BackendError, UsageError

FaultKind = Literal[
    "429",  # with Retry-After
    "500",
    "503",
    "reset",  # the connection, before the answer
    "reset_mid",  # the connection, in the middle of the answer's body
    "hang",  # no answer; the connection stays open
    "truncated",  # half of the JSON, as if it were all
    "utf8",  # an answer that is not UTF-8
    "content_type",  # an HTML page with status 200
    "empty",  # no choices
    "drip",  # the answer, a byte a second
    "bomb",  # a small compressed answer that inflates to 1 GiB
    "redirect",  # 302, to another path of the same server
    "no_format",  # 400: it does not know how to ask for a shape
    "fence",  # the shape in a code fence
    "prose",  # words around it
    "wrong_type",  # another one
    "cut_off",  # half of it, as if a limit of tokens had ended it
    "unshaped",  # words instead
    "refusal",
]
KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
OF_SHAPES: frozenset[FaultKind] = frozenset(KINDS[KINDS.index("no_format") :])
"""They meet those calls alone that ask for a shape."""
MISSHAPEN: frozenset[FaultKind] = OF_SHAPES - {"no_format", "refusal"}
"""They are in the text of an answer that is sound otherwise."""
AT_ONCE: frozenset[FaultKind] = frozenset({"429", "500", "503", "reset", "redirect", "no_format"})
"""Given without any work. The others come where the answer would, and have taken its time and its tokens."""
REFUSAL = "I cannot help with that."
"""The words of a refusal."""
RETRY_AFTER_S = 1
"""What the 429 asks for."""
MAX_CALL = 1_000_000_000

_FORMS = "none or KIND:PROBABILITY,KIND:@K,KIND:>N,…,seed:N"
_EXAMPLES = "429:0.1,reset:0.05,seed:7 or hang:@3 or 429:>64"
_CALL = re.compile(r"@[0-9]{1,12}")
_LOAD = re.compile(r">[0-9]{1,9}")
_SEED = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True)
class Faults:
    """Which calls meet which fault."""

    bounds: tuple[tuple[FaultKind, float], ...]
    """The sums of the probabilities, in the order written: the first above a call's number is its fault."""
    calls: Mapping[int, FaultKind]
    """The faults of single calls, by their number from 1; these go before what is drawn."""
    seed: int | None
    """The seed; None is that of the latencies, and the numbers drawn are others all the same."""
    text: str
    loads: tuple[tuple[FaultKind, int], ...] = ()
    """The faults of calls that find so many others in flight; these go before what is drawn, too."""

    @property
    def kinds(self) -> frozenset[FaultKind]:
        return frozenset([*(kind for kind, _ in (*self.bounds, *self.loads)), *self.calls.values()])

    def draws(self, seed: int, iteration: int) -> Draws:
        """What `next_fault` needs for one run; `seed` is that of the latencies."""
        return Draws(seed if self.seed is None else self.seed, iteration, purpose="faults")

    def next_fault(self, draws: Draws, model: str, system: str | None, prompt: str, load: int = 0) -> FaultKind | None:
        """What the next such call of the run meets, while `load` others are in flight."""
        named: FaultKind | None = self.calls.get(draws.next_arrival() + 1)
        if named is None and self.loads:
            named = next((kind for kind, most in self.loads if load >= most), None)
        if not self.bounds:
            return named
        number = draws.uniform(model, system, prompt)  # also where the call is named: it was asked once more
        return named or next((kind for kind, bound in self.bounds if number < bound), None)

    def __bool__(self) -> bool:
        return bool(self.bounds or self.calls or self.loads)

    def __str__(self) -> str:
        """The specification that `parse_faults` reads."""
        return self.text


def parse_faults(text: str) -> Faults:
    """Reads a specification. Raises `UsageError`."""
    stripped = text.strip()
    if stripped == "none":
        return Faults((), {}, None, stripped)
    chances: dict[FaultKind, Fraction] = {}
    calls: dict[int, FaultKind] = {}
    loads: dict[FaultKind, int] = {}
    seed: int | None = None
    for name, value in _parts(text):
        if name == "seed":
            if seed is not None:
                raise _refused(text, "there are two seeds, one is expected")
            if not _SEED.fullmatch(value):
                raise _refused(text, f"found {value!r} where a seed, a whole number, is expected")
            seed = int(value)
        elif name not in KINDS:
            raise _refused(text, f"there is no fault {name!r}, expected one of {', '.join(KINDS)}")
        elif value.startswith("@"):
            call = _parse_call(text, value)
            if call in calls:
                raise _refused(text, f"call {call} has two faults, {calls[call]} and {name}, one is expected")
            calls[call] = name
        elif value.startswith(">"):
            if name in loads:
                raise _refused(text, f"{name} has two numbers of calls in flight, one is expected")
            if not _LOAD.fullmatch(value):
                raise _refused(text, f"found {value!r}, expected the calls in flight beyond which it comes: >64")
            loads[name] = int(value[1:])
        else:
            if name in chances:
                raise _refused(text, f"{name} has two probabilities, one is expected")
            chances[name] = _parse_probability(text, value)
    if not chances and not calls and not loads:
        raise _refused(text, f"it names no fault, expected {_FORMS}")
    bounds = [*accumulate(chances.values())]  # exact, so that probabilities of 1 in all leave out no call
    if bounds and bounds[-1] > 1:
        raise _refused(text, f"the probabilities add up to {float(bounds[-1]):g}, expected at most 1")
    return Faults(tuple(zip(chances, map(float, bounds), strict=True)), calls, seed, stripped, tuple(loads.items()))


def _parts(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(","):
        name, colon, value = (piece.strip() for piece in part.partition(":"))
        if not colon:
            raise _refused(text, f"found {part.strip()!r}, expected {_FORMS}")
        yield name, value


def _parse_call(text: str, value: str) -> int:
    if not _CALL.fullmatch(value) or not 1 <= int(value[1:]) <= MAX_CALL:
        raise _refused(text, f"found {value!r}, expected the number of a call: @1 to @{MAX_CALL}")
    return int(value[1:])


def _parse_probability(text: str, value: str) -> Fraction:
    if not DECIMAL.fullmatch(value) or (probability := Fraction(value)) > 1:
        forms = "a probability from 0 to 1, @K for the K-th call or >N for those beyond N in flight"
        raise _refused(text, f"found {value!r} where {forms} is expected")
    return probability


def _refused(text: str, why: str) -> UsageError:
    return UsageError(f"faults {text!r}: {why}", hint=f"for example {_EXAMPLES}")


# --- in process ----------------------------------------------------------------------------------------------------


_ERRORS: Mapping[FaultKind, tuple[str, str]] = MappingProxyType(
    {
        "429": ("rate_limited", "answered 429 Too Many Requests"),
        "500": ("http_status", "answered 500 Internal Server Error"),
        "503": ("http_status", "answered 503 Service Unavailable"),
        "reset": ("connection", "was lost: connection reset"),
        "reset_mid": ("unreadable_answer", "sent an answer that cannot be read: connection reset in its middle"),
        "truncated": ("unreadable_answer", "answered 200, but the answer is JSON cut off"),
        "utf8": ("unreadable_answer", "answered 200, but the answer is not UTF-8"),
        "content_type": ("unreadable_answer", "answered 200, but the answer is a page of HTML"),
        "empty": ("unreadable_answer", "answered 200, but the answer holds no choices"),
        "bomb": ("too_large", "sent an answer of 1 GiB"),
        "redirect": ("redirect", "answered 302 Found: a redirect, which is not followed"),
        "refusal": ("refused", f"answered 200, but the model refused: {REFUSAL}"),
    }
)


def fault_error(fault: FaultKind, backend: str) -> BackendError:
    """What the openai backend reports of a server that does so. There is none for `hang` and `drip`, of which only a
    limit of time makes an error, and for what is in the text of an answer."""
    kind, words = _ERRORS[fault]
    pause = RETRY_AFTER_S if fault == "429" else None
    words = f"{backend} {words} (a simulated fault)"
    overloaded = fault in ("429", "503")
    return BackendError(kind, words, retryable=fault != "refusal", retry_after_s=pause, overloaded=overloaded)


def body_size(answer: ModelAnswer) -> int:
    """How many bytes the simulator sends for `answer`, not streamed, as its first one; the number of a later one may
    make it a little longer."""
    given, taken = answer.usage.input_tokens or 0, answer.usage.output_tokens or 0
    text = answer.text.encode(errors="replace").decode()  # half of a surrogate pair could not be sent at all
    choice = ChatChoice(0, ChatMessage("assistant", text), "stop")
    counts = TokenCounts(given, taken, given + taken)
    body = Completion("chatcmpl-simulated-1", "chat.completion", 1_000_000_000, answer.model or "", (choice,), counts)
    return len(msgspec.json.encode(body))
