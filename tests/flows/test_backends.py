"""The backends that calls name, where a simulated one stands in for all."""

from __future__ import annotations

from pathlib import Path

import pytest

from apxm.errors import ConfigurationError
from apxm.flows.asking import ask
from apxm.flows.flow import Flow, flow

LOCAL = """
[backends.local]
kind = "openai"
model = "m"
endpoint = "http://127.0.0.1:9/v1"
"""


@flow
def main(backend: str) -> str:
    return ask("x", backend=backend)


def simulated(config: Path | None = None) -> Flow[[str], str]:
    told = {} if config is None else {"config": config}
    return main.using(backend="simulated", latency="constant:1", journal=False, **told)


def test_a_backend_of_a_wrong_name_is_an_error_on_a_simulated_one_too(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(LOCAL)
    assert simulated(config)("local")
    with pytest.raises(ConfigurationError, match="'nope', which is not configured") as raised:
        simulated(config)("nope")
    assert raised.value.hint == "configured: local, simulated"


def test_where_nothing_is_configured_the_one_that_stands_in_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    assert simulated()("nope")
    assert "backend 'nope' is configured nowhere; backend simulated answers for it" in caplog.messages
