"""The user's functions as lanes run them, what these call, and what functions of this package are to them."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from apxm.api import ProgramFlow
from apxm.effects.roles import UNKNOWN, Role, Summary
from apxm.flows.calling import is_call
from apxm.flows.each import each, gather, run_each
from apxm.flows.straight import begin_call, end_call
from apxm.lanes.lane import Broke, Returned
from apxm.lanes.marks import PURE, Step, thread
from apxm.rewriting.nodes import PREFIX
from apxm.rewriting.targets import Targets
from apxm.rewriting.touching import Touching, Unforeseen
from apxm.rewriting.twins import Twins


class FlowBase:
    """What is a flow. It knows by itself whether it is called in a lane: in a thread or a forked process rewritten code
    is in none."""

    @property
    def called_in_lane(self) -> Callable[..., Any]:
        """What a lane calls in its place."""
        raise NotImplementedError


def _role_of(function: object) -> Role | None:
    if function is each:
        return Role(each=True)
    if is_call(function):
        return Role(asks=True)
    if _sees_to_itself(function):
        return Role(summary=Summary())
    if isinstance(function, Step):
        summary = TWINS.summary_of(function.function)
        return UNKNOWN if summary is None else Role(summary=summary)
    return UNKNOWN if isinstance(function, FlowBase) else None


def _twin(function: Callable[..., Any]) -> Callable[..., Any] | None:
    if isinstance(function, FlowBase):
        return function.called_in_lane
    if _sees_to_itself(function):
        return function
    if isinstance(function, Step):
        made = cast("Step[..., Any]", function)
        return partial(made.run, TOUCHING.call(made.function))
    return TWINS.of(function)


def _sees_to_itself(function: object) -> bool:
    """Whether a function needs no waits put in, or has them already."""
    ours = is_call(function) or function is thread or isinstance(function, ProgramFlow)
    return ours or bool(getattr(function, PURE, False))


def _unforeseen(function: Callable[..., Any], targets: Targets, name: str | None) -> Unforeseen | None:
    is_marked = isinstance(function, (FlowBase, Step))
    found = TWINS.unforeseen(cast(Any, function).function if is_marked else function, targets, name)
    return None if found is None or _sees_to_itself(function) else found


TOUCHING = Touching(_twin, _unforeseen)
"""What code in lanes calls in place of functions, and what else it does where it may touch something."""
TWINS = Twins(
    {
        f"{PREFIX}{name}": function
        for name, function in {
            "begin": begin_call,
            "Broke": Broke,
            "deque": deque,
            "each": each,
            "end": end_call,
            "gather": gather,
            "isinstance": isinstance,
            "NameError": NameError,
            "made_dict": dict,
            "made_iter": iter,
            "made_set": set,
            "Returned": Returned,
            "run_each": run_each,
            **{
                name: getattr(TOUCHING, name)
                for name in (
                    "add_to_item", "adding", "augment", "call", "call_free", "call_of", "count", "item_of", "iterate",
                    "later",
                    "later_call", "later_change", "local", "manage", "own", "reading", "reads", "set_attribute",
                    "set_item", "setting",
                    "touch", "turn", "turn_of",
                )
            },
            **{
                f"{kind}{name}": getattr(operator, f"__{kind}{method}__")
                for kind in ("", "i")
                for name, method in {
                    "add": "add", "sub": "sub", "mult": "mul", "div": "truediv", "floordiv": "floordiv", "mod": "mod",
                    "pow": "pow", "lshift": "lshift", "rshift": "rshift", "bitor": "or", "bitand": "and",
                    "bitxor": "xor", "matmult": "matmul",
                }.items()
            },
        }.items()
    },
    _role_of,
)  # fmt: skip
"""The user's functions as lanes run them; what was put in calls functions of ours by names that begin with `PREFIX`."""
