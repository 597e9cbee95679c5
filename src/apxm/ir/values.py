"""Operations that compute a value from values. None of them is a node of a plan: they fold into what uses them."""

from __future__ import annotations

from collections.abc import Sequence

from apxm.ir.core import InvalidModule, Op, SSAValue
from apxm.ir.literals import written
from apxm.operations.functions import FUNCTIONS, Function
from apxm.operations.types import BOOL, BUILT_IN, FLOAT, INT, JSON, STR, Type, Value, assignable, conforms, list_of
from apxm.program.expressions import Connective


class ValueOp(Op):
    """A value of known type, computed from the operands and the literals alone."""

    __slots__ = ()

    @property
    def result(self) -> SSAValue:
        return self.results[0]

    def expect_result(self, expected: Type) -> None:
        if self.result.type != expected:
            raise InvalidModule(f"expected the result {expected}, found {self.result.type}")

    def expect_one_operand(self) -> None:
        if len(self.operands) != 1:
            raise InvalidModule(f"expected one operand, found {len(self.operands)}")


class ConstantOp(ValueOp):
    """``%0 = ais.constant "text" : str``"""

    __slots__ = ()
    name = "ais.constant"

    def __init__(self, value: Value, type_: Type) -> None:
        super().__init__((), type_, literals={"value": value})

    @property
    def constant(self) -> Value:
        return self.literals["value"]

    def verify(self) -> None:
        value, type_ = self.literals["value"], self.results[0].type
        if not (type(value) is str and type_ is STR) and not conforms(value, type_):
            raise InvalidModule(f"{written(value)} is no {type_}")


class TextOp(ValueOp):
    """The text forms of the operands, joined."""

    __slots__ = ()
    name = "ais.text"

    def __init__(self, parts: Sequence[SSAValue]) -> None:
        super().__init__(parts, STR)

    def verify(self) -> None:
        self.expect_result(STR)


class SumOp(ValueOp):
    """Numbers added from left to right; a float as soon as one of them is."""

    __slots__ = ()
    name = "ais.sum"

    def __init__(self, parts: Sequence[SSAValue]) -> None:
        super().__init__(parts, _type_of_sum(parts))

    def verify(self) -> None:
        if not self.operands:
            raise InvalidModule("expected at least one operand, found none")
        for operand in self.operands:
            if not operand.type.is_number:
                raise InvalidModule(f"expected numbers, found {operand.type}")
        self.expect_result(_type_of_sum(self.operands))


class ListOp(ValueOp):
    __slots__ = ()
    name = "ais.list"

    def __init__(self, items: Sequence[SSAValue], element: Type) -> None:
        super().__init__(items, list_of(element))

    def verify(self) -> None:
        element = self.result.type.element
        if element is None:
            raise InvalidModule(f"expected a list as result, found {self.result.type}")
        for operand in self.operands:
            if not assignable(operand.type, element) or _needs_floats(operand.type, element):
                raise InvalidModule(f"expected items of {element}, found {operand.type}")


class DictOp(ValueOp):
    """An object, which is json or a record."""

    __slots__ = ()
    name = "ais.dict"

    def __init__(self, keys: Sequence[str], values: Sequence[SSAValue], type_: Type = JSON) -> None:
        super().__init__(values, type_, literals={"keys": list(keys)})

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.literals["keys"])

    def verify(self) -> None:
        if len(self.keys) != len(self.operands):
            raise InvalidModule(f"expected a key per operand, found {len(self.keys)} for {len(self.operands)}")
        type_ = self.result.type
        if type_.fields is None:
            self.expect_result(JSON)
            return
        if self.keys != tuple(field.name for field in type_.fields):
            raise InvalidModule(f"expected the fields of {type_} in their order, found {', '.join(self.keys)}")
        for field, operand in zip(type_.fields, self.operands, strict=True):
            if not assignable(operand.type, field.type) or _needs_floats(operand.type, field.type):
                raise InvalidModule(f"expected {field.type} for {field.name!r}, found {operand.type}")


