"""A flow for many inputs, as one run: a lane for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, Self, cast

from apxm.errors import ConfigurationError, JournalError, UsageError
from apxm.lanes.lane import LANE, EachRun
from apxm.operations.plain import kind_of

_PLACE = "batch"
"""What paths begin with: ``batch[3]/label:9``."""


class BatchFailed(ExceptionGroup[Exception]):
    """Some inputs of a batch failed. `exceptions` has what they raised; `values` what came of all of them, in order:
    what the flow returned, or the exception."""

    values: list[Any]

    def __new__(cls, message: str, errors: Sequence[Exception], values: list[Any]) -> Self:
        del values  # which the group itself knows nothing of
        return super().__new__(cls, message, errors)

    def __init__(self, message: str, errors: Sequence[Exception], values: list[Any]) -> None:
        super().__init__(message, errors)
        self.values = values

    def derive(self, errors: Sequence[Exception], /) -> BatchFailed:  # type: ignore[override]  # of these alone
        return BatchFailed(self.message, errors, self.values)


def refuse(inputs: Sequence[object], name: str) -> None:
    """Raises `UsageError` for what are no inputs of the flow called `name`."""
    if not inputs:
        raise UsageError(f"{name}.batch is given no inputs", hint=f"{name}.batch(items): one call for each item")
    for given in inputs:
        if not isinstance(given, Iterable) or isinstance(given, str | bytes | Mapping):
            raise UsageError(
                f"{name}.batch takes lists of inputs, not {kind_of(cast(object, given))}",
                hint="as map does: a list for each parameter; what all calls share is given by name",
            )
    if len(lengths := {len(given) for given in inputs if isinstance(given, Sized)}) > 1:
        raise UsageError(f"{name}.batch is given lists of different lengths: {', '.join(map(str, sorted(lengths)))}")


def each_input(
    function: Callable[..., Any],
    inputs: Sequence[Iterable[Any]],
    named: Mapping[str, Any],
    clean: Callable[[Exception], Exception],
    most_open: int,
    *,
    return_exceptions: bool,
) -> list[Any]:
    """What a function gives for all inputs, in order, each in a lane of its own, at most
    `most_open` at once. What one of them raises is kept, as
    `clean` gives it; raises `BatchFailed` at the end, unless it is to `return_exceptions`."""
    lane = LANE.get()
    assert lane is not None
    found: dict[int, Any] = {}
    failed: dict[int, Exception] = {}

    def body(numbered: tuple[int, tuple[Any, ...]]) -> None:
        index, arguments = numbered
        try:
            found[index] = function(*arguments, **named)
        except (JournalError, ConfigurationError):  # of the run, not of this input
            raise
        except Exception as error:
            found[index] = failed[index] = clean(error)

    EachRun(lane, body.__code__, _PLACE, body, body.__code__, most_open).run(enumerate(_together(inputs)))
    values = [found[index] for index in range(len(found))]
    if failed and not return_exceptions:
        for index, error in failed.items():
            error.add_note(f"input {index} of the batch")
        errors = [failed[index] for index in sorted(failed)]
        raise BatchFailed(f"{len(failed)} of {len(values)} inputs failed", errors, values)
    return values


def _together(inputs: Sequence[Iterable[Any]]) -> Iterator[tuple[Any, ...]]:
    try:
        yield from zip(*inputs, strict=True)
    except ValueError as uneven:
        raise UsageError(f"the inputs of the batch are of different lengths: {uneven}") from None
