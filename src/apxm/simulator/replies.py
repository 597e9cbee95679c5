"""HTTP answers, before they are bytes on a connection."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from msgspec import Struct

JSON = b"application/json"
PLAIN_TEXT = b"text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format."""
HTML = b"text/html; charset=utf-8"
EVENT_STREAM = b"text/event-stream; charset=utf-8"

STATUS_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}


class Reply(Struct, frozen=True):
    status: int
    body: bytes
    content_type: bytes = JSON
    headers: bytes = b""
    """Further lines, each with its end."""


def as_json(value: object) -> Reply:
    return Reply(200, msgspec.json.encode(value))


def error(
    status: int, message: str, *, param: str | None = None, code: str | None = None, headers: bytes = b""
) -> Reply:
    """An error as OpenAI writes it; the status says whose fault it is."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return Reply(status, msgspec.json.encode(body), headers=headers)


def server_timing(service_ns: int) -> bytes:
    """The header line that says how long the endpoint worked on a call, to the nanosecond."""
    return b"Server-Timing: total;dur=%d.%06d\r\n" % divmod(service_ns, 1_000_000)