class FieldOp(ValueOp):
    """The entry of an object. Of json it fails at run time where there is none."""

    __slots__ = ()
    name = "ais.field"

    def __init__(self, value: SSAValue, field: str) -> None:
        found = value.type.field(field)
        super().__init__((value,), JSON if found is None else found.type, literals={"field": field})

    @property
    def field(self) -> str:
        return self.literals["field"]

    def verify(self) -> None:
        self.expect_one_operand()
        if self.result.type != JSON:  # inlining may turn the operand from json into a record
            found = self.operands[0].type.field(self.field)
            self.expect_result(JSON if found is None else found.type)


class CastOp(ValueOp):
    """``value as T``: it fails at run time where the value is none."""

    __slots__ = ()
    name = "ais.cast"

    def __init__(self, value: SSAValue, target: Type) -> None:
        super().__init__((value,), target)

    def verify(self) -> None:
        self.expect_one_operand()


class TextFormOp(ValueOp):
    """The text form of a value that has one of its own: a plan or a verdict."""

    __slots__ = ()
    name = "ais.text_form"

    def __init__(self, value: SSAValue) -> None:
        super().__init__((value,), STR)

    def verify(self) -> None:
        self.expect_one_operand()
        self.expect_result(STR)
        if self.operands[0].type.name not in BUILT_IN:
            raise InvalidModule(f"expected a plan or a verdict, found {self.operands[0].type}")


class ApplyOp(ValueOp):
    """A function of the operands, or an operator; it fails at run time where there is no such value."""

    __slots__ = ()
    name = "ais.apply"

    def __init__(self, function: str, operands: Sequence[SSAValue], result: Type) -> None:
        super().__init__(operands, result, literals={"function": function})

    @property
    def function(self) -> Function:
        return FUNCTIONS[self.literals["function"]]

    def verify(self) -> None:
        # Inlining narrows operands from json to what a run would find there, so their types say nothing.
        function = FUNCTIONS.get(self.literals["function"])
        if function is None or not function.takes(len(self.operands)):
            raise InvalidModule(f"{len(self.operands)} operands for {self.literals['function']!r}")


class LogicOp(ValueOp):
    """``and`` or ``or``: the operands behind the first that decides it are not needed, and may have failed."""

    __slots__ = ()
    name = "ais.logic"

    def __init__(self, operator: str, operands: Sequence[SSAValue]) -> None:
        super().__init__(operands, BOOL, literals={"operator": operator})

    @property
    def operator(self) -> Connective:
        return self.literals["operator"]

    def verify(self) -> None:
        self.expect_result(BOOL)
        if not self.operands or any(operand.type != BOOL for operand in self.operands):
            raise InvalidModule("expected bools, at least one")


class ToFloatOp(ValueOp):
    """int → float, also inside lists and beside null."""

    __slots__ = ()
    name = "ais.to_float"

    def __init__(self, value: SSAValue) -> None:
        super().__init__((value,), _with_floats(value.type))

    def verify(self) -> None:
        self.expect_one_operand()
        found = self.operands[0].type
        if found == self.result.type:
            raise InvalidModule(f"expected int or a list of it, found {found}")
        # Inlining narrows its operand, to an empty list or null for instance, in which there is no int.
        if not assignable(found, self.result.type):
            self.expect_result(_with_floats(found))


def _type_of_sum(parts: Sequence[SSAValue]) -> Type:
    return FLOAT if any(part.type == FLOAT for part in parts) else INT


def _with_floats(type_: Type) -> Type:
    if type_.element is not None:
        return type_._replace(element=_with_floats(type_.element))
    return FLOAT if type_ == INT else type_


def _needs_floats(found: Type, target: Type) -> bool:
    """Whether its ints are to become floats, in an operation of its own."""
    while found is not target and found.present.is_list and target.present.is_list:
        found, target = found.present.element or JSON, target.present.element or JSON
    return (found.present, target.present) == (INT, FLOAT)


def converted(value: SSAValue, target: Type) -> ToFloatOp | TextFormOp | None:
    """The operation that makes `value` a `target`; None where it is one as it stands."""
    if target == STR and value.type.name in BUILT_IN:
        return TextFormOp(value)
    return ToFloatOp(value) if _needs_floats(value.type, target) else None


def constant_of(value: SSAValue) -> ConstantOp | None:
    """The operation that makes `value` a constant, if it is known to be one."""
    return value.owner if type(value.owner) is ConstantOp else None
