"""Twins: the user's functions as lanes run them, made from their sources when they are first called there."""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from apxm.effects.methods import Classes, behind, is_context, unwrapped
from apxm.effects.roles import Role, Summary
from apxm.effects.summaries import summary_of
from apxm.effects.trees import copied, walk
from apxm.effects.users import is_users
from apxm.errors import UsageError
from apxm.rewriting.functions import Rewriter
from apxm.rewriting.nodes import PREFIX, RefusedError
from apxm.rewriting.resolver import NoTargets, Resolver, ResolverParts, TargetsOf
from apxm.rewriting.sources import REWRITTEN, is_rewritten, names_in, source_of
from apxm.rewriting.special_methods import SpecialMethods
from apxm.rewriting.targets import Targets
from apxm.rewriting.touching import Unforeseen

Function = Callable[..., Any]


class Twins:
    """All twins that a process has made."""

    def __init__(self, given: dict[str, Any], role_of: Callable[[object], Role | None]) -> None:
        """`given` are the functions that rewritten code calls, by their names; `role_of` says what is known of the
        functions of this package."""
        self._given = given
        self._role_of = role_of
        # By function: what a name in it means depends on its module and its closure, and equal code may have others.
        self._twins: WeakKeyDictionary[Function, Function] = WeakKeyDictionary()
        self._summaries: WeakKeyDictionary[Function, Summary] = WeakKeyDictionary()
        self._open: dict[types.FunctionType, Summary] = {}
        """Those that are being summed up, with what is known so far: functions may call each other."""
        self._met: set[types.FunctionType] = set()
        """Those of them that were met again."""
        self._rough: dict[types.FunctionType, Summary] = {}
        """Summaries that rest on one that is not done yet."""
        self._before: dict[types.FunctionType, Summary] = {}
        """What these were when the functions that call each other were last gone through."""
        self._waiting: WeakKeyDictionary[types.FunctionType, bool] = WeakKeyDictionary()
        """Whether special methods wait."""
        self._classes: dict[int, Classes] = {}
        """While no code of the user's runs: it may make others."""
        self._parts = ResolverParts(role_of, self._summary, self._may_wait, self._targets_of, self._classes)
        self._targets: dict[int, Targets] = {}
        """By the `id` of the names of the module."""
        self._every_targets: list[Targets] = []
        """By their numbers, which twins know."""
        self._is_beforehand = False
        self._specials = SpecialMethods(self.of, self.summary_of)

    def of(self, function: Function) -> Function | None:
        """A function of the user's as lanes run it; None for what is not, or has no source that can be gone through.
        Raises `UsageError`."""
        function = behind(function)
        if isinstance(function, types.MethodType):
            inner = function.__func__
            twin = self.of(inner) if isinstance(inner, types.FunctionType) else None
            return None if twin is None else types.MethodType(twin, function.__self__)
        if not isinstance(function, types.FunctionType):
            return None
        if is_context(function):
            inner = self.of(unwrapped(function))
            return None if inner is None else contextmanager(inner)
        if is_rewritten(function.__code__):
            return function
        twin = self._twins.get(function)
        if twin is None:
            self.look_again()
            made = self._make(function)
            if made is None:
                return None
            twin = self._twins[function] = made
        return twin

    @contextmanager
    def beforehand(self) -> Generator[None]:
        """While something is looked at whose module has not all of its names yet: all is made afresh when it runs. What
        calls may mean that only a run knows says nothing of what has no meaning in lanes, so nobody looks for that."""
        self._is_beforehand = True
        try:
            yield
        finally:
            self._is_beforehand = False
            self.forget()

    def forget(self) -> None:
        """Makes them afresh: the module of a function has names by now that it had not when that was looked at."""
        for found in (self._twins, self._summaries, self._rough, self._waiting):
            found.clear()
        self._targets.clear()
        self._specials.forget()

    def refuse_generators(self, function: Function) -> None:
        """Raises `UsageError` for a generator of the user's that a function names, or one that this names, and that no
        lane can run: it would raise that when it is gone through."""
        seen: set[types.FunctionType] = set()
        left = [function.__func__ if isinstance(function, types.MethodType) else function]
        while left:
            each = left.pop()
            if not isinstance(each, types.FunctionType) or each in seen or not is_users(each.__code__.co_filename):
                continue
            seen.add(each)
            if each.__code__.co_flags & inspect.CO_GENERATOR:
                self.of(each)
            left += [each.__globals__[name] for name in names_in(each.__code__) if name in each.__globals__]

    def made_of(self, function: types.FunctionType, node: ast.FunctionDef) -> Function:
        """A function as lanes run it whose definition is in no source. Raises `UsageError`."""
        self.look_again()
        made = self._make(function, node)
        assert made is not None
        return made

    def look_again(self) -> None:
        """What there is of classes is looked for once more: code of the user's has run, or others may have."""
        self._classes.clear()

    def roles_of(self, function: types.FunctionType) -> Resolver:
        """What the names in a function mean."""
        return Resolver(function, self._parts)

    def _targets_of(self, module: dict[str, Any]) -> TargetsOf:
        if self._is_beforehand:
            return NoTargets()
        if id(module) not in self._targets:
            found = Targets(len(self._every_targets), module, self._parts)
            self._targets[id(module)] = found
            self._every_targets.append(found)
        return self._targets[id(module)]

    def unforeseen(self, function: Function, number: int, name: str | None) -> Unforeseen | None:
        """What a function of the user's does of which those with that number know nothing; None for any other one.
        Methods with that `name` are known."""
        targets = self._every_targets[number]
        if targets.are_known_to_include(getattr(function, "__code__", None), name):
            return None
        inner = behind(function.__func__ if isinstance(function, types.MethodType) else function)
        if not isinstance(inner, types.FunctionType):
            return None
        inner = unwrapped(inner)
        self.look_again()
        if targets.include(inner.__code__, name) or (does := self._summary(inner)) is None:
            return None
        beside = self._targets_of(inner.__globals__)
        return Unforeseen(does, beside.changes if isinstance(beside, Targets) else ())

    def _may_wait(self, function: types.FunctionType) -> bool:
        """Whether other iterations may go on in a special method. What it does by itself is looked at, and not the
        special methods that it calls: in a program with many of them that would be each of them in each."""
        if function not in self._waiting:
            self._waiting[function] = False
            source, role_of = source_of(function), self.roles_of(function)
            calls = [] if source is None else [part for part in walk(source[0]) if isinstance(part, ast.Call)]
            self._waiting[function] = any(role_of(call.func).may_wait for call in calls)
        return self._waiting[function]

    def _make(
        self, function: types.FunctionType, definition: ast.FunctionDef | None = None
    ) -> types.FunctionType | None:
        code, compiled = function.__code__, self._compile(function, definition)
        if compiled is None:
            return None
        self._specials.stand_in_for(self.roles_of(function).reached)
        cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        cells |= {name: types.CellType(given) for name, given in self._given.items()}
        twin = types.FunctionType(
            compiled,
            function.__globals__,
            function.__name__,
            function.__defaults__,
            tuple(cells[name] for name in compiled.co_freevars),
        )
        twin.__kwdefaults__ = function.__kwdefaults__
        twin.__qualname__, twin.__module__, twin.__doc__ = function.__qualname__, function.__module__, function.__doc__
        twin.__dict__.update(function.__dict__)
        return twin

    def _compile(self, function: types.FunctionType, definition: ast.FunctionDef | None) -> types.CodeType | None:
        code = function.__code__
        found = source_of(function) if definition is None else (definition, None)
        if found is None:
            return None
        node, around = found
        try:
            return self._code(Rewriter(self.roles_of(function), around).function(copied(node)), code)
        except RecursionError:  # it nests deeper than a tree can be gone through
            return None
        except RefusedError as refused:
            place = f"{code.co_filename}:{getattr(refused.node, 'lineno', code.co_firstlineno)}"
            raise UsageError(refused.message, where=place, hint=refused.hint) from None

    def summary_of(self, function: Function) -> Summary | None:
        """What a function of the user's does, whatever a decorator that names it by ``__wrapped__`` made of it; None
        where nobody knows."""
        if not self._open:
            self.look_again()
        return self._summary(unwrapped(function)) if isinstance(function, types.FunctionType) else None

    def _summary(self, function: types.FunctionType) -> Summary | None:
        """What a function of the user's does; None for one that has no source here."""
        for found in (self._summaries, self._rough):
            if function in found:
                return found[function]
        if function in self._open:
            self._met.add(function)
            return self._open[function]
        source = source_of(function)
        if source is None:
            return None
        made = self._before.get(function, Summary())
        try:
            while True:
                self._open[function] = made
                made = summary_of(source[0], self.roles_of(function))
                self._rough[function] = made
                if self._met - {function}:
                    break  # it rests on one around it, which goes on until nothing changes
                if function not in self._met or self._rough == self._before:
                    self._summaries.update(self._rough)
                    self._rough.clear()
                    break
                self._before = self._rough.copy()
                self._rough.clear()
        except RecursionError:  # as in `_compile`
            return None
        finally:
            del self._open[function]
            self._met.discard(function)
            if not self._open:
                self._rough.clear()
                self._before.clear()
        return made

    def _code(self, body: ast.FunctionDef, code: types.CodeType) -> types.CodeType:
        """The code of a rewritten function, which gets what it needs from around it in cells."""
        body.name = f"{PREFIX}made"  # else it would hide what the module calls so
        names = [*code.co_freevars, *(name for name in self._given if name not in code.co_freevars)]
        given = ast.arguments([], [ast.arg(name) for name in names], None, [], [], None, [])
        factory = ast.FunctionDef(f"{PREFIX}factory", given, [body], [])
        module = ast.fix_missing_locations(ast.copy_location(ast.Module([factory], []), body))
        flags = code.co_flags & _FUTURE
        whole = compile(module, code.co_filename, "exec", flags=flags, dont_inherit=True)
        (made,) = (each for each in whole.co_consts if isinstance(each, types.CodeType))
        codes = (each for each in made.co_consts if isinstance(each, types.CodeType))  # its defaults have some, too
        (inner,) = (each for each in codes if each.co_name == body.name)
        return self._named(inner, code.co_name, code.co_qualname)

    def _named(self, code: types.CodeType, name: str, qualified: str) -> types.CodeType:
        """The code, and all code in it, by the user's names; an iteration has that of the function around it."""
        constants: list[object] = []
        inside = qualified if not code.co_flags & inspect.CO_OPTIMIZED else f"{qualified}.<locals>"  # of a class
        for each in code.co_consts:
            if isinstance(each, types.CodeType):
                ours = each.co_varnames[:1] == (f"{PREFIX}item",) or each.co_name.startswith(PREFIX)
                inner = qualified if ours else f"{inside}.{each.co_name}"
                constants.append(self._named(each, name if ours else each.co_name, inner))
            else:  # what a class is called is a constant of its body
                constants.append(qualified if each == code.co_qualname and PREFIX in code.co_qualname else each)
        made = code.replace(co_consts=tuple(constants), co_name=name, co_qualname=qualified)
        REWRITTEN[id(made)] = made
        return made


_FUTURE = 0x20000 | 0x40000 | 0x80000 | 0x100000 | 0x200000 | 0x400000 | 0x800000 | 0x1000000
"""The flags of `from __future__ import …`, which hold for all code of a module."""
