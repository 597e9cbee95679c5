"""``apxm backends`` and ``apxm trust``: which models can answer, and which configuration may say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from apxm.cli import completion
from apxm.cli.options import JSON, AnyRun, Config, Inputs, Model
from apxm.cli.output import write
from apxm.source import printable

if TYPE_CHECKING:
    from apxm.config.inventory import Inventory

backends_app = typer.Typer(help="List the backends, or ask one for an answer.", rich_markup_mode=None)

_ONE_CALL = """
agent Test {{
    flow test(prompt: str) -> str {{
        ask(prompt, retries: 0, timeout: {timeout_s}, max_tokens: {max_tokens}) -> answer
        switch answer {{
            case "" => "(the answer is empty)"
            default => answer
        }} -> shown
        return shown
    }}
}}
"""


@backends_app.callback(invoke_without_command=True)
def backends(context: typer.Context, json: JSON = False, config: Config = None) -> None:
    """List the backends that a run could use here, or ask one for an answer.

    \b
    Examples:
      apxm backends
      apxm backends test local
    """
    if context.invoked_subcommand is None:
        list_backends(json, config)


@backends_app.command("list")
def list_backends(json: JSON = False, config: Config = None) -> None:
    """List the backends that a run could use here, as `apxm backends` does.

    \b
    Example:
      apxm backends list --json
    """
    from apxm.config.inventory import Inventory
    from apxm.reports.structs import as_json

    inventory = Inventory(config)
    write(as_json(backend_entries(inventory)) if json else "\n".join(backend_lines(inventory)), json)


@backends_app.command("test")
def ask_backend(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Which backend.", show_default=False, autocompletion=completion.backend_names
        ),
    ],
    prompt: Annotated[
        str, typer.Option("--prompt", metavar="TEXT", help="What to ask.")
    ] = "Answer with one word: ready",
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=1, metavar="N", help="Most tokens of the answer.")
    ] = 64,
    timeout: Annotated[
        int, typer.Option("--timeout", min=1, max=3600, metavar="S", help="Wait so many seconds for it.")
    ] = 30,
    model: Model = None,
    json: JSON = False,
    config: Config = None,
) -> None:
    """Ask a backend for one short answer. That is one real call, paid for as such.

    A model that thinks before it answers may need more tokens than these.

    \b
    Example:
      apxm backends test local
    """
    from apxm import api
    from apxm.cli.session import run_program
    from apxm.config.invocation import Invocation
    from apxm.reports.summary import call_failure_lines

    source = _ONE_CALL.format(timeout_s=timeout, max_tokens=max_tokens)
    told = Invocation.of({"backend": name, "model": model, "config": config, "journal": False})
    program, shown = api.compile_text(source, name="test"), AnyRun(json=json)
    run_program(program, Inputs(values=[prompt]), told, shown, failed=call_failure_lines)


def trust(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="Which file; default: the project's own.", show_default=False)
    ] = None,
) -> None:
    """Trust a project's own configuration. Read it first.

    It may then send your prompts, and the keys it names, where it says, and run code: the commands, the Python
    functions and the servers of its tools, all of which are listed. Trust is needed again after a change that sends
    them elsewhere, sends more or runs something else: another endpoint, key, header, command or function; not after one
    of models and limits.

    \b
    Examples:
      apxm trust
      apxm trust ../other/.apxm/config.toml
    """
    from pathlib import Path

    from apxm.cli.tools import tool_lines
    from apxm.config.inventory import Inventory
    from apxm.config.trust import trust as trust_file

    path = trust_file(Path(file) if file else None)
    inventory = Inventory(path)
    lines = [f"trusted: {printable(str(path))}", *backend_lines(inventory)]
    if tools := tool_lines(inventory, indent="  "):
        lines += ["", "tools, which may now run:", *tools]
    write("\n".join(lines))


def backend_lines(inventory: Inventory, indent: str = "") -> list[str]:
    """One line per backend; the default one is marked."""
    from apxm.reports.tables import aligned

    default = inventory.chosen
    rows = [
        [
            "*" if name == default else "",
            name,
            known.info.kind,
            known.info.description,
            "" if known.key == "none" else f"key {known.key}",
            "" if known.trusted else "not trusted: apxm trust",
            f"({known.origin})",
        ]
        for name, known in inventory.backends.items()
    ]
    return [*aligned(rows, indent), "", f"{indent}* answers by default"]


def backend_entries(inventory: Inventory) -> list[dict[str, object]]:
    """The backends for ``--json``. Never shows a key."""
    default = inventory.chosen
    return [
        {
            "name": name,
            "kind": known.info.kind,
            "model": known.info.model,
            "endpoint": known.info.endpoint,
            "simulated": known.info.simulated,
            "default": name == default,
            "key": known.key,
            "trusted": known.trusted,
            "origin": known.origin,
        }
        for name, known in inventory.backends.items()
    ]
