"""The HTTP client: one pool of connections per process and endpoint, with nothing hidden in it.

Redirects are not followed (a prompt must not go where nobody sent it), no cookies are kept, no call is repeated.
HTTP/1.1 throughout: over HTTP/2 all calls would share one connection, and those beyond the server's limit of streams,
often 100, would wait inside the client where no clock of ours sees them.
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import threading
import time
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from pyqwest import Headers, HTTPTransport, RemoteProtocolError, Response, SyncHTTPTransport, SyncResponse

from apxm.backends.client import client_library
from apxm.backends.content import TooLargeError, unpacked
from apxm.backends.proxies import Proxy
from apxm.errors import ConfigurationError
from apxm.regular import read_regular

CONNECT_TIMEOUT_S = 30.0
IDLE_S = 4.0
"""Servers close idle connections too, some after 5 s; ours are gone before, so no call is sent into a closed one."""
_MAX_IDLE = 10_000
"""Connections kept for the next wave of calls; each costs a handshake to make."""
_LET_GO_S = 0.001
_BLIND_S = 0.01
_MOST_LOOKS = 500
_THREADS = "/proc/self/task"
_MAX_CERTIFICATES = 16 * 1024 * 1024

_LOGGERS = ("pyqwest", "pyqwest.access")


class _WithoutQueries(logging.Filter):
    """The client logs URLs at DEBUG, and a query may hold a key."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if "?" in message:
            record.msg, record.args = re.sub(r"\?\S+", "?[redacted]", message), ()
        return True


_without_queries = _WithoutQueries()

_shared: dict[object, HTTPTransport | SyncHTTPTransport] = {}


class Client:
    """Calls one endpoint, in whichever process, thread and event loop."""

    def __init__(
        self, url: str, headers: Mapping[str, str], environment: Mapping[str, str], proxy: Proxy | None
    ) -> None:
        """Raises `ConfigurationError` where the environment names certificates that cannot be read."""
        self._url = url
        self._fields = list(headers.items())
        tls = url.startswith("https:") or (proxy is not None and proxy.tls)
        self._certificates = read_certificates(environment) if tls else None
        self._tls = tls
        self._proxy = proxy
        if "?" in url:
            for name in _LOGGERS:
                logging.getLogger(name).addFilter(_without_queries)
        self._begin()

    def post(self, body: bytes) -> Awaitable[Response]:
        """Raises one of `lost` where no answer comes."""
        if client_library() is not self._library:
            self._begin()
        return self._execute(self._request("POST", self._url, self._headers, body))

    def get(self, url: str) -> Awaitable[Response]:
        """Asks for what is at another URL of the same endpoint; as `post`."""
        if client_library() is not self._library:
            self._begin()
        return self._execute(self._request("GET", url, self._headers))

    def send(self, method: str, url: str, fields: Sequence[tuple[str, str]], body: bytes) -> Awaitable[Response]:
        """Sends what somebody else wrote, with its own headers; as `post`."""
        if client_library() is not self._library:
            self._begin()
        return self._execute(self._request(method, url, self._library.Headers(fields), body or None))

    def send_blocking(
        self, method: str, url: str, fields: Sequence[tuple[str, str]], body: bytes, timeout_s: float | None
    ) -> SyncResponse:
        """As `send`, for a thread without an event loop, which waits for the beginning of the answer, or so long."""
        if client_library() is not self._library:
            self._begin()
        request = self._library.SyncRequest(method, url, self._library.Headers(fields), body or None)
        transport = blocking_transport(self._certificates, self._proxy, tls=self._tls)
        with self.patience(timeout_s):
            return transport.execute_sync(request)

    def patience(self, timeout_s: float | None) -> AbstractContextManager[None]:
        """Within it, what a thread waits for takes at most so long."""
        return nullcontext() if timeout_s is None else self._library.set_sync_timeout(timeout_s)

    def _begin(self) -> None:
        """Takes the library, and a transport, of this process."""
        self._library = library = client_library()
        self._request = library.Request
        self._headers = library.Headers(self._fields)
        self._execute = shared_transport(self._certificates, self._proxy, tls=self._tls).execute
        self.unreadable: type[Exception] = library.ReadError
        self.lost = (OSError, RuntimeError, RemoteProtocolError, library.ReadError, library.WriteError)
        """What the HTTP client raises; its builder errors are RuntimeErrors."""


def forget_transports() -> None:
    """What comes next opens connections of its own."""
    _shared.clear()


def let_go() -> None:
    """Waits until the client's threads have given back the objects of the calls that have just ended. It takes them a
    millisecond, or as long as a loaded machine leaves them none, and an interpreter before 3.14 that is finalized
    meanwhile aborts. A thread that has nothing left to do sleeps, and Linux says so; elsewhere a wait that is mostly
    long enough has to do."""
    for _ in range(_MOST_LOOKS):
        time.sleep(_LET_GO_S)  # whoever waits for the interpreter has it now, or can run at least
        try:
            others = [thread for thread in os.listdir(_THREADS) if int(thread) != threading.get_native_id()]
        except OSError:
            time.sleep(_BLIND_S)
            return
        if not any(map(_runs, others)):
            return


