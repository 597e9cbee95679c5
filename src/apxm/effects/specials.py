"""Special methods, which nobody calls by their names: which of them what is written in code may call, and on what."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from apxm.effects.libraries import TEXT_METHODS
from apxm.effects.patterns import EVIDENT

_SHOWN = ("__format__", "__str__", "__repr__")
_TESTED = ("__bool__", "__len__")
_GONE_THROUGH = ("__iter__", "__next__", "__getitem__", "__len__", "__length_hint__", "__reversed__")
_ALIKE = ("__eq__", "__hash__")
_GOT = ("__getitem__", "__missing__", "__class_getitem__")
_READ = ("__getattr__", "__getattribute__")
_SET = ("__setattr__", "__set__")
_DELETED = ("__delattr__", "__delete__")
_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "truediv", ast.FloorDiv: "floordiv", ast.Mod: "mod",
    ast.Pow: "pow", ast.LShift: "lshift", ast.RShift: "rshift", ast.BitOr: "or", ast.BitAnd: "and",
    ast.BitXor: "xor", ast.MatMult: "matmul",
}  # fmt: skip
_UNARY: dict[type[ast.unaryop], tuple[str, ...]] = {
    ast.USub: ("__neg__",),
    ast.UAdd: ("__pos__",),
    ast.Invert: ("__invert__",),
    ast.Not: _TESTED,
}
_COMPARED: dict[type[ast.cmpop], tuple[tuple[str, ...], tuple[str, ...]]] = {
    ast.Eq: (("__eq__",), ("__eq__",)),
    ast.NotEq: (("__ne__", "__eq__"), ("__ne__", "__eq__")),
    ast.Lt: (("__lt__",), ("__gt__",)),
    ast.Gt: (("__gt__",), ("__lt__",)),
    ast.LtE: (("__le__",), ("__ge__",)),
    ast.GtE: (("__ge__",), ("__le__",)),
    ast.In: (_ALIKE, _ALIKE),
    ast.NotIn: (_ALIKE, _ALIKE),
}
_ARITHMETIC = tuple(f"__{kind}{name}__" for kind in ("", "r", "i") for name in (*_OPERATORS.values(), "divmod"))
_NUMBERS = (
    "__abs__", "__round__", "__int__", "__float__", "__complex__", "__index__", "__trunc__", "__floor__", "__ceil__",
    "__neg__", "__pos__", "__invert__",
)  # fmt: skip
_COMPUTED = (
    *_SHOWN, *_TESTED, *_GONE_THROUGH, *_ALIKE, *_GOT, "__contains__", "__ne__", "__lt__", "__gt__", "__le__", "__ge__",
    *_ARITHMETIC, *_NUMBERS, "__bytes__", "__fspath__", "__copy__", "__deepcopy__", "__call__", "__dir__",
)  # fmt: skip
"""Those that a function may call which computes with what it is given."""
SPECIAL = frozenset(
    (*_COMPUTED, *_READ, *_SET, *_DELETED, "__setitem__", "__delitem__", "__get__", "__init_subclass__", "__set_name__")
)
"""Those that are looked into where nobody calls them by their names. Of others, `__init__`, `__enter__` and `__exit__`
are seen where they are called, and when `__del__` is called nobody knows."""
_BY_NAME: dict[str, tuple[str, ...]] = {
    "callable": (), "id": (), "isinstance": (), "issubclass": (), "type": (),
    "bool": _TESTED, "format": _SHOWN, "hash": ("__hash__",), "len": ("__len__",), "repr": ("__repr__",),
    "print": _SHOWN, "str": _SHOWN, "hasattr": _READ, "getattr": _READ, "setattr": _SET, "delattr": _DELETED,
}  # fmt: skip
"""Those that functions of Python's own call on what they are given."""


class Implied(NamedTuple):
    """Special methods that may be called of what an expression stands for."""

    operand: ast.expr
    names: tuple[str, ...]
    deep: bool = False
    """Or of what that holds."""


