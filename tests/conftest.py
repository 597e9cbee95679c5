"""What holds for all tests: no network but loopback, and nothing of the developer's own configuration."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LOOPBACK = ("127.", "::1", "localhost")
NOWHERE = "http://127.0.0.1:9"
SOAK_S = 900
OURS = ("APXM_TRUST", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "REQUEST_METHOD", "SSL_CERT_DIR", "SSL_CERT_FILE")


def _refuse_network(event: str, arguments: tuple[object, ...]) -> None:
    if event != "socket.connect":
        return
    address = arguments[1]
    if isinstance(address, tuple) and not str(address[0]).startswith(LOOPBACK):
        raise RuntimeError(f"tests use no network but loopback, and this one connects to {address[0]}")


sys.addaudithook(_refuse_network)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.timeout(SOAK_S))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says loudly what could not be checked here."""
    reasons = {str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", ())}
    for reason in sorted(reason for reason in reasons if "NOT CHECKED" in reason):
        terminalreporter.write_line(reason.removeprefix("Skipped: "), yellow=True, bold=True)


@pytest.fixture(scope="session", autouse=True)
def _signals_as_in_the_foreground() -> Iterator[None]:
    """A shell in the background ignores SIGINT, and nohup SIGHUP, which every process that a test starts would inherit;
    what has a handler here is at its default there."""
    handlers = {signal.SIGINT: signal.default_int_handler}
    if sys.platform != "win32":
        handlers[signal.SIGHUP] = lambda *_: None  # these tests still outlive the terminal
    before = {number: handler for number in handlers if (handler := signal.getsignal(number)) == signal.SIG_IGN}
    for number in before:
        signal.signal(number, handlers[number])
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The HTTP client is not Python's and no hook sees it, so all it would send elsewhere goes to a dead proxy."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("OPENAI_") or name.upper().endswith("_PROXY") or name in OURS:
                patch.delenv(name)
        patch.setenv("ALL_PROXY", NOWHERE)
        patch.setenv("NO_PROXY", "127.0.0.1,localhost,::1")
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
            patch.setenv(name, str(home / name))
        yield


@pytest.fixture
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the test, with no configuration in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
