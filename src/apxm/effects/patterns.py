"""Statements and calls that change something, as they are written."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from apxm.effects.libraries import ONLY_ADDS
from apxm.effects.trees import walk

EVIDENT = frozenset(
    {
        "add", "append", "appendleft", "extend", "insert", "update", "write", "writelines", "discard", "remove",
        "clear", "pop", "popleft", "popitem", "setdefault", "sort", "reverse",
    }
)  # fmt: skip
"""Methods that change what they are called on, if that is a container or a file."""


def is_plain(path: ast.expr) -> bool:
    """Whether to follow a path changes nothing: an item may be made when it is asked for."""
    return not any(isinstance(part, ast.Subscript | ast.Call) for part in walk(path))


def is_call_statement(statement: ast.Expr) -> bool:
    """Whether a statement is nothing but the call of a method that changes what a name stands for."""
    match statement.value:
        case ast.Call(func=ast.Attribute(value=receiver, attr=method)):
            calls = all(isinstance(each, ast.Lambda) for each in called_back(statement.value))
            return method in EVIDENT and root(receiver) is not None and calls
        case _:
            return False


class Adding(NamedTuple):
    """``groups[key].append(value)``, or ``groups.setdefault(key, []).append(value)``."""

    container: ast.expr
    keys: list[ast.expr]
    default: ast.expr | None
    method: str
    arguments: list[ast.expr]


def adding(statement: ast.stmt) -> Adding | None:
    """A statement that only adds to an item of a container."""
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=receiver, attr=method), args=arguments, keywords=[])) if (
            method in ONLY_ADDS
        ):
            default = None
            match receiver:
                case ast.Call(func=ast.Attribute(value=inner, attr="setdefault"), args=[key, default], keywords=[]):
                    container, keys = without_items(inner)
                    keys.append(key)
                case _:
                    container, keys = without_items(receiver)
            if keys and is_plain(container) and root(container) is not None:
                return Adding(container, keys, default, method, arguments)
        case _:
            pass
    return None


def without_items(path: ast.expr) -> tuple[ast.expr, list[ast.expr]]:
    """A path up to the items at its end, and the keys of these."""
    keys: list[ast.expr] = []
    while isinstance(path, ast.Subscript):
        keys.insert(0, path.slice)
        path = path.value
    return path, keys


class Counting(NamedTuple):
    """``counts[key] = counts.get(key, default) + value``."""

    counts: ast.expr
    key: ast.expr
    default: ast.expr
    op: ast.operator
    value: ast.expr


def counting(statement: ast.stmt) -> Counting | None:
    """An assignment that only counts in a dict."""
    match statement:
        case ast.Assign(
            targets=[ast.Subscript(value=counts, slice=key)],
            value=ast.BinOp(
                left=ast.Call(func=ast.Attribute(value=read, attr="get"), args=[of, ast.Constant() as default]),
                op=op,
                right=value,
            ),
        ) if is_plain(counts) and root(counts) is not None and _same(counts, read) and _same(key, of):
            names = {part.id for part in walk(value) if isinstance(part, ast.Name)}
            return None if root(counts) in names else Counting(counts, key, default, op, value)
        case _:
            return None


def _same(one: ast.expr, other: ast.expr) -> bool:
    return ast.unparse(one) == ast.unparse(other)


def root(expression: ast.expr) -> str | None:
    """The name that a path of attributes and items begins with."""
    while isinstance(expression, ast.Attribute | ast.Subscript):
        expression = expression.value
    return expression.id if isinstance(expression, ast.Name) else None


def is_super(value: ast.expr) -> bool:
    """Whether it is ``super()``, in a method."""
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "super"


ITERATORS = frozenset(
    {
        "accumulate", "batched", "chain", "count", "cycle", "enumerate", "filter", "from_iterable", "groupby", "islice",
        "iter", "iterdir", "map", "open", "pairwise", "reader", "DictReader", "repeat", "reversed", "starmap",
        "takewhile", "zip",
    }
)  # fmt: skip
"""Functions that give what can be gone through only once."""
_ONLY_NAMED = frozenset(
    {"bool", "callable", "delattr", "dir", "format", "getattr", "hasattr", "hash", "id", "isinstance", "issubclass",
     "len", "next", "print", "repr", "setattr", "str", "type"}
)  # fmt: skip
_GOING_THROUGH = frozenset(
    {
        "difference", "difference_update", "extend", "extendleft", "from_iterable", "fromkeys", "intersection",
        "isdisjoint", "issubset", "issuperset", "join", "symmetric_difference", "union", "update", "writelines",
        "writerows",
    }
)  # fmt: skip
"""Methods that go through what they are given."""


def makes_iterator(value: ast.expr | None) -> bool:
    """Whether a value, as it is written, can be gone through only once."""
    match value:
        case ast.GeneratorExp():
            return True
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in ITERATORS
        case _:
            return False


def may_go_through(call: ast.Call, only_looks: bool) -> bool:
    """Whether a call may go through what it is given; `only_looks` says that the function is known to compute."""
    match call.func:
        case ast.Name(id=name):
            return only_looks and name not in _ONLY_NAMED
        case ast.Attribute(attr=name):
            return name in _GOING_THROUGH or (only_looks and name not in _ONLY_NAMED)
        case _:
            return False


def called_as(call: ast.Call) -> str:
    """The last name of what is called."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def called_back(call: ast.Call) -> Iterator[ast.expr]:
    """What a call of a function that is not the user's gives to be called, as far as names tell."""
    is_method, name = isinstance(call.func, ast.Attribute), called_as(call)
    if name not in CALLING:
        return
    place = _FUNCTION_AT.get(name)
    if place == 1 and name in REPLACING and is_method and root(call.func) not in ("re", "regex"):
        place = 0  # of a pattern
    given = [] if place is None or (name == "iter" and len(call.args) < 2) else call.args[place : place + 1]
    hooks = _JSON_HOOKS if name in _OF_JSON else _HOOKS
    for each in (*given, *(keyword.value for keyword in call.keywords if keyword.arg in hooks)):
        if not isinstance(each, ast.Constant | ast.JoinedStr | ast.BinOp):
            yield each


