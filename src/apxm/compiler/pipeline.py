"""AIS text → `Program`, step by step."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from time import perf_counter_ns

from apxm.compiler.check import warnings_of
from apxm.compiler.lower import lower
from apxm.errors import CompileError, InternalError, UsageError
from apxm.garbage import without_collector
from apxm.ir.build import build_module
from apxm.ir.core import InvalidModule
from apxm.ir.structure import Module
from apxm.ir.text import print_module
from apxm.ir.verify import verify_module
from apxm.language.checker import check
from apxm.language.parser import parse
from apxm.passes.pipeline import LEVELS, REMOVE_UNUSED
from apxm.program.program import Program
from apxm.program.verify import MOST_WORK, unfolded_work
from apxm.source import Diagnostic, SourceFile, printable

BUILD = "build"
"""The `keep_ir_after` that means the module before the first pass."""


@dataclass(frozen=True)
class PassReport:
    name: str
    duration_ns: int
    statistics: Mapping[str, int]
    """What the pass did, in its own words and numbers."""


@dataclass(frozen=True)
class Compilation:
    """A program, and how it came about."""

    program: Program
    warnings: tuple[Diagnostic, ...]
    phases: Mapping[str, int]
    """The ns that ``parse check build passes lower`` took; what verifies a result is part of the phase that made it."""
    passes: tuple[PassReport, ...]
    module: Module
    """The module as the last pass left it."""
    ir: str | None
    """The printed text after what `keep_ir_after` named."""


@without_collector()
def compile_source(
    source: SourceFile, *, level: int = 1, keep_ir_after: str | None = None, needs_entry: bool = True
) -> Compilation:
    """Compiles at optimization level 0, 1 or 2. `needs_entry` false is for a caller who will name the flow to run.

    Raises `SourceError` with all that is wrong with the source, `CompileError` where a flow calls others so often that
    no run could hold it, `UsageError` for an unknown level or pass.
    """
    _check_request(level, keep_ir_after)
    clock = _Clock()
    with clock.phase("parse"):
        tree = parse(source)
    with clock.phase("check"):
        checked = check(tree, needs_entry=needs_entry)
    with clock.phase("build"):
        module = build_module(checked)
        _verify(module, BUILD)
    with clock.phase("check"):
        warnings = warnings_of(checked, module, removed=REMOVE_UNUSED in LEVELS[level])
    ir = print_module(module) if keep_ir_after == BUILD else None
    reports: list[PassReport] = []
    for pass_ in LEVELS[level]:
        with clock.phase("passes"):
            started = perf_counter_ns()
            outcome = pass_.run(module)
            if outcome.changed:  # to verify after every pass was a third of a compilation
                _verify(module, pass_.name)
            reports.append(PassReport(pass_.name, perf_counter_ns() - started, outcome.statistics))
        if keep_ir_after == pass_.name:
            ir = print_module(module)
    with clock.phase("lower"):
        program = lower(module, file=printable(PurePath(source.path).name), optimization_level=level)
        _check_work(program)
    return Compilation(program, warnings, clock.phases, tuple(reports), module, ir)


def _check_request(level: int, keep_ir_after: str | None) -> None:
    if level not in LEVELS:
        raise UsageError(
            f"there is no optimization level {level}", hint=f"the levels are {', '.join(map(str, LEVELS))}"
        )
    names = [BUILD, *(pass_.name for pass_ in LEVELS[level])]
    if keep_ir_after is not None and keep_ir_after not in names:
        raise UsageError(f"-O{level} has no pass {keep_ir_after!r}", hint=f"its passes are {', '.join(names)}")


def _verify(module: Module, step: str) -> None:
    try:
        verify_module(module)
    except InvalidModule as error:
        raise InternalError(f"{step} left a module that is not valid: {error}") from error


def _check_work(program: Program) -> None:
    work = unfolded_work(program)
    for flow in program.flows:
        if work[flow.plan] > MOST_WORK:
            raise CompileError(
                f"one run of {flow.qualified_name} would unfold into more than {MOST_WORK:,} nodes",
                where=program.names.file,
                hint="flows that call another one twice multiply what is below, and so do loops with a loop inside",
            )


class _Clock:
    def __init__(self) -> None:
        self.phases: dict[str, int] = dict.fromkeys(("parse", "check", "build", "passes", "lower"), 0)

    @contextmanager
    def phase(self, name: str) -> Generator[None]:
        started = perf_counter_ns()
        try:
            yield
        finally:
            self.phases[name] += perf_counter_ns() - started
