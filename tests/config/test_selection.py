"""Which backend answers, what the command line changes, and what the user is told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from apxm.backends.protocol import AnyBackend, ModelRequest
from apxm.config.inventory import Inventory
from apxm.config.selection import Selection, resolve
from apxm.errors import BackendError, ConfigurationError, UsageError
from tests.servers import Server, completion

LOCAL = (
    '[backends.local]\nkind = "openai"\nmodel = "m"\nendpoint = "http://127.0.0.1:9/v1"\napi_key = "env:LOCAL_KEY"\n'
)
FAKE = '[backends.fake]\nkind = "simulated"\nlatency = "constant:5"\n'


pytestmark = pytest.mark.usefixtures("empty_directory")


@pytest.fixture(autouse=True)
def _own_user_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.toml"


def select(file: Path, text: str, **options: Any) -> Any:
    file.write_text(text)
    return resolve(Selection(file=file, **options))


def default(resolved: Any) -> AnyBackend:
    return resolved.backends[resolved.default]


# --- without a file ------------------------------------------------------------------------------------------------


def test_with_nothing_configured_the_simulation_answers_and_says_how_to_set_a_model() -> None:
    resolved = resolve(Selection())
    assert resolved.default == "simulated"
    assert resolved.notice.startswith("model: simulated, no real model: latency constant:1000")
    assert "OPENAI_API_KEY" in resolved.notice
    assert resolved.warnings == ()


def test_a_key_in_the_environment_is_enough_and_the_default_model_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-HIDDEN")
    resolved = resolve(Selection())
    assert resolved.notice == (
        "model: gpt-4o-mini at https://api.openai.com/v1 "
        "(backend openai: OPENAI_API_KEY is set; OPENAI_MODEL chooses another model)"
    )
    assert set(resolved.backends) == {"simulated", "openai"}


def test_the_environment_names_endpoint_and_model(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with Server(completion("Local.")) as server:
            monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
            monkeypatch.setenv("OPENAI_BASE_URL", server.endpoint)
            monkeypatch.setenv("OPENAI_MODEL", "tiny")
            backend: Any = default(resolve(Selection()))
            assert (await backend.call(ModelRequest("Hi", max_tokens=5))).text == "Local."
            await backend.close()
            (request,) = server.received
            assert (request.json["model"], request.json["max_tokens"]) == ("tiny", 5)
            assert request.headers["authorization"] == "Bearer sk-1"

    asyncio.run(run())


def test_an_endpoint_without_a_key_draws_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    resolved = resolve(Selection())
    assert resolved.default == "simulated"
    assert resolved.warnings == ("OPENAI_BASE_URL is set and OPENAI_API_KEY is not, so it is not used",)


def test_a_bad_endpoint_of_the_environment_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("OPENAI_BASE_URL", "localhost:8000")
    with pytest.raises(ConfigurationError, match="OPENAI_BASE_URL: a URL that starts with http://"):
        resolve(Selection())


# --- the default ---------------------------------------------------------------------------------------------------


def test_the_only_backend_is_the_default(file: Path) -> None:
    assert select(file, FAKE).default == "fake"


def test_of_several_one_must_be_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_KEY", "k")
    assert select(file, 'default_backend = "local"\n' + LOCAL + FAKE).default == "local"
    assert select(file, LOCAL + FAKE, backend="fake").default == "fake"
    with pytest.raises(ConfigurationError, match=r"several backends are configured \(local, fake\)"):
        select(file, LOCAL + FAKE)


def test_a_default_that_is_not_there_is_an_error_with_its_line(file: Path) -> None:
    with pytest.raises(ConfigurationError, match="default_backend: there is no backend 'fak'") as caught:
        select(file, 'default_backend = "fak"\n' + FAKE)
    assert (caught.value.where, caught.value.hint) == (f"{file}:1", "did you mean fake?")


def test_a_file_without_backends_leaves_it_to_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert select(file, "").default == "simulated"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    assert select(file, "").default == "openai"


def test_the_default_needs_its_key_before_anything_runs(file: Path) -> None:
    with pytest.raises(ConfigurationError, match="environment variable LOCAL_KEY, which is not set") as caught:
        select(file, LOCAL)
    assert caught.value.where == f"{file}:1"


def test_another_backend_needs_its_key_only_when_it_is_called(file: Path) -> None:
    backend = select(file, 'default_backend = "fake"\n' + FAKE + LOCAL).backends["local"]
    assert backend.info.description == "m at http://127.0.0.1:9/v1"
    with pytest.raises(BackendError, match="LOCAL_KEY, which is not set"):
        asyncio.run(backend.call(ModelRequest("Hi")))


def test_a_written_out_key_is_warned_of(file: Path) -> None:
    resolved = select(file, LOCAL.replace("env:LOCAL_KEY", "HIDDEN"))
    assert resolved.warnings == (
        f"{file}:5: backends.local.api_key holds a key itself; env:NAME keeps it out of files",
    )
    assert "HIDDEN" not in str(resolved)


# --- options -------------------------------------------------------------------------------------------------------


def test_the_simulation_is_always_there_needs_no_key_and_stands_for_all(file: Path) -> None:
    resolved = select(file, LOCAL + FAKE, backend="simulated", latency="constant:1")
    assert set(map(id, resolved.backends.values())) == {id(resolved.backends["simulated"])}
    assert "in place of every other backend" in resolved.notice


def test_another_simulation_that_was_asked_for_stands_for_all_too(file: Path) -> None:
    resolved = select(file, LOCAL + FAKE + FAKE.replace("fake", "other"), backend="fake")
    assert set(resolved.backends) == {"simulated", "local", "fake", "other"}
    assert {backend.info.name for backend in resolved.backends.values()} == {"fake"}
    assert "in place of every other backend" in resolved.notice


def test_a_simulation_that_was_asked_for_answers_for_names_that_nobody_configured(file: Path) -> None:
    pool = select(file, LOCAL, backend="simulated").pool()
    assert pool.get("paid") == pool.get(None)
    with pytest.raises(ConfigurationError, match="'paid', which is not configured"):
        select(file, FAKE).pool().get("paid")


def test_where_there_is_no_other_backend_none_is_spoken_of() -> None:
    assert "in place of" not in resolve(Selection(backend="simulated")).notice


@pytest.mark.parametrize(
    ("text", "backend", "advice"),
    [
        (None, None, "set OPENAI_API_KEY, or run `apxm init`"),
        (FAKE, None, "add one to {file}"),
        (LOCAL + FAKE, "simulated", "choose backend local"),
        ('default_backend = "fake"\n' + LOCAL + FAKE, None, "choose backend local"),
    ],
)
def test_the_first_line_says_what_would_bring_a_real_model(
    file: Path, text: str | None, backend: str | None, advice: str
) -> None:
    resolved = resolve(Selection(backend=backend)) if text is None else select(file, text, backend=backend)
    assert resolved.notice.endswith(f"; for a real one {advice.format(file=file)}")


@pytest.mark.parametrize(("text", "real"), [("", "openai"), (FAKE, "openai"), (FAKE + LOCAL, "openai or local")])
def test_no_key_is_asked_for_that_is_set(file: Path, monkeypatch: pytest.MonkeyPatch, text: str, real: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    resolved = select(file, text, backend="simulated")
    assert resolved.notice.endswith(f"; for a real one choose backend {real}")


def test_a_simulation_that_is_only_the_default_leaves_the_others_as_they_are(file: Path) -> None:
    resolved = select(file, 'default_backend = "fake"\n' + FAKE + LOCAL)
    assert not resolved.backends["local"].info.simulated


def test_options_change_the_default_backend_and_no_other(file: Path) -> None:
    more = FAKE.replace("fake", "other")
    options = {"latency": "constant:7", "slowdown": "usl:0.1,0", "faults": "429:@1", "seed": 3, "model": "n"}
    resolved = select(file, 'default_backend = "fake"\n' + FAKE + more, **options)
    changed = "n, no real model: latency constant:7, slowdown usl:0.1,0, seed 3, faults 429:@1"
    assert resolved.backends["fake"].info.description == changed
    assert "latency constant:5, slowdown none, seed 0" in resolved.backends["other"].info.description


def test_faults_that_are_configured_are_met_and_can_be_taken_away(file: Path) -> None:
    failing = FAKE.rstrip() + '\nfaults = "hang:@1"\n'
    assert default(select(file, failing)).info.description.endswith("seed 0, faults hang:@1")
    assert "faults" not in default(select(file, failing, faults="none")).info.description


def test_a_model_can_be_chosen_for_a_real_backend(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_KEY", "k")
    assert default(select(file, LOCAL, model="n")).info.model == "n"


@pytest.mark.parametrize("option", [{"latency": "constant:1"}, {"slowdown": "none"}, {"faults": "none"}, {"seed": 0}])
def test_options_of_the_simulation_are_refused_for_anything_else(file: Path, option: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"--{next(iter(option))} is for a simulated backend, and local is not one"):
        select(file, LOCAL, **option)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"latency": "x"}, "latency 'x'"),
        ({"slowdown": "x"}, "slowdown 'x'"),
        ({"faults": "x"}, "faults 'x'"),
        ({"model": " "}, "--model is empty"),
        ({"backend": "fak"}, "there is no backend 'fak'"),
    ],
)
def test_an_option_that_makes_no_sense_is_bad_usage(file: Path, options: dict[str, Any], found: str) -> None:
    with pytest.raises(UsageError, match=found):
        select(file, FAKE, **options)


def test_asking_for_openai_without_a_key_says_what_is_missing() -> None:
    with pytest.raises(UsageError) as caught:
        resolve(Selection(backend="openai"))
    assert "OPENAI_API_KEY" in (caught.value.hint or "")


# --- lists ---------------------------------------------------------------------------------------------------------


def test_a_list_says_where_each_comes_from_and_whether_its_key_is_there(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-HIDDEN")
    file.write_text(LOCAL + FAKE)

    inventory = Inventory(file)
    assert [(known.info.name, known.origin, known.key) for known in inventory.backends.values()] == [
        ("simulated", "built in", "none"),
        ("openai", "OPENAI_API_KEY is set; OPENAI_MODEL chooses another model", "set"),
        ("local", f"{file}:1", "missing"),
        ("fake", f"{file}:6", "none"),
    ]
    assert inventory.chosen is None  # two are configured, and neither is the default
    assert "HIDDEN" not in repr(inventory.backends)


def test_control_characters_of_a_file_do_not_reach_the_terminal(file: Path) -> None:
    notice = select(file, FAKE + 'model = "\\u001b[2J"').notice
    assert "\\x1b[2J" in notice
