"""Configuration files: the format, and what a bad one gets."""

from __future__ import annotations

import textwrap
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apxm.backends.settings import OpenAISettings, ScriptedAnswer, SimulatedSettings
from apxm.config.document import Document
from apxm.errors import ConfigurationError


def read(text: str) -> Document:
    return Document("config.toml", textwrap.dedent(text).lstrip("\n").encode())


def test_the_format() -> None:
    config = read("""
        default_backend = "local"

        [backends.local]
        kind = "openai"
        model = "qwen3-8b"
        endpoint = "http://127.0.0.1:8000/v1"
        api_key = "env:VLLM_API_KEY"
        max_concurrency = 64
        timeout_s = 120
        headers = { X-Title = "demo" }

        [backends.fake]
        kind = "simulated"
        latency = "lognormal:800,0.5"
        seed = 3

        [[backends.fake.answers]]
        match = "colou?r"
        answer = "blue"
    """).config
    assert config.default_backend == "local"
    local = OpenAISettings(
        model="qwen3-8b",
        endpoint="http://127.0.0.1:8000/v1",
        api_key="env:VLLM_API_KEY",
        max_concurrency=64,
        timeout_s=120.0,
        headers={"X-Title": "demo"},
    )
    fake = SimulatedSettings(latency="lognormal:800,0.5", seed=3, answers=(ScriptedAnswer("colou?r", "blue"),))
    assert config.backends == {"local": local, "fake": fake}


@pytest.mark.parametrize("text", ["", "# nothing\n", "\ufeff", "[backends]\n"])
def test_an_empty_file_configures_nothing(text: str) -> None:
    config = read(text).config
    assert (config.default_backend, config.backends) == (None, {})


MINIMAL = '[backends.a]\nkind = "openai"\nmodel = "m"\nendpoint = "http://h"\n'

BAD = [
    # what the file says, the place, what is found, the hint
    ("x = 1", ":1", "x: there is no such setting", "known here: backends, default_backend"),
    ("default_backned = 'a'", ":1", "default_backned: there is no such setting", "did you mean default_backend?"),
    ("default_backend = 1", ":1", "default_backend: the name of a backend is expected", None),
    ("backends = 1", ":1", "backends: tables named [backends.NAME]", None),
    ("[backends]\na = 1", ":2", "backends.a: a table [backends.a] is expected", None),
    ("[backends.a]\nmodel = 'm'", ":1", "backends.a: kind is missing", "one of openai, replay, simulated"),
    ("[backends.a]\nkind = 'opnai'", ":2", "'opnai' is no kind of backend", "one of openai, replay, simulated"),
    ("[backends.a]\nkind = 1", ":2", "1 is no kind of backend", None),
    ("[backends.simulated]\nkind = 'openai'", ":2", "kept for a simulated backend", None),
    ('[backends.""]\nkind = "simulated"', ":1", "needs a name", None),
    ("tools = 1", ":1", "tools: tables named [tools.NAME] are expected", None),
    ("[tools.a]", ":1", "tools.a: exactly one of python, command, mcp says what it is", None),
    ("[tools.a]\npython = 'm:f'\nmcp = 's.t'", ":1", "tools.a: exactly one of python, command, mcp says", None),
    ("[tools.a]\npython = 'm.f'", ":2", "tools.a.python: package.module:function is expected", None),
    ("[tools.a]\nmcp = 'search'", ":2", "tools.a.mcp: SERVER.TOOL is expected", None),
    ("[tools.a]\ncommand = []", ":2", "tools.a.command: a program is expected", None),
    ("[tools.a]\ncommand = 'ls -l'", ":2", "tools.a.command: expected `array | null`, got `str`", None),
    ("[tools.a]\nurl = 'x'", ":2", "tools.a.url: there is no such setting", None),
    ("[mcp.a]\nurl = 'example.com'", ":2", "mcp.a.url: an http or https URL is expected", None),
    ("[mcp.a]\ncommand = ['x']\nurl = 'http://x'", ":1", "mcp.a: exactly one of command, url says what it is", None),
    ('[mcp."a.b"]\ncommand = ["x"]', "", "a dot in its name would part it from the names of its tools", None),
    ("[backends.a]\nkind = 'openai'\nmodel = 'm'", ":1", "missing required field `endpoint`", None),
    (MINIMAL + "modle = 'x'", ":5", "backends.a.modle: there is no such setting", "did you mean model?"),
    (MINIMAL + "latency = 'constant:1'", ":5", "backends.a.latency: there is no such setting", None),
    (MINIMAL + "timeout_s = 'x'", ":5", "backends.a.timeout_s: expected `float`, got `str`", None),
    (MINIMAL + "timeout_s = 0", ":5", "backends.a.timeout_s: expected `float` > 0", None),
    (MINIMAL + "timeout_s = inf", ":5", "backends.a.timeout_s: expected `float` <= 604800", None),
    (MINIMAL + "timeout_s = nan", ":5", "backends.a.timeout_s: ", None),
    (MINIMAL + "max_concurrency = 0", ":5", "backends.a.max_concurrency: expected `int` >= 1", None),
    (MINIMAL + "max_concurrency = 1.5", ":5", "backends.a.max_concurrency: expected `int", None),
    (MINIMAL + "max_tokens_field = 'x'", ":5", "backends.a.max_tokens_field: invalid enum value 'x'", None),
    (MINIMAL + f"max_tokens = {10**30}", ":5", "backends.a.max_tokens: ", None),
    (MINIMAL + "[backends.a.headers]\nX-A = 1", ":5", "backends.a.headers: expected `str`, got `int`", None),
    (MINIMAL + "[backends.a.body]\nstream = true", ":6", "backends.a.body.stream: this field is not to be set", None),
    (MINIMAL.replace("http://h", "h:80"), ":4", "backends.a.endpoint: a URL that starts with http://", None),
    (MINIMAL.replace('"m"', '" "'), ":3", "backends.a.model: the name of a model is expected", None),
    ("[backends.s]\nkind='simulated'\nlatency='x'", ":3", "backends.s.latency: latency 'x': expected", "for example"),
    ("[backends.s]\nkind='simulated'\nslowdown='x'", ":3", "backends.s.slowdown: slowdown 'x'", "for example"),
    (
        "[backends.s]\nkind='simulated'\nfaults='429:2'",
        ":3",
        "backends.s.faults: faults '429:2': found '2'",
        "for exam",
    ),
    (
        "[backends.s]\nkind='simulated'\n[[backends.s.answers]]\nmatch='('\nanswer=''",
        ":4",
        "backends.s.answers.match: '(' is not a regular expression",
        None,
    ),
    (
        f"[backends.s]\nkind='simulated'\n[[backends.s.answers]]\nmatch='{'(' * 5000}{')' * 5000}'\nanswer=''",
        ":4",
        "is not a regular expression: maximum recursion depth",
        None,
    ),
    (
        "[backends.s]\nkind='simulated'\n[[backends.s.answers]]\nmatch='a{99999999999}'\nanswer=''",
        ":4",
        "is not a regular expression: the repetition number is too large",
        None,
    ),
    ("[backends.s]\nkind='simulated'\n[[backends.s.answers]]\nmatch='x'", ":3", "field `answer`", None),
    ("a = ", "", "the file is not TOML", None),
    ("[a]\n[a]", "", "the file is not TOML", None),
    ("a = " + "[" * 5000, "", "the file is not TOML", None),
    ("a = " + "1" * 5000, "", "the file is not TOML", None),
]


