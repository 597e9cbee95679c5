"""One connection: requests are answered in order, one at a time, by callbacks; there is no task."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from time import monotonic
from typing import cast

from apxm.backends.protocol import Handle
from apxm.simulator.reading import HttpLimits, Request, RequestReader
from apxm.simulator.replies import STATUS_LINES, Reply, error
from apxm.simulator.routes import SimulatedEndpoint

_MAX_WAITING = 16
"""Requests sent ahead of the answers to those before them; while there are more, nothing is read."""
_NO_LINGERING = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class Connection(asyncio.Protocol):  # a task per request would be what is measured
    """A client that leaves, or that closes its side, cancels its call."""

    _transport: asyncio.Transport
    _request: Request
    """The one being answered, or the last one that was."""

    def __init__(self, endpoint: SimulatedEndpoint, limits: HttpLimits, connections: set[Connection]) -> None:
        """`connections` are the open ones of a server: this one is among them from when it is made until it is lost."""
        self._endpoint = endpoint
        self._limits = limits
        self._connections = connections
        self.lost = asyncio.Event()
        self._reader = RequestReader(limits)
        self._call: Handle | None = None
        self._reading = True
        self._writable = True
        self._leaving = False
        """The last answer is written."""
        self._since = monotonic()
        """When the connection was made, or the last answer written."""

    # --- the transport's calls -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its bases
        self._connections.add(self)
        self._endpoint.metrics.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._connections.discard(self)
        self.lost.set()
        self._endpoint.metrics.connections -= 1
        self._leaving = True
        self._reader.close()
        self._cancel()

    def data_received(self, data: bytes) -> None:
        if not self._leaving:
            self._reader.feed(data)
            self._answer_waiting()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._answer_waiting()

    # --- the server's calls ----------------------------------------------------------------------------------------

    def check_times(self, now: float) -> None:
        limits = self._limits
        reader = self._reader
        if self._leaving:
            if now - self._since > limits.linger_s:
                self.abort()
        elif reader.receiving:
            if now - reader.began > limits.request_s:
                reader.refuse(error(408, f"The request was not complete after {limits.request_s:g} s."))
                self._answer_waiting()
        elif self._call is None and now - self._since > limits.idle_s:
            self.leave()

    def leave(self) -> None:
        """Cancels the call and closes, once what is already written has gone out."""
        self._leaving = True
        self._since = monotonic()
        self._cancel()
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    # --- answering -------------------------------------------------------------------------------------------------

    def _answer_waiting(self) -> None:
        """Answers what has arrived, up to the first call that takes time."""
        arrived = self._reader.arrived
        while arrived and self._call is None and self._writable and not self._leaving:
            item = arrived.popleft()
            if isinstance(item, Reply):
                self._write(item, None)
                self._answered(keep_alive=False)
                return
            self._request = item
            answer = self._endpoint.answer(item.method, item.target, item.body, self)
            if isinstance(answer, Reply):
                self._write(answer, item)
                self._answered(item.keep_alive)
            else:
                self._call = answer
        if self._leaving:
            return
        if self._call is None and not arrived and self._reader.take_continue():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        full = len(arrived) > _MAX_WAITING
        if full is self._reading:
            self._reading = not full
            (self._transport.pause_reading if full else self._transport.resume_reading)()

    def _write(self, reply: Reply, request: Request | None) -> None:
        """`request` is None where what came is none."""
        self._endpoint.metrics.request(reply.status)
        head = b"%bContent-Type: %b\r\nContent-Length: %d\r\n%b%b\r\n" % (
            STATUS_LINES[reply.status], reply.content_type, len(reply.body), reply.headers, _connection_line(request),
        )  # fmt: skip
        self._transport.write(head if request is not None and request.method == b"HEAD" else head + reply.body)

    def _answered(self, keep_alive: bool) -> None:
        """After the last answer it reads on without listening: closing now could destroy what is under way."""
        self._since = monotonic()
        if keep_alive:
            return
        self._leaving = True
        self._transport.write_eof()
        if not self._reading:
            self._transport.resume_reading()

    def _cancel(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    # --- the call's answer (calls.Client) --------------------------------------------------------------------------

    def finish(self, reply: Reply) -> None:
        self._call = None
        self._write(reply, self._request)
        self._answered(self._request.keep_alive)
        self._answer_waiting()

    def begin_stream(self, content_type: bytes) -> None:
        """Streams in chunks; a client of HTTP/1.0 knows none, and the end of the connection is that of the stream."""
        self._endpoint.metrics.request(200)
        if self._request.version == "1.0":
            self._request = self._request._replace(keep_alive=False)
            framing = b""
        else:
            framing = b"Transfer-Encoding: chunked\r\nTrailer: Server-Timing\r\n"
        head = (STATUS_LINES[200], content_type, framing, _connection_line(self._request))
        self._transport.write(b"%bContent-Type: %b\r\n%b%b\r\n" % head)

    def send(self, piece: bytes) -> None:
        chunked = self._request.version != "1.0"
        self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)

    def end_stream(self, trailer: bytes) -> None:
        """`trailer`: headers that are known only now."""
        self._call = None
        if self._request.version != "1.0":
            self._transport.write(b"0\r\n%b\r\n" % trailer)
        self._answered(self._request.keep_alive)
        self._answer_waiting()

    def reset(self) -> None:
        self._call = None
        self._leaving = True
        # To close without lingering is what resets: the client learns that something went wrong, not that all was said.
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
        self.abort()


def _connection_line(request: Request | None) -> bytes:
    if request is None or not request.keep_alive:
        return b"Connection: close\r\n"
    return b"Connection: keep-alive\r\n" if request.version == "1.0" else b""
