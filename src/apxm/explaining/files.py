"""Files that are explained: their flows, their other functions that call models, and their own statements."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any, cast

from apxm.analysis.static import Needs
from apxm.effects.trees import children
from apxm.errors import UsageError
from apxm.explaining.callees import Callees, function_behind
from apxm.explaining.explainer import Explainer
from apxm.explaining.explanation import Explanation, Given
from apxm.explaining.modules import Decorated, Modules
from apxm.explaining.read_modules import ReadModule, source_of_module, tree_of
from apxm.explaining.sources import Sources
from apxm.rewriting.promises import HERE, Promises
from apxm.rewriting.sources import is_too_deep
from apxm.rewriting.twins import Twins


@contextmanager
def comments_promise() -> Generator[None]:
    """Loops with a comment that promises them are over `each`, as they are where `apxm run` runs them."""
    before, HERE.promises = HERE.promises, Promises(are_read=True)
    try:
        yield
    finally:
        HERE.promises = before


@contextmanager
def reading(path: str, twins: Twins) -> Generator[None]:
    """While functions of a file are read, and none of them runs. Raises `UsageError` where it nests deeper than it can
    be gone through."""
    try:
        with twins.looking():
            yield
    except RecursionError:
        hint = "a long chain of operators nests: a list does not"
        raise UsageError("the file nests deeper than it can be gone through", where=path, hint=hint) from None


class ReadFile:
    """A file, of which nothing runs. Raises `SourceError` where it is no Python, `UsageError`, and `RecursionError`."""

    def __init__(self, path: str, text: str, twins: Twins, decorated: Decorated) -> None:
        self.module = Modules(decorated).read(path, text)
        if is_too_deep(tree_of(self.module)):
            raise RecursionError
        self.callees = Callees(twins)
        found = list(_functions(self.module))
        coroutines = _coroutines(tree_of(self.module), "")
        found += [(self.callees.add_async(self.module, node, name), False) for node, name in coroutines]
        self.functions = sorted(found, key=lambda each: each[0].__code__.co_firstlineno)
        """Its functions and methods, and whether each is a flow."""
        self.body = self.callees.add_body(self.module)
        """Its own statements."""

    @property
    def asking(self) -> list[tuple[FunctionType, bool]]:
        """Those that may call a model, and all flows."""
        every = (*self.functions, (self.body, False))
        return [(function, is_flow) for function, is_flow in every if is_flow or self.callees.may_ask(function)]


@comments_promise()
def explained_file(path: str, text: str, twins: Twins, decorated: Decorated, given: Given) -> Explanation:
    """What is to be said of a file, of which nothing runs. Raises `SourceError` where it is no Python, and
    `UsageError`."""
    with reading(path, twins):
        file = ReadFile(path, text, twins, decorated)
        return Explainer(file.callees, Sources(), given).explanation(path, file.asking)


def explained_flow(function: FunctionType, twins: Twins, given: Given) -> Explanation:
    """What is to be said of a flow that is loaded, and of the functions that it calls."""
    with reading(function.__code__.co_filename, twins):
        explainer = Explainer(Callees(twins), Sources(), given)
        found = [(each, each is function) for each in explainer.reachable(function)]
        return explainer.explanation(function.__code__.co_filename, found)


def needs_of(function: FunctionType, twins: Twins, given: Given) -> Needs:
    """What a flow that is loaded takes, in numbers. Raises `UsageError` where that depends on more than is given."""
    with reading(function.__code__.co_filename, twins):
        return Explainer(Callees(twins), Sources(), given).needs(function)


def _functions(module: ReadModule) -> Iterator[tuple[FunctionType, bool]]:
    """The functions and methods of a file, and whether each is a flow."""
    left: list[Any] = [value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__]
    seen: set[FunctionType] = set()
    while left:
        value = left.pop()
        if isinstance(value, type):
            left += [each for each in vars(value).values() if not inspect.isbuiltin(each)]
            continue
        function = function_behind(value)
        if (
            function is not None
            and function not in seen
            and function.__code__.co_filename == source_of_module(module).path
        ):
            seen.add(function)
            yield function, "lanes" in vars(cast(type, value.__class__))


def _coroutines(node: ast.AST, around: str) -> Iterator[tuple[ast.AsyncFunctionDef, str]]:
    """The coroutines of a file and of its classes, with their names."""
    for child in children(node):
        if isinstance(child, ast.AsyncFunctionDef):
            yield child, f"{around}{child.name}"
        elif not isinstance(child, ast.FunctionDef | ast.Lambda):
            inner = f"{around}{child.name}." if isinstance(child, ast.ClassDef) else around
            yield from _coroutines(child, inner)