@pytest.mark.parametrize(("text", "place", "found", "hint"), BAD)
def test_a_bad_file_names_the_place_what_was_found_and_what_helps(
    text: str, place: str, found: str, hint: str | None
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Document("config.toml", text.encode())
    assert found in caught.value.message
    assert caught.value.where == f"config.toml{place}"
    assert hint is None or hint in (caught.value.hint or "")


def test_a_file_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        Document("config.toml", b"\xff\xfe")


@given(st.text() | st.text(alphabet="[]=\"'\n.#ab1{},", max_size=40))
def test_any_text_is_a_configuration_or_a_configuration_error(text: str) -> None:
    with suppress(ConfigurationError):
        Document("config.toml", text.encode(errors="replace"))


def test_a_key_that_is_written_out_draws_a_warning_that_does_not_show_it() -> None:
    document = read("""
        [backends.a]
        kind = "openai"
        model = "m"
        endpoint = "http://u:HIDDEN@h"

        [backends.b]
        kind = "openai"
        model = "m"
        endpoint = "http://h"
        api_key = "HIDDEN"
        headers = { X-Api-Key = "HIDDEN", X-Title = "demo", X-Token = "env:T" }
    """)
    found = [warning.partition(" holds")[0] for warning in document.warnings()]
    assert found == [
        "config.toml:4: backends.a.endpoint",
        "config.toml:10: backends.b.api_key",
        "config.toml:11: backends.b.headers.X-Api-Key",
    ]
    assert "HIDDEN" not in str(document.warnings())


@pytest.mark.parametrize(
    "text",
    [
        'api_key = "HIDDEN"\ntimeout_s = "x"',
        'api_key = "HIDDEN',
        'api_key = ["HIDDEN"]',
        'api_key = "HIDDEN"\napi_key = "HIDDEN"',
        'api-key = "HIDDEN"',
    ],
)
def test_no_error_shows_a_key(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Document("config.toml", (MINIMAL + text).encode())
    assert "HIDDEN" not in str(caught.value)
