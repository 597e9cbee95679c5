"""Which commands there are; each lives in the file of its group."""

from __future__ import annotations

from typing import Annotated

import typer

from apxm import __version__
from apxm.cli import (
    analyze,
    backends,
    calibrate,
    check,
    compile,
    doctor,
    execute,
    inspect,
    operations,
    simulator,
    workloads,
)

app = typer.Typer(
    add_completion=False,
    # Plain help: it reads the same in a terminal, a pipe and a log.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"apxm {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Compile agent workflows to dataflow graphs, and run them at the speed of their critical path."""


app.command("execute")(execute.execute)
app.command("compile")(compile.compile_source)
app.command("run")(execute.run)
app.command("check")(check.check)
app.command("inspect")(inspect.inspect)
app.command("analyze")(analyze.analyze)
app.command("simulate")(analyze.simulate)
app.command("calibrate")(calibrate.calibrate)
app.command("ops")(operations.ops)
app.add_typer(backends.backends_app, name="backends")
app.command("trust")(backends.trust)
app.command("doctor")(doctor.doctor)
app.command("simulator")(simulator.simulator)
app.add_typer(workloads.workloads_app, name="workloads")
