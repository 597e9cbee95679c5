"""One operation class of the IR per entry of `apxm.operations`, made from that table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from xdsl.ir import SSAValue
from xdsl.irdl import traits_def
from xdsl.utils.exceptions import VerifyException

from apxm.ir.attributes import LiteralAttr
from apxm.ir.base import AisOperation, type_of
from apxm.ir.effects import Effects
from apxm.operations.catalog import AVAILABLE
from apxm.operations.definition import Operation, Parameter
from apxm.operations.effects import Effect
from apxm.operations.types import NONE, Type, Value, assignable, conforms


class OperateOp(AisOperation):
    """An operation that the source wrote."""

    OPERATION: ClassVar[Operation]

    @classmethod
    def call(
        cls, arguments: Sequence[SSAValue], options: Mapping[str, SSAValue], literals: Mapping[str, LiteralAttr]
    ) -> OperateOp:
        """`options` are those given as values, `literals` those written out."""
        rest = [type_of(argument) for argument in arguments[len(cls.OPERATION.positional) :]]
        result = cls.OPERATION.result_for(rest)
        return cls.make(arguments, None if result == NONE else result, named=options, literals=literals)

    @property
    def is_model_call(self) -> bool:
        return self.OPERATION.effect is Effect.MODEL

    def verify_(self) -> None:
        super().verify_()
        types = [type_of(argument) for argument in self.arguments]
        self._verify_arguments(types)
        self._verify_result(types)
        operation = self.OPERATION
        for name, operand in self.named_operands.items():
            parameter = operation.parameter(name)
            if parameter is None and not operation.open_arguments:
                raise VerifyException(f"{operation.name} has no option {name!r}; it is {operation.signature}")
            if parameter is not None and parameter.literal:
                raise VerifyException(f"the option {name!r} is a literal, found a value")
            if parameter is not None:
                _verify_type(parameter.name, type_of(operand), parameter.type)
        for name, literal in self.literals.items():
            parameter = operation.parameter(name)
            if parameter is None or not parameter.literal:
                raise VerifyException(f"{operation.name} has no literal option {name!r}; it is {operation.signature}")
            _verify_literal(parameter, literal.value)

    def _verify_arguments(self, found: list[Type]) -> None:
        operation = self.OPERATION
        positional, variadic = operation.positional, operation.variadic
        if len(found) < operation.least_operands:
            raise VerifyException(f"expected at least {operation.least_operands} operands, found {len(found)}")
        if variadic is None and len(found) > len(positional):
            raise VerifyException(f"expected at most {len(positional)} operands, found {len(found)}")
        for parameter, type_ in zip(positional, found, strict=False):
            _verify_type(parameter.name, type_, parameter.type)
        if variadic is not None:
            for type_ in found[len(positional) :]:
                _verify_type(variadic.name, type_, variadic.type)

    def _verify_result(self, arguments: list[Type]) -> None:
        # Inlining may narrow an operand from json to str; the result stays what the source made of it.
        operation = self.OPERATION
        expected = operation.result_for(arguments[len(operation.positional) :])
        found = type_of(self.results[0]) if self.results else NONE
        if found not in (operation.result, expected):
            raise VerifyException(f"expected the result {expected}, found {found}")


def _verify_type(name: str, found: Type, expected: Type) -> None:
    if not assignable(found, expected):
        raise VerifyException(f"{name} is {expected}, found {found}")


def _verify_literal(parameter: Parameter, value: Value) -> None:
    name = parameter.name
    if not conforms(value, parameter.type):
        raise VerifyException(f"the option {name!r} is {parameter.type}, found {value!r}")
    if parameter.choices and value not in parameter.choices:
        raise VerifyException(f"the option {name!r} is one of {', '.join(parameter.choices)}, found {value!r}")
    if parameter.minimum is not None and value < parameter.minimum:
        raise VerifyException(f"the option {name!r} is at least {parameter.minimum:g}, found {value!r}")
    if parameter.maximum is not None and value > parameter.maximum:
        raise VerifyException(f"the option {name!r} is at most {parameter.maximum:g}, found {value!r}")
    if parameter.above is not None and value <= parameter.above:
        raise VerifyException(f"the option {name!r} is above {parameter.above:g}, found {value!r}")


def _class_of(operation: Operation) -> type[OperateOp]:
    class Made(OperateOp):
        __doc__ = operation.summary
        name = f"ais.{operation.name}"
        OPERATION = operation
        traits = traits_def(Effects(operation.effect))

    Made.__name__ = Made.__qualname__ = f"{operation.name.title().replace('_', '')}Op"
    return Made


OPERATE_OPS: MappingProxyType[str, type[OperateOp]] = MappingProxyType(
    {name: _class_of(operation) for name, operation in AVAILABLE.items()}
)
"""By the operation's name."""
