"""The functions of AIS: what computes a value from values, the operators among them.

A function costs nothing and waits for nothing. It is data: its signatures, by which the checker finds what a call
gives, and what computes it, in the compiler where all arguments are known, else in a run.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from itertools import chain
from types import MappingProxyType

from apxm.errors import OperationError
from apxm.frozen import FrozenRecord
from apxm.operations import sequences, texts
from apxm.operations.plain import kind_of
from apxm.operations.signatures import ITEM, Signature, mentions_item
from apxm.operations.types import BOOL, FLOAT, INT, JSON, STR, VERDICT, Type, Value, fits_int, list_of


class Function(FrozenRecord):
    """One function, or one operator."""

    name: str
    signatures: tuple[Signature, ...]
    """The ways to call it; the first that fits is meant."""
    compute: Callable[..., Value]
    """What it gives for such arguments. Raises `OperationError`."""
    optional: int = 0
    """How many arguments at the end may be left out."""
    grows: bool = False
    """Whether little can make much: then it is left to the run, whatever is known before."""

    @property
    def least(self) -> int:
        """The fewest arguments of a call."""
        return len(self.signatures[0].parameters) - self.optional

    @property
    def most(self) -> int | None:
        """The most arguments of a call; None where there is no limit."""
        return None if self.signatures[0].repeats else len(self.signatures[0].parameters)

    @property
    def result(self) -> Type | None:
        """The type of what it gives; None where that depends on what it is given."""
        results = {signature.result for signature in self.signatures}
        return None if len(results) > 1 or any(map(mentions_item, results)) else self.signatures[0].result

    def takes(self, count: int) -> bool:
        return self.least <= count and (self.most is None or count <= self.most)

    def of(self, count: int) -> Callable[[Sequence[Value]], Value]:
        """What computes it from `count` arguments, and looks at each first: json can hold anything, and so can an
        artifact that somebody wrote by hand."""
        wanted = [s.wanted(count) for s in self.signatures]
        checks = [(i, names) for i in range(count) if (names := {types[i] for types in wanted}) and _is_checked(names)]
        allowed = [(i, frozenset(chain.from_iterable(_PYTHON[t.name] for t in names)), names) for i, names in checks]
        compute = self.compute

        def checked(values: Sequence[Value]) -> Value:
            for i, kinds, names in allowed:
                if type(values[i]) not in kinds:
                    expected = " or ".join(sorted(map(str, names)))
                    message = f"`{self.name}` expected {expected}, found {kind_of(values[i])}"
                    raise OperationError("wrong_type", message)
            return compute(*values)

        return checked


_PYTHON = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,), "list": (list,)}
"""The types of Python that hold values of a type."""


def _is_checked(types: set[Type]) -> bool:
    return all(type_.name in _PYTHON for type_ in types)


def _in_range(value: int | float) -> int | float:
    """The number itself, if it is one of AIS."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise OperationError("overflow", "a result does not fit a float")
    elif not fits_int(value):
        raise OperationError("overflow", "a result does not fit an int (64 bits)")
    return value


def _arithmetic(compute: Callable[[Value, Value], Value]) -> Callable[[Value, Value], Value]:
    def computed(left: Value, right: Value) -> Value:
        try:
            return _in_range(compute(left, right))
        except ZeroDivisionError:
            raise OperationError("division_by_zero", "a number is divided by zero") from None

    return computed


def _quotient(left: float, right: float) -> float:
    return left / right


def _negated(value: int | float) -> int | float:
    return _in_range(-value)


def _ordered(compare: Callable[[Value, Value], bool]) -> Callable[[Value, Value], bool]:
    def compared(left: Value, right: Value) -> bool:
        sequences.expect_ordered((left, right))
        return compare(left, right)

    return compared


def _of(*types: Type, to: Type, items: tuple[Type, ...] = (), repeats: bool = False) -> Signature:
    return Signature(types, to, items, repeats)


_ITEMS = list_of(ITEM)
_TEXTS = list_of(STR)
_NUMBERS = (_of(INT, INT, to=INT), _of(FLOAT, FLOAT, to=FLOAT))
_EQUALITY = (_of(ITEM, ITEM, to=BOOL), _of(VERDICT, STR, to=BOOL), _of(STR, VERDICT, to=BOOL))
_ORDER = (_of(ITEM, ITEM, to=BOOL, items=(INT, FLOAT, STR, JSON)),)
_TEXT_TO_TEXT = (_of(STR, to=STR),)
_IS_PART = (_of(STR, STR, to=BOOL),)

