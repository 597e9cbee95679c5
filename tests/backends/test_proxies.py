"""Which proxy stands before an endpoint, as the environment says and as curl reads it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from apxm.backends.openai import OpenAIBackend
from apxm.backends.protocol import ModelRequest
from apxm.backends.proxies import proxy_for
from apxm.backends.settings import OpenAISettings
from apxm.errors import BackendError, ConfigurationError
from tests.servers import Server, completion

PROXY, OTHER = "http://127.0.0.1:3128", "http://127.0.0.1:3129"
NAME, ADDRESS, ADDRESS_6 = "http://api.model.example/v1", "http://127.0.0.2:1/v1", "http://[::1]:1/v1"


def url_of(endpoint: str, **environment: str) -> str | None:
    proxy = proxy_for(endpoint, environment)
    return proxy and proxy.url


async def ask(endpoint: str, environment: dict[str, str]) -> str:
    backend = OpenAIBackend("local", OpenAISettings(model="m", endpoint=endpoint, api_key="k-123456"), environment)
    async with asyncio.timeout(20):
        return (await backend.call(ModelRequest("Hi"))).text


# --- which one -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_lower_case_goes_before_upper_case_and_the_scheme_before_all(scheme: str) -> None:
    order = [f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY"]
    other = "http_proxy" if scheme == "https" else "https_proxy"
    for first in range(4):
        environment = {other: OTHER, other.upper(): OTHER, order[first]: PROXY}
        environment |= dict.fromkeys(order[:first], " ") | dict.fromkeys(order[first + 1 :], OTHER)
        proxy = proxy_for(f"{scheme}://model.example/v1", environment)
        assert proxy is not None
        assert (proxy.variable, proxy.url) == (order[first], PROXY)
    assert url_of(f"{scheme}://model.example/v1", **{other: OTHER}) is None


def test_a_request_to_a_cgi_script_names_no_proxy() -> None:
    assert url_of(NAME, HTTP_PROXY=PROXY, REQUEST_METHOD="GET") is None
    assert url_of(NAME, HTTP_PROXY=OTHER, ALL_PROXY=PROXY, REQUEST_METHOD="GET") == PROXY
    assert url_of(NAME, http_proxy=PROXY, REQUEST_METHOD="GET") == PROXY


AS_CURL = [
    # endpoint, NO_PROXY, whether it is called without the proxy
    *((endpoint, "*", True) for endpoint in (NAME, ADDRESS, ADDRESS_6, "https://model.example/v1")),
    (NAME, "", False),
    (NAME, "model.example", True),
    (NAME, ".model.example", True),
    (NAME, "MODEL.Example.", True),
    (NAME, "example", True),
    (NAME, "del.example", False),
    (NAME, "v1.api.model.example", False),
    (NAME, ".", False),
    (NAME, "other.example,api.model.example", True),
    (NAME, "other.example ,\t api.model.example ,", True),
    (NAME, "other.example api.model.example", True),
    ("https://api.model.example./v1", "api.model.example", True),
    ("http://localhost:1/v1", "localhost", True),
    ("http://localhost:1/v1", "127.0.0.1", False),
    (ADDRESS, "127.0.0.2", True),
    (ADDRESS, "127.0.0.20", False),
    (ADDRESS, "0.0.2", False),
    (ADDRESS, "127.0.0.0/8", True),
    (ADDRESS, "127.0.0.9/30", False),
    (ADDRESS, "10.0.0.0/8", False),
    (ADDRESS, "::/0", False),
    ("http://127.2:1/v1", "127.0.0.2", True),
    (ADDRESS_6, "::1", True),
    (ADDRESS_6, "fe80::/10", False),
    (ADDRESS_6, "127.0.0.1", False),
]
BEYOND_CURL = [
    (ADDRESS, "a.example, *", True),
    (ADDRESS, "*:1", True),
    (ADDRESS, "*:2", False),
    (NAME, "*.model.example", True),
    ("http://model.example/v1", "*.model.example", False),
    (NAME, "api.model.example:80", True),
    (NAME, "api.model.example:8080", False),
    ("https://api.model.example./v1", "api.model.example:443", True),
    (ADDRESS, "127.0.0.2:1", True),
    (ADDRESS, "127.0.0.2:80", False),
    (ADDRESS, "127.0.0.0/99", False),
    (ADDRESS_6, "::/64", True),
    (ADDRESS_6, "[::1]", True),
    (ADDRESS_6, "[::1]:1", True),
    (ADDRESS_6, "[::1]:80", False),
    (ADDRESS_6, "0:0:0:0:0:0:0:1", True),
    (ADDRESS_6, "0.0.0.0/0", False),
]
"""Which curl does not know, or not in each of its versions."""


@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
@pytest.mark.parametrize(("endpoint", "exceptions", "direct"), AS_CURL + BEYOND_CURL)
def test_hosts_that_are_called_without_the_proxy(variable: str, endpoint: str, exceptions: str, direct: bool) -> None:
    assert (url_of(endpoint, ALL_PROXY=PROXY, **{variable: exceptions}) is None) is direct


def test_the_lower_case_list_goes_before_the_upper_case_one() -> None:
    assert url_of(NAME, ALL_PROXY=PROXY, no_proxy="other.example", NO_PROXY="*") == PROXY
    assert url_of(NAME, ALL_PROXY=PROXY, no_proxy="", NO_PROXY="*") is None


@pytest.fixture(scope="module")
def noted() -> Iterator[tuple[str, list[str]]]:
    """A proxy that notes what it is asked for."""
    targets: list[str] = []

    class Note(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            targets.append(self.rfile.readline().decode())
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Note)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", targets
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is the second opinion")
def test_curl_reads_the_exceptions_in_the_same_way(noted: tuple[str, list[str]]) -> None:
    url, targets = noted
    for endpoint, exceptions, direct in AS_CURL:
        targets.clear()
        environment = {"PATH": os.environ["PATH"], "all_proxy": url, "NO_PROXY": exceptions}
        subprocess.run(["curl", "--silent", "--max-time", "5", endpoint], env=environment, check=False)
        assert (targets == []) is direct, (endpoint, exceptions)


# --- what cannot be used -------------------------------------------------------------------------------------------

UNUSABLE = [
    "htp://me:s3cret@127.0.0.1:3128",
    "socks://127.0.0.1:3128",
    "ftp://127.0.0.1",
    "http://[::1",
    "http://",
    "http://:3128",
    "http://me:s3cret@",
    "http://127.0.0.1:s3cret",
    "http://127.0.0.1:99999",
    "http://s3cret s3cret:3128",
    "http://s3cret\x07:3128",
    "http://prôxy:3128",
    "http://s3cret%zz:3128",
    "http://me:s3c/ret@127.0.0.1:3128",
    "s3cret:me:127.0.0.1",
    "://s3cret",
]


@pytest.mark.parametrize("value", UNUSABLE)
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "all_proxy"])
def test_a_proxy_that_cannot_be_used_is_refused_by_name_before_any_call(variable: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        OpenAIBackend("x", OpenAISettings(model="m", endpoint=NAME), {variable: value})
    assert f"variable {variable} names a proxy" in caught.value.message
    assert "s3c" not in caught.value.message + str(caught.value.hint)


@pytest.mark.parametrize(
    "environment",
    [
        {"HTTP_PROXY": "htp://x", "NO_PROXY": "*"},
        {"HTTP_PROXY": "htp://x", "NO_PROXY": "model.example"},
        {"HTTPS_PROXY": "htp://x"},
        {"HTTP_PROXY": "htp://x", "http_proxy": PROXY},
        {"ALL_PROXY": "htp://x", "HTTP_PROXY": PROXY},
    ],
)
def test_a_proxy_that_is_not_used_need_not_be_usable(environment: dict[str, str]) -> None:
    OpenAIBackend("x", OpenAISettings(model="m", endpoint=NAME), environment)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("127.0.0.1:3128", PROXY),
        ("me:s3cret@127.0.0.1:3128", PROXY),
        ("HTTP://me@127.0.0.1:3128/path?s3cret", PROXY),
        ("http://[::1]:3128", "http://[::1]:3128"),
        ("https://proxy.example", "https://proxy.example"),
        *((f"{scheme}://127.0.0.1:1080",) * 2 for scheme in ("socks4", "socks4a", "socks5", "socks5h")),
    ],
)
def test_forms_of_a_proxy(value: str, shown: str) -> None:
    proxy = proxy_for(NAME, {"HTTP_PROXY": f" {value}\n"})
    assert proxy is not None
    assert proxy.shown == shown
    assert "s3cret" not in repr(proxy)


# --- calls ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_nothing_goes_to_a_proxy_that_does_not_count_for_the_endpoint(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with Server(completion("Proxy.")) as proxy, Server(completion("Direct.")) as server:
            endpoint, through = f"http://{host}:{server.port}/v1", f"http://127.0.0.1:{proxy.port}"
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
                monkeypatch.setenv(name, through)  # which the HTTP client would read
            monkeypatch.delenv("NO_PROXY")
            assert await ask(endpoint, {"HTTP_PROXY": through, "NO_PROXY": "*"}) == "Direct."
            assert await ask(endpoint, {}) == "Direct."
            assert proxy.received == []
            assert await ask(endpoint, {"HTTP_PROXY": through}) == "Proxy."
            assert len(server.received) == 2

    asyncio.run(run())


def test_a_password_reaches_the_proxy_and_no_error() -> None:
    async def run() -> None:
        async with Server(lambda request: completion(request.headers["proxy-authorization"])) as proxy:
            environment = {"HTTP_PROXY": f"http://me:s3cr%65t@127.0.0.1:{proxy.port}"}
            assert await ask(NAME, environment) == "Basic bWU6czNjcmV0"
        with pytest.raises(BackendError) as caught:
            await ask(NAME, environment)
        assert f"through http://127.0.0.1:{proxy.port}, as HTTP_PROXY says" in str(caught.value.hint)
        assert "s3cr" not in str(caught.value) + str(caught.value.hint)

    asyncio.run(run())
