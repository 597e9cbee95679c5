"""Twins: the user's functions as lanes run them, made from their sources when they are first called there."""

from __future__ import annotations

import ast
import inspect
import threading
import types
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from apxm.effects.methods import Classes, behind, is_context, unwrapped
from apxm.effects.roles import Role, Summary
from apxm.effects.summaries import summary_of
from apxm.effects.trees import copied, walk
from apxm.effects.users import is_users
from apxm.errors import UsageError
from apxm.kept import KeptByFunctions
from apxm.rewriting.functions import Rewriter
from apxm.rewriting.nodes import PREFIX, TARGETS, RefusedError
from apxm.rewriting.resolver import NoTargets, Resolver, ResolverParts, TargetsOf
from apxm.rewriting.sources import REWRITTEN, is_rewritten, names_in, source_of
from apxm.rewriting.special_methods import SpecialMethods
from apxm.rewriting.targets import Targets
from apxm.rewriting.touching import Unforeseen

Function = Callable[..., Any]


class _Look(threading.local):
    """What is only known while functions are looked at, in one thread."""

    def __init__(self) -> None:
        self.depth = 0
        self.is_beforehand = False
        self.classes: dict[int, Classes] = {}
        """By the `id` of the names of the module."""
        self.targets: set[Targets] = set()
        self.open: dict[types.FunctionType, Summary] = {}
        """Those that are being summed up, with what is known so far: functions may call each other."""
        self.met: set[types.FunctionType] = set()
        """Those of them that were met again."""
        self.rough: dict[types.FunctionType, Summary] = {}
        """Summaries that rest on one that is not done yet."""
        self.before: dict[types.FunctionType, Summary] = {}
        """What these were when the functions that call each other were last gone through."""


class Twins:
    """All twins that a process has made."""

    def __init__(self, given: dict[str, Any], role_of: Callable[[object], Role | None]) -> None:
        """`given` are the functions that rewritten code calls, by their names; `role_of` says what is known of the
        functions of this package."""
        self._given = given
        self._role_of = role_of
        # By function: what a name in it means depends on its module and its closure, and equal code may have others.
        self._twins: KeptByFunctions[Function] = KeptByFunctions("twin")
        self._summaries: KeptByFunctions[Summary] = KeptByFunctions("summary")
        self._unforeseen: KeptByFunctions[Unforeseen] = KeptByFunctions("unforeseen")
        self._waiting: WeakKeyDictionary[types.FunctionType, bool] = WeakKeyDictionary()
        """Whether special methods wait."""
        self._look = _Look()
        self._parts = ResolverParts(role_of, self._summary, self._may_wait, self._targets_of, self._classes_of)
        self._targets: WeakValueDictionary[int, Targets] = WeakValueDictionary()
        """By the `id` of the names of the module, as long as a twin, or whoever looks, has them."""
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
            with self.looking():
                made = self._make(function)
            if made is None:
                return None
            twin = self._twins[function] = made
        return twin

    @contextmanager
    def beforehand(self) -> Generator[None]:
        """While something is looked at whose module has not all of its names yet: all is made afresh when it runs. What
        calls may mean that only a run knows, nobody looks for, as it may not be there yet."""
        self._look.is_beforehand = True
        try:
            yield
        finally:
            self._look.is_beforehand = False
            self.forget()

    def forget(self) -> None:
        """Makes them afresh: the module of a function has names by now that it had not when that was looked at."""
        for found in (self._twins, self._summaries, self._unforeseen, self._look.rough, self._waiting, self._targets):
            found.clear()
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
        with self.looking():
            made = self._make(function, node)
        assert made is not None
        return made

    @contextmanager
    def looking(self) -> Generator[None]:
        """While no code of the user's runs here: which classes there are is looked for once, and nobody else needs to
        keep what is found."""
        self._look.depth += 1
        try:
            yield
        finally:
            self._look.depth -= 1
            if not self._look.depth:
                self._look.classes.clear()
                self._look.targets.clear()

    def _classes_of(self, module: dict[str, Any]) -> Classes:
        found = self._look.classes.get(id(module)) or Classes((module,))
        if self._look.depth:
            self._look.classes[id(module)] = found
        return found

    def roles_of(self, function: types.FunctionType) -> Resolver:
        """What the names in a function mean."""
        return Resolver(function, self._parts)

    def _targets_of(self, module: dict[str, Any]) -> TargetsOf:
        if self._look.is_beforehand:
            return NoTargets()
        found = self._targets.get(id(module))
        if found is None:
            found = self._targets[id(module)] = Targets(module, self._parts)
        if self._look.depth:
            self._look.targets.add(found)
        return found

    def unforeseen(self, function: Function, targets: Targets, name: str | None) -> Unforeseen | None:
        """What a function of the user's does of which these know nothing; None for any other one. Methods with that
        `name` are known."""
        if targets.are_known_to_include(getattr(function, "__code__", None), name):
            return None
        inner = behind(function.__func__ if isinstance(function, types.MethodType) else function)
        if not isinstance(inner, types.FunctionType):
            return None
        inner = unwrapped(inner)
        with self.looking():
            if targets.include(inner.__code__, name):
                return None
            found = self._unforeseen.get(inner)
            if found is None and (does := self._summary(inner)) is not None:
                beside = self._targets_of(inner.__globals__)
                found = Unforeseen(does, beside.changes if isinstance(beside, Targets) else ())
                self._unforeseen[inner] = found
            return found

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
        given = {**self._given, TARGETS: self._targets_of(function.__globals__)}
        cells |= {name: types.CellType(each) for name, each in given.items() if name in compiled.co_freevars}
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
        with self.looking():
            return self._summary(unwrapped(function)) if isinstance(function, types.FunctionType) else None

    def _summary(self, function: types.FunctionType) -> Summary | None:
        """What a function of the user's does; None for one that has no source here."""
        look = self._look
        found = self._summaries.get(function) or look.rough.get(function)
        if found is not None:
            return found
        if function in look.open:
            look.met.add(function)
            return look.open[function]
        source = source_of(function)
        if source is None:
            return None
        made = look.before.get(function, Summary())
        try:
            while True:
                look.open[function] = made
                made = summary_of(source[0], self.roles_of(function))
                look.rough[function] = made
                if look.met - {function}:
                    break  # it rests on one around it, which goes on until nothing changes
                if function not in look.met or look.rough == look.before:
                    for each, summary in look.rough.items():
                        self._summaries[each] = summary
                    look.rough.clear()
                    break
                look.before = look.rough.copy()
                look.rough.clear()
        except RecursionError:  # as in `_compile`
            return None
        finally:
            del look.open[function]
            look.met.discard(function)
            if not look.open:
                look.rough.clear()
                look.before.clear()
        return made

    def _code(self, body: ast.FunctionDef, code: types.CodeType) -> types.CodeType:
        """The code of a rewritten function, which gets what it needs from around it in cells."""
        body.name = f"{PREFIX}made"  # else it would hide what the module calls so
        names = [*code.co_freevars, *(name for name in (*self._given, TARGETS) if name not in code.co_freevars)]
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
        return code.replace(co_consts=(*constants, REWRITTEN), co_name=name, co_qualname=qualified)


_FUTURE = 0x20000 | 0x40000 | 0x80000 | 0x100000 | 0x200000 | 0x400000 | 0x800000 | 0x1000000
"""The flags of `from __future__ import …`, which hold for all code of a module."""