CONCATENATION = "+"
"""The operator that joins lists; numbers and text have operations of their own in the IR."""
ITEM_OF = "[]"
PART_OF = "[:]"
NEGATION = "-x"

OPERATORS = (
    Function(name="==", signatures=_EQUALITY, compute=sequences.equal),
    Function(name="!=", signatures=_EQUALITY, compute=sequences.different),
    Function(name="<", signatures=_ORDER, compute=_ordered(operator.lt)),
    Function(name="<=", signatures=_ORDER, compute=_ordered(operator.le)),
    Function(name=">", signatures=_ORDER, compute=_ordered(operator.gt)),
    Function(name=">=", signatures=_ORDER, compute=_ordered(operator.ge)),
    Function(name="not", signatures=(_of(BOOL, to=BOOL),), compute=operator.not_),
    Function(
        name="in",
        signatures=(
            _of(ITEM, _ITEMS, to=BOOL),
            _of(STR, STR, to=BOOL),
            _of(JSON, STR, to=BOOL),
            _of(ITEM, JSON, to=BOOL),
        ),
        compute=sequences.holds,
    ),
    Function(name="-", signatures=_NUMBERS, compute=_arithmetic(operator.sub)),
    Function(name="*", signatures=_NUMBERS, compute=_arithmetic(operator.mul)),
    Function(name="/", signatures=(_of(FLOAT, FLOAT, to=FLOAT),), compute=_arithmetic(_quotient)),
    Function(name="%", signatures=_NUMBERS, compute=_arithmetic(operator.mod)),
    Function(name=NEGATION, signatures=(_of(INT, to=INT), _of(FLOAT, to=FLOAT)), compute=_negated),
    Function(name=CONCATENATION, signatures=(_of(_ITEMS, to=_ITEMS, repeats=True),), compute=sequences.concatenation),
    Function(
        name=ITEM_OF,
        signatures=(_of(_ITEMS, INT, to=ITEM), _of(STR, INT, to=STR), _of(JSON, INT, to=JSON), _of(JSON, STR, to=JSON)),
        compute=sequences.item,
    ),
    Function(
        name=PART_OF,
        signatures=(_of(_ITEMS, INT, INT, to=_ITEMS), _of(STR, INT, INT, to=STR), _of(JSON, INT, INT, to=JSON)),
        compute=sequences.part,
    ),
)

NAMED = (
    Function(
        name="len", signatures=(_of(_ITEMS, to=INT), _of(STR, to=INT), _of(JSON, to=INT)), compute=sequences.length
    ),
    Function(name="join", signatures=(_of(_TEXTS, STR, to=STR),), compute=texts.join, grows=True),
    Function(name="split", signatures=(_of(STR, STR, to=_TEXTS),), compute=texts.split, optional=1),
    Function(name="lines", signatures=(_of(STR, to=_TEXTS),), compute=texts.lines),
    Function(name="trim", signatures=_TEXT_TO_TEXT, compute=str.strip),
    Function(name="lower", signatures=_TEXT_TO_TEXT, compute=texts.lower),
    Function(name="upper", signatures=_TEXT_TO_TEXT, compute=texts.upper),
    Function(name="replace", signatures=(_of(STR, STR, STR, to=STR),), compute=texts.replace, grows=True),
    Function(name="contains", signatures=_IS_PART, compute=operator.contains),
    Function(name="starts_with", signatures=_IS_PART, compute=str.startswith),
    Function(name="ends_with", signatures=_IS_PART, compute=str.endswith),
    Function(name="matches", signatures=_IS_PART, compute=texts.matches),
    Function(name="parse_json", signatures=(_of(STR, to=JSON),), compute=texts.parse_json),
    Function(name="to_json", signatures=(_of(ITEM, to=STR),), compute=texts.to_json, grows=True),
    Function(name="number", signatures=(_of(STR, to=FLOAT),), compute=texts.number),
    Function(
        name="range",
        signatures=(_of(INT, INT, to=list_of(INT)),),
        compute=sequences.whole_numbers,
        optional=1,
        grows=True,
    ),
    Function(name="unique", signatures=(_of(_ITEMS, to=_ITEMS),), compute=sequences.distinct),
    Function(
        name="sort", signatures=(_of(_ITEMS, to=_ITEMS, items=(INT, FLOAT, STR, JSON)),), compute=sequences.in_order
    ),
    Function(name="zip", signatures=(_of(_ITEMS, to=list_of(_ITEMS), repeats=True),), compute=sequences.zipped),
)

FUNCTIONS: MappingProxyType[str, Function] = MappingProxyType({f.name: f for f in (*OPERATORS, *NAMED)})
"""Every function, by name."""
