"""The sources of functions of the user's, with the loops in them that are promised."""

from __future__ import annotations

import ast
import linecache
import types
from collections import deque
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from apxm.effects.closures import held_in
from apxm.effects.scopes import mark
from apxm.effects.trees import children, walk
from apxm.effects.users import is_users
from apxm.kept import cached_weakly
from apxm.rewriting.promises import HERE, promised

_RUN_BY_OTHERS = 0x80 | 0x100 | 0x200
"""The flags of coroutines and of asynchronous generators: an event loop runs these, not a lane."""
REWRITTEN = object()
"""The last constant of the code of twins, and of all code in it."""


def is_rewritten(code: types.CodeType) -> bool:
    constants = code.co_consts
    return bool(constants) and constants[-1] is REWRITTEN


def source_of(function: types.FunctionType) -> tuple[ast.FunctionDef, str | None] | None:
    """The definition of a function of the user's, which is read and not changed, and the class around it; None where
    there is none, an event loop runs it, or it nests deeper than it can be gone through."""
    return source_of_code(function.__code__, function.__globals__, function)


def source_of_code(
    code: types.CodeType, module: dict[str, Any], function: types.FunctionType | None = None
) -> tuple[ast.FunctionDef, str | None] | None:
    """As `source_of`, for the code of a function in the names of its `module`."""
    if not is_users(code.co_filename) or code.co_flags & _RUN_BY_OTHERS:
        return None
    try:
        found = _definitions(tree_of(code.co_filename, module, function)).get((code.co_name, code.co_firstlineno))
        return None if found is None or is_too_deep(found[0]) else found
    except RecursionError:
        return None


def tree_of(file: str, module: dict[str, Any], function: types.FunctionType | None = None) -> ast.Module:
    """What stands in a file of a module, which nobody may change; nothing where there is no source. `function` is one
    that stands there: as long as there is that, the file is not parsed again."""
    found = _file(file, module, function)
    return found.tree(HERE.promises.lines(file, found.text))


@cached_weakly
def is_too_deep(tree: ast.AST) -> bool:
    """Whether it nests deeper than it can be gone through."""
    level = [tree]
    for _ in range(_DEEPEST):
        level = [part for node in level for part in children(node)]
    return bool(level)


_DEEPEST = 250
"""The levels of nodes that can be gone through: of a thousand calls within each other, a few go to each."""


class _File:
    """What stands in a file."""

    def __init__(self, name: str, lines: list[str]) -> None:
        self.name = name
        self.lines = lines
        self.text = "".join(lines)  # one object, whose hash is made once
        self._trees: dict[frozenset[int], ast.Module] = {}

    def tree(self, promised_lines: frozenset[int]) -> ast.Module:
        """With the loops in these lines promised; empty where it was edited since, and is no Python."""
        if promised_lines not in self._trees:
            try:
                tree = promised(mark(ast.parse(self.text, self.name)), promised_lines)
            except SyntaxError:
                tree = ast.Module([], [])
            self._trees[promised_lines] = tree
        return self._trees[promised_lines]


_FILES: WeakValueDictionary[str, _File] = WeakValueDictionary()
"""By their names, as they were last seen."""
_OF: WeakKeyDictionary[types.FunctionType, _File] = WeakKeyDictionary()
"""As long as there is a function there is what its file holds."""
_LATEST: deque[_File] = deque(maxlen=32)
"""Those that were read last: of some no function is known."""


def _file(name: str, module: dict[str, Any], function: types.FunctionType | None = None) -> _File:
    lines = linecache.getlines(name, module)
    found = _FILES.get(name)
    if found is not None and found.lines is not lines and found.text == "".join(lines):
        found.lines = lines  # it was read again, and is as it was
    if found is None or found.lines is not lines:
        found = _FILES[name] = _File(name, lines)
        if lines:
            _LATEST.append(found)
    if function is not None:
        _OF[function] = found
    return found


def _plain_tree(function: types.FunctionType) -> ast.Module:
    """What stands in the file of a function, without promises."""
    return _file(function.__code__.co_filename, function.__globals__, function).tree(frozenset())


@cached_weakly
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
        left += ((child, inner) for child in children(node))
    return found


def replaced_names(function: types.FunctionType) -> frozenset[str]:
    """The names of its module that functions in the file of a function may bind."""
    return _declared_global(_plain_tree(function))


@cached_weakly
def _declared_global(tree: ast.Module) -> frozenset[str]:
    return frozenset(name for part in walk(tree) if isinstance(part, ast.Global) for name in part.names)


def default_attributes(function: types.FunctionType) -> frozenset[str]:
    """The attributes that are set to a `defaultdict` somewhere in the file of a function."""
    return _default_attributes(_plain_tree(function))


@cached_weakly
def _default_attributes(tree: ast.Module) -> frozenset[str]:
    found: set[str] = set()
    for part in walk(tree):
        if isinstance(part, ast.Assign | ast.AnnAssign) and part.value is not None:
            targets = part.targets if isinstance(part, ast.Assign) else [part.target]
            if "defaultdict" in ast.unparse(part.value):
                found |= {each.attr for each in targets if isinstance(each, ast.Attribute)}
                found |= {each.id for each in targets if isinstance(each, ast.Name)}  # of a class
    return frozenset(found)


def held_attributes(function: types.FunctionType) -> Mapping[str, frozenset[str]]:
    """The attributes that are set, somewhere in the file of a function, to what holds the object of another one."""
    return _held_attributes(_plain_tree(function))


@cached_weakly
def _held_attributes(tree: ast.Module) -> Mapping[str, frozenset[str]]:
    statements = [part for part in walk(tree) if isinstance(part, ast.Assign)]
    found = {name: {each for each in held if each[0] == "."} for name, held in held_in(statements).items()}
    return {name: frozenset(held) for name, held in found.items() if name[0] == "." and held}


def set_on_classes(function: types.FunctionType, classes: frozenset[str]) -> frozenset[str]:
    """The attributes that are set, somewhere in the file of a function, on one of `classes`, by their names."""
    return frozenset(name for owner, name in _set_attributes(_plain_tree(function)) if owner in classes)


@cached_weakly
def _set_attributes(tree: ast.Module) -> frozenset[tuple[str, str]]:
    """The attributes that are set there, each behind the last name of what has it."""
    found: set[tuple[str, str]] = set()
    for part in walk(tree):
        if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store):
            owner = part.value.func if isinstance(part.value, ast.Call) else part.value
            found.add((owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", ""), part.attr))
    return frozenset(found)


def names_in(code: types.CodeType) -> set[str]:
    """The names of its module that code uses, and code in it; and those of attributes."""
    found, left = set[str](), [code]
    while left:
        each = left.pop()
        found |= {*each.co_names}
        left += [inner for inner in each.co_consts if isinstance(inner, types.CodeType)]
    return found