def _runs(thread: str) -> bool:
    """Whether a thread of this process has a processor, or waits for one."""
    try:
        with open(f"{_THREADS}/{thread}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"R"  # a name may hold parentheses
    except OSError:
        return False


def shared_transport(certificates: bytes | None, proxy: Proxy | None, *, tls: bool) -> HTTPTransport:
    """The process's transport for these certificates and this proxy: what comes next finds the connections still open,
    whichever run, event loop or thread opened them. They close themselves `IDLE_S` after their last call."""
    return _kept(certificates, proxy, tls, blocking=False)


def blocking_transport(certificates: bytes | None, proxy: Proxy | None, *, tls: bool) -> SyncHTTPTransport:
    """As `shared_transport`, for threads without an event loop."""
    return _kept(certificates, proxy, tls, blocking=True)


def _kept(certificates: bytes | None, proxy: Proxy | None, tls: bool, *, blocking: bool) -> Any:
    library = client_library()
    key = library, blocking, tls, certificates, proxy
    if key not in _shared:
        if not _shared:
            atexit.register(let_go)
        kind = library.SyncHTTPTransport if blocking else library.HTTPTransport
        _shared[key] = _new_transport(library, kind, certificates, proxy)
    return _shared[key]


def _new_transport(library: Any, kind: Any, certificates: bytes | None, proxy: Proxy | None) -> Any:
    # Where a client is given no proxy, it looks for one in the environment itself. So it gets one for no host; to it,
    # `*` stands for names only.
    through = library.Proxy(proxy.url) if proxy else library.Proxy("http://127.0.0.1:9", no_proxy="*,0.0.0.0/0,::/0")
    try:
        return kind(
            http_version=library.HTTPVersion.HTTP1,  # HTTP/2: calls beyond a server's streams wait unseen by us
            tls_ca_cert=certificates,
            tls_include_system_certs=certificates is None,
            proxy=through,
            connect_timeout=CONNECT_TIMEOUT_S,
            pool_idle_timeout=IDLE_S,
            pool_max_idle_per_host=_MAX_IDLE,
            enable_gzip=False,  # it would give the first member of several, and no sign that there are more
            follow_redirects=False,  # a POST answered 302 would be repeated elsewhere, prompt included
            enable_cookie_store=False,
            enable_otel=False,
        )
    except (ValueError, RuntimeError) as error:
        raise ConfigurationError(
            f"the HTTP client cannot be set up: {error}",
            hint="check the certificates that SSL_CERT_FILE or SSL_CERT_DIR names",
        ) from None


def read_certificates(environment: Mapping[str, str]) -> bytes | None:
    """The authorities to trust instead of the system's, as PEM; None where the environment names none.

    SSL_CERT_FILE and SSL_CERT_DIR (directories, separated as in PATH) count together, as OpenSSL has it; without them
    REQUESTS_CA_BUNDLE, then CURL_CA_BUNDLE, as widespread tools have it.
    """
    chosen = [name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if environment.get(name)]
    if not chosen:
        chosen = [name for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if environment.get(name)][:1]
    if not chosen:
        return None
    found: list[bytes] = []
    for name in chosen:
        paths = environment[name].split(os.pathsep) if name == "SSL_CERT_DIR" else [environment[name]]
        pieces = [piece for path in paths if path for piece in _pem_of(name, Path(path))]
        if not pieces:
            raise ConfigurationError(f"{name} names {environment[name]}, which holds no certificate in PEM form")
        found += pieces
    return b"\n".join(found)


def _pem_of(variable: str, path: Path) -> list[bytes]:
    try:
        files = sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path]
        contents = [read_regular(file, _MAX_CERTIFICATES) for file in files]
    except OSError as error:
        raise ConfigurationError(f"{variable} names {path}, which cannot be read: {error.strerror}") from None
    return [content for content in contents if b"-----BEGIN CERTIFICATE-----" in content]


async def read_content(response: Response, limit: int) -> bytes | bytearray:
    """The content, unpacked. Raises `TooLargeError`, and has closed the response, once it is longer than `limit`; and
    `zlib.error` where it is damaged."""
    content = bytearray()
    length = _stated_length(response.headers)
    async for chunk in response.content:
        content += chunk
        if len(content) > limit:
            await response.aclose()
            raise TooLargeError
        if len(content) == length:
            break  # the iterator's own end is another round trip to the client's thread
    return unpacked(content, ",".join(response.headers.getall("content-encoding")), limit)


def _stated_length(headers: Headers) -> int | None:
    """How long the content is, where the headers say so. What the client unpacks itself comes without a length."""
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else None
