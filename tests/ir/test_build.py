"""Source text → IR."""

from __future__ import annotations

from apxm.ir.build import build_module
from apxm.ir.text import print_module
from apxm.ir.verify import verify_module
from apxm.language.checker import check
from apxm.language.parser import parse
from apxm.source import SourceFile
from tests.golden_files import check_golden, inside_module


def test_golden() -> None:
    def built(text: str) -> str:
        module = build_module(check(parse(SourceFile("test.ais", text))))
        verify_module(module)
        return inside_module(print_module(module))

    check_golden("build", built)
