"""The textual form of a module, in MLIR's syntax: what `--emit-ir` shows, and tests are written in."""

from __future__ import annotations

from io import StringIO

from xdsl.context import Context
from xdsl.dialects.builtin import Builtin, ModuleOp
from xdsl.parser import Parser
from xdsl.printer import Printer

from apxm.ir.dialect import AIS


def print_module(module: ModuleOp, *, locations: bool = False) -> str:
    """`locations` adds the place in the source to every operation: all of the module, but hard to read."""
    stream = StringIO()
    Printer(stream, print_debuginfo=locations).print_op(module)
    return stream.getvalue() + "\n"


def parse_module(text: str) -> ModuleOp:
    """Raises xDSL's `ParseError`; what it gives is not verified yet."""
    context = Context()
    context.load_dialect(Builtin)
    context.load_dialect(AIS)
    return Parser(context, text).parse_module()
