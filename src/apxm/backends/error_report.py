"""What an endpoint says of an error, in the variants of ``{"error": {"message": …, "type": …, "code": …}}`` in use."""

from __future__ import annotations

import re
from typing import NamedTuple, cast

from apxm.backends.content import load_json

_DEEPEST = 4
_NO_LETTER = re.compile(r"[^a-z]+")
_OUT_OF_MONEY = frozenset(
    {
        "insufficientquota", "billinghardlimitreached", "billingnotactive", "billingerror", "insufficientbalance",
        "insufficientcredits", "insufficientfunds", "creditbalanceexhausted", "exceededcurrentquotaerror",
        "organizationspendlimitexceeded", "projectspendlimitexceeded", "organizationusagelimitexceeded",
    }
)  # fmt: skip
"""Codes and types of errors that no waiting ends, without what is no letter."""


_QUOTED_CODE = re.compile(r"""["'](?:code|type)["']\s*:\s*["'](?:insufficient_quota|billing_hard_limit_reached)["']""")
"""What stands in the words of a gateway that passes on the whole error of another endpoint."""


class ErrorReport(NamedTuple):
    words: str
    """Empty where there are none."""
    error: bool
    """Whether it is one. What some gateways send with every answer, an error all of whose fields are empty, is none."""
    out_of_money: bool
    """Whether somebody has to pay, or to raise a limit, before such a call succeeds."""


NOTHING = ErrorReport("", False, False)


def read_error(error: object) -> ErrorReport:
    """`error` is anything that JSON can hold."""
    if not error:
        return NOTHING
    found, words, out_of_money = False, "", False
    for _ in range(_DEEPEST):
        if isinstance(error, list):
            error = next(iter(cast(list[object], error)), None)
        if not isinstance(error, dict):
            break
        fields = cast(dict[str, object], error)
        found = found or any(fields.values())
        out_of_money = out_of_money or any(map(_means_money, (fields.get("code"), fields.get("type"))))
        error = next((fields[name] for name in ("error", "errors", "message", "detail") if fields.get(name)), None)
    if isinstance(error, str):
        words, out_of_money = error, out_of_money or _means_money(error) or _QUOTED_CODE.search(error) is not None
    return ErrorReport(words, found or bool(error), out_of_money)


def read_error_body(body: bytes | bytearray) -> ErrorReport:
    """Reads the body of a failed call; what is no JSON is its own words."""
    try:
        said = read_error(load_json(body))
    except (ValueError, RecursionError):
        said = ErrorReport("", True, False)
    return said if said.words else said._replace(words=bytes(body).decode(errors="replace"))


def _means_money(code: object) -> bool:
    return isinstance(code, str) and _NO_LETTER.sub("", code.lower()) in _OUT_OF_MONEY
