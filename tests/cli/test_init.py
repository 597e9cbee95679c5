"""`apxm init`: from an endpoint to a configuration that works, by what the endpoint says."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from apxm.simulator.process import SimulatorProcess, start_simulator
from tests.cli.conftest import Apxm, Start

FILE = Path(".apxm/config.toml")
SOURCE = 'agent A { @entry flow f() -> str { return ask("hello") } }'


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with start_simulator(latency="constant:1") as process:
        yield process


class Models:
    """An endpoint that answers every GET with the same."""

    def __init__(self) -> None:
        self.status, self.body = 200, b""
        self.asked: list[tuple[str, str | None]] = []
        """Paths, and what authorized them."""
        models = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                models.asked.append((self.path, self.headers.get("authorization")))
                self.send_response(models.status)
                self.send_header("Content-Length", str(len(models.body)))
                self.end_headers()
                self.wfile.write(models.body)

            def log_message(self, format: str, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def has(self, *names: str) -> None:
        self.body = json.dumps({"object": "list", "data": [{"id": name} for name in names]}).encode()


@pytest.fixture
def models() -> Iterator[Models]:
    found = Models()
    thread = Thread(target=found.server.serve_forever, args=(0.01,))
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


def written() -> dict[str, Any]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def test_what_it_writes_works_at_once_and_after_edits_that_send_nothing_elsewhere(
    apxm: Apxm, simulator: SimulatorProcess, tmp_path: Path
) -> None:
    ended = apxm("init", "--endpoint", simulator.endpoint)
    assert (ended.status, ended.out) == (0, "")
    assert f"wrote {tmp_path / FILE}: backend local, simulated at {simulator.endpoint}" in ended.err
    assert "apxm backends test local" in ended.err
    (tmp_path / "a.ais").write_text(SOURCE)
    assert apxm("execute", "a.ais").status == 0
    assert "(trusted)" in apxm("doctor").out

    text = FILE.read_text()
    FILE.write_text(text.replace('"simulated"', '"other"') + "max_concurrency = 4\n# mine\n")
    ended = apxm("execute", "a.ais")
    assert ended.status == 0
    assert "model: other at" in ended.err

    FILE.write_text(text + 'api_key = "env:HOME"\n')
    ended = apxm("execute", "a.ais")
    assert ended.status == 2
    assert f"run `apxm trust {tmp_path / FILE}`" in ended.err
    assert "(not trusted" in apxm("doctor").out
    assert apxm("trust", str(tmp_path / FILE)).status == 0
    assert apxm("execute", "a.ais").status == 0


def test_one_model_is_taken_and_a_slash_at_the_end_is_nothing(apxm: Apxm, models: Models) -> None:
    models.has('a "model" \\ ü')
    assert apxm("init", "--endpoint", f"{models.endpoint}/", "--backend", "mein ü").status == 0
    assert models.asked == [("/v1/models", None)]
    backend = {"kind": "openai", "model": 'a "model" \\ ü', "endpoint": models.endpoint}
    assert written() == {"default_backend": "mein ü", "backends": {"mein ü": backend}}
    assert "model" in apxm("backends").out


def test_a_list_without_an_object_around_it_is_one(apxm: Apxm, models: Models) -> None:
    models.body = b'[{"id": "m", "object": "model"}, {"id": "m"}, {"id": "\\u0000"}, {"id": " "}]'
    assert apxm("init", "--endpoint", models.endpoint).status == 0
    assert written()["backends"]["local"]["model"] == "m"


def test_of_several_models_one_has_to_be_named_where_nobody_can_be_asked(apxm: Apxm, models: Models) -> None:
    models.has("small", "large")
    ended = apxm("init", "--endpoint", models.endpoint)
    assert (ended.status, FILE.exists()) == (2, False)
    assert "the endpoint has 2 models: small, large\nhint: choose one with --model" in ended.err
    assert apxm("init", "--endpoint", models.endpoint, "--model", "large").status == 0
    assert written()["backends"]["local"]["model"] == "large"
    ended = apxm("init", "--endpoint", models.endpoint, "--model", "largo", "--force")
    assert ended.status == 0
    assert "warning: the endpoint does not list largo; it has large" in ended.err
    models.has(*(f"model-{number}" for number in range(500)))
    assert "model-19, …\n" in apxm("init", "--endpoint", models.endpoint, "--force").err


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
@pytest.mark.parametrize(
    ("typed", "model"), [(b"3\n2\n", "large"), (b"\nsmall\n", "small"), (b"large\n", "large"), (b"\x04", None)]
)
def test_on_a_terminal_it_asks(start: Start, models: Models, typed: bytes, model: str | None) -> None:
    models.has("small", "large")
    controller, terminal = os.openpty()
    os.write(controller, typed)
    process = start("init", "--endpoint", models.endpoint, stdin=terminal, stderr=terminal)
    assert process.wait(timeout=60) == (0 if model else 2)
    assert process.stdout
    assert process.stdout.read() == ""
    process.stdout.close()
    os.close(terminal)
    os.close(controller)
    assert (written()["backends"]["local"]["model"] if FILE.exists() else None) == model


def test_a_key_is_named_sent_where_that_was_asked_for_and_never_written(
    apxm: Apxm, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.has("m")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    monkeypatch.setenv("MY_KEY", "sk-of-mine")
    assert apxm("init", "--endpoint", models.endpoint).status == 0
    assert apxm("init", "--endpoint", models.endpoint, "--key-env", "MY_KEY", "--force").status == 0
    assert [key for _, key in models.asked] == [None, "Bearer sk-of-mine"]
    assert written()["backends"]["local"]["api_key"] == "env:MY_KEY"
    ended = apxm("init", "--endpoint", models.endpoint, "--key-env", "NO_KEY", "--force")
    assert ended.status == 2
    assert "the environment variable NO_KEY is not set" in ended.err


def test_without_an_endpoint_it_is_that_of_the_environment(
    apxm: Apxm, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.has("small", "large")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    monkeypatch.setenv("OPENAI_BASE_URL", models.endpoint)
    monkeypatch.setenv("OPENAI_MODEL", "large")
    assert apxm("init", "--backend", "mine").status == 0
    assert models.asked == [("/v1/models", "Bearer sk-of-openai")]
    assert "sk-of-openai" not in FILE.read_text()
    expected = {"kind": "openai", "model": "large", "endpoint": models.endpoint, "api_key": "env:OPENAI_API_KEY"}
    assert written()["backends"]["mine"] == expected


def test_without_anything_it_says_what_to_type_and_looks_for_nothing(apxm: Apxm) -> None:
    ended = apxm("init")
    assert (ended.status, FILE.exists()) == (2, False)
    assert "no endpoint is named, and OPENAI_API_KEY is not set" in ended.err
    assert "apxm init --endpoint http://127.0.0.1:8000/v1" in ended.err


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, b'{"error": {"message": "no key"}}', "answered 401 Unauthorized: no key\nhint: --key-env names"),
        (403, b"", "answered 403 Forbidden\nhint: --key-env names"),
        (404, b"", "answered 404 Not Found\nhint: check the endpoint (it mostly ends in /v1)"),
        (500, b"", "answered 500 Internal Server Error"),
        (200, b"<html>", "but no list of models"),
        (200, b'{"data": [{"name": "m"}]}', "but no list of models"),
        (200, b'{"data": "m"}', "but no list of models"),
        (200, b"\xff", "but no list of models"),
        (200, b"[" * 100_000, "but no list of models"),
        (200, b'{"data": []}', "the endpoint lists no models\nhint: load one there, or name one with --model"),
    ],
)
def test_an_endpoint_that_tells_no_models_is_told_so(
    apxm: Apxm, models: Models, status: int, body: bytes, message: str
) -> None:
    models.status, models.body = status, body
    ended = apxm("init", "--endpoint", models.endpoint)
    assert (ended.status, FILE.exists(), FILE.parent.exists()) == (1, False, False)
    assert message in ended.err


def test_an_endpoint_that_is_down_is_named(apxm: Apxm, models: Models) -> None:
    models.server.shutdown()  # else its thread may still take the connection
    models.server.server_close()
    ended = apxm("init", "--endpoint", models.endpoint)
    assert (ended.status, FILE.exists()) == (1, False)
    assert f"local ({models.endpoint}) could not be reached" in ended.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--endpoint", "127.0.0.1:8000"), "a URL that starts with http:// or https:// is expected"),
        (("--endpoint", "http://me:secret@127.0.0.1:8000/v1"), "the endpoint holds a password or a query"),
        (("--endpoint", "http://127.0.0.1:8000/v1?key=secret"), "the endpoint holds a password or a query"),
        (("--endpoint", "http://127.0.0.1:1/v1", "--backend", "simulated"), "is kept for a simulated backend"),
        (("--endpoint", "http://127.0.0.1:1/v1", "--backend", ""), "--backend: a name of printable characters"),
        (("--endpoint", "http://127.0.0.1:1/v1", "--model", "a\nb"), "--model: a name of printable characters"),
        (("--endpoint", "http://127.0.0.1:1/v1", "--model", "\udcff"), "--model: a name of printable characters"),
    ],
)
def test_what_could_not_be_written_down_is_refused(apxm: Apxm, arguments: tuple[str, ...], message: str) -> None:
    ended = apxm("init", *arguments)
    assert (ended.status, FILE.exists()) == (2, False)
    assert message in ended.err
    assert "secret" not in ended.err


def _file(path: Path) -> None:
    path.write_text("theirs")


@pytest.mark.parametrize(
    ("make", "force"),
    [
        (_file, "refused without"),
        (lambda path: path.symlink_to("missing"), "refused"),
        (lambda path: path.symlink_to("../other"), "refused"),
        (Path.mkdir, "refused"),
    ],
)
def test_what_is_there_is_kept(
    apxm: Apxm, models: Models, tmp_path: Path, make: Callable[[Path], None], force: str
) -> None:
    """A clone may bring a link in place of the file, for what it is written over."""
    models.has("m")
    (tmp_path / "other").write_text("other")
    FILE.parent.mkdir()
    make(FILE)
    ended = apxm("init", "--endpoint", models.endpoint)
    assert (ended.status, models.asked) == (2, [])
    assert "there is a configuration already\nhint: --force replaces it" in ended.err
    assert apxm("init", "--endpoint", models.endpoint, "--force").status == (2 if force == "refused" else 0)
    assert (tmp_path / "other").read_text() == "other"
    assert not (FILE.parent / "missing").exists()


def test_a_folder_that_cannot_be_made_is_named(apxm: Apxm, models: Models, tmp_path: Path) -> None:
    models.has("m")
    (tmp_path / ".apxm").write_text("in the way")
    ended = apxm("init", "--endpoint", models.endpoint)
    assert ended.status == 2
    assert "the folder cannot be made: File exists" in ended.err
