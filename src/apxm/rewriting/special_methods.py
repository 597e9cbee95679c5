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
        functions: tuple[Any, ...]
        match found:
            case property() if type(found) is property:
                functions = found.fget, found.fset, found.fdel
            case functools.cached_property():
                functions = (found.func,)
            case _:
                functions = (function_in(found),)
        others = [self._of(each) or each for each in functions]
        replaced = [each for each, other in zip(functions, others, strict=True) if other is not each]
        if replaced:
            stand_in(made, name, _made_like(found, *others), replaced[0])

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


def _made_like(found: Any, *functions: Any) -> Any:
    """What a class has by a name, with other functions."""
    match found:
        case property():
            read, write, delete = functions
            return property(read, write, delete, found.__doc__)
        case functools.cached_property():
            made = functools.cached_property(*functions)
            made.attrname = found.attrname
            return made
        case classmethod():
            return classmethod(*functions)
        case _:
            return functions[0]