def implied(node: ast.AST) -> Iterator[Implied]:
    """The special methods that a node itself calls, where its parts are there."""
    match node:
        case ast.Subscript(value=value, slice=key, ctx=context):
            yield Implied(value, _of(context, _GOT, ("__setitem__",), ("__delitem__",)))
            yield Implied(key, (*_ALIKE, "__index__"), deep=True)
        case ast.Attribute(value=value, ctx=context):
            yield Implied(value, _of(context, _READ, _SET, _DELETED))
        case ast.BinOp(left=left, op=op, right=right):
            name = _OPERATORS[type(op)]
            yield Implied(left, (f"__{name}__", *(_SHOWN if name == "mod" else ())), deep=True)
            yield Implied(right, (f"__r{name}__", *(_SHOWN if name == "mod" else ())), deep=True)
        case ast.AugAssign(target=target, op=op, value=value):
            name = _OPERATORS[type(op)]
            yield Implied(target, (f"__i{name}__", f"__{name}__"))
            yield Implied(value, (f"__r{name}__", *_GONE_THROUGH), deep=True)
            if isinstance(target, ast.Subscript):
                yield Implied(target.value, (*_GOT, "__setitem__"))
        case ast.UnaryOp(op=op, operand=operand):
            yield Implied(operand, _UNARY[type(op)])
        case ast.Compare(left=left, ops=ops, comparators=others):
            for op, one, other in zip(ops, (left, *others), others, strict=False):
                of_one, of_other = _COMPARED.get(type(op), ((), ()))
                yield Implied(one, of_one, deep=True)
                yield Implied(other, of_other, deep=True)
                if isinstance(op, ast.In | ast.NotIn):
                    yield Implied(other, ("__contains__", *_GONE_THROUGH))
        case ast.BoolOp(values=values):
            yield from (Implied(value, _TESTED) for value in values)
        case ast.IfExp(test=test) | ast.If(test=test) | ast.While(test=test) | ast.Assert(test=test):
            yield Implied(test, _TESTED)
        case ast.FormattedValue(value=value):
            yield Implied(value, _SHOWN, deep=True)
        case ast.For(iter=items):
            yield Implied(items, _GONE_THROUGH)
        case ast.comprehension(iter=items, ifs=tests):
            yield Implied(items, _GONE_THROUGH)
            yield from (Implied(test, _TESTED) for test in tests)
        case ast.Starred(value=value, ctx=ast.Load()) | ast.YieldFrom(value=value):
            yield Implied(value, _GONE_THROUGH)
        case ast.Assign(targets=targets, value=value):
            if any(isinstance(each, ast.Tuple | ast.List) for each in targets):
                yield Implied(value, _GONE_THROUGH)
        case ast.Match(subject=subject):
            yield Implied(subject, (*_COMPUTED, *_READ), deep=True)
        case ast.Call():
            yield from _of_call(node)
        case ast.ClassDef(bases=bases, body=body):
            yield from (Implied(base, ("__init_subclass__",)) for base in bases)
            values = (part.value for part in body if isinstance(part, ast.Assign))
            yield from (Implied(value, ("__set_name__",)) for value in values)
        case _:
            pass


def _of(context: ast.expr_context, *names: tuple[str, ...]) -> tuple[str, ...]:
    load, store, delete = names
    return load if isinstance(context, ast.Load) else store if isinstance(context, ast.Store) else delete


def _of_call(call: ast.Call) -> Iterator[Implied]:
    match call.func:
        case ast.Name(id=name):
            names = _BY_NAME.get(name, _COMPUTED)
        case ast.Attribute(attr=name) if name in EVIDENT or name in TEXT_METHODS:
            names = (*_ALIKE, *_GONE_THROUGH, *_SHOWN)
        case _:
            names = _COMPUTED
    yield from (Implied(given, names, deep=True) for given in call.args if names)
    yield from (Implied(keyword.value, names, deep=True) for keyword in call.keywords if names)
    if isinstance(call.func, ast.Attribute) and names:
        yield Implied(call.func.value, _ALIKE, deep=True)  # `index`, `remove` and their kin compare what it holds
