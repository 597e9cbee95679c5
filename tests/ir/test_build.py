"""Source text → IR."""

from __future__ import annotations

from apxm.ir.text import print_module
from tests.golden_files import built, check_golden, inside_module


def test_golden() -> None:
    check_golden("build", lambda text: inside_module(print_module(built(text))))
