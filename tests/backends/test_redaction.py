"""A key is taken out of other people's words in whichever form they repeat it, and other words stay."""

from __future__ import annotations

import html
import json
import re
import textwrap
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from time import process_time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apxm.backends.endpoint import parse_endpoint
from apxm.backends.redaction import BEGINNING, Redactor

KEY = "sk-Live/0123+456~789=ab&cdef"
KEYS = [
    KEY,
    "sk-proj-AbCdEfGhIjKlMnOpQrStUvWxYz012345",
    "9f86d081884c7d659a2feaa0c55ad015",
    "open sesame, my dear door",
]


def b64(text: str) -> str:
    return b64encode(text.encode()).decode()


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "other case": str.swapcase,
    "slashes escaped": lambda key: key.replace("/", "\\/"),
    "escaped for JSON": lambda key: "".join(f"\\u{ord(c):04x}" for c in key),
    "some escaped": lambda key: "".join(f"\\u{ord(c):04X}" if not c.isalnum() else c for c in key),
    "JSON in JSON": lambda key: json.dumps(json.dumps("\\/".join(key.split("/"))))[1:-1],
    "escaped twice": lambda key: key.replace("-", "\\\\u002d").replace("e", "\\\\u0065"),
    "braced": lambda key: key.replace("-", "\\u{2d}").replace("e", "\\u{65}"),
    "bytes between colons": lambda key: key.encode().hex(":"),
    "escaped for C": lambda key: "".join(f"\\x{ord(c):02x}" for c in key),
    "percent-encoded": lambda key: quote(key, safe=""),
    "percent-encoded in lower case": lambda key: "".join(f"%{ord(c):02x}" for c in key),
    "percent-encoded twice": lambda key: quote(quote("".join(f"%{ord(c):02x}" for c in key))),
    "in a form": quote_plus,
    "escaped for HTML": lambda key: "".join(f"&#{ord(c)};" for c in key),
    "escaped for HTML, in hexadecimal": lambda key: "".join(f"&#x{ord(c):X};" for c in key),
    "escaped for HTML by name": lambda key: html.escape(key).replace("=", "&equals;"),
    "HTML in JSON": lambda key: "".join(f"\\u0026#{ord(c)};" for c in key),
    "base64": b64,
    "base64 for URLs": lambda key: urlsafe_b64encode(key.encode()).decode().rstrip("="),
    "base64 in JSON": lambda key: b64(key).rstrip("=").replace("/", "\\/"),
    "base64, percent-encoded": lambda key: quote(b64(f"~?{key}"), safe=""),
    "base64 of a header": lambda key: b64(f"Bearer {key}"),
    "base64 of a pair": lambda key: b64(f"user:{key}"),
    "base64 of JSON": lambda key: b64(json.dumps({"more": 1, "key": key})),
    "base64, folded": lambda key: "\r\n".join(textwrap.wrap(b64(f"x{key}"), 16)),
    "hexadecimal": lambda key: key.encode().hex(),
    "over lines": lambda key: "\n".join(textwrap.wrap(key, 5)),
    "over lines, escaped": lambda key: "\\n".join(textwrap.wrap(key, 5)),
    "spread": " ".join,
    "the beginning": lambda key: key[:11],
    "the end": lambda key: key[-9:],
    "the middle": lambda key: f"…{key[7:17]}…",
    "the beginning, percent-encoded": lambda key: quote(key[:14], safe=""),
    "a part in base64": lambda key: b64(key[4:16]),
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("form", FORMS)
def test_no_form_of_a_key_is_shown(form: str, key: str) -> None:
    sent = FORMS[form](key)
    shown = Redactor([key])(f'Error 401: "{sent}" is no key of ours, see our page.')
    assert "[redacted]" in shown
    assert shown.startswith('Error 401: "')
    assert shown.endswith('" is no key of ours, see our page.')
    # What the form of any other key would hold as well, such as padding, tells nothing.
    other = FORMS[form]("z" * len(key))
    pieces = [sent[i : i + 12] for i in range(len(sent) - 11)]
    assert not [piece for piece in pieces if piece in shown and piece[1:-1] not in other]


