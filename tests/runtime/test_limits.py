"""Slots of backends."""

from __future__ import annotations

import subprocess
import sys

import pytest

from apxm.backends.openai import OpenAIBackend
from apxm.backends.settings import OpenAISettings
from apxm.runtime import limits
from apxm.runtime.limits import BackendPool
from apxm.testing import ScriptedBackend


def pool(max_concurrency: int | None) -> BackendPool:
    settings = OpenAISettings(model="tiny", endpoint="http://127.0.0.1:9/v1", max_concurrency=max_concurrency)
    return BackendPool({"real": OpenAIBackend("real", settings, {}), "scripted": ScriptedBackend()}, "real")


@pytest.mark.parametrize(
    ("own", "files", "limit"), [(None, None, None), (None, 200, 200), (64, 200, 64), (640, 200, 200), (64, None, 64)]
)
def test_no_more_calls_are_in_flight_than_files_can_be_opened(
    monkeypatch: pytest.MonkeyPatch, own: int | None, files: int | None, limit: int | None
) -> None:
    monkeypatch.setattr(limits, "most_connections", lambda: files)
    made = pool(own)
    assert made.gates["real"].limit == limit
    assert made.gates["scripted"].limit is None, "a simulated call opens none"


SCARCE = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 256))
from apxm.runtime.open_files import most_connections
print(most_connections(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_the_limit_is_raised_first_and_some_files_are_spared() -> None:
    ended = subprocess.run([sys.executable, "-c", SCARCE], capture_output=True, text=True, check=True)
    most, soft = map(int, ended.stdout.split())
    assert soft == 256
    assert 200 <= most <= 256 - 32
