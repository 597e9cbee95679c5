from __future__ import annotations

import os
from pathlib import Path

import pytest

from apxm.errors import UntrustedConfigurationError, UsageError
from apxm.workloads.endpoints import configured, simulated

BACKEND = '[backends.local]\nkind = "openai"\nmodel = "m"\nendpoint = "http://127.0.0.1:9/v1"\nsystem = "Be brief."\n'


@pytest.mark.parametrize("before", [None, "example.org"])
def test_no_proxy_stands_before_the_simulator_and_the_environment_is_put_back(
    before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        if before is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, before)
    with simulated("constant:1", "none", 3) as endpoint:
        assert endpoint.seed == 3
        for name in ("NO_PROXY", "no_proxy"):
            assert os.environ[name] == ("127.0.0.1" if before is None else f"{before},127.0.0.1")
        endpoint.begin_iteration(1)
    assert [os.environ.get(name) for name in ("NO_PROXY", "no_proxy")] == [before, before]


def test_a_system_text_that_only_one_of_the_programs_would_send_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(BACKEND)
    endpoint = configured("local", str(file))
    assert endpoint.settings.system is None
    assert endpoint.description == "m at http://127.0.0.1:9/v1"


def test_a_simulated_backend_has_no_address_to_compare_on(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[backends.slow]\nkind = "simulated"\n')
    with pytest.raises(UsageError, match="leave --backend out"):
        configured("slow", str(file))


def test_a_projects_own_backend_needs_trust(empty_directory: Path) -> None:
    (empty_directory / ".apxm").mkdir()
    (empty_directory / ".apxm/config.toml").write_text(BACKEND)
    with pytest.raises(UntrustedConfigurationError):
        configured("local", None)


def test_each_call_is_made_once_and_limits_that_only_one_would_keep_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(BACKEND)
    assert configured("local", str(file)).settings.retries == 0
    file.write_text(f"{BACKEND}\nrequests_per_minute = 60\n")
    with pytest.raises(UsageError, match="limits by the minute, which LangGraph would not keep"):
        configured("local", str(file))
