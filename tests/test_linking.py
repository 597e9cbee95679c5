"""What a run needs is looked for before its first call, and all that is missing is told together."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import apxm
from apxm.errors import ConfigurationError, LinkError
from apxm.runtime import listing
from apxm.testing import ScriptedBackend
from tests.servers import HANG, Reply, Server, as_json, completion

TWO_MODELS = """
agent A {
    @entry flow main(topic: str) -> str {
        ask("Outline " + topic) -> outline
        switch outline {
            case "short" => ask("Write.", outline, model: "large")
            default => outline
        } -> text
        return text
    }
    flow one(topic: str) -> str { return ask("About " + topic) }
}
"""


def listing_server(*models: str, reply: Reply | None = None) -> Server:
    """An endpoint that has these models, or answers `reply` to who asks for them."""
    listed = as_json({"data": [{"id": model} for model in models]}) if reply is None else reply
    return Server(lambda request: listed if request.method == "GET" else completion("long"))


def asked(server: Server) -> list[str]:
    return [f"{request.method} {request.target}" for request in server.received]


GET, POST = "GET /v1/models", "POST /v1/chat/completions"


def configure(folder: Path, server: Server, *lines: str) -> Path:
    path = folder / "config.toml"
    settings = "\n".join(['kind = "openai"', 'model = "small"', f'endpoint = "{server.endpoint}"', *lines])
    path.write_text(f"[backends.local]\n{settings}\n")
    return path


def run(
    server: Server, folder: Path, *lines: str, source: str = TWO_MODELS, times: int = 1, flow: str = "main"
) -> None:
    """Runs the flow so often."""
    program = apxm.compile_text(source)

    async def go() -> None:
        async with server:
            config = configure(folder, server, *lines)
            for _ in range(times):
                await apxm.run_async(program, flow=flow, topic="bees", config=config, journal=False)

    asyncio.run(go())


def test_a_model_that_the_endpoint_does_not_list_is_missed_before_anything_is_paid(tmp_path: Path) -> None:
    server = listing_server("small", "larger")
    with pytest.raises(ConfigurationError) as caught:
        run(server, tmp_path)
    assert caught.value.message == f"backend local has no model 'large': {server.endpoint} does not list it"
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("did you mean larger?; `any_model = true`")
    assert asked(server) == [GET]


def test_an_endpoint_is_asked_once_in_a_process(tmp_path: Path) -> None:
    server = listing_server("small", "large:latest")
    run(server, tmp_path, times=3)
    assert asked(server) == [GET, POST, POST, POST]


def test_one_that_lacked_a_model_is_asked_again(tmp_path: Path) -> None:
    models = ["small"]
    reply = lambda r: as_json([{"id": m} for m in models]) if r.method == "GET" else completion("long")  # noqa: E731
    server = Server(reply)
    program = apxm.compile_text(TWO_MODELS)

    async def go() -> None:
        async with server:
            config = configure(tmp_path, server)
            with pytest.raises(ConfigurationError, match="it lists small"):
                await apxm.run_async(program, topic="bees", config=config, journal=False)
            models.append("large")
            await apxm.run_async(program, topic="bees", config=config, journal=False)

    asyncio.run(go())
    assert asked(server) == [GET, GET, POST]


def test_where_only_one_model_is_named_its_first_call_tells_as_much(tmp_path: Path) -> None:
    server = listing_server("another")
    run(server, tmp_path, flow="one")
    assert asked(server) == [POST]


@pytest.mark.parametrize("reply", [as_json({}, 404), as_json({"data": []}), as_json("?"), HANG], ids=str)
def test_an_endpoint_that_does_not_say_has_every_model(
    tmp_path: Path, reply: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PATIENCE_S", 0.2 if reply is HANG else 20)
    server = listing_server(reply=reply)
    run(server, tmp_path, times=2)
    assert asked(server) == [GET, POST, POST]


def test_a_backend_may_be_asked_for_any_model(tmp_path: Path) -> None:
    server = listing_server("small")
    run(server, tmp_path, "any_model = true")
    assert asked(server) == [POST]


@pytest.mark.parametrize("owner", ["llamacpp", "apxm"])
def test_who_answers_to_any_name_has_every_model(tmp_path: Path, owner: str) -> None:
    server = listing_server(reply=as_json({"data": [{"id": "model.gguf", "owned_by": owner}]}))
    run(server, tmp_path)
    assert asked(server) == [GET, POST]


def test_everything_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    server = listing_server("small")
    source = """
    agent A {
        @entry flow main(topic: str, depth: int) -> str {
            ask("One", model: "huge") -> a
            ask("Two", backend: "remote") -> b
            ask("Three", backend: "keyed") -> c
            return merge(a, b, c, topic)
        }
        flow other() { ask("Four", backend: "unused") -> d print(d) }
    }
    """
    keyed = '[backends.keyed]\nkind = "openai"\nmodel = "m"\nendpoint = "http://127.0.0.1:9/v1"\napi_key = "env:NO_KEY"'
    program = apxm.compile_text(source)

    async def go() -> None:
        async with server:
            config = configure(tmp_path, server, keyed)
            config.write_text('default_backend = "local"\n' + config.read_text())
            with pytest.raises(LinkError) as caught:
                await apxm.run_async(program, topic=1, depth="two", config=config, journal=False)
            assert [error.message for error in caught.value.missing] == [
                "topic must be a str, not 1",
                "depth must be an int, not a str",
                "the program asks for backend 'remote', which is not configured",
                f"backend local has no model 'huge': {server.endpoint} does not list it",
                "backends.keyed.api_key is read from the environment variable NO_KEY, which is not set",
            ]

    asyncio.run(go())
    assert asked(server) == [GET]


def test_several_backends_that_nobody_configured_are_named_together() -> None:
    source = 'agent A { @entry flow f() -> str { return merge(ask("a", backend: "x"), ask("b", backend: "y")) } }'
    pool = apxm.BackendPool({"b": ScriptedBackend(name="b")}, "b")
    with pytest.raises(LinkError, match=r"backend 'x', which is not configured.*\n.*backend 'y'"):
        apxm.run(apxm.compile_text(source), backends=pool)


def test_what_the_flow_cannot_reach_is_not_needed() -> None:
    source = """
    agent A {
        @entry flow f() -> str { return ask("a") }
        flow g() -> str { return ask("b", backend: "nowhere") }
    }
    """
    pool = apxm.BackendPool({"b": ScriptedBackend(name="b", latency_ms=lambda _: 0)}, "b")
    assert apxm.run(apxm.compile_text(source), backends=pool).value == "[a]"
    with pytest.raises(ConfigurationError, match="'nowhere', which is not configured"):
        apxm.run(apxm.compile_text(source), flow="g", backends=pool)


def test_a_simulation_that_was_asked_for_answers_for_every_name() -> None:
    source = 'agent A { @entry flow f() -> str { return ask("a", backend: "nowhere", model: "m") } }'
    answer = apxm.run(apxm.compile_text(source), backend="simulated", latency="constant:0")
    assert answer.value.endswith(": a")
    assert answer.backend.name == "simulated"
