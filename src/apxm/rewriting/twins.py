"""Twins: the user's functions as lanes run them, made from their sources when they are first called there."""

from __future__ import annotations

import ast
import builtins
import linecache
import types
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import cache, cached_property
from typing import Any, cast
from weakref import WeakKeyDictionary

from apxm.effects.libraries import CONTAINERS, TEXT_METHODS, Known, is_frozen, known, only_keeps
from apxm.effects.methods import Classes, is_context, unwrapped
from apxm.effects.patterns import root
from apxm.effects.roles import UNKNOWN, Kind, Role, Summary, Touch
from apxm.effects.sdk_methods import asks_by_path, asks_of, is_of_sdk
from apxm.effects.summaries import merged, summary_of
from apxm.effects.users import is_users, is_users_class
from apxm.errors import UsageError
from apxm.lanes.standing_in import SLEEP
from apxm.rewriting.functions import Rewriter
from apxm.rewriting.nodes import PREFIX, RefusedError
from apxm.rewriting.promises import BEHIND, EACH, HERE, promised

Function = Callable[..., Any]
MISSING = object()


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
        self._rewritten: dict[int, types.CodeType] = {}
        """The code of twins, and all code in it, by `id`: code of the user's may be equal to it."""

    def of(self, function: Function) -> Function | None:
        """A function of the user's as lanes run it; None for what is not, or has no source. Raises `UsageError`."""
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
        if id(function.__code__) in self._rewritten:
            return function
        twin = self._twins.get(function)
        if twin is None:
            made = self._make(function)
            if made is None:
                return None
            twin = self._twins[function] = made
        return twin

    def made_of(self, function: types.FunctionType, node: ast.FunctionDef) -> Function:
        """A function as lanes run it whose definition is in no source. Raises `UsageError`."""
        made = self._make(function, node)
        assert made is not None
        return made

    def roles_of(self, function: types.FunctionType) -> Roles:
        """What the names in a function mean."""
        return Roles(function, self._role_of, self._summary)

    def _make(
        self, function: types.FunctionType, definition: ast.FunctionDef | None = None
    ) -> types.FunctionType | None:
        code, compiled = function.__code__, self._compile(function, definition)
        if compiled is None:
            return None
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
        rewriter = Rewriter(self.roles_of(function), around)
        try:
            body = rewriter.function(node)
        except RefusedError as refused:
            place = f"{code.co_filename}:{getattr(refused.node, 'lineno', code.co_firstlineno)}"
            raise UsageError(refused.message, where=place, hint=refused.hint) from None
        return self._code(body, code)

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
        made, before = Summary(), None
        while made != before and (before is None or function in self._met):
            self._open[function] = before = made
            self._rough.clear()
            made = summary_of(source[0], self.roles_of(function))
        del self._open[function]
        self._met.discard(function)
        (self._rough if self._met else self._summaries)[function] = made
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
        (inner,) = (each for each in made.co_consts if isinstance(each, types.CodeType))
        return self._named(inner, code.co_name, code.co_qualname)

    def _named(self, code: types.CodeType, name: str, qualified: str) -> types.CodeType:
        """The code, and all code in it, by the user's names; an iteration has that of the function around it."""
        constants: list[object] = []
        for each in code.co_consts:
            if isinstance(each, types.CodeType):
                ours = each.co_varnames[:1] == (f"{PREFIX}item",) or each.co_name.startswith(PREFIX)
                inner = qualified if ours else f"{qualified}.<locals>.{each.co_name}"
                constants.append(self._named(each, name if ours else each.co_name, inner))
            else:
                constants.append(each)
        made = code.replace(co_consts=tuple(constants), co_name=name, co_qualname=qualified)
        self._rewritten[id(made)] = made
        return made


_FUTURE = 0x20000 | 0x40000 | 0x80000 | 0x100000 | 0x200000 | 0x400000 | 0x800000 | 0x1000000
"""The flags of `from __future__ import …`, which hold for all code of a module."""
_RUN_BY_OTHERS = 0x80 | 0x100 | 0x200
"""The flags of coroutines and of asynchronous generators: an event loop runs these, not a lane."""


