"""Which commands there are; each lives in the file of its group."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Annotated

import typer

from apxm import __version__
from apxm.cli.completion import SETTING

COMMANDS = {
    "execute": "execute:execute",
    "batch": "batch:batch",
    "compile": "compile:compile_source",
    "run": "execute:run",
    "check": "check:check",
    "test": "test:run_examples",
    "inspect": "inspect:inspect",
    "explain": "explain:explain",
    "graph": "graph:graph",
    "analyze": "analyze:analyze",
    "simulate": "analyze:simulate",
    "calibrate": "calibrate:calibrate",
    "ops": "operations:ops",
    "backends": "backends:backends_app",
    "tools": "tools:tools_app",
    "init": "init:init",
    "trust": "backends:trust",
    "doctor": "doctor:doctor",
    "simulator": "simulator:simulator",
    "resume": "resume:resume",
    "runs": "runs:runs_app",
    "report": "report:report",
    "workloads": "workloads:workloads_app",
}
"""The commands by name: a module of this folder, and in it a command's function or a group of commands."""


def application(command: str | None = None) -> typer.Typer:
    """The command line. Where `command` is one of `COMMANDS`, it has that one alone: to prepare all of them takes a
    tenth of a second. Else it has all, to help or to refuse."""
    app = typer.Typer(
        # Only where somebody may mean it: to prepare it takes time.
        add_completion=command not in COMMANDS or SETTING in os.environ,
        # Plain help: it reads the same in a terminal, a pipe and a log.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name in [command] if command in COMMANDS else COMMANDS:
        module, _, attribute = COMMANDS[name].partition(":")
        found = getattr(import_module(f"apxm.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name, cls=getattr(found, "parsed_by", None))(found)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"apxm {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Compile agent workflows to dataflow graphs, and run them at the speed of their critical path."""
