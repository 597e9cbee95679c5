"""The layers of docs/architecture.md: who may import whom. Local imports and those for type checkers count too."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "apxm"

GROUND = [
    {"source", "frozen", "forks", "regular", "version", "writing"},
    {"garbage", "kept"},
    {"errors"},
    {"operations", "files", "reading", "textdiff"},
    {"program"},
]
COMPILER_HALF = [{"language"}, {"ir"}, {"passes"}, {"compiler"}]
RUNTIME_HALF = [{"backends"}, {"tools"}, {"journal"}, {"runtime"}, {"analysis"}, {"advice"}, {"reports"}, {"telemetry"}]
EDGE = [
    {"config"},
    {"simulator", "testing", "journaling"},
    {"session"},
    {"batches"},
    {"workloads", "api", "effects"},
    {"lanes"},
    {"sdks", "rewriting"},
    {"explaining"},
    {"flows"},
    {"scripts"},
    {"openai"},
    {"apxm"},
    {"cli"},
    {"__main__"},
]
"""Lowest first. ``apxm`` is the package's own __init__.py."""

ONLY_IN = {
    "wcwidth": {"source"},
    "greenlet": {"lanes"},
    "openai": {"openai"},
    "lark": set(),  # a tool of development: the tables it makes are part of the package
    "re2": {"operations"},
    "pyqwest": {"backends"},
    "mcp": {"tools"},
    "mcp_types": {"tools"},
    "httpx2": {"tools"},
    "httptools": {"simulator"},
    "jsonschema": {"backends"},
    "uvloop": {"runtime"},
    "typer": {"cli"},
    "rich": {"cli"},
    "platformdirs": {"config"},
    "fsspec": {"batches"},
    "pyarrow": {"batches"},
    "ray": {"batches"},
    "sqlite3": {"journal", "batches", "backends"},
    "matplotlib": {"workloads"},
    "opentelemetry": {"telemetry"},
}
"""A library has one home, so that replacing it touches one place and a command pays only for what it uses."""

BUDGETS = {
    "advice": 2350,
    "analysis": 4850,
    "apxm": 2300,  # the files of the package itself
    "backends": 6550,
    "batches": 4250,
    "cli": 5900,
    "compiler": 949,
    "config": 1300,
    "effects": 3650,
    "explaining": 4350,
    "flows": 1800,
    "ir": 1977,
    "journal": 3000,
    "lanes": 3250,
    "language": 5128,
    "operations": 2300,
    "passes": 932,
    "program": 2050,
    "reports": 3150,
    "rewriting": 3600,
    "runtime": 7800,
    "scripts": 1550,
    "sdks": 731,
    "simulator": 2700,
    "telemetry": 650,
    "testing": 964,
    "tools": 1400,
    "workloads": 1400,
}
"""The most lines that the Python files of a room may have together, blank ones and comments included."""


def layers_below() -> dict[str, set[str]]:
    """For each layer, the layers that it may import."""
    allowed: dict[str, set[str]] = {}

    def stack(tiers: list[set[str]], floor: set[str]) -> set[str]:
        for tier in tiers:
            allowed.update({layer: set(floor) for layer in tier})
            floor = floor | tier
        return floor

    ground = stack(GROUND, set())
    halves = stack(COMPILER_HALF, ground) | stack(RUNTIME_HALF, ground)
    stack(EDGE, halves)
    return allowed


def layer_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "apxm"


def modules() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("apxm", *path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports_of(module: str) -> Iterator[tuple[str, int]]:
    """The absolute names that a module imports, wherever in its text, with their lines."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{module}:{node.lineno}: relative imports hide the layer"
            assert node.level == 0, f"{module}:{node.lineno}: relative imports hide the layer"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield (name if name in MODULES else node.module), node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            argument = node.args[0]
            if isinstance(argument, ast.Constant):
                yield str(argument.value), node.lineno


@pytest.mark.parametrize("module", MODULES)
def test_a_file_imports_only_from_lower_layers(module: str) -> None:
    layer = layer_of(module)
    allowed = layers_below()[layer] | {layer}
    upward = [
        f"line {line}: {name}"
        for name, line in imports_of(module)
        if name.split(".")[0] == "apxm" and layer_of(name) not in allowed
    ]
    assert not upward, f"{module} belongs to {layer!r}, which may not import {upward}"


@pytest.mark.parametrize("module", MODULES)
def test_a_library_is_imported_only_by_its_home(module: str) -> None:
    strays = [
        f"line {line}: {name}"
        for name, line in imports_of(module)
        if layer_of(module) not in ONLY_IN.get(name.split(".")[0], {layer_of(module)})
    ]
    assert not strays


def test_no_import_cycle() -> None:
    graph = {module: {name for name, _ in imports_of(module) if name in MODULES} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_every_room_keeps_to_its_budget_of_lines() -> None:
    lines = dict.fromkeys(BUDGETS, 0)
    for path in MODULES.values():
        room = (PACKAGE.name, *path.relative_to(PACKAGE).parent.parts)[:2][-1]
        assert room in lines, f"{room}: a new room needs a budget"
        lines[room] += path.read_bytes().count(b"\n")
    over = {room: f"{count} lines of {BUDGETS[room]}" for room, count in lines.items() if count > BUDGETS[room]}
    assert not over, "look for what can go; where nothing can, raising a budget is a decision to be named in the commit"


def test_importing_the_package_loads_nothing_else() -> None:
    script = "import sys, apxm; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    loaded = {name for name in result.stdout.split() if name.split(".")[0] == "apxm" or name in ONLY_IN}
    assert loaded == {"apxm", "apxm.version"}


def test_a_list_of_runs_loads_nothing_of_what_runs_them() -> None:
    script = "import sys, apxm.journal.runs, apxm.reports.journaled_runs; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert not {"apxm.runtime", "asyncio"} & set(result.stdout.split()), "they take as long as the list"
