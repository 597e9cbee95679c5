"""What the names in a function mean, as far as its globals, its closure and the classes that it can see say."""

from __future__ import annotations

import ast
import builtins
import collections
import types
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple, Protocol, cast

from apxm.effects.libraries import (
    CONTAINERS,
    MADE_NEW,
    TEXT_METHODS,
    Known,
    begins_only,
    is_frozen,
    known,
    only_keeps,
)
from apxm.effects.methods import Classes, behind, cached_in, function_in, is_library, unwrapped
from apxm.effects.patterns import is_super, root
from apxm.effects.roles import UNKNOWN, Kind, Role, Summary, Touch, is_text_or_number
from apxm.effects.sdk_methods import asks_by_path, asks_of, is_of_sdk
from apxm.effects.specials import Implied
from apxm.effects.summaries import merged
from apxm.effects.users import is_users, is_users_class
from apxm.lanes.items import held_by, is_restorable
from apxm.lanes.standing_in import SLEEP
from apxm.rewriting.promises import EACH
from apxm.rewriting.sources import default_attributes, held_attributes, names_in, replaced_names, set_on_classes

MISSING = object()
_PLAIN = (str, bytes, int, float, complex, bool, range, type(None), types.FunctionType, types.BuiltinFunctionType)
"""Classes whose objects hold no others."""


class ResolverParts(NamedTuple):
    """What is known of functions by those who make twins."""

    ours: Callable[[object], Role | None]
    """Of those of this package."""
    summary_of: Callable[[types.FunctionType], Summary | None]
    may_wait: Callable[[types.FunctionType], bool]
    targets: Callable[[dict[str, Any]], TargetsOf]
    """Those of the user's that a call may mean, by the names of the module that it stands in."""
    classes: Callable[[dict[str, Any]], Classes]
    """Those in sight of a module, by its names."""


class TargetsOf(Protocol):
    """What a call may mean of which only a run knows what it calls."""

    def do(self) -> Summary | None:
        """What any one of them may do, beside what it does to what it is given; None where nobody knows that yet."""
        ...


class NoTargets:
    """None of them is there yet."""

    def do(self) -> None:
        return None


