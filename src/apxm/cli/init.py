"""``apxm init``: a first configuration, from what an endpoint says of its models."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from apxm.cli.terminal import note, show_warning, tell
from apxm.errors import ApxmError, BackendError, ConfigurationError, UsageError
from apxm.source import printable

if TYPE_CHECKING:
    from apxm.backends.settings import OpenAISettings


def init(
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--endpoint",
            metavar="URL",
            help="What speaks OpenAI's protocol; default: OPENAI_BASE_URL, else OpenAI, where OPENAI_API_KEY is set.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="M", help="Which model; default: the only one, or asks.")
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            "--backend", metavar="NAME", help="What to call it; default: local on this machine, openai, or remote."
        ),
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option(
            "--key-env",
            metavar="VARIABLE",
            help="The environment variable that holds the endpoint's key; the file names it, and never holds a key.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a configuration that is there.")] = False,
) -> None:
    """Write a first .apxm/config.toml, which needs no `apxm trust`.

    Asks the endpoint for its models (GET URL/models), and nobody else: local servers are not looked for. They mostly
    listen at http://127.0.0.1:8000/v1 (vLLM), :8080/v1 (llama.cpp), :11434/v1 (Ollama) or :1234/v1 (LM Studio).

    \b
    Examples:
      apxm init --endpoint http://127.0.0.1:11434/v1
      apxm init --endpoint http://127.0.0.1:8000/v1 --model qwen3-8b --backend fast
      apxm init --endpoint https://openrouter.ai/api/v1 --key-env OPENROUTER_API_KEY
      OPENAI_API_KEY=… apxm init --model gpt-4o-mini
    """
    from msgspec.structs import replace

    from apxm.config.files import make_folder
    from apxm.config.initial import initial_file, initial_text
    from apxm.config.trust import trust
    from apxm.files import OutputFile

    path = initial_file(replace=force)
    _refuse_unprintable({"--backend": backend, "--model": model, "--key-env": key_env})
    settings = _settings(endpoint, model, key_env)
    name = backend or _name(settings.endpoint)
    settings = replace(settings, model=_choose(_ask(name, settings), settings.model))
    text = initial_text(name, settings)
    make_folder(path.parent, "the folder cannot be made")
    with OutputFile(str(path)) as file:
        file.write(text.encode())
    trust(path)
    note(printable(f"wrote {path}: backend {name}, {settings.model} at {settings.endpoint}"))
    note(printable(f"try it: apxm backends test {name}"))


def _settings(endpoint: str | None, model: str | None, key_env: str | None) -> OpenAISettings:
    """The backend as far as the options and the environment tell; its model may be empty."""
    from apxm.backends.endpoint import parse_endpoint
    from apxm.backends.settings import OpenAISettings
    from apxm.config import environment as env

    if key_env is not None and not os.environ.get(key_env, "").strip():
        raise ConfigurationError(
            f"the environment variable {key_env} is not set", hint="the file names it, only you set it"
        )
    key = None if key_env is None else f"env:{key_env}"
    if endpoint is None:
        if env.openai_from(os.environ) is None:
            raise UsageError(
                f"no endpoint is named, and {env.KEY} is not set",
                hint="for a server on this machine: apxm init --endpoint http://127.0.0.1:8000/v1 (vLLM), :8080/v1 "
                "(llama.cpp), :11434/v1 (Ollama) or :1234/v1 (LM Studio)",
            )
        endpoint = os.environ.get(env.ENDPOINT) or env.DEFAULT_ENDPOINT
        model = model or os.environ.get(env.MODEL)
        key = key or f"env:{env.KEY}"
    parsed = parse_endpoint(endpoint)
    if parsed.keys or parsed.secrets:
        raise ConfigurationError(
            "the endpoint holds a password or a query, which would stand in the file",
            hint="name a variable that holds the key with --key-env, or write the file by hand",
        )
    # OpenAI's newer models refuse the older name; other endpoints mostly know no other.
    field = "max_completion_tokens" if parsed.shown == env.DEFAULT_ENDPOINT else "max_tokens"
    return OpenAISettings(model=model or "", endpoint=parsed.shown, api_key=key, max_tokens_field=field)


def _refuse_unprintable(options: dict[str, str | None]) -> None:
    from apxm.config.document import SIMULATED

    for option, value in options.items():
        if value is not None and not (value.strip() and value.isprintable()):
            raise UsageError(f"{option}: a name of printable characters is expected")
    if options["--backend"] == SIMULATED:
        raise UsageError(f"--backend: the name {SIMULATED} is kept for a simulated backend")


def _name(url: str) -> str:
    from ipaddress import ip_address
    from urllib.parse import urlsplit

    host = urlsplit(url).hostname or ""
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    return "local" if local else "openai" if host == "api.openai.com" else "remote"


_PATIENCE_S = 15.0
_SHOWN = 20
"""Most models in an error."""


def _ask(name: str, settings: OpenAISettings) -> list[str]:
    """The models of the endpoint. Raises `BackendError`, and `ConfigurationError` for a key that cannot be sent."""
    import asyncio

    from apxm.backends.openai import OpenAIBackend

    backend = OpenAIBackend(name, settings, os.environ)

    async def ask() -> list[str]:
        async with asyncio.timeout(_PATIENCE_S):
            return await backend.models()

    try:
        return asyncio.run(ask())
    except TimeoutError:
        message = f"{name} ({settings.endpoint}) did not list its models within {_PATIENCE_S:g} s"
        raise BackendError("timeout", message, retryable=True) from None
    except BackendError as error:
        if "api_key" in (error.hint or ""):  # of a configuration that is not written yet
            error.hint = "--key-env names the environment variable that holds its key"
        raise


def _choose(models: list[str], wanted: str) -> str:
    """The model to write down. Raises `UsageError` where it has to be named."""
    from difflib import get_close_matches

    if wanted:
        if wanted not in models:
            near = get_close_matches(wanted, models, 3)
            show_warning(f"the endpoint does not list {wanted}" + (f"; it has {', '.join(near)}" if near else ""))
        return wanted
    if not models:
        raise ApxmError("the endpoint lists no models", hint="load one there, or name one with --model")
    if len(models) == 1:
        return models[0]
    if sys.stdin.isatty() and sys.stderr.isatty():
        return _prompt(models)
    shown = ", ".join([*models[:_SHOWN], "…"] if len(models) > _SHOWN else models)
    raise UsageError(f"the endpoint has {len(models)} models: {shown}", hint="choose one with --model")


def _prompt(models: list[str]) -> str:
    for number, model in enumerate(models, 1):
        note(printable(f"{number:>4}  {model}"))
    while True:
        tell(f"which model? [1-{len(models)}, or its name] ")
        line = sys.stdin.readline()
        said = line.strip()
        if said in models:
            return said
        if said.isascii() and said.isdigit() and 1 <= int(said) <= len(models):
            return models[int(said) - 1]
        if not line:
            raise UsageError("no model was chosen", hint="name one with --model")
