"""How many items a loop goes through, as far as the text of what it goes through says."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping, Sequence, Sized

from apxm.effects.patterns import EVIDENT
from apxm.effects.trees import walk
from apxm.explaining.formulas import NONE, Amount, Formula, total

_SAME = frozenset(
    {"deepcopy", "dict", "each", "enumerate", "iter", "list", "reversed", "set", "sorted", "tqdm", "track", "tuple"}
)  # fmt: skip
"""Functions that give as many items as they are given, or as good as."""
_PARTS = frozenset({"copy", "items", "keys", "values"})
"""Methods that do."""
_MOST = 40


def lengths_of(arguments: Mapping[str, object]) -> dict[str, int]:
    """How many items arguments have, as far as they know that before they are gone through; a number is one already."""
    found: dict[str, int] = {}
    for name, value in arguments.items():
        if isinstance(value, int) and not isinstance(value, bool):
            found[name] = max(0, value)
        elif isinstance(value, Sized):
            found[name] = len(value)
    return found


class Lengths:
    """The lengths of what stands in one function."""

    def __init__(self, body: Sequence[ast.AST], constants: Mapping[str, object]) -> None:
        """`constants` are what the names of the module stand for, as far as that is known."""
        self._constants = constants
        stored = Counter[str]()
        values: dict[str, ast.expr] = {}
        for part in (part for each in body for part in walk(each)):
            match part:
                case ast.Name(id=name, ctx=ast.Store()):
                    stored[name] += 1
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    values[name] = value
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if method in EVIDENT:
                    stored[name] += 1  # it does not stay as long as it was made
                case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                    stored[name] += 1
                case _:
                    pass
        self._stored = stored
        self._values = {name: value for name, value in values.items() if stored[name] == 1}
        """The names that the function binds once, by what."""
        self._following: set[str] = set()

    def of(self, items: ast.expr) -> Amount:
        """How many items there are."""
        match items:
            case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
                stars = [part.value for part in parts if isinstance(part, ast.Starred)]
                return Amount.of(len(parts) - len(stars)) + total(map(self.of, stars))
            case ast.Dict(keys=keys) if None not in keys:
                return Amount.of(len(keys))
            case ast.Constant(value=str() as text):
                return Amount.of(len(text))
            case ast.ListComp() | ast.GeneratorExp() | ast.SetComp() | ast.DictComp():
                return self._comprehension(items)
            case ast.Call():
                return self._call(items)
            case ast.Name(id=name):
                return self._named(items, name)
            case _:
                return _symbol(items)

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp) -> Amount:
        found = Amount.of(1)
        for generator in node.generators:
            found *= self.of(generator.iter)
        filtered = any(generator.ifs for generator in node.generators) or isinstance(node, ast.SetComp | ast.DictComp)
        return Amount(NONE.low, found.high) if filtered else found

    def _call(self, call: ast.Call) -> Amount:
        match call:
            case ast.Call(func=ast.Name(id="range"), args=[stop]):
                return self._number(stop)
            case ast.Call(func=ast.Name(id="range"), args=[ast.Constant(value=int() as start), stop]):
                found = self._number(stop)
                if (number := found.low.number) is not None:
                    return Amount.of(max(0, number - start))
                return found if start == 0 else _symbol(call)
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[items, *_]) if name in _SAME:
                return self.of(items)
            case ast.Call(func=ast.Attribute(value=items, attr=name), args=[]) if name in _PARTS:
                return self.of(items)
            case ast.Call(func=ast.Name(id="zip"), args=[items, *_]):
                return self.of(items)
            case ast.Call(func=ast.Name(id="map" | "filter" as name), args=[_, items]):
                found = self.of(items)
                return found if name == "map" else Amount(NONE.low, found.high)
            case _:
                return _symbol(call)

    def _number(self, node: ast.expr) -> Amount:
        """What a number is."""
        match node:
            case ast.Constant(value=int() as number):
                return Amount.of(max(0, number))
            case ast.Call(func=ast.Name(id="len"), args=[items]):
                return self.of(items)
            case ast.Name(id=name):
                value = self._values.get(name)
                if isinstance(value, ast.Constant):
                    return self._number(value)
                number = self._constants.get(name) if name not in self._stored else None
                if isinstance(number, int):
                    return Amount.of(max(0, number))
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._number(left) + self._number(right)
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return self._number(left) * self._number(right)
            case _:
                pass
        found = Formula.length(_text(node))
        return Amount(found, found)

    def _named(self, node: ast.expr, name: str) -> Amount:
        value = self._values.get(name)
        if value is None or name in self._following:
            return _symbol(node)
        self._following.add(name)
        found = self.of(value)
        self._following.discard(name)
        return _symbol(node) if found == _symbol(value) else found


def _symbol(items: ast.expr) -> Amount:
    found = Formula.length(f"len({_text(items)})")
    return Amount(found, found)


def _text(node: ast.expr) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"
