"""Flows, calls of flows, and `switch`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from xdsl.dialects.builtin import ModuleOp, StringAttr, SymbolRefAttr
from xdsl.ir import Attribute, Block, Region, SSAValue
from xdsl.irdl import traits_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import IsolatedFromAbove, IsTerminator, SymbolOpInterface
from xdsl.utils.exceptions import VerifyException

from apxm.ir.attributes import (
    LiteralAttr,
    ValueType,
    parse_literal,
    parse_text,
    parse_type,
    print_literal,
    print_text,
)
from apxm.ir.base import NO_FUSE, AisOperation, type_of
from apxm.ir.effects import NO_EFFECTS
from apxm.operations.labels import fold_label, matching_label
from apxm.operations.types import NONE, STR, Type, Value, assignable, conforms

ENTRY = "entry"


class FlowOp(AisOperation):
    """``ais.flow entry @Agent.main(topic %topic: str, depth %depth: int = 2) -> str { … }``

    The name of a parameter stands before its value, whose own name is only a hint.
    """

    name = "ais.flow"
    traits = traits_def(IsolatedFromAbove(), SymbolOpInterface(), NO_EFFECTS)

    @staticmethod
    def of(
        agent: str,
        flow: str,
        parameters: Mapping[str, Type],
        defaults: Mapping[str, Value],
        result: Type | None,
        flags: Iterable[str] = (),
    ) -> FlowOp:
        """With an empty body. `flags` are of `ENTRY` and `NO_FUSE`."""
        block = Block(arg_types=[ValueType(type_) for type_ in parameters.values()])
        for argument, name in zip(block.args, parameters, strict=True):
            argument.name_hint = name
        return FlowOp._create(f"{agent}.{flow}", list(parameters), dict(defaults), result, flags, Region(block))

    @classmethod
    def _create(
        cls,
        symbol: str,
        names: list[str],
        defaults: dict[str, Value],
        result: Type | None,
        flags: Iterable[str],
        body: Region,
    ) -> Self:
        properties: dict[str, Attribute] = {
            "sym_name": StringAttr(symbol),
            "parameters": LiteralAttr.of(names),
            "defaults": LiteralAttr.of(defaults),
            **{flag: LiteralAttr.of(True) for flag in flags},
        }
        if result is not None:
            properties["result"] = ValueType(result)
        return cls.create(properties=properties, regions=[body])

    @property
    def symbol(self) -> str:
        found = self.properties["sym_name"]
        assert isinstance(found, StringAttr)
        return found.data

    @property
    def agent(self) -> str:
        return self.symbol.partition(".")[0]

    @property
    def flow(self) -> str:
        return self.symbol.partition(".")[2]

    @property
    def parameters(self) -> tuple[str, ...]:
        found = self.literal("parameters")
        return tuple(found.value) if found else ()

    @property
    def defaults(self) -> dict[str, Value]:
        found = self.literal("defaults")
        return found.value if found else {}

    @property
    def result(self) -> Type | None:
        found = self.properties.get("result")
        return found.data if isinstance(found, ValueType) else None

    @property
    def is_entry(self) -> bool:
        return ENTRY in self.properties

    @property
    def may_fuse(self) -> bool:
        return NO_FUSE not in self.properties

    @property
    def body(self) -> Block:
        return self.regions[0].block

    def print(self, printer: Printer) -> None:
        for flag in (ENTRY, NO_FUSE):
            if flag in self.properties:
                printer.print_string(f" {flag}")
        printer.print_string(" ")
        printer.print_symbol_name(self.symbol)
        defaults = self.defaults
        with printer.in_parens():
            for index, (argument, name) in enumerate(zip(self.body.args, self.parameters, strict=True)):
                printer.print_string(", " if index else "")
                printer.print_string(f"{name} ")
                printer.print_ssa_value(argument)
                printer.print_string(f": {type_of(argument)}")
                if name in defaults:
                    printer.print_string(" = ")
                    print_literal(printer, LiteralAttr.of(defaults[name]))
        if self.result is not None:
            printer.print_string(f" -> {self.result}")
        printer.print_string(" ")
        printer.print_region(self.regions[0], print_entry_block_args=False)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        flags = [flag for flag in (ENTRY, NO_FUSE) if parser.parse_optional_keyword(flag)]
        symbol = parser.parse_symbol_name().data
        names: list[str] = []
        defaults: dict[str, Value] = {}

        def parameter() -> Parser.Argument:
            names.append(parser.parse_identifier(" of a parameter"))
            operand = parser.parse_unresolved_operand()
            parser.parse_punctuation(":")
            type_ = ValueType(parse_type(parser))
            if parser.parse_optional_punctuation("="):
                defaults[names[-1]] = parse_literal(parser).value
            return Parser.Argument(operand.span, type_)

        arguments = parser.parse_comma_separated_list(parser.Delimiter.PAREN, parameter)
        result = parse_type(parser) if parser.parse_optional_punctuation("->") else None
        body = parser.parse_region(arguments)
        return cls._create(symbol, names, defaults, result, flags, body)

    def verify_(self) -> None:
        if len(self.parameters) != len(self.body.args):
            raise VerifyException(f"expected a name per parameter, found {len(self.parameters)}")
        types = dict(zip(self.parameters, (type_of(argument) for argument in self.body.args), strict=True))
        for name, value in self.defaults.items():
            if name not in types:
                raise VerifyException(f"a default for {name!r}, which is no parameter")
            if not conforms(value, types[name]):
                raise VerifyException(f"the default of {name!r} is {types[name]}, found {value!r}")
        if not isinstance(self.body.last_op, ReturnOp):
            raise VerifyException("expected ais.return at the end of a flow")


class _GivesValue(AisOperation):
    """Ends a block, perhaps with a value."""

    @classmethod
    def of(cls, value: SSAValue | None) -> Self:
        return cls.make(() if value is None else (value,))

    @property
    def given(self) -> SSAValue | None:
        return self.operands[0] if self.operands else None

    def expect(self, expected: Type | None) -> None:
        found = NONE if self.given is None else type_of(self.given)
        if len(self.operands) > 1 or self.results:
            raise VerifyException("expected at most one operand and no result")
        if (expected is None) != (self.given is None) or (expected is not None and not assignable(found, expected)):
            raise VerifyException(f"expected {expected or NONE}, found {found}")


class ReturnOp(_GivesValue):
    name = "ais.return"
    traits = traits_def(IsTerminator(), NO_EFFECTS)

    def verify_(self) -> None:
        super().verify_()
        flow = self.parent_op()
        if not isinstance(flow, FlowOp):
            raise VerifyException("ais.return ends a flow; an arm ends with ais.yield")
        self.expect(flow.result)


class YieldOp(_GivesValue):
    name = "ais.yield"
    traits = traits_def(IsTerminator(), NO_EFFECTS)

    def verify_(self) -> None:
        super().verify_()
        switch = self.parent_op()
        if not isinstance(switch, SwitchOp):
            raise VerifyException("ais.yield ends the arm of a switch; a flow ends with ais.return")
        self.expect(None if switch.value is None else type_of(switch.value))


class CallOp(AisOperation):
    """``%a = ais.call @Agent.flow(%x) : str {path: "a"}``. That the callee fits is for `ir.verify` to see."""

    name = "ais.call"
    traits = traits_def(NO_EFFECTS)

    @staticmethod
    def of(callee: str, arguments: Sequence[SSAValue], result: Type | None) -> CallOp:
        call = CallOp.make(arguments, result)
        call.properties["callee"] = SymbolRefAttr(callee)
        return call

    @property
    def callee(self) -> str:
        found = self.properties["callee"]
        assert isinstance(found, SymbolRefAttr)
        return found.root_reference.data

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_symbol_name(self.callee)
        super().print(printer)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        callee = parser.parse_symbol_name().data
        call = super().parse(parser)
        call.properties["callee"] = SymbolRefAttr(callee)
        return call

    def verify_(self) -> None:
        super().verify_()
        if self.literals or self.operand_names:
            raise VerifyException("the arguments of a flow are given by position")


class SwitchOp(AisOperation):
    """``%r = ais.switch(%selector) : str {path: "r"} case "a" { … } default { … }``

    Labels are trimmed and folded. An arm uses values of the blocks around it freely.
    """

    name = "ais.switch"
    traits = traits_def(NO_EFFECTS)

    @staticmethod
    def of(selector: SSAValue, labels: Sequence[str], arms: Sequence[Region], result: Type | None) -> SwitchOp:
        """One arm per label, and perhaps one more: the default."""
        return SwitchOp.create(
            operands=[selector],
            result_types=[] if result is None else [ValueType(result)],
            properties={"labels": LiteralAttr.of(list(labels))},
            regions=arms,
        )

    @property
    def selector(self) -> SSAValue:
        return self.operands[0]

    @property
    def labels(self) -> tuple[str, ...]:
        found = self.literal("labels")
        return tuple(found.value) if found else ()

    @property
    def arms(self) -> tuple[Block, ...]:
        """In the order of the labels, the default last."""
        return tuple(region.block for region in self.regions)

    @property
    def default(self) -> Block | None:
        return self.regions[-1].block if len(self.regions) > len(self.labels) else None

    def arm_for(self, selector: str) -> Block | None:
        labels = self.labels
        label = matching_label(selector, labels)
        return self.default if label is None else self.regions[labels.index(label)].block

    def print(self, printer: Printer) -> None:
        with printer.in_parens():
            printer.print_operand(self.selector)
        self.print_tail(printer)
        labels = self.labels
        for index, region in enumerate(self.regions):
            if index < len(labels):
                printer.print_string(" case ")
                print_text(printer, labels[index])
            else:
                printer.print_string(" default")
            printer.print_string(" ")
            printer.print_region(region)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        operands, _ = cls.parse_arguments(parser)
        results, attributes = cls.parse_tail(parser)
        labels: list[str] = []
        regions: list[Region] = []
        while parser.parse_optional_keyword("case"):
            labels.append(parse_text(parser))
            regions.append(parser.parse_region())
        if parser.parse_optional_keyword("default"):
            regions.append(parser.parse_region())
        return cls.create(
            operands=operands,
            result_types=results,
            properties={"labels": LiteralAttr.of(labels)},
            attributes=attributes,
            regions=regions,
        )

    def verify_(self) -> None:
        super().verify_()
        if len(self.operands) != 1 or type_of(self.selector) != STR:
            raise VerifyException("expected one operand, the selector, a str")
        labels = self.labels
        if not labels:
            raise VerifyException("expected at least one case")
        if len(self.regions) not in (len(labels), len(labels) + 1):
            raise VerifyException(f"expected an arm per label, found {len(self.regions)} for {len(labels)}")
        if len(set(labels)) < len(labels) or any(label != fold_label(label) for label in labels):
            raise VerifyException("expected labels that are trimmed, folded and all different")
        for region in self.regions:
            if region.block.args or not isinstance(region.block.last_op, YieldOp):
                raise VerifyException("an arm takes no arguments and ends with ais.yield")


def flows_of(module: ModuleOp) -> dict[str, FlowOp]:
    """By symbol, in the order of the source."""
    return {op.symbol: op for op in module.body.block.ops if isinstance(op, FlowOp)}
