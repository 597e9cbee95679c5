"""One operation class of the IR per entry of `apxm.operations`, made from that table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from apxm.ir.core import InvalidModule, Op, SSAValue
from apxm.operations.catalog import AVAILABLE, CONTENT_KINDS
from apxm.operations.definition import Family, Operation, Parameter
from apxm.operations.effects import OUTPUT, TOOL, Access, Effect
from apxm.operations.types import JSON, NONE, Type, Value, assignable, conforms


class OperateOp(Op):
    """An operation that the source wrote."""

    __slots__ = ()
    OPERATION: ClassVar[Operation]
    is_model_call: ClassVar[bool]
    accesses: ClassVar[tuple[Access, ...]]
    """What it touches as the table has it."""
    reads: ClassVar[tuple[Access, ...]]
    """The same, where all of it is only read."""

    def __init__(
        self,
        arguments: Sequence[SSAValue],
        options: Mapping[str, SSAValue],
        literals: Mapping[str, Value],
        answer: Type | None = None,
    ) -> None:
        """`options` are those given as values, `literals` those written out; `answer` is the type of what it gives
        where the source says that."""
        operation = self.OPERATION
        rest = [argument.type for argument in arguments[len(operation.operands) :]]
        result = answer or operation.result_for(rest)
        operands = [*arguments, *options.values()] if options else arguments
        super().__init__(operands, None if result is NONE else result, names=tuple(options), literals=literals)

    @property
    def arguments(self) -> list[SSAValue]:
        """The operands without names."""
        return self.operands[: len(self.operands) - len(self.names)]

    @property
    def options(self) -> dict[str, SSAValue]:
        """The operands with names."""
        return dict(zip(self.names, self.operands[len(self.operands) - len(self.names) :], strict=True))

    @property
    def has_content(self) -> bool:
        """Whether images or files are among its operands: then some of these are paths."""
        return CONTENT_KINDS in self.literals

    @property
    def touches(self) -> tuple[Access, ...]:
        # Only a declaration knows that a tool changes nothing.
        return self.reads if self.literals.get("readonly") else self.accesses

    @property
    def repeatable(self) -> bool:
        # A model's answer is a sample, unless the source asks for the most likely one.
        return self.literals.get("temperature") == 0 if self.is_model_call else not self.touches

    def verify(self) -> None:
        operation = self.OPERATION
        arguments = self.arguments
        self._verify_arguments(arguments)
        # Inlining may narrow an operand from json to str; the result stays what the source made of it.
        found = self.results[0].type if self.results else NONE
        said = operation.takes_schema or operation.result_declared
        if found is not operation.result and not (said and found is not NONE):
            expected = operation.result_for([argument.type for argument in arguments[len(operation.operands) :]])
            if found not in (operation.result, expected):
                raise InvalidModule(f"expected the result {expected}, found {found}")
        if self.names:
            self._verify_options()
        for name, value in self.literals.items():
            parameter = operation.by_name.get(name)
            if parameter is None or not parameter.literal:
                raise InvalidModule(f"{operation.name} has no literal option {name!r}; it is {operation.signature}")
            _verify_literal(parameter, value)

    def _verify_arguments(self, arguments: list[SSAValue]) -> None:
        operation = self.OPERATION
        positional, variadic = operation.operands, operation.variadic
        if len(arguments) < operation.least_operands:
            raise InvalidModule(f"expected at least {operation.least_operands} operands, found {len(arguments)}")
        if variadic is None and len(arguments) > len(positional):
            raise InvalidModule(f"expected at most {len(positional)} operands, found {len(arguments)}")
        for parameter, argument in zip(positional, arguments, strict=False):
            _verify_type(parameter.name, argument.type, parameter.type)
        if variadic is not None:
            for argument in arguments[len(positional) :]:
                _verify_type(variadic.name, argument.type, variadic.type)

    def _verify_options(self) -> None:
        operation = self.OPERATION
        for name, option in self.options.items():
            parameter = operation.by_name.get(name)
            if parameter is None:
                if not operation.open_arguments:
                    raise InvalidModule(f"{operation.name} has no option {name!r}; it is {operation.signature}")
                continue
            if parameter.literal:
                raise InvalidModule(f"the option {name!r} is a literal, found a value")
            _verify_type(name, option.type, parameter.type)


def _verify_type(name: str, found: Type, expected: Type) -> None:
    # Nearly all are one of these, and every pass that changes something has the module verified again.
    if found is not expected and expected is not JSON and not assignable(found, expected):
        raise InvalidModule(f"{name} is {expected}, found {found}")


def _verify_literal(parameter: Parameter, value: Value) -> None:
    name = parameter.name
    if not conforms(value, parameter.type):
        raise InvalidModule(f"the option {name!r} is {parameter.type}, found {value!r}")
    if (limit := parameter.limit_passed_by(value)) is not None:
        raise InvalidModule(f"the option {name!r} {limit}, found {value!r}")


_TOUCHES: Mapping[Effect, tuple[Access, ...]] = {
    Effect.NONE: (),
    Effect.MODEL: (),
    Effect.OUTPUT: (Access("write", OUTPUT),),
    Effect.TOOL: (Access("write", TOOL),),
}


def _class_of(operation: Operation) -> type[OperateOp]:
    class TableOp(OperateOp):
        __slots__ = ()
        __doc__ = operation.summary
        name = f"ais.{operation.name}"
        OPERATION = operation
        is_model_call = operation.effect is Effect.MODEL
        accesses = _TOUCHES[operation.effect]
        reads = tuple(Access("read", access.resource) for access in _TOUCHES[operation.effect])

    TableOp.__name__ = TableOp.__qualname__ = f"{operation.name.title().replace('_', '')}Op"
    return TableOp


OPERATE_OPS: MappingProxyType[str, type[OperateOp]] = MappingProxyType(
    {
        name: _class_of(operation)
        for name, operation in AVAILABLE.items()
        if operation.family not in (Family.CONTENT, Family.VALUE)
    }
)
"""The classes, by the operation's name; a function of values has none."""
