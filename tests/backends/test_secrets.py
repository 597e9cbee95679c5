"""A key is never shown, whatever goes wrong and whatever the server makes of it."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from base64 import b64encode
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apxm.backends.endpoint import parse_endpoint
from apxm.backends.openai import OpenAIBackend
from apxm.backends.protocol import ModelAnswer, ModelRequest
from apxm.backends.redaction import Redactor
from apxm.backends.settings import OpenAISettings
from apxm.errors import BackendError
from tests.servers import Received, Reply, Server, as_json, completion

KEY = "sk-Live0123456789abcdef"
TOKEN = "t0ken-9876543210"


def parts_of(secret: str) -> set[str]:
    """Pieces of a secret that are long enough to be worth something."""
    return {secret[i : i + 8] for i in range(len(secret) - 7)}


def echo(request: Received) -> bytes:
    return request.headers["authorization"].encode()


HOSTILE: dict[str, Any] = {
    "status and page": lambda r: Reply(b"your header was " + echo(r), 401),
    "status and message": lambda r: as_json({"error": {"message": f"bad key {echo(r).decode()}"}}, 401),
    "escaped": Reply(json.dumps({"error": "\\u0073".join(["", KEY[1:]]) + KEY}).replace("\\\\", "\\").encode(), 500),
    "where it is cut": lambda r: Reply(b"x" * 280 + echo(r) * 3, 500),
    "page too long": lambda r: Reply(b"x" * (64 * 1024 - 10) + echo(r), 500),
    "page of keys": lambda r: Reply(echo(r) * 100, 500),
    "redirect": Reply(status=302, headers={"Location": f"http://{KEY}:x@{KEY}.example/?k={KEY}"}),
    "no JSON": lambda r: Reply(echo(r), headers={"content-type": KEY}),
    "error in 200": as_json({"error": {"message": KEY}}),
    "refusal": as_json({"choices": [{"message": {"refusal": f"I saw {KEY} and {TOKEN}"}}]}),
    "over two lines": Reply(f"{KEY}\n{KEY}".encode(), 500),
    "own header": lambda r: Reply(r.headers["x-token"].encode(), 500),
    "query": lambda r: Reply(r.target.encode(), 404),
    "percent-encoded": lambda r: Reply("".join(f"%{byte:02X}" for byte in echo(r)).encode(), 401),
    "base64": lambda r: Reply(b64encode(echo(r)), 401),
    "masked": Reply(f"no key: {KEY[:7]}*****{KEY[-7:]}".encode(), 401),
    "header of the type": lambda r: Reply(b"?", headers={"content-type": b64encode(echo(r)).decode()}),
    "reset": Reply(then="reset"),
    "cut": lambda r: Reply(echo(r), then="cut"),
    "no HTTP": lambda r: Reply(raw=echo(r) + b"\r\n\r\n"),
    "bad gzip": lambda r: Reply(echo(r), headers={"content-encoding": "gzip"}),
    "too large": lambda r: Reply(echo(r) * 100_000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_failure_shows_a_key(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def run() -> BackendError:
        async with Server(HOSTILE[name]) as server:
            configured = OpenAISettings(
                model="m",
                endpoint=f"{server.endpoint}?token={TOKEN}",
                api_key="env:KEY",
                headers={"X-Token": TOKEN},
                max_answer_mib=1,
            )
            backend = OpenAIBackend("local", configured, {"KEY": KEY})
            with pytest.raises(BackendError) as caught:
                await backend.call(ModelRequest("Hi"))
            await backend.close()
            return caught.value

    error = asyncio.run(run())
    shown = "".join(traceback.format_exception(error)) + repr(error) + str(error.hint) + caplog.text
    encoded = b64encode(f"Bearer {KEY}".encode()).decode()[8:]
    assert not [part for part in parts_of(KEY) | parts_of(TOKEN) | parts_of(encoded) if part in unquote(shown)]
    assert not [part for part in (KEY[:5], KEY[-5:]) if part in shown]


@pytest.mark.parametrize("form", [KEY, KEY.replace("-", "%2D"), KEY[:12]])
def test_a_model_that_is_called_like_the_key_is_not_shown_and_the_text_is_the_users(form: str) -> None:
    async def run() -> ModelAnswer:
        async with Server(completion(f"Your key is {form}.", model=f"m/{form}")) as server:
            backend = OpenAIBackend("b", OpenAISettings(model="m", endpoint=server.endpoint, api_key=KEY), {})
            return await backend.call(ModelRequest("Hi"))

    answer = asyncio.run(run())
    assert answer.model == "m/[redacted]"
    assert answer.text == f"Your key is {form}."


@given(st.lists(st.text(min_size=4, max_size=9), max_size=4), st.text(max_size=30), st.data())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_redaction_leaves_none_of_the_secrets(secrets: list[str], text: str, data: st.DataObject) -> None:
    sent = data.draw(st.lists(st.sampled_from([*secrets, text]), max_size=4))
    pieces = Redactor(secrets)("".join(sent)).split("[redacted]")
    assert not [secret for secret in secrets for piece in pieces if secret in piece]


LETTERS = st.text(alphabet="abc", min_size=1, max_size=3)


@given(st.lists(LETTERS, max_size=4), st.lists(LETTERS | st.just("abcabc"), max_size=6))
def test_a_very_short_secret_goes_where_it_stands_alone_and_leaves_other_words_as_they_are(
    secrets: list[str], words: list[str]
) -> None:
    expected = ["[redacted]" if word in secrets else word for word in words]
    for separator in (" ", "=", "&", "/", "'", '": "'):
        assert Redactor(secrets)(separator.join(words)) == separator.join(expected)


def test_a_letter_in_the_query_does_not_garble_an_answer() -> None:
    endpoint = parse_endpoint("http://h/v1?a=b")
    redact = Redactor(endpoint.keys, endpoint.secrets)
    assert redact("bad key: label B, see /v1?a=b") == "bad key: label [redacted], see /v1?[redacted]"


@pytest.mark.parametrize("around", ["{}", "x{}x", "0{}_", "{0}{0}"])
def test_a_key_is_redacted_wherever_it_stands(around: str) -> None:
    for secret in (KEY, TOKEN, "pass"):
        assert secret not in Redactor([secret, "b"])(around.format(secret))
