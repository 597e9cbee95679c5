"""Requests from the bytes of a connection.

The grammar of HTTP is httptools' (llhttp, the parser of Node.js); limits, and what to answer when they are broken, are
ours.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import NamedTuple

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser
from msgspec import Struct

from apxm.simulator.replies import Reply, error

_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"expect"})


class HttpLimits(Struct, frozen=True):
    """Times in seconds, sizes in bytes."""

    request_s: float = 30.0
    """The time from the first byte of a request to its last, at most."""
    idle_s: float = 120.0
    """Between requests. Clients give up idle connections sooner, so that none is closed under a request."""
    linger_s: float = 2.0
    """How long a client may take to close its side after the last answer."""
    head: int = 64 * 1024
    """Request line and headers; up to one read more is let through."""
    body: int = 16 * 1024 * 1024
    sweep_s: float = 1.0
    """How often the connections are looked at for those times."""


class Request(NamedTuple):
    method: bytes
    target: bytes
    body: bytes
    keep_alive: bool
    version: str


class RequestReader:
    """What comes in, in order: requests, and as the last of them perhaps the refusal of what followed."""

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self.arrived: deque[Request | Reply] = deque()
        self.receiving = False
        """Whether a request has begun and is not complete."""
        self.began = 0.0
        """When the request began to arrive, by `monotonic`."""
        self.refused = False
        """Nothing is read any more."""
        self._expects_continue = False
        self._in_head = False
        self._read_size = 0
        self._head_size = 0
        self._target = b""
        self._framing: list[bytes] = []
        """The headers that say how the body comes."""
        self._body: list[bytes] = []
        self._body_size = 0
        # It calls the methods below whose names begin with on_, and holds this object: `close` parts them.
        self._parser: HttpRequestParser | None = HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        while data and self._parser is not None and not self.refused:
            self._read_size = len(data)
            try:
                self._parser.feed_data(data)
            except HttpParserUpgrade as upgrade:
                data = self._without_offer(data[upgrade.args[0] :])
                continue
            except HttpParserCallbackError:
                raise  # not the client's fault
            except HttpParserError as bad:
                self.refuse(error(400, f"This is not a request of HTTP/1.1: {bad}."))
            break
        if self._in_head and not self.refused:
            self._head_size += len(data)
            if self._head_size > self._limits.head:
                self.refuse(error(431, f"The headers are too large, expected at most {self._limits.head} bytes."))

    def _without_offer(self, rest: bytes) -> bytes:
        """Some clients offer HTTP/2 with their requests, and the parser stops behind the headers of such a one. Nobody
        has to take the offer, so the request is read again as if it had not been made."""
        parser = self._parser
        assert parser is not None
        method = parser.get_method()
        if method == b"CONNECT":
            self.refuse(error(405, "This is not a proxy.", code="method_not_supported"))
        self._parser = HttpRequestParser(self)
        return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method, self._target, b"".join(self._framing), rest)

    def refuse(self, reply: Reply) -> None:
        """Lets `reply` be the last thing that this connection answers."""
        if not self.refused:
            self.refused = True
            self.receiving = False
            self._body.clear()
            self.arrived.append(reply)

    def take_continue(self) -> bool:
        """Whether the client waits to be told to send the body; it has to be told only once."""
        expects, self._expects_continue = self._expects_continue, False
        return expects and self.receiving and not self._body

    def close(self) -> None:
        self._parser = None
        self.arrived.clear()

    # --- the parser's calls ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.receiving = self._in_head = not self.refused
        self.began = monotonic()
        self._head_size = -self._read_size  # this read may have brought other requests before it
        self._body_size = 0
        self._target = b""
        self._framing.clear()
        self._expects_continue = False

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower not in _FRAMING:
            return
        self._framing.append(b"%b: %b\r\n" % (name, value))
        if lower == b"expect":
            self._expects_continue = value.lower() == b"100-continue"
        elif lower == b"content-length" and int(value) > self._limits.body:
            self._refuse_body()

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._expects_continue:
            assert self._parser is not None
            self._expects_continue = self._parser.get_http_version() == "1.1"

    def on_body(self, part: bytes) -> None:
        self._body_size += len(part)
        if self._body_size > self._limits.body:
            self._refuse_body()
        elif not self.refused:
            self._body.append(part)

    def on_message_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        if self.refused or parser.should_upgrade():
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        self.receiving = False
        self.arrived.append(
            Request(parser.get_method(), self._target, body, parser.should_keep_alive(), parser.get_http_version())
        )

    def _refuse_body(self) -> None:
        limit = self._limits.body
        self.refuse(error(413, f"The body is too large, expected at most {limit} bytes.", code="request_too_large"))
