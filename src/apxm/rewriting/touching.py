"""What rewritten code calls, where it may do something to what outlives an iteration.

Outside of a lane of an `each` all of it is what the user wrote: nothing waits for a turn.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Container
from functools import partial
from types import BuiltinFunctionType, FunctionType, MemberDescriptorType, MethodType, MethodWrapperType
from typing import Any, NamedTuple, TypeVar, cast

from apxm.effects.libraries import CONTAINERS, IMMUTABLE, MADE_NEW, ONLY_ADDS, Known, known, only_keeps
from apxm.effects.methods import runs_in_lanes
from apxm.effects.patterns import CALLING
from apxm.effects.roles import MAKERS, Kind, Summary
from apxm.effects.users import is_users_class
from apxm.lanes.lane import LANE, Lane
from apxm.lanes.standing_in import SLEEP
from apxm.lanes.streams import LaneStream
from apxm.rewriting import given as as_given
from apxm.rewriting.given import READING
from apxm.rewriting.nodes import PREFIX
from apxm.rewriting.targets import Targets

T = TypeVar("T")
Function = Callable[..., Any]


Where = str | int | None
"""A place that a run has a rule for; or how many loops around belongs what is only added to, None if nobody knows."""


class Unforeseen(NamedTuple):
    """A function of which the text does not say that it may be called."""

    summary: Summary
    changes: Container[str]
    """The places that others change which its module has."""


class Touching:
    """The functions, for code whose own functions are replaced by what `twin` gives for them."""

    def __init__(
        self,
        twin: Callable[[Function], Function | None],
        unforeseen: Callable[[Function, Targets, str | None], Unforeseen | None],
    ) -> None:
        """`twin` gives a function of the user's as lanes run it; None for one of which there is no source.
        `unforeseen` says what one of them does that is not among those of which the text says that they may be called,
        by these and the name of the method; None for those that are."""
        self._twin = twin
        self._unforeseen = unforeseen

    def call(
        self, function: Function, looks: bool = False, targets: Targets | None = None, name: str | None = None
    ) -> Function:
        """What is called instead of a function: it, or what waits for its turn first. `looks` says that by the text it
        only looks: no other iteration begins before it has, as what comes behind it is in front of the first call.
        Where only a run knows what is called, `targets` are those of which the loops around know what they do, and so
        they do of methods with that `name`."""
        if _is_users_object(function):
            function = _method(function, "__call__")
        twin = self._twin(function)
        if twin is not None:
            return twin if targets is None else self._expected(function, twin, looks, targets, name)
        if function is SLEEP:
            return time.sleep  # what stands in for it, also where it was imported by its name
        if type(function) is BuiltinFunctionType and function in (locals, vars, dir):
            return _looking(function)
        lane = LANE.get()
        if lane is None or lane.loop is None:
            return function
        if isinstance(function, type) and is_users_class(function):
            return self._constructing(lane, function, targets)
        match known(function):
            case Known.NOTHING:
                return self._with_functions(_owning(lane, function), function, targets)
            case Known.ITS_OWN:
                owner: object = getattr(function, "__self__", None)
                if not lane.owns(owner):
                    return _at_turn(lane, function, looks)
                return self._with_functions(function, function, targets)
            case Known.ITS_FIRST | Known.REDIRECTS:
                return _changing_first(lane, function)
            case Known.DRAWS:
                return function if lane.may_draw else _at_turn(lane, function, looks)
            case Known.LOOKS_OUTSIDE:
                return function if lane.all_in_head else _at_turn(lane, function)
            case Known.ASKS:
                return _owning(lane, function, whatever=True)
            case Known.CALLS_BACK:
                return self._calling_back(function, targets)
            case None:
                of_stream = isinstance(getattr(function, "__self__", None), LaneStream)  # as in `touch`
                return function if of_stream else _at_turn(lane, function, looks)

    def _expected(
        self, function: Function, twin: Function, looks: bool, targets: Targets, name: str | None
    ) -> Function:
        """The twin of a function; behind the turn, where it does what no loop around knows of."""
        lane = LANE.get()
        if lane is None or lane.loop is None:
            return twin
        does = self._unforeseen(function, targets, name)
        if does is None or not self._is_seen(lane, function, does):
            return twin

        def at_turn(*arguments: Any, **named: Any) -> Any:
            if looks:
                lane.hold()
            lane.take_turn()
            return twin(*arguments, **named)

        return at_turn

    def _is_seen(self, lane: Lane, function: Function, does: Unforeseen) -> bool:
        """Whether others may see what a function does, or it sees what they do. What it does to what it is given is
        seen to where it does it."""
        summary = does.summary
        if summary.meets or summary.draws:
            return True
        owner = getattr(function, "__self__", None)
        given = summary.parameters if owner is None or lane.owner_of(owner) is lane else summary.parameters[1:]
        return any(
            touch.kind is not Kind.LOAD or touch.name in does.changes or lane.has_rule(touch.name)
            for touch in summary.touches
            if touch.name not in summary.parameters and touch.through not in given
        )

    def _constructing(self, lane: Lane, made: type, targets: Targets | None) -> Function:
        """What makes an object of a class of the user's, which is the lane's own."""
        initialize: Any = made.__init__
        plain = type(made) is type and made.__new__ is object.__new__
        twin = self._twin(initialize) if plain and isinstance(initialize, FunctionType) else None
        if twin is not None and targets is not None:
            twin = self._expected(initialize, twin, False, targets, None)
        if twin is None and not only_keeps(made):
            return _at_turn(lane, made)

        def constructing(*arguments: Any, **named: Any) -> Any:
            found: Any
            if twin is None:
                found = made(*arguments, **named)
                lane.own(found)
                given = {id(each) for each in (*arguments, *named.values())}
                for part in getattr(found, "__dict__", {}).values():
                    if id(part) not in given:  # a factory has made it
                        lane.own_container(part)
            else:
                found = cast(Any, made).__new__(made)
                lane.own(found)
                twin(found, *arguments, **named)
            return found

        return constructing

    def manage(self, manager: Any) -> Any:
        """A context manager whose methods are called as lanes call them."""
        lane = LANE.get()
        if lane is None or lane.loop is None or runs_in_lanes(manager) or not _is_manager(manager):
            return manager
        return _Managed(self, manager)

    def call_free(self, function: Function) -> Function:
        """As `call`, where nothing comes between a change of a container and that of the next iteration."""
        return function if known(function) is Known.ITS_OWN else self.call(function)

    def _with_functions(self, found: Function, function: Function, targets: Targets | None) -> Function:
        """What is called for a function of a library, where that calls what it is given."""
        is_calling = targets is not None and getattr(function, "__name__", "") in CALLING
        return self._calling_back(found, targets) if is_calling else found

    def _calling_back(self, function: Function, targets: Targets | None) -> Function:
        def calling(*arguments: Any, **named: Any) -> Any:
            given = [self._given(argument, targets) for argument in arguments]
            return function(*given, **{name: self._given(argument, targets) for name, argument in named.items()})

        return calling

    def _given(self, argument: Any, targets: Targets | None) -> Any:
        is_data = isinstance(argument, type) or _is_users_object(argument)  # and sees to its `__call__` itself
        return self.call(argument, targets=targets) if callable(argument) and not is_data else argument

    def touch(self, thing: T) -> T:
        """`thing`, at a time when it may be changed."""
        lane = LANE.get()
        if lane is None or lane.loop is None or isinstance(thing, LaneStream):
            return thing  # both see to the order themselves
        if not lane.owns(thing):
            lane.take_turn(lane.owner_of(thing))
        return thing

    def local(self, read: Callable[[], T], name: str) -> T:
        """A local variable of the function around an iteration."""
        try:
            return read()
        except NameError:
            message = f"cannot access local variable '{name}' where it is not associated with a value"
            raise UnboundLocalError(message, name=name) from None

    def augment(self, thing: object, is_plain: bool) -> None:
        """Waits until `thing` may be changed in place, as ``+=`` changes a list; `is_plain` says that by the text it is
        a number, or another value that nobody can change."""
        del is_plain  # which `explain` reads
        if not isinstance(thing, IMMUTABLE):
            self.touch(thing)

    def item_of(self, container: Any, key: Any) -> Any:
        """``container[key]``: that of a `defaultdict` is made where there is none."""
        found = cast("defaultdict[Any, Any]", container)
        if type(container) is not defaultdict or key in found:
            return found[key]
        lane = LANE.get()
        if lane is None or lane.loop is None or found.default_factory is None:
            return found[key]
        if not lane.owns(found):
            lane.take_turn(lane.owner_of(found))
        if key not in found:
            made = self.call(found.default_factory)()
            found[key] = made
        return found[key]

    def iterate(self, items: T) -> T:
        """`items`, at a time when they may be gone through: an iterator is shared by all who have it."""
        return self.touch(items) if hasattr(type(items), "__next__") else items

    def own(self, made: T) -> T:
        """What has just been made."""
        lane = LANE.get()
        if lane is not None and lane.loop is not None:
            lane.own(made)
        return made

    def turn(self, levels: int | None) -> None:
        """Waits until what belongs to the function around so many loops may be changed; None is everything."""
        lane = LANE.get()
        if lane is not None and lane.loop is not None:
            lane.take_turn(_around(lane, levels))

    def turn_of(self, levels: int | None, thing: T) -> T:
        """`thing`, at the turn for what is `levels` loops around."""
        self.turn(levels)
        return thing

    def later(self, levels: int | None, function: Function, value: T) -> T:
        """Calls `function` with `value` at the turn, and gives `value` at once."""
        lane = LANE.get()
        if lane is None:
            function(value)
        else:
            lane.later(_around(lane, levels), function, value)
        return value

    def later_change(self, levels: int | None, change: Function, value: object) -> None:
        """As `later`, for a change that reads `value`."""
        lane = LANE.get()
        if lane is None:
            change(value)
        else:
            as_given.later(lane, _around(lane, levels), change, (value,))

    def later_call(self, levels: int | None, function: Function, *arguments: Any, **named: Any) -> None:
        """Calls a method that only adds to what it belongs to, at the turn."""
        lane = LANE.get()
        owner = getattr(function, "__self__", None)
        if (
            lane is not None
            and lane.loop is not None
            and known(function) is Known.ITS_OWN
            and function.__name__ in ONLY_ADDS
        ):
            keep = as_given.later if function.__name__ in READING else _kept_alone
            found = partial(function, **named) if named else function
            keep(lane, lane.owner_of(owner) or _around(lane, levels), found, arguments)
        else:
            self.call(function)(*arguments, **named)

    # --- what a run has rules for: attributes, as ``.stats``, and names of modules, as ``:total`` --------------------

    def reading(self, thing: T, *places: str) -> T:
        """`thing`, of which an attribute is read, at a time when that is what it would be line by line."""
        lane = LANE.get()
        if lane is not None and lane.loop is not None:
            for place in places:
                if lane.waits_to_read(place):
                    owner = _owner_of_part(lane, thing, place)
                    if lane.waits_to_read(place, owner):
                        lane.take_turn(owner)
        return thing

    def reads(self, place: str) -> None:
        """As `reading`, for a name of the module."""
        lane = LANE.get()
        if lane is not None and lane.waits_to_read(place):
            lane.take_turn()

    def setting(self, place: str, value: T) -> T:
        """`value`, once a name of the module may be set to it."""
        lane = LANE.get()
        if lane is not None and lane.loop is not None and lane.rule(place) != "free":
            lane.take_turn()
        return value

    def adding(self, place: str, add: Function, value: Any) -> None:
        """Adds to a name of the module."""
        self._changing(place, None, add, value)

    def set_attribute(self, place: str, change: Function | None, value: Any, thing: Any, name: str) -> None:
        """``thing.name = value``, or ``thing.name += value`` where there is a `change`."""
        made = cast("type[object]", type(thing))
        found = next((vars(each)[name] for each in made.__mro__ if name in vars(each)), None)
        if isinstance(found, property) and found.fset is not None and is_users_class(made):
            # A function of the user's as any other one.
            self.touch(thing)
            self.call(found.fset)(thing, value if change is None else change(getattr(thing, name), value))
            return
        if change is None:
            self._changing(place, thing, partial(setattr, thing, name, value))
            return

        def done(given: Any) -> None:
            setattr(thing, name, change(getattr(thing, name), given))

        self._changing(place, thing, done, value)

    def set_item(self, where: Where, change: Function | None, value: Any, container: Any, *keys: Any) -> None:
        """``container[key] = value``, or ``container[key] += value`` where there is a `change`; the keys before the
        last one lead to what has that item."""

        def done(*given: Any) -> None:
            holder = _item(container, keys[:-1])
            (new,) = given or (value,)
            holder[keys[-1]] = new if change is None else change(self.item_of(holder, keys[-1]), new)

        reads = change is not None or isinstance(keys[-1], slice)
        self._changing(where, container, done, *([value] if reads else []), known=type(container) in CONTAINERS)

    def add_to_item(
        self, where: Where, container: Any, keys: tuple[Any, ...], default: Any, name: str, *arguments: Any
    ) -> None:
        """``container[key].append(value)``, or with ``container.setdefault(key, default)``; without a default that is
        the class `NameError`."""

        def done(*given: Any) -> None:
            holder = _item(container, keys[:-1])
            item = self.item_of(holder, keys[-1]) if default is NameError else holder.setdefault(keys[-1], default)
            self.call(getattr(item, name))(*(given or arguments))

        read = arguments if name in READING else ()
        self._changing(where, container, done, *read, known=type(container) in CONTAINERS)

    def call_of(self, place: str, function: Function, *arguments: Any, **named: Any) -> None:
        """Calls a method that by its name changes what it belongs to."""
        if known(function) is not Known.ITS_OWN:
            self.call(function)(*arguments, **named)
            return
        changed: object = getattr(function, "__self__", None)
        adds, reads = function.__name__ in ONLY_ADDS, function.__name__ in READING
        change = partial(function, *(() if reads else arguments), **named)
        self._changing(place, changed, change, *(arguments if reads else ()), known=adds)

    def _changing(
        self, where: Where, thing: object, change: Callable[..., object], *given: Any, known: bool = True
    ) -> None:
        """Makes a change: at once, where `thing` is the lane's own, or none of the others sees a difference; else at
        the turn, for which it waits unless it is `known` that nobody needs it done. It reads what it is `given`."""
        lane = LANE.get()
        if lane is None or lane.loop is None or (thing is not None and lane.owns(thing)):
            change(*given)
            return
        owner = None if thing is None else lane.owner_of(thing)
        rule = lane.rule(where, owner) if isinstance(where, str) else "later"
        if rule == "later" and known:
            as_given.later(lane, owner or (None if isinstance(where, str) else _around(lane, where)), change, given)
            return
        if rule != "free":
            lane.take_turn(owner)
        change(*given)

    def count(self, where: Where, change: Function, default: Any, value: Any, counts: Any, key: Any) -> None:
        """``counts[key] = counts.get(key, default) + value``, or by another operator."""

        def done(given: Any) -> None:
            counts[key] = change(counts.get(key, default), given)

        self._changing(where, counts, done, value, known=type(counts) in CONTAINERS)


def _kept_alone(lane: Lane, owner: Lane | None, function: Function, given: tuple[Any, ...]) -> None:
    """For a function that keeps what it is given, as it is."""
    lane.later(owner, function, *given)


def _item(container: Any, keys: tuple[Any, ...]) -> Any:
    for key in keys:
        container = container[key]
    return container


def _owner_of_part(lane: Lane, thing: object, place: str) -> Lane | None:
    """The lane in which was made what an attribute of a thing stands for. One that its class has is that of all its
    objects, and a list that it was given is that of whoever gave it."""
    owner = lane.owner_of(thing)
    if owner is None or place.startswith(":"):
        return None
    name, held = place[1:], cast("dict[str, object]", getattr(thing, "__dict__", {}))
    part = held.get(name)
    if name not in held:
        found = [vars(each)[name] for each in type(thing).__mro__ if name in vars(each)][:1]
        if not found or (hasattr(found[0], "__get__") and not isinstance(found[0], _FIELDS)):
            return owner
        if not isinstance(found[0], _FIELDS):
            return None
        part = getattr(thing, name, None)
    if not isinstance(part, MADE_NEW):
        return owner
    around, of_part = owner, lane.owner_of(part)  # pyright: ignore[reportUnknownArgumentType] - of whatever it holds
    while around is not None and around is not of_part:
        around = around.opener
    return of_part if around is of_part else owner


_FIELDS = cast("tuple[type[object], ...]", (MemberDescriptorType, type(vars(Unforeseen)["summary"])))
"""What a class with ``__slots__``, or a NamedTuple, has in the place of each attribute of its objects."""


def _is_manager(thing: object) -> bool:
    """Whether `with` takes it: of what it does not, Python says so itself."""
    return hasattr(type(thing), "__enter__") and hasattr(type(thing), "__exit__")


class _Managed:
    """A context manager in a lane."""

    def __init__(self, touching: Touching, manager: Any) -> None:
        self._touching = touching
        self._manager = manager

    def __enter__(self) -> Any:
        return self._touching.call(_method(self._manager, "__enter__"))()

    def __exit__(self, *raised: Any) -> Any:
        return self._touching.call(_method(self._manager, "__exit__"))(*raised)


def _method(thing: object, name: str) -> Function:
    """A special method of an object, as Python finds it: by its class."""
    return MethodType(getattr(type(thing), name), thing)


_FUNCTIONS = frozenset({FunctionType, MethodType, BuiltinFunctionType, MethodWrapperType, type})


def _is_users_object(thing: object) -> bool:
    kind = type(thing)
    return kind not in _FUNCTIONS and not issubclass(kind, type) and is_users_class(kind)


def _around(lane: Lane, levels: int | None) -> Lane | None:
    """The lane so many loops around; None where it is not known how many."""
    if levels is None:
        return None
    found: Lane = lane
    for _ in range(levels):
        if found.loop is None:
            return None
        found = found.loop.opener
    return None if found.loop is None else found


def _looking(function: Function) -> Function:
    """`locals`, `vars` or `dir`, as it is line by line: it does not see names that were put in."""

    def looking(*thing: Any) -> Any:
        lane = LANE.get()
        if lane is not None and lane.loop is not None and function is not dir:
            lane.take_turn()
        frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] - who calls it
        if thing:
            return function(*thing)
        found = frame.f_locals
        if found is not frame.f_globals:
            found = {name: value for name, value in found.items() if not name.startswith(PREFIX)}
        return sorted(found) if function is dir else found

    return looking


_OF_FRAMES = (globals, eval, exec)
"""Functions that look at who calls them."""


def _at_turn(lane: Lane, function: Function, looks: bool = False) -> Function:
    if any(function is each for each in _OF_FRAMES):
        lane.take_turn()
        return function
    if lane.has_turn and not lane.effects:
        return function

    def at_turn(*arguments: Any, **named: Any) -> Any:
        if looks:
            lane.hold()
        lane.take_turn(lane.owner_of(getattr(function, "__self__", None)))
        return function(*arguments, **named)

    return at_turn


def _changing_first(lane: Lane, function: Function) -> Function:
    def changing(first: Any, *arguments: Any, **named: Any) -> Any:
        if not lane.owns(first):
            lane.take_turn(lane.owner_of(first))
        return function(first, *arguments, **named)

    return changing


def _owning(lane: Lane, function: Function, *, whatever: bool = False) -> Function:
    """A function that only computes, of which a container that it gives, or `whatever` it does, is the lane's own."""
    if not (whatever or _makes(function)):
        return function

    def owning(*arguments: Any, **named: Any) -> Any:
        made = function(*arguments, **named)
        if whatever:
            lane.own(made)
        else:
            lane.own_container(made)
        return made

    return owning


def _makes(function: object) -> bool:
    if isinstance(function, type):
        return function in MADE_NEW
    return getattr(function, "__name__", "") in MAKERS
