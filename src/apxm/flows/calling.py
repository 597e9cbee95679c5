"""A model call that ordinary code makes, and waits for in its lane: what `ask` and its family are made of."""

from __future__ import annotations

import os
import sys
from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from types import FrameType, FunctionType
from typing import Any, NamedTuple, ParamSpec, TypedDict, TypeVar, cast
from weakref import WeakKeyDictionary

from apxm.api import to_the_end
from apxm.errors import UsageError, hint_for
from apxm.flows.classes import Structure, refuse_no_class, structure
from apxm.lanes.lane import LANE
from apxm.lanes.places import site_of
from apxm.lanes.run import RUN, Asked, LaneRun
from apxm.lanes.running import run_flow
from apxm.operations.catalog import CONTENT_KINDS, OPERATIONS
from apxm.operations.labels import fold_label
from apxm.operations.plain import kind_of, plain
from apxm.operations.types import JSON, Value
from apxm.program.expressions import Expression, Literal, Operand
from apxm.program.nodes import Operate
from apxm.runtime.content import HELD
from apxm.runtime.handlers.model import ModelCall
from apxm.runtime.handlers.offer import Offer
from apxm.source import as_utf8, shortened

F = TypeVar("F", bound=Callable[..., Any])
Q = ParamSpec("Q")
T = TypeVar("T")

_ASKS = "__apxm_asks__"
"""The attribute of functions that are calls of a model."""


def asks(operation: str | None = None) -> Callable[[F], F]:
    """Marks a function as a call of a model; of that `operation`, where such calls may overlap in a straight line."""

    def marked(function: F) -> F:
        setattr(function, _ASKS, operation)
        return function

    return marked


def is_call(function: object) -> bool:
    """Whether a function is a call of a model."""
    return isinstance(function, FunctionType) and hasattr(function, _ASKS)


def operation_of(function: object) -> str | None:
    """The operation that a function is whose calls may overlap in a straight line; None for any other one."""
    return getattr(function, _ASKS) if is_call(function) else None


class Content(NamedTuple):
    """An image or a file among the context of a call."""

    kind: str
    path: str


def image(path: str | os.PathLike[str] | bytes) -> Content:
    """An image among the context of a call: the file of a PNG, JPEG, GIF or WebP, or its bytes, or a URL that the
    endpoint reads."""
    return Content("image", _path(path))


def file(path: str | os.PathLike[str] | bytes) -> Content:
    """A file of text, or a PDF, among the context of a call, or its bytes."""
    return Content("file", _path(path))


def _path(content: str | os.PathLike[str] | bytes) -> str:
    """Bytes are a URL that holds them, so that whatever a call is given is text."""
    if isinstance(content, bytes):
        return f"{HELD};base64,{b64encode(content).decode()}"
    return os.fspath(content)


class PythonCall(ModelCall):
    """A model call of Python code: the options of its call site, for whatever it is given."""

    __slots__ = ("made",)

    def __init__(
        self,
        name: str,
        context: int,
        options: Sequence[tuple[str, Any]],
        wanted: Structure | None,
        offer: Offer | None = None,
        most_rounds: int = 0,
    ) -> None:
        """`offer` is what its model may call, in at most `most_rounds` rounds; the last of its values are those so
        far."""
        operands = tuple(range(1 + context))
        given = {option: Literal(_unfrozen(value)) for option, value in options}
        node = Operate(
            operation=name,
            operands=operands,
            arguments=tuple(map(Operand, operands)),
            options=dict[str, Expression](given),
            result=str(OPERATIONS[name].result),
        )
        super().__init__(OPERATIONS[name], node)
        self.made: Callable[[Value], Any] | None = None
        """Makes an object of the answer's value; None where that is the answer."""
        if wanted is not None:
            self._answer, self.read, self.made = wanted
        if offer is not None:
            self.offer, self._most_rounds, self._rounds = offer, most_rounds, _last


def _last(values: list[Value]) -> Value:
    return values[-1]


def cached_in_run(make: Callable[Q, T]) -> Callable[Q, T]:
    """As `functools.lru_cache`, until the run is over that the lane here is of: for what holds classes or functions of
    the user's, which may be made anew for each run."""
    known: WeakKeyDictionary[LaneRun, Callable[Q, T]] = WeakKeyDictionary()

    @wraps(make)
    def found(*given: Q.args, **named: Q.kwargs) -> T:
        run = RUN.get(None)  # nothing runs where a call is only checked
        cached = None if run is None else known.get(run)
        if cached is None:
            cached = cast("Callable[Q, T]", lru_cache(maxsize=1024)(make))
            if run is not None:
                known[run] = cached
        return cached(*given, **named)

    return found


def _made(
    name: str, context: int, options: tuple[tuple[str, Any], ...], wanted: Any, offer: Offer | None, most_rounds: int
) -> PythonCall:
    """The operation of all calls with these options and so many values of context. Raises `UsageError`."""
    known = {parameter.name: parameter for parameter in OPERATIONS[name].parameters}
    for option, value in options:
        if option not in known or known[option].by_position or (known[option].noted and option != CONTENT_KINDS):
            told = [p.name for p in known.values() if not (p.noted or p.by_position)]
            raise UsageError(f"`{name}` has no option {option!r}", hint=hint_for(option, told, "docs/python.md"))
        try:
            plain(_unfrozen(value), known[option].type, f"{option}=")
        except ValueError as unfit:
            raise UsageError(f"`{name}`: {unfit}") from None
        if (limit := known[option].limit_passed_by(_unfrozen(value))) is not None:
            raise UsageError(f"`{name}`: {option}= {limit}, and this is {value!r}")
        if option == "choices":
            _refuse_choices(name, value, wanted)
    return PythonCall(name, context, options, None if wanted is None else structure(wanted), offer, most_rounds)


