"""Endpoint URLs: what is sent to, what is shown, what is refused."""

from __future__ import annotations

import pytest

from apxm.backends.endpoint import parse_endpoint, shown_origin
from apxm.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "shown", "chat_url"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1/chat/completions"),
        ("https://host/v1/", "https://host/v1", "https://host/v1/chat/completions"),
        ("http://[::1]:80", "http://[::1]:80", "http://[::1]:80/chat/completions"),
        ("HTTPS://Host/V1", "https://host/V1", "https://host/V1/chat/completions"),
        ("https://h/d?api-version=1", "https://h/d", "https://h/d/chat/completions?api-version=1"),
        ("https://u:p%40ss@h/v1", "https://h/v1", "https://h/v1/chat/completions"),
    ],
)
def test_calls_go_below_the_path_and_only_harmless_parts_are_shown(url: str, shown: str, chat_url: str) -> None:
    endpoint = parse_endpoint(url)
    assert (endpoint.shown, endpoint.chat_url) == (shown, chat_url)
    assert repr(endpoint) == f"Endpoint({shown!r})"


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("[::1]", True),
        ("0.0.0.0", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("llm.localhost", True),
        ("10.0.0.1", False),
        ("localhost.example.org", False),
        ("notlocalhost", False),
    ],
)
def test_what_is_on_this_machine_is_known_by_its_host(host: str, local: bool) -> None:
    assert parse_endpoint(f"http://{host}:8000/v1").local is local


def test_user_and_password_become_a_header_and_are_secrets() -> None:
    endpoint = parse_endpoint("https://user:p%40ss@h/v1?key=s3cret")
    assert endpoint.authorization == "Basic dXNlcjpwQHNz"
    assert {"p@ss", "p%40ss", "s3cret"} <= set(endpoint.keys)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("localhost:8000/v1", "starts with http://"),
        ("ftp://HIDDEN@h/v1", "found ftp:"),
        ("file:///etc/passwd", "found file:"),
        ("http:///v1", "names no host"),
        ("http://h:port/v1", "not a URL"),
        ("http://[::/v1", "not a URL"),
        ("http://h/v1#HIDDEN", "after #"),
        ("http://h/HIDDEN v1", "space"),
        ("http://h/v1\r\nX: HIDDEN", "control character"),
        ("http://hé/v1", "not ASCII"),
    ],
)
def test_what_is_refused_is_said_without_repeating_the_url(url: str, found: str) -> None:
    with pytest.raises(ConfigurationError, match=r"backends\.x\.endpoint") as caught:
        parse_endpoint(url, setting="backends.x.endpoint", where="config.toml:3")
    assert found in caught.value.message
    assert "HIDDEN" not in str(caught.value)
    assert caught.value.where == "config.toml:3"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@evil.example/x?y=z", "https://evil.example"),
        ("/elsewhere", "another path"),
        ("http://[", "something that is not a URL"),
    ],
)
def test_the_target_of_a_redirect_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert shown_origin(url) == shown
