"""What ``--emit-diagnostics`` writes: how long the compiler took for what, and the graphs it made."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from apxm.compiler.pipeline import Compilation
from apxm.program.invocation import select_flow
from apxm.program.statistics import PlanStatistics, flow_statistics
from apxm.source import Diagnostic


class CompilationPhases(Struct, frozen=True, kw_only=True):
    total_ms: float
    """The sum of the others."""
    parse_ms: float
    check_ms: float
    build_ms: float
    passes_ms: float
    artifact_gen_ms: float
    """Lowering and encoding."""


class PassDiagnostics(Struct, frozen=True, kw_only=True):
    name: str
    timing_ms: float
    statistics: Mapping[str, int]


class CheckerWarning(Struct, frozen=True, kw_only=True):
    """A warning of the checker; lines and columns count from 1."""

    code: str
    message: str
    line: int
    column: int
    help: str | None


class CompilerDiagnostics(Struct, frozen=True, kw_only=True):
    """The object that the file holds; docs/cli.md describes the fields."""

    input: str
    optimization_level: int
    compilation_phases: CompilationPhases
    dag_statistics: PlanStatistics
    flows: Mapping[str, PlanStatistics]
    """The statistics of each flow, by its qualified name."""
    passes_applied: tuple[str, ...]
    passes: tuple[PassDiagnostics, ...]
    warnings: tuple[CheckerWarning, ...]


def compiler_diagnostics(
    compilation: Compilation, *, input: str, flow: str | None = None, encoding_ns: int = 0
) -> CompilerDiagnostics:
    """`input` is the file as the user named it, `flow` the one selected (None: the entry), `encoding_ns` the time that
    writing the artifact took. Raises `UsageError` where `flow` names none."""
    program, phases = compilation.program, compilation.phases
    flows = flow_statistics(program)
    return CompilerDiagnostics(
        input=input,
        optimization_level=program.optimization_level,
        compilation_phases=CompilationPhases(
            total_ms=_ms(sum(phases.values()) + encoding_ns),
            parse_ms=_ms(phases["parse"]),
            check_ms=_ms(phases["check"]),
            build_ms=_ms(phases["build"]),
            passes_ms=_ms(phases["passes"]),
            artifact_gen_ms=_ms(phases["lower"] + encoding_ns),
        ),
        dag_statistics=flows[select_flow(program, flow).qualified_name],
        flows=flows,
        passes_applied=tuple(report.name for report in compilation.passes),
        passes=tuple(
            PassDiagnostics(name=report.name, timing_ms=_ms(report.duration_ns), statistics=report.statistics)
            for report in compilation.passes
        ),
        warnings=tuple(_warning(warning) for warning in compilation.warnings),
    )


def _warning(found: Diagnostic) -> CheckerWarning:
    span = found.span
    return CheckerWarning(code=found.code, message=found.message, line=span.line, column=span.column, help=found.help)


def _ms(ns: int) -> float:
    return round(ns / 1e6, 3)
