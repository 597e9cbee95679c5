"""Modules that are only read, and what stands in for those that are not: nothing of either runs."""

from __future__ import annotations

import ast
import types
from collections.abc import Iterator
from typing import Any, cast

from apxm.errors import SourceError, UsageError
from apxm.source import Diagnostic, SourceFile, Span


class Unread:
    """What stands in for something of a module that is not loaded; it may be anything, and may be called."""

    def __init__(self, module: str, name: str, function: types.FunctionType | None = None) -> None:
        self.__module__ = module
        self.__name__ = name
        self.__qualname__ = name
        self.function = function
        """The function of the user's that it was made of, by a decorator of which nothing is known."""

    def __call__(self, *_: object, **__: object) -> Any:
        raise AssertionError("nothing of a module that is only read is called")


class UnreadModule(types.ModuleType):
    """A module that is not loaded."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Unread(self.__name__, name)


class ReadModule(types.ModuleType):
    """A module of the user's, as far as its text says. Its attributes are the module's own names, so what else is known
    of it has names that are none of Python's."""

    def __init__(self, name: str, source: SourceFile) -> None:
        super().__init__(name)
        tree, code = _compiled(source)
        self.__dict__["module text"] = source, tree, code


def source_of_module(module: ReadModule) -> SourceFile:
    return cast(SourceFile, module.__dict__["module text"][0])


def tree_of(module: ReadModule) -> ast.Module:
    return cast(ast.Module, module.__dict__["module text"][1])


def code_of(module: ReadModule) -> types.CodeType:
    return cast(types.CodeType, module.__dict__["module text"][2])


def _compiled(source: SourceFile) -> tuple[ast.Module, types.CodeType]:
    try:
        tree = ast.parse(source.text, source.path)
        return tree, compile(source.text, source.path, "exec", dont_inherit=True)
    except SyntaxError as error:
        line = min(error.lineno or 1, len(source.line_starts))
        start = source.line_starts[line - 1] + max(0, (error.offset or 1) - 1)
        start = min(start, len(source.text))
        span = Span(source, start, start + 1)
        raise SourceError((Diagnostic("error", "python-syntax", error.msg, span),)) from None
    except (ValueError, RecursionError, MemoryError) as error:  # a null byte, or nesting without end
        raise UsageError(f"this is no Python that can be read: {error}", where=source.path) from None


def codes_of(code: types.CodeType) -> Iterator[types.CodeType]:
    """All code of the functions and classes in it."""
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from codes_of(constant)
