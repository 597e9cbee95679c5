"""Certificates and proxies of the environment."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import trustme

from apxm.backends.openai import OpenAIBackend
from apxm.backends.protocol import ModelRequest
from apxm.backends.settings import OpenAISettings
from apxm.backends.transport import let_go, read_certificates
from apxm.errors import BackendError, ConfigurationError
from tests.servers import Reply, Server, completion

PATIENCE_S = 20


async def ask(endpoint: str, **settings: Any) -> str:
    backend = OpenAIBackend("local", OpenAISettings(model="tiny", endpoint=endpoint, **settings), os.environ)
    try:
        async with asyncio.timeout(PATIENCE_S):
            return (await backend.call(ModelRequest("Hi"))).text
    finally:
        await backend.close()


# --- certificates --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def over_tls(authority: trustme.CA) -> str:
    async def run() -> str:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        async with Server(completion("Secure."), tls=context) as server:
            return await ask(server.endpoint)

    return asyncio.run(run())


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_private_authority_is_trusted_where_a_variable_names_it(
    variable: str, authority: trustme.CA, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(ca_file))
    assert over_tls(authority) == "Secure."


def test_a_directory_of_authorities(
    authority: trustme.CA, ca_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "README").write_text("not a certificate")
    monkeypatch.setenv("SSL_CERT_DIR", f"{ca_file.parent}{os.pathsep}{tmp_path}")
    assert over_tls(authority) == "Secure."


def test_a_private_authority_that_nobody_named_is_refused(authority: trustme.CA) -> None:
    with pytest.raises(BackendError, match="certificate") as caught:
        over_tls(authority)
    assert caught.value.kind == "unreachable"
    assert "SSL_CERT_FILE" in (caught.value.hint or "")


def test_naming_one_authority_replaces_the_others(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    with pytest.raises(BackendError, match="certificate"):
        over_tls(authority)


def test_the_file_of_ssl_goes_before_those_of_other_tools(tmp_path: Path, ca_file: Path) -> None:
    environment = {"SSL_CERT_FILE": str(ca_file), "REQUESTS_CA_BUNDLE": str(tmp_path / "missing")}
    assert read_certificates(environment) == ca_file.read_bytes()


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_file_without_a_certificate_is_a_configuration_error(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE names"):
        read_certificates({"SSL_CERT_FILE": str(path)})


def test_a_damaged_certificate_is_a_configuration_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(ConfigurationError, match="cannot be set up"):
        OpenAIBackend("x", OpenAISettings(model="m", endpoint="https://h"), os.environ)


# --- proxies -------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_exceptions(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("ALL_PROXY")
    return monkeypatch


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_calls_go_through_the_proxy_that_the_environment_names(
    variable: str, no_exceptions: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with Server(completion("Through the proxy.")) as proxy:
            no_exceptions.setenv(variable, f"http://127.0.0.1:{proxy.port}")
            assert await ask("http://model.example/v1") == "Through the proxy."
            assert proxy.received[0].target == "http://model.example/v1/chat/completions"

    asyncio.run(run())


def test_hosts_of_no_proxy_are_called_directly(no_exceptions: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with Server(completion("Proxy.")) as proxy, Server(completion("Direct.")) as server:
            no_exceptions.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
            no_exceptions.setenv("NO_PROXY", "127.0.0.1")
            assert await ask(server.endpoint) == "Direct."
            assert proxy.received == []

    asyncio.run(run())


def test_tls_goes_through_a_tunnel_that_never_sees_the_key(no_exceptions: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with Server(Reply(b"no tunnels here", 502)) as proxy:
            no_exceptions.setenv("HTTPS_PROXY", f"http://me:s3cret@127.0.0.1:{proxy.port}")
            with pytest.raises(BackendError) as caught:
                await ask("https://model.example/v1", api_key="k-123")
            (request,) = proxy.received
            assert (request.method, request.target) == ("CONNECT", "model.example:443")
            assert request.headers["proxy-authorization"] == "Basic bWU6czNjcmV0"
            assert "k-123" not in str(request.headers)
            assert "s3cret" not in str(caught.value)

    asyncio.run(run())


# --- the end of the process ----------------------------------------------------------------------------------------


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says what a thread does")
def test_a_thread_that_has_something_left_to_do_is_waited_for_before_the_process_ends() -> None:
    given_back: list[bytes] = []

    def work() -> None:  # some 50 ms without the interpreter, as the client's threads work, and then a moment with it
        given_back.append(hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000))

    thread = threading.Thread(target=work)
    thread.start()
    let_go()
    assert given_back
    thread.join()