@pytest.mark.parametrize(
    "mask", ["***", "*" * 30, "...", "…", "•••", "xxxx", "####", "___", "[REDACTED]", "<hidden>", "**** ****"]
)
@pytest.mark.parametrize(("begin", "end"), [(6, 4), (3, 0), (0, 4), (7, 1), (1, 7)])
def test_what_a_mask_leaves_of_a_key_is_not_shown(mask: str, begin: int, end: int) -> None:
    key = KEYS[1]
    sent = key[:begin] + mask + key[len(key) - end :]
    shown = Redactor([key])(f"Incorrect API key provided: {sent} (401)")
    assert shown == "Incorrect API key provided: [redacted] (401)"


ORDINARY = [
    "Rate limit reached for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Used 29871.",
    "see https://docs.example/errors?code=7&x=%20y for more... or ask",
    "the model `qwen3-8b` does not exist, see /v1/models &amp; \\u0022docs\\u0022",
    "1234567 12345 89ab &nosuch; %zz \\u12 \\",
    "*** 10 of 20 calls ***",
    "",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_other_words_stay_as_they_are(text: str) -> None:
    endpoint = parse_endpoint("https://me:pass@h/v1?api-version=2024-12-01-preview&key=AbC%2Fdef/123")
    for redact in (Redactor(KEYS), Redactor(endpoint.keys, endpoint.secrets), Redactor([])):
        assert redact(text) == text


def test_parts_of_what_is_no_key_stay() -> None:
    endpoint = parse_endpoint("https://h/v1?api-version=2024-12-01-preview&sig=0123456789abcdefghi")
    redact = Redactor(endpoint.keys, endpoint.secrets)
    assert redact("use 2024-12-01 or a -preview") == "use 2024-12-01 or a -preview"
    assert redact("2024-12-01-preview is over") == "[redacted] is over"
    assert redact("sig 3456789abc") == "sig [redacted]"


@pytest.mark.parametrize("sent", ["p@ss", "p%40ss", "p%2540ss", "p&#64;ss", "p\\u0040ss", "P\\\\u0040SS"])
def test_a_short_password_in_another_form(sent: str) -> None:
    redact = Redactor(parse_endpoint("https://user:p%40ss@h/v1").keys)
    assert redact(f"no {sent} here") == "no [redacted] here"
    assert redact("a p @ss b") == "a p @ss b"


@given(st.text(max_size=40), st.text(max_size=40), st.sampled_from(sorted(FORMS)), st.sampled_from(KEYS))
def test_whatever_stands_around_it(before: str, behind: str, form: str, key: str) -> None:
    sent = FORMS[form](key)
    shown = Redactor([key])(f"{before} {sent} {behind}")
    assert sent not in shown


@given(st.text(alphabet="\\u0026#x%25;&amp/ aA1*", max_size=60))
def test_any_text_can_be_read(text: str) -> None:
    assert Redactor(KEYS)(text).replace("[redacted]", "") in text or "[redacted]" in Redactor(KEYS)(text)


@pytest.mark.parametrize("before", [BEGINNING - 9, BEGINNING - 40, BEGINNING - 300, BEGINNING, 2 * BEGINNING - 9])
@pytest.mark.parametrize("secret", [KEY, "2024-12-01-preview", "p@ss"])
def test_the_beginning_of_a_long_text_ends_with_no_part_of_a_secret(before: int, secret: str) -> None:
    escaped = "".join(f"\\u{ord(c):04x}" for c in secret)
    for sent in (secret, escaped):
        shown = Redactor([KEY], [secret]).beginning("~" * before + sent * 3000)
        assert re.fullmatch(r"~+(\[redacted\])?\[…\]", shown)
    assert Redactor([KEY]).beginning("short") == "short"


def test_a_large_page_takes_no_longer_than_its_size() -> None:
    """To grow with the square of it would take minutes for these, which a hostile server may send."""
    redact = Redactor(KEYS)
    for page in ("\\" * 65536, "%25" * 20000, "&" * 65536, "*" * 65536, "*x" * 30000, "sk-" * 20000, f"{KEY}*" * 2000):
        begun = process_time()
        redact(page)
        assert process_time() - begun < 20
