from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from apxm.backends.openai import OpenAIBackend
from apxm.backends.settings import OpenAISettings
from apxm.lanes.running import TRANSPORTS
from apxm.runtime.limits import BackendPool
from tests.sdks.endpoint import Endpoint, serving

openai = pytest.importorskip("openai", reason="not installed: pip install 'apxm[openai]'")


@pytest.fixture(autouse=True)
def _no_transport_is_left() -> Generator[None]:
    """While there is one, flows are journaled that else would not be: it must not depend on the garbage collector."""
    yield
    TRANSPORTS.clear()


@pytest.fixture
def endpoint() -> Generator[Endpoint]:
    with serving() as started:
        yield started


@pytest.fixture
def client(endpoint: Endpoint) -> Generator[Any]:
    from apxm.openai import OpenAI

    with OpenAI(base_url=endpoint.url, api_key="sk-of-the-test", max_retries=1) as made:
        yield made


@pytest.fixture
def told(endpoint: Endpoint, tmp_path: Path) -> dict[str, Any]:
    """What the runs of a test are told: a backend that is the endpoint, which is not asked twice."""
    return configured(endpoint, tmp_path)


def configured(endpoint: Endpoint, folder: Path, **settings: Any) -> dict[str, Any]:
    made = OpenAISettings(model="m", endpoint=endpoint.url, **{"retries": 0, **settings})
    backend = OpenAIBackend("mine", made, {})
    return {"backends": BackendPool({"mine": backend}, "mine"), "journal_dir": folder}