REPLACING = frozenset({"sub", "subn"})
"""Those of `re`, which are given a text, or a function that makes one."""
_FUNCTION_AT = {
    "accumulate": 1, "dropwhile": 0, "filter": 0, "filterfalse": 0, "groupby": 1, "iter": 0, "map": 0, "reduce": 0,
    "starmap": 0, "sub": 1, "subn": 1, "takewhile": 0,
}  # fmt: skip
"""Functions of libraries that call one which they are given, and the place of that among their arguments."""
_OF_JSON = frozenset({"dump", "dumps", "load", "loads"})
CALLING = (
    frozenset(_FUNCTION_AT)
    | _OF_JSON
    | {"bisect", "bisect_left", "bisect_right", "insort", "insort_left", "insort_right", "max", "merge", "min"}
    | {"nlargest", "nsmallest", "sort", "sorted"}
)
"""All that call functions, some of them by keywords."""
_HOOKS = frozenset({"func", "function", "key", "repl"})
_JSON_HOOKS = frozenset({"default", "object_hook", "object_pairs_hook"})


def changes_first(call: ast.Call) -> bool:
    """Whether a call, as it is written, changes its first argument."""
    match call.func:
        case ast.Name(id=name):
            return name in {"next", "setattr", "delattr", "heappush", "heappop", "insort", "shuffle"}
        case ast.Attribute(value=ast.Name(id="heapq" | "bisect" | "random"), attr=name):
            return name in {"heappush", "heappop", "heapify", "heapreplace", "heappushpop", "insort", "shuffle"}
        case _:
            return False


def printed_to(call: ast.Call) -> ast.keyword | None:
    """What a call of `print` is given for ``file``."""
    if not (isinstance(call.func, ast.Name) and call.func.id == "print"):
        return None
    return next((keyword for keyword in call.keywords if keyword.arg == "file"), None)


def is_standard_stream(path: ast.expr) -> bool:
    """Whether it is ``sys.stdout`` or ``sys.stderr``, which see to the order of what lanes write by themselves."""
    return isinstance(path, ast.Attribute) and path.attr in ("stdout", "stderr") and root(path.value) == "sys"
