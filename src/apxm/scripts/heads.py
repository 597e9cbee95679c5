"""The heads of loops that go through something around `each`, as in ``for row in tqdm(each(rows))``.

What draws from that `each` is not the loop, so the loop itself is made to say which iteration it is in.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from apxm.effects.trees import copied, walk
from apxm.flows.each import each
from apxm.rewriting.nodes import PREFIX, at, load

_LOOP, _INSIDE = f"{PREFIX}loop", f"{PREFIX}inside"
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def tell_heads(iterated: Callable[[Iterable[Any]], Iterator[Any]]) -> Callable[[ast.Module], ast.Module]:
    """What makes the loops of a module such that go through what `iterated` gives for their items. What is put in calls
    functions of ours, which from now on are among Python's own."""

    def loop(items: Iterable[Any], *called: object) -> Iterable[Any]:
        """`called` are the functions in its head that may be `each`, the outermost one first."""
        return iterated(items) if any(map(_is_each, called[1:])) and not _is_each(called[0]) else items

    setattr(builtins, _LOOP, loop)
    setattr(builtins, _INSIDE, _inside)
    return _told


class _Inside(each[Any]):
    """An `each` inside of what a loop goes through."""

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


def _inside(called: object) -> object:
    return _Inside if _is_each(called) else called


def _is_each(called: object) -> bool:
    return isinstance(called, type) and issubclass(called, each)


def _told(tree: ast.Module) -> ast.Module:
    for node in walk(tree):
        head = node.generators[0] if isinstance(node, _COMPREHENSIONS) else node
        if isinstance(head, ast.For | ast.comprehension) and isinstance(head.iter, ast.Call):
            outer, *inner = _calls(head.iter)
            named = [call for call in inner if call.args and _may_be_each(call.func)]
            if isinstance(head, ast.For) or not head.is_async:
                _tell(head, outer, named)
    return tree


def _tell(head: ast.For | ast.comprehension, outer: ast.Call, inner: list[ast.Call]) -> None:
    if not inner:
        return
    first = outer.func if _may_be_each(outer.func) else ast.Constant(None)
    called = [copied(each) for each in (first, *(call.func for call in inner))]
    for call in inner:
        call.func = at(ast.Call(load(_INSIDE), [call.func], []), call.func)
    head.iter = at(ast.Call(load(_LOOP), [outer, *called], []), outer)


def _calls(outer: ast.Call) -> Iterator[ast.Call]:
    """A call, and those that it is given the results of."""
    yield outer
    for argument in outer.args:
        if isinstance(argument, ast.Call):
            yield from _calls(argument)


def _may_be_each(func: ast.expr) -> bool:
    """Whether it is a name that may be that of `each`, such as ``apxm.each``: to look it up twice does nothing."""
    return isinstance(func.value if isinstance(func, ast.Attribute) and func.attr == "each" else func, ast.Name)