class Resolver:
    """What the names in a function mean, as far as its globals and its closure say."""

    def __init__(self, function: types.FunctionType, parts: ResolverParts) -> None:
        self._function = function
        self._parts = parts
        self._summary_of = parts.summary_of
        self._may_wait = parts.may_wait
        self._code = code = function.__code__
        self._ours = parts.ours
        self._globals = function.__globals__
        self._cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        self._local = {*code.co_varnames, *code.co_cellvars}
        self._first = code.co_varnames[0] if code.co_argcount else None
        self.around = _class_of(function)

    def __call__(self, callee: ast.expr) -> Role:
        if self._asks(callee):
            return Role(known=Known.ASKS, found=True, makes=True)
        if isinstance(callee, ast.Name) and callee.id == EACH:
            return Role(each=True)
        found = self.found(callee)
        if found is MISSING and isinstance(callee, ast.Subscript):
            return self._one_of(self.found(callee.value))
        if found is MISSING:
            return self._method(callee) if isinstance(callee, ast.Attribute) else UNKNOWN
        ours = self._ours(found)
        if ours is not None:
            return ours
        if isinstance(callee, ast.Name) and self._is_replaced(callee.id, found):
            return UNKNOWN
        if isinstance(found, types.FunctionType) and (summary := self._summary_of(unwrapped(found))) is not None:
            return Role(summary=summary)
        if (inner := cached_in(found)) is not None and (summary := self._summary_of(inner)) is not None:
            return Role(summary=summary, is_cached=True)
        if isinstance(found, type) and is_users_class(found):
            return self._class(found)
        if found is SLEEP:
            return Role(summary=Summary(waits=True))
        if not callable(found):
            return UNKNOWN
        return Role(known=known(found), found=True, makes=found in MADE_NEW, is_library=is_library(found))

    def _is_replaced(self, name: str, found: object) -> bool:
        """Whether another function may stand where one of the module's is found: ``global hook; hook = …``."""
        is_users = isinstance(found, types.FunctionType) and self._globals.get(name) is found
        return is_users and name not in self._cells and name in replaced_names(self._function)

    def _asks(self, callee: ast.expr) -> bool:
        """Whether it is a method of an SDK that asks a model."""
        if not isinstance(callee, ast.Attribute):
            return False
        if asks_by_path(callee):
            first = root(callee)
            found = MISSING if first is None else self.found(ast.Name(first))
            return found is MISSING or is_of_sdk(found)
        return asks_of(self.found(callee.value), callee.attr)

    def asks(self, callee: ast.expr) -> bool:
        """Whether what is called asks a model itself."""
        ours = self._ours(self.found(callee))
        return self._asks(callee) or (ours is not None and ours.asks)

    def _class(self, made: type) -> Role:
        initialize: object = made.__init__
        summary = self._summary_of(initialize) if isinstance(initialize, types.FunctionType) else None
        if summary is not None and summary.parameters:
            own, *others = summary.parameters
            touches = tuple(touch for touch in summary.touches if own not in (touch.name, touch.through))
            gives = frozenset((*others, *(f":{name}" for name in summary.reads)))
            made_of = Summary(
                touches, tuple(others), summary.plain, summary.draws, summary.waits, gives, summary.contexts
            )
            return Role(summary=made_of, makes=True)
        return Role(known=Known.NOTHING, makes=True) if only_keeps(made) else UNKNOWN

    # --- methods, of which it is only known when they run whose they are

    @cached_property
    def _classes(self) -> Classes:
        if contents := self._contents():
            return Classes((self._globals, contents))
        return self._parts.classes(self._globals)

    @property
    def reached(self) -> list[type]:
        """All classes of the user's that code from here on may meet by names."""
        return self._classes.reached

    def _contents(self) -> dict[str, object]:
        return {name: found for name in self._cells if (found := self.found(ast.Name(name, ast.Load()))) is not MISSING}

    def _method(self, callee: ast.Attribute) -> Role:
        name = callee.attr
        if isinstance(self.found(callee.value), ContextVar):
            return Role(known=Known.NOTHING, found=True, context=ast.unparse(callee.value))
        looks = Role(looks_only=True) if name in TEXT_METHODS else UNKNOWN
        if is_super(callee.value) and isinstance(self.around, type):
            return self._above(self._classes.above(self.around, name))
        made = self._type_of(callee.value)
        if made is not None and not is_users_class(made):
            if is_frozen(made) and known(getattr(self.found(callee.value), name, None)) is Known.NOTHING:
                return Role(known=Known.NOTHING, found=True)
            return replace(looks, is_library=hasattr(made, name))
        found = self._classes.named(name) if made is None else self._classes.of(made, name)
        read, written = self._read(name, found), self._written(found)
        summaries = [summary for each in found if (summary := self._of_method(each)) is not None]
        if not summaries or len(summaries) < len(found):
            return replace(UNKNOWN if found else looks, read=read, written=written)
        is_cached = any(cached_in(each) is not None for each in found)
        return Role(summary=merged(summaries), guessed=made is None, is_cached=is_cached, is_method=True, read=read)

    def summary_of(self, function: types.FunctionType) -> Summary | None:
        return self._summary_of(function)

    def targets(self) -> Summary | None:
        return self._parts.targets(self._globals).do()

    def may_wait(self, function: types.FunctionType) -> bool:
        return self._may_wait(function)

    def factories(self, container: ast.expr) -> list[types.FunctionType] | None:
        if not self.knows_defaults:
            return None
        factory: object
        match container:
            case ast.Call(func=func, args=[given, *_]) if self.found(func) is defaultdict:
                factory = self.found(given)
            case ast.Attribute(attr=name) if name in self._default_attributes:
                factory = None
            case ast.Name() if isinstance(found := self.found(container), defaultdict):
                factory = cast("defaultdict[object, object]", found).default_factory
            case _:
                return None
        return [factory] if isinstance(factory, types.FunctionType) else []

    @property
    def knows_defaults(self) -> bool:
        """Whether its module knows of `defaultdict`."""
        return self._knows_defaults

    @cached_property
    def _knows_defaults(self) -> bool:
        return any(found is defaultdict or found is collections for found in self._globals.values())

    @cached_property
    def _default_attributes(self) -> frozenset[str]:
        return frozenset[str]().union(*map(default_attributes, self._files))

    @cached_property
    def _files(self) -> list[types.FunctionType]:
        """A function of each file whose classes are in sight."""
        methods = (each for made in self.reached for each in vars(made).values())
        functions = [self._function, *(each for each in methods if isinstance(each, types.FunctionType))]
        return list({each.__code__.co_filename: each for each in functions}.values())

    def same_as(self, place: str) -> frozenset[str]:
        if place.startswith("."):
            return frozenset[str]().union(*(held.get(place, frozenset()) for held in map(held_attributes, self._files)))
        plain = place.removeprefix(":")
        prefix = place.removesuffix(plain)
        of_place = self._held_by_names.get(plain, frozenset()) | self._held_by_names.get(f":{plain}", frozenset())
        others = (name for name, held in self._held_by_names.items() if not held.isdisjoint(of_place))
        return frozenset(name if name.startswith(":") else f"{prefix}{name}" for name in others) - {place}

    def place_of(self, owner: ast.expr, attribute: str) -> str:
        module = self.found(owner)
        file = getattr(module, "__file__", None) if isinstance(module, types.ModuleType) else None
        return f":{attribute}" if file is not None and is_users(file) else f".{attribute}"

    def is_shared(self, attribute: str) -> bool:
        if any(isinstance(each, MADE_NEW) or is_restorable(each) for each in self._classes.named(attribute)):
            return True
        return any(attribute in set_on_classes(each, self._class_names) for each in self._files)

    @cached_property
    def _class_names(self) -> frozenset[str]:
        named = (found for module in self._classes.modules for found in list(module.items()))
        classes = {name for name, found in named if isinstance(found, type)}
        return frozenset(classes | {made.__name__ for made in self.reached} | {"cls", "type", "__class__"})

    @cached_property
    def _held_by_names(self) -> dict[str, frozenset[int]]:
        """The containers that names of the module stand for, or that these hold, by `id`; and, as ``:total``, those of
        other modules."""
        held: dict[str, frozenset[int]] = {}
        for module in self._classes.modules:
            prefix = "" if module is self._globals else ":"
            for name, found in list(module.items()):
                containers = frozenset[int]() if name.startswith("__") else frozenset(_containers_in(found))
                if containers:
                    place = f"{prefix}{name}"
                    held[place] = held.get(place, frozenset()) | containers
        return held

    def special_methods(self, of: Implied) -> list[types.FunctionType]:
        """The special methods of the user's that may be called there."""
        specials = self._classes.specials
        names = [name for name in of.names if name in specials]
        if not names or is_text_or_number(of.operand, self):
            return []
        made = self._type_of(of.operand) or self._container(of.operand)
        if made is not None and not is_users_class(made):
            if made in _PLAIN or not of.deep:
                return []
            made = None
        found: list[object] = []
        for name in names:
            found += specials[name] if made is None else self._classes.of(made, name)
        functions = dict.fromkeys(behind(function_in(each)) for each in found)
        return [each for each in functions if isinstance(each, types.FunctionType) and self._ours(each) is None]

    def _container(self, value: ast.expr) -> type | None:
        """The class of Python's own of which something is evidently a container."""
        match value:
            case ast.List() | ast.ListComp():
                return list
            case ast.Dict() | ast.DictComp():
                return dict
            case ast.Set() | ast.SetComp():
                return set
            case ast.Call(func=func):
                made = self.found(func)
                return made if isinstance(made, type) and made in CONTAINERS else None
            case _:
                return None

    def _above(self, found: Sequence[object]) -> Role:
        """A method behind ``super()`` is called, with the object that the method around has."""
        if found and all(map(begins_only, found)):
            return Role(known=Known.NOTHING, found=True)
        summaries = [summary for each in found if (summary := self._of_method(each)) is not None]
        if not summaries or len(summaries) < len(found) or self._first is None:
            return UNKNOWN
        return Role(summary=merged(summaries), is_method=True, receiver=ast.Name(self._first, ast.Load()))

    def methods(self, callee: ast.Attribute) -> list[object]:
        """What a method that is called may be, by the classes that are known."""
        if is_super(callee.value) and isinstance(self.around, type):
            return self._classes.above(self.around, callee.attr)
        made = self._type_of(callee.value)
        if made is not None and not is_users_class(made):
            return []
        return self._classes.named(callee.attr) if made is None else self._classes.of(made, callee.attr)

    def _one_of(self, table: object) -> Role:
        """One of the functions in a table of the module's is called."""
        values: list[object] = []
        if isinstance(table, dict):
            values = list(cast(dict[object, object], table).values())
        elif isinstance(table, list | tuple):
            values = list(cast(list[object], table))
        if not all(map(callable, values)):
            return UNKNOWN
        summaries = [
            summary
            for each in values
            if (summary := Summary() if known(each) is Known.NOTHING else self._of_method(each)) is not None
        ]
        if not summaries or len(summaries) < len(values):
            return UNKNOWN
        return Role(summary=merged(summaries))

    def _type_of(self, expression: ast.expr) -> type | None:
        """The class of what an expression stands for, or one that this is derived from; None where nobody knows."""
        match expression:
            case ast.Name(id=name) if name == self._first and isinstance(self.around, type):
                return self.around
            case ast.Name():
                owner = self.found(expression)
                return None if owner is MISSING else owner if isinstance(owner, type) else type(owner)
            case ast.Call(func=func) if isinstance(made := self.found(func), type) and is_users_class(made):
                return made
            case _:
                return None

    def _of_method(self, method: object) -> Summary | None:
        ours = self._ours(method)
        if ours is not None:
            return ours.summary
        match method:
            case types.FunctionType():
                return self._summary_of(unwrapped(behind(method)))
            case _:
                if (inner_of_cache := cached_in(method)) is not None:
                    return self._summary_of(inner_of_cache)
                inner: object = getattr(method, "__wrapped__", None)  # of a static or a class method
                summary = self._of_method(inner) if isinstance(inner, types.FunctionType) else None
                if summary is None or isinstance(method, classmethod):
                    return summary
                return summary._replace(parameters=("", *summary.parameters)) if _is_static(method) else None

    def _read(self, name: str, found: Sequence[object]) -> Summary | None:
        """What reading an attribute does, where it is a property."""
        getters = [each.fget for each in found if isinstance(each, property)]
        getters += [getattr(type(each), "__get__", None) for each in found if is_users_class(type(each))]
        read = self._any_of(getters)
        kept = self._any_of([each.func for each in found if isinstance(each, cached_property)])
        if kept is None:
            return read
        # The first who reads it sets it, and others wait for that.
        sets = Touch(f".{name}", Kind.CHANGE, kept.parameters[0], late=True)
        kept = kept._replace(touches=(*kept.touches, sets))
        return kept if read is None else merged([read, kept])

    def _written(self, found: Sequence[object]) -> Summary | None:
        """What setting it does."""
        setters = [each.fset for each in found if isinstance(each, property)]
        setters += [getattr(type(each), "__set__", None) for each in found if is_users_class(type(each))]
        return self._any_of(setters)

    def _any_of(self, functions: Sequence[object]) -> Summary | None:
        summaries = [
            summary
            for function in map(behind, functions)
            if isinstance(function, types.FunctionType) and (summary := self._summary_of(function)) is not None
        ]
        return merged(summaries) if summaries else None

    def is_state(self, name: str) -> bool:
        """Whether a name of the module, or of a function around, stands for what can change."""
        if name in self._cells:
            found = self.found(ast.Name(name, ast.Load()))
        else:
            found = self._globals.get(name, MISSING)
            if found is MISSING:
                return name in self._to_come
        return not isinstance(found, types.ModuleType | types.FunctionType | type)

    @cached_property
    def _to_come(self) -> set[str]:
        """The names of the module that it does not have yet."""
        return names_in(self._code) - self._globals.keys() - vars(builtins).keys()

    def is_iterator(self, name: str) -> bool:
        """Whether a name from around the function stands for what can be gone through only once."""
        return hasattr(type(self.found(ast.Name(name, ast.Load()))), "__next__")

    def found(self, expression: ast.expr) -> object:
        """What a name or a path stands for; `MISSING` where only a run knows."""
        match expression:
            case ast.Name(id=name) if name in self._local:
                return MISSING
            case ast.Name(id=name) if name in self._cells:
                try:
                    return self._cells[name].cell_contents
                except ValueError:  # nothing is in there yet
                    return MISSING
            case ast.Name(id=name):
                return behind(self._globals.get(name, getattr(builtins, name, MISSING)))
            case ast.Attribute(value=value, attr=attribute):
                owner = self.found(value)
                if isinstance(owner, types.ModuleType):
                    return behind(getattr(owner, attribute, MISSING))
                return self._promised(value, owner, attribute)
            case _:
                return MISSING

    def _promised(self, value: ast.expr, owner: object, attribute: str) -> object:
        """A method of which the user says something; what an object's other methods do is only known when it runs."""
        made = self.around if isinstance(value, ast.Name) and value.id == self._first else type(owner)
        method = getattr(made, attribute, MISSING)
        return method if self._ours(method) is not None else MISSING


def _containers_in(thing: object, deepest: int = 3) -> Iterator[int]:
    """What can be changed of an object, by `id`, as far as it can be seen at a glance."""
    if isinstance(thing, tuple):
        parts: Iterable[object] = cast("tuple[object, ...]", thing)
    elif is_restorable(thing):
        yield id(thing)
        parts = held_by(thing)
    else:
        return
    for part in islice(parts, _MOST) if deepest else ():
        yield from _containers_in(part, deepest - 1)


_MOST = 64
"""The parts of an object that are looked at for whether it holds what another name holds."""


def _is_static(method: object) -> bool:
    return isinstance(method, staticmethod)


def _class_of(function: types.FunctionType) -> object:
    """The class that a method stands in, as far as its module has it; else None."""
    found: object = None
    for name in function.__qualname__.split(".")[:-1]:
        found = function.__globals__.get(name) if found is None else getattr(found, name, None)
    return found if isinstance(found, type) else None
