"""What went wrong with a call of an endpoint, as errors of ours: the one place where that is judged."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from http import HTTPStatus

from pyqwest import Headers

from apxm.backends.endpoint import shown_origin
from apxm.backends.error_report import read_error_body
from apxm.backends.proxies import Proxy
from apxm.backends.redaction import Redactor
from apxm.backends.response_headers import retry_after, should_retry
from apxm.errors import BackendError
from apxm.source import printable, shortened

MAX_ERROR_BODY = 64 * 1024
TOO_LONG = b"(an error page of more than 64 KiB)"
"""A body cut somewhere could show half of a key, which no redactor would know."""
STARTING_S = 2.0
"""How long a server on this machine that does not listen yet is waited for, unless somebody says how often."""
_SHOWN = 300
"""Most characters of other people's words in an error of ours."""
_FOR_NOW = frozenset({302, 303, 307})
"""Redirects that are not for good: a page in place of an endpoint that will be back."""
_RETRYABLE = frozenset({408, 429})
_OVERLOADED = frozenset({503, 529})
_CONNECTING = "client error (Connect): "
"""How the words of what went wrong begin where there was no connection yet, so that no call was sent."""
_REFUSED = f"(os error {errno.ECONNREFUSED})"
"""How the HTTP client ends what it says where nobody listens at the port."""
_NO_FILE_LEFT = tuple(f"(os error {number})" for number in (errno.EMFILE, errno.ENFILE))
"""How the HTTP client ends what it says of such an error."""


class EndpointErrors:
    """Those of one endpoint, in words that name it."""

    def __init__(
        self,
        name: str,
        shown: str,
        redact: Redactor,
        proxy: Proxy | None,
        unreadable: Callable[[], type[Exception]],
        hints: Mapping[int, str],
        patience_s: float | None = None,
    ) -> None:
        """`shown` is its URL as anybody may see it, `unreadable` gives what the HTTP client raises for an answer that
        it cannot read, `hints` are by status, and `patience_s` is how long it is waited for where nobody listens."""
        self._called = name if name == shown else f"{name} ({shown})"
        self._redact = redact
        self._proxy = proxy
        self._unreadable = unreadable
        self._hints = hints
        self._patience_s = patience_s

    def error(
        self,
        kind: str,
        words: str,
        *,
        retryable: bool = True,
        hint: str | None = None,
        retry_after_s: float | None = None,
        patience_s: float | None = None,
        overloaded: bool = False,
    ) -> BackendError:
        """One line that names the backend and its endpoint, with every secret taken out before anything is cut."""
        text = " ".join(printable(self._redact.beginning(words).replace("\n", " ")).split())
        message = f"{self._called} {shortened(text, _SHOWN)}"
        return BackendError(
            kind, message, retryable=retryable, hint=hint, retry_after_s=retry_after_s, patience_s=patience_s,
            overloaded=overloaded,
        )  # fmt: skip

    def redirected(self, status: int, target: str | None) -> BackendError:
        """For an answer that sends the call elsewhere."""
        to = f" to {shown_origin(target)}" if target else ""
        return self.error(
            "redirect", f"answered {status_text(status)}: a redirect{to}, which is not followed",
            retryable=status in _FOR_NOW, hint="write the final address as the endpoint",
        )  # fmt: skip

    def failed(self, status: int, headers: Headers, content: bytes | bytearray) -> BackendError:
        """For an answer that is none, `content` being all it says."""
        said = read_error_body(content)
        asked = should_retry(headers.get("x-should-retry"))
        retryable = (status in _RETRYABLE or status >= 500) if asked is None else asked
        pause = retry_after(headers.get("retry-after-ms"), headers.get("retry-after"))
        if said.out_of_money:
            retryable, pause = False, None  # others need not wait either, to be told the same
        # A limit of its rate is one that time heals; only then are fewer calls at a time any better.
        limited = status == HTTPStatus.TOO_MANY_REQUESTS and not said.out_of_money
        answered = f"answered {status_text(status)}"
        return self.error(
            "rate_limited" if limited else "http_status",
            f"{answered}: {said.words}" if said.words.strip() else answered,
            retryable=retryable, hint=self._hints.get(status), retry_after_s=pause,
            overloaded=limited or status in _OVERLOADED or (retryable and pause is not None),
        )  # fmt: skip

    def lost(self, error: Exception) -> BackendError:
        """For a call that brought no whole answer."""
        # "Request failed: error sending request for url (…): what happened": the URL is ours to name.
        words = str(error)
        detail = words.partition("): ")[2] or words
        if isinstance(error, TimeoutError):
            return self.error("timeout", f"did not answer in time: {detail}", retryable=True)
        if isinstance(error, self._unreadable()):
            return self.error("unreadable_answer", f"sent an answer that cannot be read: {detail}", retryable=True)
        if detail.endswith(_NO_FILE_LEFT):
            return self.error(
                "open_files", f"could not be called, as every file that may be open is: {detail}", retryable=True,
                hint="ulimit -n raises how many may be, --max-concurrency lowers how many are needed",
            )  # fmt: skip
        reason = detail.removeprefix(_CONNECTING)
        through = self._proxy and f"it is called through {self._proxy.shown}, as {self._proxy.variable} says"
        if reason == detail:
            return self.error("connection", f"was lost: {detail}", retryable=True, hint=through)
        untrusted = "certificate" in reason
        refused = reason.endswith(_REFUSED)
        if untrusted:
            hint = "SSL_CERT_FILE names a file of further authorities to trust"
        else:
            hint = through or ("nothing listens at that port: is the server running?" if refused else None)
        return self.error(
            "unreachable", f"could not be reached: {reason}", retryable=not untrusted, hint=hint,
            patience_s=self._patience_s if refused else None,
        )  # fmt: skip


def status_text(status: int) -> str:
    """``404 Not Found``"""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
