"""What all operations of the dialect share: one textual form, and the attributes that every one may carry.

They derive from xDSL's `Operation` and not from its `IRDLOperation`: what IRDL would state about operands and options
is stated once already, in `apxm.operations`, and a verifier that reads that table is four times as fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self, cast

from xdsl.dialects.builtin import FileLineColLoc
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from apxm.ir.attributes import LiteralAttr, ValueType, parse_literal, parse_type, print_literal, value_type
from apxm.operations.types import Type

PATH = "path"
"""Attribute of what the source wrote: its stable name within the flow, see `program.model.NodeName`."""
PRIORITY = "priority"
"""Attribute set by the pass `priorities`, in ms."""
NO_FUSE = "no_fuse"
"""Attribute of an operation that came out of a flow marked so."""

_NAMED = "operand_names"
"""Property: the names of the last operands, where they have names."""


class AisOperation(Operation):
    """``%a = ais.ask(%prompt, %context, system: %text, temperature: 0.5) : str {path: "a"}``

    Operands, the last ones perhaps with names, then properties, all of them literals; the type of the result, if there
    is one; and attributes, which are literals too.
    """

    @classmethod
    def make(
        cls,
        operands: Sequence[SSAValue] = (),
        result: Type | None = None,
        *,
        named: Mapping[str, SSAValue] | None = None,
        literals: Mapping[str, LiteralAttr] | None = None,
    ) -> Self:
        properties: dict[str, Attribute] = dict(literals or {})
        if named:
            operands = (*operands, *named.values())
            properties[_NAMED] = LiteralAttr.of(list(named))
        return cls.create(
            operands=operands,
            result_types=[] if result is None else [value_type(result)],
            properties=properties,
        )

    # --- parts -----------------------------------------------------------------------------------------------------

    @property
    def operand_names(self) -> tuple[str, ...]:
        found = self.literal(_NAMED)
        return () if found is None else tuple(found.value)

    @property
    def arguments(self) -> tuple[SSAValue, ...]:
        """The operands without names."""
        operands = tuple(self.operands)
        return operands[: len(operands) - len(self.operand_names)]

    @property
    def named_operands(self) -> dict[str, SSAValue]:
        names = self.operand_names
        return dict(zip(names, tuple(self.operands)[-len(names) :], strict=True)) if names else {}

    @property
    def literals(self) -> dict[str, LiteralAttr]:
        """The properties that the textual form shows as named literals."""
        return {
            name: attribute
            for name, attribute in self.properties.items()
            if type(attribute) is LiteralAttr and name != _NAMED
        }

    def literal(self, name: str) -> LiteralAttr | None:
        # Here and below `type(…) is`: xDSL's classes are abstract ones, for which isinstance takes ten times as long.
        found = self.properties.get(name)
        return found if type(found) is LiteralAttr else None

    @property
    def value(self) -> SSAValue | None:
        """The result; no operation of AIS has more than one."""
        return self.results[0] if self.results else None

    @property
    def path(self) -> str:
        return text_of(self.attributes.get(PATH))

    @path.setter
    def path(self, path: str) -> None:
        self.attributes[PATH] = LiteralAttr.of(path)

    @property
    def priority(self) -> int:
        found = self.attributes.get(PRIORITY)
        return found.value if type(found) is LiteralAttr else 0

    @property
    def position(self) -> tuple[int, int]:
        """Line and column in the source; zeros where unknown."""
        place = self.location
        return (place.line.data, place.column.data) if isinstance(place, FileLineColLoc) else (0, 0)

    # --- textual form ----------------------------------------------------------------------------------------------

    def print(self, printer: Printer) -> None:
        self.print_arguments(printer)
        self.print_tail(printer)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        operands, properties = cls.parse_arguments(parser)
        results, attributes = cls.parse_tail(parser)
        return cls.create(operands=operands, result_types=results, properties=properties, attributes=attributes)

    def print_arguments(self, printer: Printer) -> None:
        with printer.in_parens():
            first = True

            def separate() -> None:
                nonlocal first
                if not first:
                    printer.print_string(", ")
                first = False

            for operand in self.arguments:
                separate()
                printer.print_operand(operand)
            for name, operand in self.named_operands.items():
                separate()
                printer.print_string(f"{name}: ")
                printer.print_operand(operand)
            for name, literal in self.literals.items():
                separate()
                printer.print_string(f"{name}: ")
                print_literal(printer, literal)

    def print_tail(self, printer: Printer) -> None:
        for result in self.results:
            printer.print_string(f" : {type_of(result)}")
        print_attributes(printer, self.attributes)

    @classmethod
    def parse_arguments(cls, parser: Parser) -> tuple[list[SSAValue], dict[str, Attribute]]:
        operands: list[SSAValue] = []
        names: list[str] = []
        properties: dict[str, Attribute] = {}

        def argument() -> None:
            name = parser.parse_optional_identifier()
            if name is None:
                if names or properties:
                    parser.raise_error("an operand without a name stands before those with one")
                operands.append(parse_operand(parser))
                return
            parser.parse_punctuation(":")
            operand = parse_optional_operand(parser)
            if operand is None:
                properties[name] = parse_literal(parser)
            else:
                names.append(name)
                operands.append(operand)

        parser.parse_comma_separated_list(parser.Delimiter.PAREN, argument)
        if names:
            properties[_NAMED] = LiteralAttr.of(names)
        return operands, properties

    @classmethod
    def parse_tail(cls, parser: Parser) -> tuple[list[Attribute], dict[str, Attribute]]:
        results: list[Attribute] = []
        if parser.parse_optional_punctuation(":"):
            results.append(ValueType(parse_type(parser)))
        return results, parse_attributes(parser)

    # --- verification ----------------------------------------------------------------------------------------------

    def verify_(self) -> None:
        for operand in self.operands:
            if type(operand.type) is not ValueType:
                raise VerifyException(f"an operand has the type {operand.type}, which is none of AIS")
        if len(self.results) > 1:
            raise VerifyException(f"expected at most one result, found {len(self.results)}")


def type_of(value: SSAValue) -> Type:
    return cast(ValueType, value.type).data


def text_of(attribute: Attribute | None) -> str:
    return attribute.value if type(attribute) is LiteralAttr else ""


def print_attributes(printer: Printer, attributes: Mapping[str, Attribute]) -> None:
    literals = [(name, value) for name, value in attributes.items() if isinstance(value, LiteralAttr)]
    if literals:
        printer.print_string(" ")
        with printer.in_braces():
            for index, (name, value) in enumerate(literals):
                printer.print_string(f", {name}: " if index else f"{name}: ")
                print_literal(printer, value)


def parse_attributes(parser: Parser) -> dict[str, Attribute]:
    def entry() -> tuple[str, LiteralAttr]:
        name = parser.parse_identifier()
        parser.parse_punctuation(":")
        return name, parse_literal(parser)

    return dict(parser.parse_optional_comma_separated_list(parser.Delimiter.BRACES, entry) or ())


def parse_operand(parser: Parser) -> SSAValue:
    operand = parse_optional_operand(parser)
    if operand is None:
        parser.raise_error("expected an operand")
    return operand


def parse_optional_operand(parser: Parser) -> SSAValue | None:
    """An operand without its type: a value of AIS is always defined above its uses."""
    operand = parser.parse_optional_unresolved_operand()
    if operand is None:
        return None
    defined = parser.ssa_values.get(operand.operand_name)
    if defined is None:
        parser.raise_error(f"%{operand.operand_name} is not defined above its use", operand.span)
    return parser.resolve_operand(operand, defined[0].type)
