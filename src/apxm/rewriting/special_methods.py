"""Special methods of the user's classes while flows run: in a lane they are run as lanes run any function.

Python itself calls them, and whatever library is given the object: `sorted`, an f-string, a dict. So they are not
replaced where they are called, but in their class.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from apxm.effects.methods import BEHIND, behind, function_in, specials_of
from apxm.effects.roles import Kind, Summary
from apxm.effects.users import is_users
from apxm.lanes.lane import LANE
from apxm.lanes.standing_in import stand_in

Function = Callable[..., Any]


class SpecialMethods:
    """Those that stand in for the user's, and the getters and setters of properties."""

    def __init__(
        self, twin: Callable[[Function], Function | None], summary_of: Callable[[Function], Summary | None]
    ) -> None:
        """`twin` gives a function as lanes run it, `summary_of` what it does; None where nobody knows."""
        self._twin = twin
        self._summary_of = summary_of
        self._seen: WeakSet[type] = WeakSet()

    def stand_in_for(self, classes: list[type]) -> None:
        """From here on lanes see to what these classes do."""
        for made in [each for each in classes if each not in self._seen]:
            self._seen.add(made)
            for name, _ in specials_of(made):
                self._stand_in(made, name)
            for name, found in list(vars(made).items()):
                if isinstance(found, property | functools.cached_property):
                    self._stand_in(made, name)

    def forget(self) -> None:
        """Looks at all classes once more."""
        self._seen.clear()

    def _stand_in(self, made: type, name: str) -> None:
        found: Any = vars(made)[name]
        match found:
            case classmethod():
                inner = self._of(function_in(vars(made)[name]))
                other = None if inner is None else classmethod(inner)
            case property():
                other = self._property(found)
            case functools.cached_property():
                inner = self._of(found.func)
                other = None if inner is None else _kept_property(found, inner)
            case _:
                other = self._of(found)
        if other is not None:
            stand_in(made, name, other)

    def _property(self, found: property) -> property | None:
        read, write, delete = (each and self._of(each) for each in (found.fget, found.fset, found.fdel))
        if type(found) is not property or not (read or write or delete):
            return None
        return property(read or found.fget, write or found.fset, delete or found.fdel, found.__doc__)

    def _of(self, function: object) -> Function | None:
        """What stands in for a function; None where it does nothing that anybody would see."""
        if not isinstance(function, types.FunctionType) or not is_users(function.__code__.co_filename):
            return None
        if getattr(function, BEHIND, None) is not None and getattr(function, _OURS, False):
            return None
        summary = self._summary_of(behind(function))
        if summary is None or not summary.does_something:
            return None
        changes = any(touch.kind is not Kind.LOAD for touch in summary.touches)
        only_reads = not (changes or summary.waits or summary.draws)
        places = tuple({touch.name for touch in summary.touches if touch.name.startswith((".", ":"))})
        twin_of = self._twin

        @functools.wraps(function)
        def special(*given: Any, **named: Any) -> Any:
            lane = LANE.get()
            if lane is None or lane.loop is None or not lane.runs_here:
                return function(*given, **named)
            if only_reads and not any(map(lane.waits_to_read, places)):
                return function(*given, **named)
            return (twin_of(function) or function)(*given, **named)

        setattr(special, BEHIND, behind(function))
        setattr(special, _OURS, True)
        return special


_OURS = "__apxm_special__"


def _kept_property(found: Any, function: Function) -> Any:
    made = functools.cached_property(function)
    made.attrname = found.attrname
    return made
