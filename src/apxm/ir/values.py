"""Operations that compute a value from values. None of them is a node of a plan: they fold into what uses them."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import traits_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from apxm.ir.attributes import LiteralAttr, parse_literal, print_literal
from apxm.ir.base import AisOperation, type_of
from apxm.ir.effects import NO_EFFECTS
from apxm.operations.types import FLOAT, INT, JSON, STR, Type, Value, assignable, conforms, list_of


class ValueOp(AisOperation):
    """A value of known type, computed from the operands and the literals alone."""

    traits = traits_def(NO_EFFECTS)

    @property
    def result(self) -> SSAValue:
        return self.results[0]

    def verify_(self) -> None:
        super().verify_()
        if len(self.results) != 1:
            raise VerifyException("expected one result, found none")
        if self.operand_names:
            raise VerifyException("its operands have no names")

    def expect_result(self, expected: Type) -> None:
        if type_of(self.result) != expected:
            raise VerifyException(f"expected the result {expected}, found {type_of(self.result)}")


class ConstantOp(ValueOp):
    """``%0 = ais.constant "text" : str``"""

    name = "ais.constant"

    @staticmethod
    def of(value: Value, type_: Type) -> ConstantOp:
        return ConstantOp.make(result=type_, literals={"value": LiteralAttr.of(value)})

    @property
    def data(self) -> LiteralAttr:
        found = self.properties["value"]
        assert isinstance(found, LiteralAttr)
        return found

    def print_arguments(self, printer: Printer) -> None:
        printer.print_string(" ")
        print_literal(printer, self.data)

    @classmethod
    def parse_arguments(cls, parser: Parser) -> tuple[list[SSAValue], dict[str, Attribute]]:
        return [], {"value": parse_literal(parser)}

    def verify_(self) -> None:
        super().verify_()
        if not conforms(self.data.value, type_of(self.result)):
            raise VerifyException(f"{self.data.data} is no {type_of(self.result)}")


class TextOp(ValueOp):
    """The text forms of the operands, joined."""

    name = "ais.text"

    @staticmethod
    def of(parts: Sequence[SSAValue]) -> TextOp:
        return TextOp.make(parts, STR)

    def verify_(self) -> None:
        super().verify_()
        self.expect_result(STR)


class SumOp(ValueOp):
    """Numbers added from left to right; a float as soon as one of them is."""

    name = "ais.sum"

    @staticmethod
    def of(parts: Sequence[SSAValue]) -> SumOp:
        return SumOp.make(parts, SumOp._result_of(parts))

    @staticmethod
    def _result_of(parts: Sequence[SSAValue]) -> Type:
        return FLOAT if any(type_of(part) == FLOAT for part in parts) else INT

    def verify_(self) -> None:
        super().verify_()
        if not self.operands:
            raise VerifyException("expected at least one operand, found none")
        for operand in self.operands:
            if not type_of(operand).is_number:
                raise VerifyException(f"expected numbers, found {type_of(operand)}")
        self.expect_result(self._result_of(tuple(self.operands)))


class ListOp(ValueOp):
    name = "ais.list"

    @staticmethod
    def of(items: Sequence[SSAValue], element: Type) -> ListOp:
        return ListOp.make(items, list_of(element))

    def verify_(self) -> None:
        super().verify_()
        element = type_of(self.result).element
        if element is None:
            raise VerifyException(f"expected a list as result, found {type_of(self.result)}")
        for operand in self.operands:
            found = type_of(operand)
            if not assignable(found, element) or _needs_floats(found, element):
                raise VerifyException(f"expected items of {element}, found {found}")


class DictOp(ValueOp):
    name = "ais.dict"

    @staticmethod
    def of(keys: Sequence[str], values: Sequence[SSAValue]) -> DictOp:
        return DictOp.make(values, JSON, literals={"keys": LiteralAttr.of(list(keys))})

    @property
    def keys(self) -> tuple[str, ...]:
        found = self.literal("keys")
        return tuple(found.value) if found else ()

    def verify_(self) -> None:
        super().verify_()
        self.expect_result(JSON)
        if len(self.keys) != len(self.operands):
            raise VerifyException(f"expected a key per operand, found {len(self.keys)} for {len(self.operands)}")


class FieldOp(ValueOp):
    """The entry of an object; it fails at run time where there is none."""

    name = "ais.field"

    @staticmethod
    def of(value: SSAValue, field: str) -> FieldOp:
        return FieldOp.make((value,), JSON, literals={"field": LiteralAttr.of(field)})

    @property
    def field(self) -> str:
        found = self.literal("field")
        return found.value if found else ""

    def verify_(self) -> None:
        super().verify_()
        self.expect_result(JSON)
        if len(self.operands) != 1:
            raise VerifyException(f"expected one operand, found {len(self.operands)}")
        if self.literal("field") is None:
            raise VerifyException('expected the name of the field, such as field: "title"')


class ToFloatOp(ValueOp):
    """int → float, also inside lists."""

    name = "ais.to_float"

    @staticmethod
    def of(value: SSAValue) -> ToFloatOp:
        return ToFloatOp.make((value,), _with_floats(type_of(value)))

    def verify_(self) -> None:
        super().verify_()
        if len(self.operands) != 1:
            raise VerifyException(f"expected one operand, found {len(self.operands)}")
        converted = _with_floats(type_of(self.operands[0]))
        if converted == type_of(self.operands[0]):
            raise VerifyException(f"expected int or a list of it, found {type_of(self.operands[0])}")
        self.expect_result(converted)


def _with_floats(type_: Type) -> Type:
    if type_.element is not None:
        return list_of(_with_floats(type_.element))
    return FLOAT if type_ == INT else type_


def _needs_floats(found: Type, target: Type) -> bool:
    """Whether its ints are to become floats, in an operation of its own: nothing else converts a value."""
    return _with_floats(found) == target != found


def converted(value: SSAValue, target: Type) -> ToFloatOp | None:
    """The operation that makes `value` a `target`; None where it is one as it stands."""
    return ToFloatOp.of(value) if _needs_floats(type_of(value), target) else None


def constant_of(value: SSAValue) -> LiteralAttr | None:
    """The constant that `value` is known to be, if any."""
    return value.owner.data if isinstance(value.owner, ConstantOp) else None


VALUE_OPS: tuple[type[ValueOp], ...] = (ConstantOp, TextOp, SumOp, ListOp, DictOp, FieldOp, ToFloatOp)
