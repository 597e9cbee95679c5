"""Modules of existing code that have promised loops: what is run in the place of their text.

A function with such a loop becomes one that is its own twin in lanes, whoever calls it. A statement of the module
itself becomes a function when its turn comes, since only then it is known what the names in it mean. What else there
is stays as it is.
"""

from __future__ import annotations
import __future__

import ast
import functools
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from typing import Any, cast

from apxm.effects.closures import Around
from apxm.effects.methods import BEHIND
from apxm.effects.roles import Unknowing
from apxm.effects.rules import uses_in
from apxm.effects.scopes import bound_names, declared, free_loads
from apxm.effects.trees import walk
from apxm.effects.users import is_users
from apxm.flows.each import each
from apxm.flows.twins import TWINS
from apxm.lanes.lane import LANE
from apxm.rewriting.nodes import PREFIX, at, load
from apxm.rewriting.promises import EACH, HERE, Loop, loops_in, promised

_LANES = f"{PREFIX}lanes"
_LEFT = f"{PREFIX}left"
Names = dict[str, Any]


def run_module(text: str, file: str, names: Names) -> None:
    """Runs the text of a module that `file` holds, which is Python, in the `names` of the module. Where nothing is to
    overlap its promised loops are loops over `each`, and that is all. Raises what it raises."""
    lines = HERE.promises.lines(file, text)
    if not lines:
        exec(_code(text, file), names)
        return
    tree = promised(ast.parse(text, file), lines)
    heads = {loop.line: loop.last for loop in reversed(loops_in(tree)) if loop.line in lines}
    HERE.reached.loaded(file, sorted(heads.items()))
    names[EACH] = _Promised
    if HERE.overlap:
        _Module(tree, file, lines, names).run()
    else:
        exec(compile(_prepared(tree), file, "exec", dont_inherit=True), names)


def _code(text: str, file: str) -> types.CodeType:
    if _is_prepared(text):
        with suppress(RecursionError):  # Python reads texts that nest deeper than it reads trees
            return compile(_prepared(ast.parse(text, file)), file, "exec", dont_inherit=True)
    return compile(text, file, "exec", dont_inherit=True)


def _is_prepared(text: str) -> bool:
    return HERE.prepared is not None and each.__name__ in text


def _prepared(tree: ast.Module) -> ast.Module:
    return tree if HERE.prepared is None else HERE.prepared(tree)


class _Promised(each[Any]):
    """A promised loop's `each`, which tells of it where no lane runs the loop."""

    def __iter__(self) -> Iterator[Any]:
        frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] - whose loop it is
        HERE.reached.begins(frame.f_code.co_filename, frame.f_lineno, in_lanes=False)
        return super().__iter__()


