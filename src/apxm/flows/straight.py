"""Calls of models in a straight line: they begin together, and each answer is waited for where it is bound."""

from __future__ import annotations

import functools
import sys
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from apxm.flows.calling import answer, begin, operation_of
from apxm.lanes.lane import LANE
from apxm.lanes.run import RUN, Asked


def begin_call(begun: deque[object], function: Callable[..., Any], /, *arguments: Any, **options: Any) -> None:
    """Begins a call whose answer is bound later, and puts it behind those that were `begun`. What is no call of a model
    is done at once; one with tools is made when it is bound, as these may do anything."""
    name = operation_of(function)
    if name is None or LANE.get() is None:
        begun.append(function(*arguments, **options))
        return
    if options.get("tools"):
        begun.append(_Postponed(functools.partial(function, *arguments, **options)))
        return
    options = {option: value for option, value in options.items() if option not in ("tools", "max_rounds")}
    prompt, *context = arguments
    begun.append(begin(name, prompt, context, options, sys._getframe(1)))  # pyright: ignore[reportPrivateUsage]


class _Postponed(NamedTuple):
    """A call that is made when its answer is bound."""

    make: Callable[[], Any]


def end_call(begun: deque[object]) -> Any:
    """The answer of the first call that was `begun`; where that failed, the others are not wanted any more."""
    first = begun.popleft()
    if not isinstance(first, Asked | _Postponed):
        return first
    try:
        return first.make() if isinstance(first, _Postponed) else answer(first)
    except BaseException:
        for other in begun:
            if isinstance(other, Asked):
                RUN.get().drop(other)
        raise