class Roles:
    """What the names in a function mean, as far as its globals and its closure say."""

    def __init__(
        self,
        function: types.FunctionType,
        ours: Callable[[object], Role | None],
        summary_of: Callable[[types.FunctionType], Summary | None],
    ) -> None:
        self._summary_of = summary_of
        code = function.__code__
        self._ours = ours
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
        if isinstance(found, types.FunctionType) and (summary := self._summary_of(unwrapped(found))) is not None:
            return Role(summary=summary)
        if isinstance(found, type) and is_users_class(found):
            return self._class(found)
        if found is SLEEP:
            return Role(summary=Summary(waits=True))
        return Role(known=known(found), found=True, makes=found in CONTAINERS) if callable(found) else UNKNOWN

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
            made_of = Summary(touches, tuple(others), summary.plain, summary.draws, summary.waits, gives)
            return Role(summary=made_of, makes=True)
        return Role(known=Known.NOTHING, makes=True) if only_keeps(made) else UNKNOWN

    # --- methods, of which it is only known when they run whose they are

    @cached_property
    def _classes(self) -> Classes:
        return Classes((self._globals, self._contents()))

    def _contents(self) -> dict[str, object]:
        return {name: found for name in self._cells if (found := self.found(ast.Name(name, ast.Load()))) is not MISSING}

    def _method(self, callee: ast.Attribute) -> Role:
        name = callee.attr
        looks = Role(looks_only=True) if name in TEXT_METHODS else UNKNOWN
        made = self._type_of(callee.value)
        if made is not None and not is_users_class(made):
            if is_frozen(made) and known(getattr(self.found(callee.value), name, None)) is Known.NOTHING:
                return Role(known=Known.NOTHING, found=True)
            return looks
        found = self._classes.named(name) if made is None else self._classes.of(made, name)
        read, written = self._read(name, found), self._written(found)
        summaries = [summary for each in found if (summary := self._of_method(each)) is not None]
        if not summaries or len(summaries) < len(found):
            return replace(looks, read=read, written=written)
        return Role(summary=merged(summaries), guessed=made is None, is_method=True, read=read)

    def methods(self, callee: ast.Attribute) -> list[object]:
        """What a method that is called may be, by the classes that are known."""
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
            case _:
                return None

    def _of_method(self, method: object) -> Summary | None:
        ours = self._ours(method)
        if ours is not None:
            return ours.summary
        match method:
            case types.FunctionType():
                return self._summary_of(unwrapped(method))
            case _:
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
        return self._any_of([each.fset for each in found if isinstance(each, property)])

    def _any_of(self, functions: Sequence[object]) -> Summary | None:
        summaries = [
            summary
            for function in functions
            if isinstance(function, types.FunctionType) and (summary := self._summary_of(function)) is not None
        ]
        return merged(summaries) if summaries else None

    def is_state(self, name: str) -> bool:
        """Whether a name of the module stands for what can change."""
        found = self._globals.get(name, MISSING)
        return found is not MISSING and not isinstance(found, types.ModuleType | types.FunctionType | type)

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


def behind(found: Any) -> Any:
    """The user's own function, where another one stands in for it."""
    return getattr(found, BEHIND, found) if isinstance(found, types.FunctionType) else found


def source_of(function: types.FunctionType) -> tuple[ast.FunctionDef, str | None] | None:
    """A fresh copy of the definition of a function of the user's, and the class around it; None where there is none,
    or an event loop runs it."""
    code = function.__code__
    if not is_users(code.co_filename) or code.co_flags & _RUN_BY_OTHERS:
        return None
    text = _text(code.co_filename, function.__globals__)
    tree = _tree(code.co_filename, text, HERE.promises.lines(code.co_filename, text))
    return None if tree is None else _definition(tree, code)


def _is_static(method: object) -> bool:
    return isinstance(method, staticmethod)


def _class_of(function: types.FunctionType) -> object:
    """The class that a method stands in, as far as its module has it; else None."""
    found: object = None
    for name in function.__qualname__.split(".")[:-1]:
        found = function.__globals__.get(name) if found is None else getattr(found, name, None)
    return found if isinstance(found, type) else None


def _text(file: str, module: dict[str, Any]) -> str:
    return "".join(linecache.getlines(file, module))


@cache
def _tree(file: str, text: str, lines: frozenset[int]) -> ast.Module | None:
    try:
        return promised(ast.parse(text, file), lines) if text else None
    except SyntaxError:  # it was edited since it was imported
        return None


def _definition(tree: ast.Module, code: types.CodeType) -> tuple[ast.FunctionDef, str | None] | None:
    """A fresh copy of the definition that became `code`, and the class around it."""
    found = _definitions(tree).get((code.co_name, code.co_firstlineno))
    return None if found is None else (deepcopy(found[0]), found[1])


@cache
def _definitions(tree: ast.Module) -> dict[tuple[str, int], tuple[ast.FunctionDef, str | None]]:
    """The functions of a module by their names and first lines, each with the class around it."""
    found: dict[tuple[str, int], tuple[ast.FunctionDef, str | None]] = {}
    left: list[tuple[ast.AST, str | None]] = [(tree, None)]
    while left:
        node, around = left.pop()
        if isinstance(node, ast.FunctionDef):
            first = min((each.lineno for each in node.decorator_list), default=node.lineno)
            found[node.name, first] = node, around
        inner = node.name if isinstance(node, ast.ClassDef) else around
        left += ((child, inner) for child in ast.iter_child_nodes(node))
    return found