_plain = lru_cache(maxsize=1024)(_made)
_of_users = cached_in_run(_made)


def _refuse_choices(name: str, choices: tuple[str, ...], wanted: Any) -> None:
    """As the checker of AIS does. Raises `UsageError`."""
    folded = [fold_label(choice) for choice in choices]
    if wanted is not None:
        raise UsageError(f"`{name}` is given schema= and choices=, and an answer is one of the two")
    if not all(folded) or not folded:
        raise UsageError(f"`{name}`: choices= has {'a text of blanks' if folded else 'no text to choose'}")
    if len(set(folded)) < len(folded):
        raise UsageError(f"`{name}`: choices= has a text twice, as capital and small letters are equal there")


class Options(TypedDict, total=False):
    """What a call of a model can be told; `apxm ops` explains each."""

    system: str
    backend: str
    model: str
    temperature: float
    max_tokens: int
    timeout: float
    timeout_first_token: float
    retries: int


def begin(name: str, prompt: object, context: Sequence[object], options: dict[str, Any], frame: FrameType) -> Asked:
    """Makes a call from the lane that `frame` runs in, and does not wait for it."""
    operation, values = prepared(name, prompt, context, options)
    lane = LANE.get()
    assert lane is not None
    asked = RUN.get().ask(lane, operation, values, name, site_of(lane, frame))
    asked.made = operation.made
    return asked


def prepared(
    name: str,
    prompt: object,
    context: Sequence[object],
    options: dict[str, Any],
    offer: Offer | None = None,
    most_rounds: int = 0,
) -> tuple[PythonCall, list[Value]]:
    """The operation of a call, and the values that it is of. Raises `UsageError`."""
    wanted = options.pop("schema", None)
    if context and Content in map(type, context):
        options[CONTENT_KINDS] = [value.kind if isinstance(value, Content) else "" for value in context]
        context = [value.path if isinstance(value, Content) else value for value in context]
    given: tuple[tuple[str, Any], ...] = ()
    if options:  # most calls are told nothing
        given = tuple(sorted((option, _frozen(value)) for option, value in options.items() if value is not None))
    try:
        wanted = None if wanted is str else wanted
        operation = (_plain if wanted is None and offer is None else _of_users)(
            name, len(context), given, wanted, offer, most_rounds
        )
    except TypeError as unfit:  # something in it has no hash
        if wanted is not None:
            refuse_no_class(wanted)
        if (choices := options.get("choices")) is not None:
            hint = "a list has an order, in which the model is told them"
            raise UsageError(f"`{name}`: choices= must be a list[str], not {kind_of(choices)}", hint=hint) from None
        raise UsageError(f"`{name}` is told something that is no plain value: {unfit}") from None
    values: list[Value] = [as_utf8(prompt) if type(prompt) is str else _value(prompt, name)]
    for value in context:
        values.append(as_utf8(value) if type(value) is str else _value(value, name))
    return operation, values


def _value(value: object, name: str) -> Value:
    """What a call is given, as a backend can be told it."""
    if isinstance(value, Content):
        raise UsageError(
            f"`{name}` is given an {value.kind}(…) in place of its prompt"
            if value.kind == "image"
            else f"`{name}` is given a {value.kind}(…) in place of its prompt",
            hint=f"what to do with it comes first: {name}(PROMPT, {value.kind}({shortened(value.path, 150)!r}))",
        )
    try:
        return plain(value, JSON, f"what `{name}` is given", tuples=True)
    except ValueError as unfit:
        content = "Content" in str(unfit)
        hint = (
            f"{name}(PROMPT, *images): each stands by itself"
            if content
            else "give text, or what can be written as JSON"
        )
        raise UsageError(str(unfit), hint=hint) from None


def _frozen(value: Any) -> Any:
    return tuple(cast(list[Any], value)) if isinstance(value, list) else value


def _unfrozen(value: Any) -> Any:
    return list(cast(tuple[Any, ...], value)) if isinstance(value, tuple) else value


def call(name: str, prompt: object, context: Sequence[object], options: dict[str, Any]) -> Any:
    """A call of a model where the caller of the caller stands. Outside of a flow it is a run of its own."""
    frame = sys._getframe(2)  # pyright: ignore[reportPrivateUsage] - who asks
    if LANE.get() is None:
        return alone(name, frame, lambda: answer(begin(name, prompt, context, options, frame)))
    return answer(begin(name, prompt, context, options, frame))


def alone(name: str, frame: FrameType, main: Callable[[], Any]) -> Any:
    """A call that no flow makes, which `main` is, as a run of its own. Nothing of it is journaled: there would be
    nothing to go on with."""
    run = run_flow(main, name, frame.f_code.co_filename, {"journal": False})
    hint = "call it in a function under @apxm.flow, and await its run_async(…)"
    return to_the_end(run, f"apxm.{name}", hint).value


def answer(asked: Asked) -> Any:
    """Waits for the answer of a call, and gives it as the code wants it."""
    value = RUN.get().answer(asked)
    return value if asked.made is None else asked.made(value)
