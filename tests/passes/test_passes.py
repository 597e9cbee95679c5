"""Each pass against its golden file."""

from __future__ import annotations

import pytest

from apxm.ir.text import parse_module, print_module
from apxm.ir.verify import verify_module
from apxm.passes.pipeline import LEVELS, Pass
from tests.golden_files import check_golden, inside_module

PASSES = {pass_.name: pass_ for passes in LEVELS.values() for pass_ in passes}


@pytest.mark.parametrize("pass_", PASSES.values(), ids=PASSES)
def test_golden(pass_: Pass) -> None:
    def transformed(text: str) -> str:
        module = parse_module(text)
        verify_module(module)
        before = print_module(module)
        outcome = pass_.run(module)
        verify_module(module)
        after = print_module(module)
        assert outcome.changed or after == before, "what did not change is not verified again"
        return inside_module(after)

    check_golden(pass_.name, transformed)


@pytest.mark.parametrize("pass_", PASSES.values(), ids=PASSES)
def test_done_twice_is_done_once(pass_: Pass) -> None:
    def twice(text: str) -> str:
        module = parse_module(text)
        pass_.run(module)
        pass_.run(module)
        return inside_module(print_module(module))

    check_golden(pass_.name, twice)
