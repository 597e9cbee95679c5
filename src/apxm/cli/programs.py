"""A program from a source or an artifact, for the commands that take either."""

from __future__ import annotations

from apxm import api
from apxm.cli.inputs import is_artifact
from apxm.cli.terminal import show_diagnostics
from apxm.program.program import Program


def load_program(path: str, level: int, *, flow_named: bool, quiet: bool) -> Program:
    """Compiles a source, at `level`, or loads an artifact; its content says which it is. Warnings are shown."""
    if is_artifact(path) or path.endswith(".apxmobj"):
        return api.load(path)

    from apxm.cli.sources import compile_file

    compilation = compile_file(path, level, flow_named=flow_named).compilation
    if not quiet:
        show_diagnostics(compilation.warnings)
    return compilation.program
