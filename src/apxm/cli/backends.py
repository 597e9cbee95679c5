"""``apxm backends`` and ``apxm trust``: which models can answer, and which configuration may say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from apxm.cli import completion
from apxm.cli.options import JSON, Config, Model

if TYPE_CHECKING:
    from apxm.config.selection import Described

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
    from json import dumps

    from apxm.config.selection import describe
    from apxm.reports.output import write, write_json

    described = describe(config)
    if json:
        write_json(dumps([backend_entry(backend) for backend in described], ensure_ascii=False, indent=2))
    else:
        for line in backend_lines(described):
            write(line)


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
    from apxm.cli.session import Invocation, Linked, run_program
    from apxm.config.runs import Journaling
    from apxm.config.selection import Selection

    invocation = Invocation(
        [prompt],
        [],
        Selection(backend=name, model=model, file=config),
        journaling=Journaling(wanted=False),
        json=json,
    )
    source = _ONE_CALL.format(timeout_s=timeout, max_tokens=max_tokens)
    run_program(Linked(api.compile_text(source, name="test")), invocation)


def trust(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="Which file; default: the project's own.", show_default=False)
    ] = None,
) -> None:
    """Trust a project's own configuration. Read it first.

    It may then send your prompts, and the keys it names, where it says. Trust is needed again after a change that sends
    them elsewhere, or sends more: another endpoint, key or header; not after one of models and limits.

    \b
    Examples:
      apxm trust
      apxm trust ../other/.apxm/config.toml
    """
    from pathlib import Path

    from apxm.config.selection import describe
    from apxm.config.trust import trust as trust_file
    from apxm.reports.output import write
    from apxm.source import printable

    trusted = trust_file(Path(file) if file else None)
    write(f"trusted: {printable(str(trusted.path))}")
    for line in backend_lines(describe(trusted.path)):
        write(line)


def backend_lines(described: list[Described], indent: str = "") -> list[str]:
    """One line per backend; the default one is marked."""
    from apxm.reports.tables import aligned

    rows = [
        [
            "*" if backend.default else "",
            backend.info.name,
            backend.info.kind,
            backend.info.description,
            "" if backend.key == "none" else f"key {backend.key}",
            "" if backend.trusted else "not trusted: apxm trust",
            f"({backend.origin})",
        ]
        for backend in described
    ]
    return [*aligned(rows, indent), "", f"{indent}* answers by default"]


def backend_entry(backend: Described) -> dict[str, object]:
    """For ``--json``."""
    return {
        "name": backend.info.name,
        "kind": backend.info.kind,
        "model": backend.info.model,
        "endpoint": backend.info.endpoint,
        "simulated": backend.info.simulated,
        "default": backend.default,
        "key": backend.key,
        "trusted": backend.trusted,
        "origin": backend.origin,
    }
