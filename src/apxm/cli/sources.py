"""Makes a program of a file of AIS, for the commands that compile."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

from apxm.cli.inputs import refuse_artifact
from apxm.compiler.diagnostics import compiler_diagnostics
from apxm.compiler.pipeline import Compilation, compile_source
from apxm.language.parser import read_source
from apxm.reports.structs import as_json
from apxm.session import milliseconds


@dataclass(frozen=True)
class TimedBuild:
    """A compilation, and how long it took from file to program."""

    path: str
    compilation: Compilation
    compile_ms: float


def compile_file(path: str, level: int, *, flow_named: bool = False, keep_ir_after: str | None = None) -> TimedBuild:
    """Reads and compiles a source; `flow_named` says that its entry does not matter."""
    begun = perf_counter()
    refuse_artifact(path)
    source = read_source(path)
    compilation = compile_source(source, level=level, needs_entry=not flow_named, keep_ir_after=keep_ir_after)
    compilation.program.came_from(path, "source")
    return TimedBuild(path, compilation, milliseconds(perf_counter() - begun))


def diagnostics_json(compiled: TimedBuild, flow: str | None = None, encoding_ns: int = 0) -> bytes:
    """The file of ``--emit-diagnostics``."""
    found = compiler_diagnostics(compiled.compilation, input=compiled.path, flow=flow, encoding_ns=encoding_ns)
    # A lone surrogate, which UTF-8 cannot hold, becomes the JSON escape for it.
    return f"{as_json(found)}\n".encode(errors="backslashreplace")
