"""`apxm backends`, `apxm trust`, `apxm doctor`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Apxm

LOCAL = """\
default_backend = "local"
[backends.local]
kind = "openai"
model = "qwen3-8b"
endpoint = "http://127.0.0.1:1/v1"
api_key = "env:LOCAL_KEY"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The configuration that came with a project."""
    path = tmp_path / ".apxm/config.toml"
    path.parent.mkdir()
    path.write_text(LOCAL)
    return path


def test_without_configuration_the_simulated_backend_is_the_only_one(apxm: Apxm) -> None:
    (backend,) = json.loads(apxm("backends", "--json").out)
    assert (backend["name"], backend["simulated"], backend["default"]) == ("simulated", True, True)
    assert apxm("backends").out.startswith("*  simulated")


def test_a_backend_is_asked_for_an_answer(apxm: Apxm) -> None:
    ended = apxm("backends", "test", "simulated", "--prompt", "Say hello.")
    assert ended.status == 0
    assert ended.out.startswith("Simulated answer ")
    assert ended.out.endswith(": Say hello.\n")
    assert "1 LLM call" in ended.err


def test_the_answer_is_short_waited_for_half_a_minute_and_may_be_empty(apxm: Apxm, tmp_path: Path) -> None:
    """A base model rambles, and some say nothing."""
    config = tmp_path / "c.toml"
    config.write_text("""[backends.dry]
kind = "simulated"
latency = "constant:0"
[[backends.dry.answers]]
match = "silence"
answer = " "
""")
    long = "word " * 100
    cut = apxm("backends", "test", "dry", "--config", "c.toml", "--prompt", long, "--max-tokens", "5")
    assert (cut.status, len(cut.out)) == (0, 5 * 4 + 1)
    silent = apxm("backends", "test", "dry", "--config", "c.toml", "--prompt", "silence")
    assert (silent.status, silent.out) == (0, "(the answer is empty)\n")
    config.write_text('[backends.dry]\nkind = "simulated"\nfaults = "hang:1"\n')
    hung = apxm("backends", "test", "dry", "--config", "c.toml", "--timeout", "1")
    assert (hung.status, "no answer from backend 'dry' within 1 s" in hung.err) == (1, True)


def test_an_unknown_backend_is_bad_usage(apxm: Apxm) -> None:
    ended = apxm("backends", "test", "simulate")
    assert (ended.status, ended.out) == (2, "")
    assert "did you mean simulated?" in ended.err


def test_a_backend_that_does_not_answer_fails_and_names_endpoint_not_key(
    apxm: Apxm, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_KEY", "the-secret")
    ended = apxm("backends", "test", "local", "--config", str(project))
    assert ended.status == 1
    assert "http://127.0.0.1:1" in ended.err
    assert "the-secret" not in ended.err


def test_a_projects_own_backend_is_used_only_after_trust_which_another_endpoint_ends(apxm: Apxm, project: Path) -> None:
    (project.parent.parent / "f.ais").write_text('agent A { flow f() -> str { return "x" } }')
    refused = apxm("execute", "f.ais")
    assert refused.status == 2
    assert "apxm trust" in refused.err
    assert "not trusted" in apxm("backends").out

    trusted = apxm("trust")
    assert trusted.status == 0
    assert str(project) in trusted.out
    assert "qwen3-8b at http://127.0.0.1:1/v1" in trusted.out
    assert "not trusted" not in apxm("backends").out

    project.write_text(LOCAL.replace("qwen3-8b", "qwen3-32b") + "# changed\n")
    assert "not trusted" not in apxm("backends").out
    project.write_text(LOCAL.replace(":1/v1", ":2/v1"))
    assert "not trusted" in apxm("backends").out
    assert f"run `apxm trust {project}`" in apxm("execute", "f.ais").err


def test_trust_without_anything_to_trust_says_so(apxm: Apxm) -> None:
    ended = apxm("trust")
    assert (ended.status, ended.out) == (2, "")
    assert "nothing to trust" in ended.err


def test_doctor_shows_what_it_finds_and_never_a_key(apxm: Apxm, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_KEY", "the-secret")
    shown = apxm("doctor").out
    rows = {line.split("  ")[0]: line for line in shown.splitlines()}
    assert {"apxm", "python", "libraries", "event loop", "open files", "configuration"} <= set(rows)
    assert f"{project} (not trusted" in rows["configuration"]
    assert "key set" in shown
    assert "the-secret" not in shown


def test_doctor_as_json_has_the_same_without_any_key(
    apxm: Apxm, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_KEY", "the-secret")
    ended = apxm("doctor", "--json")
    assert (ended.status, ended.err) == (0, "")
    assert "the-secret" not in ended.out
    found = json.loads(ended.out)
    assert list(found) == [
        "apxm", "python", "libraries", "event_loop", "open_files", "journals", "configuration", "backends", "tools",
        "running", "error",
    ]  # fmt: skip
    assert found["configuration"] == {"path": str(project), "scope": "project", "trusted": False}
    listed = json.loads(apxm("backends", "list", "--json").out)
    assert listed == json.loads(apxm("backends", "--json").out)
    assert [
        {k: v for k, v in each.items() if k not in ("limits", "concurrency_is_found")} for each in found["backends"]
    ] == listed
    assert found["backends"][0]["limits"]["retries"] == 6
    assert [each["concurrency_is_found"] for each in found["backends"]] == [
        each["kind"] == "openai" for each in found["backends"]
    ]
    assert (found["error"], found["libraries"]["typer"][:1]) == (None, "0")


def test_doctor_as_json_is_whole_where_the_configuration_is_broken(apxm: Apxm, project: Path) -> None:
    project.write_text("default_backend = [")
    ended = apxm("doctor", "--json")
    found = json.loads(ended.out)
    assert ended.status == 2
    assert found["backends"] is None
    assert "config.toml" in found["error"]["where"]
    assert "config.toml" in ended.err


def test_backends_are_listed_by_name_of_the_command_too(apxm: Apxm) -> None:
    assert apxm("backends", "list") == apxm("backends")
    assert json.loads(apxm("backends", "test", "simulated", "--json").out)["status"] == "succeeded"


@pytest.mark.usefixtures("project")
def test_doctor_shows_through_which_proxy_an_endpoint_is_called(apxm: Apxm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("HTTP_PROXY", "http://me:the-secret@proxy.example:3128")
    shown = apxm("doctor").out
    assert "through http://proxy.example:3128, as HTTP_PROXY says" in shown
    assert "the-secret" not in shown
    monkeypatch.setenv("HTTP_PROXY", "htp://the-secret")
    ended = apxm("doctor")
    assert ended.status == 0
    assert "HTTP_PROXY names a proxy that cannot be used" in ended.out
    assert "the-secret" not in ended.out
    monkeypatch.setenv("NO_PROXY", "*")
    assert [line.split() for line in apxm("doctor").out.partition("proxies:\n")[2].splitlines()] == [["local", "none"]]


def test_doctor_still_shows_the_rest_when_the_configuration_is_broken(apxm: Apxm, project: Path) -> None:
    project.write_text("default_backend = [")
    ended = apxm("doctor")
    assert ended.status == 2
    assert "python" in ended.out
    assert "config.toml" in ended.err