def in_lanes(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which in a lane is what lanes run for it."""

    @functools.wraps(function)
    def called(*arguments: Any, **named: Any) -> Any:
        return ((LANE.get() and TWINS.of(function)) or function)(*arguments, **named)

    setattr(called, BEHIND, function)
    return called


class _Module:
    """A module with promised loops, while it runs."""

    def __init__(self, tree: ast.Module, file: str, lines: frozenset[int], names: Names) -> None:
        self._tree = tree
        self._file = file
        self._names = names
        self._flags = _future_flags(tree)
        loops = [loop for loop in loops_in(tree) if loop.line in lines and loop.header is not None]
        self._own = [loop for loop in loops if not loop.scopes]
        for loop in loops:
            if loop.scopes:
                self._mark(loop)

    def run(self) -> None:
        self._names[_LANES] = in_lanes
        plain: list[ast.stmt] = []
        for statement in self._tree.body:
            inside = [loop for loop in self._own if loop.node in walk(statement)]
            if not inside:
                plain.append(statement)
                continue
            self._run(plain)
            plain = []
            self._overlap(statement, inside)
        self._run(plain)

    def _mark(self, loop: Loop) -> None:
        function = loop.scopes[-1]
        assert isinstance(function, ast.FunctionDef)
        if not any(isinstance(each, ast.Name) and each.id == _LANES for each in function.decorator_list):
            function.decorator_list.append(ast.copy_location(load(_LANES), function))

    def _run(self, statements: Sequence[ast.stmt]) -> None:
        if not statements:
            return
        first = statements[0]
        if first is not self._tree.body[0]:  # a text at the beginning would become what documents the module
            statements = [ast.copy_location(ast.Pass(), first), *statements]
        whole = _prepared(ast.fix_missing_locations(ast.Module([*statements], [])))
        exec(compile(whole, self._file, "exec", self._flags, dont_inherit=True), self._names)

    def _overlap(self, statement: ast.stmt, loops: Sequence[Loop]) -> None:
        own = _names_of_iterations(self._tree, statement, loops)
        outer = sorted(bound_names([statement]) - own)
        said: list[ast.stmt] = [ast.Global(outer)] if outer else []
        body = ast.Try([statement], [], [], [_left(name) for name in sorted(own)]) if own else statement
        arguments = ast.arguments([], [], None, [], [], None, [])
        made = ast.FunctionDef(f"{PREFIX}module", arguments, [*said, body], [])
        whole = ast.fix_missing_locations(ast.Module([at(made, statement)], []))
        self._names[_LEFT] = self._names.__setitem__
        code = compile(whole, self._file, "exec", self._flags, dont_inherit=True)
        (inner,) = (each for each in code.co_consts if isinstance(each, types.CodeType))
        inner = inner.replace(co_name="<module>", co_qualname="<module>")
        TWINS.made_of(types.FunctionType(inner, self._names), made)()


def _left(name: str) -> ast.stmt:
    """Leaves a name of the iterations to the module, as far as one of them has set it."""
    leaves = ast.Expr(ast.Call(load(_LEFT), [ast.Constant(name), load(name)], []))
    unbound = ast.ExceptHandler(load("NameError"), None, [ast.Pass()])
    return ast.Try([leaves], [unbound], [], [])


def _names_of_iterations(tree: ast.Module, statement: ast.stmt, loops: Sequence[Loop]) -> set[str]:
    """The names of the module that each iteration can have for itself: nothing outside of the loops, neither in the
    statement nor in a function of the module, uses them."""
    found: set[str] = set()
    inside: set[int] = set()
    for loop in loops:
        if isinstance(loop.node, ast.For):
            parts = [loop.node.target, *loop.node.body]
            _, own, _ = uses_in(loop.node.body, loop.node.target, Unknowing(), set(), Around())
            found |= own
            inside |= {id(each) for part in parts for each in walk(part)}
    outside = {each.id for each in walk(statement) if isinstance(each, ast.Name) and id(each) not in inside} | declared(
        [statement]
    )
    for scope in _functions(tree):
        if id(scope) not in inside:
            outside |= free_loads(scope)
    return found - outside


def _functions(tree: ast.Module) -> Iterator[ast.AST]:
    return (each for each in walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))


def _future_flags(tree: ast.Module) -> int:
    flags = 0
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            for alias in statement.names:
                flags |= getattr(__future__, alias.name).compiler_flag
    return flags


# --- other modules ---------------------------------------------------------------------------------------------------


class _Loader(SourceFileLoader):
    """Loads a module of the user's own. Its code is in no cache: there it would be without promises."""

    def exec_module(self, module: types.ModuleType) -> None:
        run_module(cast(str, self.get_source(self.name)), self.path, module.__dict__)


class Finder(MetaPathFinder):
    """Finds the modules with promised loops, and those that are prepared; all others are found as ever."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or type(spec.loader) is not SourceFileLoader or not is_users(spec.origin or "<frozen"):
            return spec
        text = spec.loader.get_source(fullname)
        if text is not None and (HERE.promises.lines(spec.loader.path, text) or _is_prepared(text)):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec

    def install(self) -> None:
        """From now on it finds what Python finds on its path."""
        places = [k for k, finder in enumerate(sys.meta_path) if finder is PathFinder]
        sys.meta_path.insert(places[0] if places else len(sys.meta_path), self)
