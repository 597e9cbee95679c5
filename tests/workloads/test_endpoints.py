from __future__ import annotations

from pathlib import Path

import pytest

from apxm.errors import UntrustedConfigurationError, UsageError
from apxm.workloads.endpoints import SharedEndpoint, configured

BACKEND = '[backends.local]\nkind = "openai"\nmodel = "m"\nendpoint = "http://127.0.0.1:9/v1"\nsystem = "Be brief."\n'


def open_configured(name: str, config: str | None) -> SharedEndpoint:
    with configured(name, config) as endpoint:
        return endpoint


def test_a_system_text_that_only_one_of_the_programs_would_send_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(BACKEND)
    with configured("local", str(file)) as endpoint:
        assert endpoint.settings.system is None
        assert endpoint.description == "m at http://127.0.0.1:9/v1"


def test_a_simulated_backend_has_no_address_to_compare_on(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[backends.slow]\nkind = "simulated"\n')
    with pytest.raises(UsageError, match="leave --backend out"):
        open_configured("slow", str(file))


def test_a_projects_own_backend_needs_trust(empty_directory: Path) -> None:
    (empty_directory / ".apxm").mkdir()
    (empty_directory / ".apxm/config.toml").write_text(BACKEND)
    with pytest.raises(UntrustedConfigurationError):
        open_configured("local", None)


def test_each_call_is_made_once_and_limits_that_only_one_would_keep_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(BACKEND)
    assert open_configured("local", str(file)).settings.retries == 0
    file.write_text(f"{BACKEND}\nrequests_per_minute = 60\n")
    with pytest.raises(UsageError, match="limits by the minute, which LangGraph would not keep"):
        open_configured("local", str(file))
