"""``apxm tools``: what programs can call here, and whether it is as they declare it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apxm.cli import exits
from apxm.cli import options as o
from apxm.cli.output import write
from apxm.cli.terminal import note
from apxm.reports.summary import count
from apxm.source import printable

if TYPE_CHECKING:
    from apxm.config.inventory import Inventory
    from apxm.tools.schemas import Declaration
    from apxm.tools.toolbox import Toolbox

tools_app = typer.Typer(help="List the tools, call one, or check those of a program.", rich_markup_mode=None)


@tools_app.callback(invoke_without_command=True)
def tools(context: typer.Context, json: o.JSON = False, config: o.Config = None) -> None:
    """List the tools that a program could call here, call one, or check those of a program.

    \b
    Examples:
      apxm tools
      apxm tools call search --arg q=bees
      apxm tools check workflow.ais
    """
    if context.invoked_subcommand is None:
        list_tools(json, config)


@tools_app.command("list")
def list_tools(json: o.JSON = False, config: o.Config = None) -> None:
    """List the tools and the servers of tools that are set up. Starts none of them.

    \b
    Example:
      apxm tools list --json
    """
    from apxm.config.inventory import Inventory
    from apxm.reports.structs import as_json

    inventory = Inventory(config)
    lines = tool_lines(inventory) or ["no tools are set up; [tools.NAME] in a configuration does that (docs/tools.md)"]
    write(as_json(tool_entries(inventory)) if json else "\n".join(lines), json)


@tools_app.command("call")
def call_tool(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which tool.", show_default=False)],
    arg: Annotated[
        list[str] | None,
        typer.Option("--arg", metavar="NAME=VALUE", help="An argument: JSON, or else text; repeatable."),
    ] = None,
    json: o.JSON = False,
    config: o.Config = None,
) -> None:
    """Call a tool, once, in earnest, and print what it gives.

    \b
    Examples:
      apxm tools call search --arg q=bees --arg limit=3
      apxm tools call files.read_file --arg path=notes.txt --json
    """
    from apxm import api
    from apxm.cli.options import AnyRun, Inputs
    from apxm.cli.session import run_program
    from apxm.cli.values import read_json_arguments
    from apxm.config.invocation import Invocation
    from apxm.operations.types import text_form
    from apxm.reports.summary import call_failure_lines

    # The name is a literal of the language, as JSON writes it.
    source = (
        f"agent Tools {{ flow call(arguments: json) -> json {{ return inv({text_form([name])[1:-1]}, arguments) }} }}"
    )
    arguments = text_form(read_json_arguments(arg or []))
    told = Invocation.of({"config": config, "journal": False, "simulate_tools": False})
    program, shown = api.compile_text(source, name="call"), AnyRun(json=json, quiet=True)
    run_program(program, Inputs(values=[arguments]), told, shown, failed=call_failure_lines)


@tools_app.command("check")
def check_tools(
    file: o.Source,
    json: o.JSON = False,
    config: o.Config = None,
) -> None:
    """Check that the tools of a program are there, and take and give what it declares. Calls none of them.

    Servers are started and asked what they have. What they say of their tools themselves, such as that one only reads,
    is shown and changes nothing: a program says `readonly` where that is so.

    \b
    Example:
      apxm tools check workflow.ais
    """
    from apxm.cli.sources import compile_file
    from apxm.config.inventory import Inventory
    from apxm.config.tools import configured_tools
    from apxm.reports.structs import as_json
    from apxm.runtime.handlers.table import LoadedProgram
    from apxm.runtime.loops import real_loop

    program = LoadedProgram(compile_file(file, 0, flow_named=True).compilation.program)
    needed = dict(found for flow in program.program.flows for found in program.tools(flow))
    needed |= program.declarations
    toolbox = configured_tools(Inventory(config))
    with asyncio.Runner(loop_factory=real_loop) as runner:
        found = runner.run(_looked_at(toolbox, needed))
    if json:
        write(as_json(found), json)
    else:
        for tool in found:
            said = ", ".join(f"{name} {str(value).lower()}" for name, value in tool["hints"].items())
            state = "does not fit" if tool["flaws"] else "fits" if tool["declared"] else "is there, and not declared"
            write(printable(f"{tool['declared'] or tool['name']}: {state}{f'; it says {said}' if said else ''}"))
            for flaw in tool["flaws"]:
                write(printable(f"  {flaw}"))
    wrong = sum(bool(tool["flaws"]) for tool in found)
    fit = "all fit" if not wrong else f"{wrong} {'does' if wrong == 1 else 'do'} not fit"
    note(f"{count(len(found), 'tool')}, {fit}")
    if wrong:
        raise typer.Exit(exits.FAILED)


async def _looked_at(toolbox: Toolbox, needed: dict[str, Declaration | None]) -> list[dict[str, Any]]:
    try:
        return [
            {
                "name": name,
                "declared": None if declared is None else declared.signature,
                "flaws": [flaw.message for flaw in await toolbox.flaws([(name, declared)])],
                "hints": dict(await toolbox.hints(name)),
            }
            for name, declared in needed.items()
        ]
    finally:
        await toolbox.close()


def tool_lines(inventory: Inventory, indent: str = "") -> list[str]:
    """One line per tool and server; none where none is set up."""
    from apxm.reports.tables import aligned

    rows = [
        [
            entry["name"],
            entry["kind"],
            entry["calls"],
            "" if entry["trusted"] else "not trusted: apxm trust",
            f"({entry['origin']})",
        ]
        for entry in tool_entries(inventory)
    ]
    return aligned(rows, indent) if rows else []


def tool_entries(inventory: Inventory) -> list[dict[str, Any]]:
    """The tools and servers for ``--json``. Never shows a variable's value."""
    named = [
        *((name, known) for name, known in inventory.tools.items()),
        *((f"{name}.*", known) for name, known in inventory.servers.items()),
    ]
    return [
        {"name": name, "kind": known.kind, "calls": known.title, "trusted": known.trusted, "origin": known.where}
        for name, known in named
    ]
