"""Golden files of the compiler: cases of an AIS text and what becomes of it, in one readable file.

    // ===== the name of a case
    the text before
    // ----- becomes
    the text after

``UPDATE_GOLDEN=1 pytest …`` writes what came out into the files, for a person to read before it is committed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

from apxm.ir.build import build_module
from apxm.ir.structure import Module
from apxm.ir.verify import verify_module
from apxm.language.checker import check
from apxm.language.parser import parse
from apxm.source import SourceFile

FOLDER = Path(__file__).parent / "golden"
_CASE = re.compile(
    r"^// ===== (?P<name>.*)\n(?P<before>(?:.*\n)*?)// ----- becomes\n(?P<after>(?:.*\n)*?)(?=^// =====|\Z)", re.M
)


def check_golden(name: str, change: Callable[[str], str]) -> None:
    """That `change` makes of each case's first text its second."""
    path = FOLDER / f"{name}.golden"
    cases = list(_CASE.finditer(path.read_text(encoding="utf-8")))
    assert cases, f"{path.name} holds no case"
    found = [(case["name"], case["before"].strip("\n"), change(case["before"]).strip("\n")) for case in cases]
    if os.environ.get("UPDATE_GOLDEN"):
        written = (f"// ===== {case}\n{before}\n// ----- becomes\n{after}\n" for case, before, after in found)
        path.write_text("\n".join(written), encoding="utf-8")
        return
    for case, (title, _, after) in zip(cases, found, strict=True):
        assert after == case["after"].strip("\n"), f"{path.name}: {title}"


def inside_module(text: str) -> str:
    """A printed module without the line around it and its indentation."""
    lines = text.splitlines()
    assert lines[0] == "builtin.module {"
    return dedent("\n".join(lines[1:-1]))


def built(text: str) -> Module:
    """The module of an AIS text, before any pass."""
    module = build_module(check(parse(SourceFile("test.ais", text))))
    verify_module(module)
    return module
