"""The textual form: it reads back what it wrote, and what is wrong is told."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.exceptions import ParseError, VerifyException

from apxm.compiler.lower import lower
from apxm.compiler.pipeline import compile_source
from apxm.ir.attributes import LiteralAttr
from apxm.ir.text import parse_module, print_module
from apxm.ir.values import ConstantOp
from apxm.ir.verify import verify_module
from apxm.operations.types import JSON
from apxm.source import SourceFile
from tests.golden_files import check_golden
from tests.programs import sources

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_what_is_wrong_with_a_module_is_told() -> None:
    def refused(text: str) -> str:
        with pytest.raises((ParseError, VerifyException)) as refusal:
            verify_module(parse_module(text))
        lines = str(refusal.value.__cause__ or refusal.value).strip().splitlines()
        return lines[-1].strip()

    check_golden("invalid", refused)


@given(values)
def test_a_literal_reads_back_as_it_was(value: object) -> None:
    module = ModuleOp([ConstantOp.of(value, JSON)])
    again = parse_module(print_module(module)).body.block.first_op
    assert isinstance(again, ConstantOp)
    assert again.data == LiteralAttr.of(value)
    assert json.dumps(again.data.value) == json.dumps(value)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_literal_is_finite(value: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        LiteralAttr.of([value])


def test_literals_of_different_types_differ() -> None:
    assert len({LiteralAttr.of(value) for value in (1, 1.0, True, "1", [1], -0.0, 0.0)}) == 7


@settings(max_examples=40, deadline=None)
@given(sources(), st.sampled_from([0, 1, 2]))
def test_a_module_reads_back_with_locations_and_paths(text: str, level: int) -> None:
    compilation = compile_source(SourceFile("tést.ais", text), level=level)
    written = print_module(compilation.module, locations=True)
    module = parse_module(written)
    verify_module(module)
    assert print_module(module, locations=True) == written
    assert lower(module, file="tést.ais", optimization_level=level) == compilation.program
