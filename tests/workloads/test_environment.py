"""Nothing of a user's environment makes a comparison send anything but to the endpoint, or breaks it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from apxm.errors import ConfigurationError
from apxm.workloads.environment import bare_environment
from apxm.workloads.langgraph_system import missing_packages

with_langgraph = pytest.mark.skipif(bool(missing_packages()), reason="needs the extra `bench`")


@contextmanager
def recording(body: bytes) -> Generator[tuple[str, list[str]]]:
    """An HTTP server that answers everything alike, with what it got: request lines, headers and bodies."""
    received: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length", 0)))
            received.append(f"{self.requestline}\n{self.headers}\n{content.decode(errors='replace')}")
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_PATCH = do_CONNECT = do_POST  # noqa: N815

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def hostile(elsewhere: str) -> dict[str, str]:
    """What would have libraries call `elsewhere`, send more than they should, or fail."""
    senders = {
        "LANGSMITH_ENDPOINT", "LANGCHAIN_ENDPOINT", "LANGSMITH_RUNS_ENDPOINTS", "OPENAI_BASE_URL", "OPENAI_API_BASE",
        "OPENAI_PROXY", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "HELICONE_BASE_URL",
        "LANGFUSE_HOST", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy",
    }  # fmt: skip
    switches = {
        "LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING", "LANGCHAIN_TRACING_V2",
        "LANGSMITH_OTEL_ENABLED",
    }  # fmt: skip
    return {
        **dict.fromkeys(senders, elsewhere),
        **dict.fromkeys(switches, "true"),
        "LANGSMITH_API_KEY": "ls-key",
        "OPENAI_ORG_ID": "org-of-somebody",
        "OPENAI_PROJECT_ID": "project-of-somebody",
        "OPENAI_LOG": "debug",
        "LANGGRAPH_DEFAULT_RECURSION_LIMIT": "no number",
        "LANGCHAIN_VERBOSE": "true",
        "SSL_CERT_FILE": "/nonexistent/authorities.pem",
        "SSLKEYLOGFILE": "/nonexistent/keys",
        "PYTHONASYNCIODEBUG": "1",
    }


def run_workload(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "apxm",
        "workloads",
        "run",
        "4",
        "--n",
        "1,2",
        "--iterations",
        "2",
        "--warmup",
        "0",
    ]
    plain = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
    return subprocess.run(
        [*command, "--quiet", "--json", *arguments],
        env={**plain, **environment}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@with_langgraph
def test_with_the_simulator_nothing_leaves_this_machine() -> None:
    with recording(b"{}") as (elsewhere, received):
        ended = run_workload("--latency", "constant:20", **hostile(elsewhere))
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["results"][0]["langgraph"]["llm_calls"] == 1
    assert ended.stderr == ""
    assert received == []


@with_langgraph
def test_a_configured_endpoint_gets_what_its_settings_say_and_nobody_else_gets_anything(tmp_path: Path) -> None:
    answer = {"model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}}]}
    config = tmp_path / "c.toml"
    with recording(b"{}") as (elsewhere, leaked), recording(json.dumps(answer).encode()) as (url, received):
        config.write_text(
            f'[backends.s]\nkind = "openai"\nmodel = "m"\nendpoint = "{url}/v1"\napi_key = "env:MY_KEY"\n'
        )
        environment = hostile(elsewhere) | {"MY_KEY": "sk-mine-0123", "NO_PROXY": "127.0.0.1"}
        ended = run_workload("--backend", "s", "--yes", "--langgraph-only", "--config", str(config), **environment)
    assert ended.returncode == 0, ended.stderr
    assert leaked == []
    assert received
    assert all("Bearer sk-mine-0123" in request for request in received)
    assert not [request for request in received if "of-somebody" in request]


@with_langgraph
def test_both_systems_go_through_the_proxy_that_the_environment_names(tmp_path: Path) -> None:
    answer = {"model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}}]}
    config = tmp_path / "c.toml"
    config.write_text('[backends.s]\nkind = "openai"\nmodel = "m"\nendpoint = "http://model.example/v1"\n')
    with recording(json.dumps(answer).encode()) as (url, received):
        proxy = url.replace("//", "//me:s3cret@")
        ended = run_workload("--backend", "s", "--yes", "--config", str(config), HTTP_PROXY=proxy)
    assert ended.returncode == 0, ended.stderr
    ours = [request for request in received if "user-agent: apxm" in request.lower()]
    assert 0 < len(ours) < len(received)
    for request in received:
        assert request.startswith("POST http://model.example/v1/chat/completions")
        assert "Proxy-Authorization: Basic bWU6czNjcmV0".lower() in request.lower()


@with_langgraph
def test_workloads_can_be_checked_whatever_the_environment_says() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "apxm", "workloads", "check"],
        env={**os.environ, **hostile("http://127.0.0.1:1")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr


# --- the environment itself ----------------------------------------------------------------------------------------


def test_little_is_left_for_a_while_and_then_all_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in hostile("http://127.0.0.1:1").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    before = dict(os.environ)
    with bare_environment():
        assert os.environ["PATH"] == before["PATH"]
        assert os.environ["LC_ALL"] == "C.UTF-8"
        assert not os.environ.keys() & hostile("").keys()
    assert dict(os.environ) == before


def test_the_way_to_the_endpoint_is_that_of_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    given = {"HTTPS_PROXY": "me:pw@127.0.0.1:1", "NO_PROXY": "direct.example", "REQUESTS_CA_BUNDLE": str(file)}
    with bare_environment("https://model.example/v1", given):
        assert os.environ["https_proxy"] == "http://me:pw@127.0.0.1:1"
        assert Path(os.environ["SSL_CERT_FILE"]).read_bytes() == file.read_bytes()
        assert "NO_PROXY" not in os.environ
        kept = Path(os.environ["SSL_CERT_FILE"])
    assert not kept.exists()
    with bare_environment("https://direct.example/v1", given):
        assert "https_proxy" not in os.environ
        assert os.environ["NO_PROXY"] == "*"
    with bare_environment("http://model.example/v1", {"SSL_CERT_FILE": "/nonexistent"}):
        assert "SSL_CERT_FILE" not in os.environ
    with pytest.raises(ConfigurationError, match="all_proxy"), bare_environment("http://h/v1", {"all_proxy": "x://y"}):
        pass
