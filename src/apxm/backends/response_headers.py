"""What the headers of an answer say: how long the endpoint worked, and when to call again."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from time import time

from apxm.backends.protocol import MOST_SERVICE_NS, plausible

_TOTAL = re.compile(r"\s*total\s*(?:;|$)", re.IGNORECASE)
_DURATION = re.compile(r""";\s*dur\s*=\s*"?([^;"\s]+)""", re.IGNORECASE)


def service_time(server_timing: Iterable[str], processing_ms: str | None) -> int | None:
    """Nanoseconds that the endpoint says it worked, at least 0; None where it says nothing that can be understood.

    It is the entry ``total`` of ``Server-Timing`` (proxies add entries of other names about themselves), else
    ``openai-processing-ms``.
    """
    entries = (entry for header in server_timing for entry in header.split(","))
    totals = (_DURATION.search(entry) for entry in entries if _TOTAL.match(entry))
    stated = (*(total[1] for total in totals if total), processing_ms or "")
    return next((service for service in map(_nanoseconds, stated) if service is not None), None)


def _nanoseconds(milliseconds: str) -> int | None:
    value = _number(milliseconds) * 1_000_000
    return plausible(max(0, round(value)), MOST_SERVICE_NS) if math.isfinite(value) else None


def _number(text: str) -> float:
    """NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def retry_after(milliseconds: str | None, header: str | None, now: Callable[[], float] = time) -> float | None:
    """Seconds for which the endpoint asks to be left alone: OpenAI's ``retry-after-ms``, else ``Retry-After``, seconds
    or a date in any of the three forms (RFC 9110, 5.6.7). None where it says nothing, or nothing that can be read."""
    for text, scale in ((milliseconds, 1e-3), (header, 1.0)):
        seconds = _number(text or "") * scale
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    from datetime import UTC
    from email.utils import parsedate_to_datetime  # 20 ms, for something rare

    try:
        date = parsedate_to_datetime(header or "")
        # Without a zone (asctime's form), or with -0000, it is GMT all the same, and never this machine's own time.
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now())
    except (ValueError, OverflowError):
        return None


def should_retry(header: str | None) -> bool | None:
    """OpenAI's ``x-should-retry``: what the endpoint itself says of a call that failed; None where it does not."""
    return {"true": True, "false": False}.get((header or "").strip().lower())
