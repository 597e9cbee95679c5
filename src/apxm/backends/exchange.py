"""Calls of models that somebody else wrote, an SDK for instance: sent as they are by our HTTP client, and given back as
they come. What is read of them is what a run has to know: which model, how many tokens."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec import Struct
from pyqwest import Headers, Response

from apxm.backends.content import TooLargeError
from apxm.backends.endpoint import parse_endpoint
from apxm.backends.endpoint_errors import MAX_ERROR_BODY, STARTING_S, TOO_LONG, EndpointErrors
from apxm.backends.events import EventReader
from apxm.backends.protocol import MOST_TOKENS, UNKNOWN_USAGE, BackendInfo, Limits, Usage, plausible
from apxm.backends.proxies import proxy_for, proxy_secrets
from apxm.backends.redaction import Redactor
from apxm.backends.response_headers import service_time
from apxm.backends.secrets import is_telling
from apxm.backends.transport import Client, read_content
from apxm.errors import BackendError

Fields = tuple[tuple[str, str], ...]
"""Headers, in their order."""

_CALLS = {
    "/chat/completions": "chat.completions",
    "/completions": "completions",
    "/responses": "responses",
    "/embeddings": "embeddings",
    "/messages": "messages",
}
"""How the paths of calls end, the longest first, and what those calls are called."""
_NO_CALLS = "/threads/"
"""Under this, messages are kept, and no model is asked."""
_LIMITS_OF_ANSWERS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_FILES = re.compile(rb"data:[\w/+.;=-]{0,200};base64,[A-Za-z0-9+/=]+")
"""Images and files in the body of a call."""
_AROUND = 32
_MAX_ANSWER = 64 * 1024 * 1024
_EVENTS = "text/event-stream"
_DONE = b"[DONE]"
_END_S = 1.0
"""How long the end of a stream is waited for, once the endpoint has said that it is there: only then another call can
have the connection."""
_PACKED = "accept-encoding"
_NOT_PASSED_ON = frozenset({"connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding"})
"""Headers of an answer that speak of how it was sent."""
_SECRET = frozenset({"set-cookie"})
_OURS = frozenset({"connection", "content-length", "host", "transfer-encoding"})
"""Headers of a request that our client writes."""


class Sent(Struct, frozen=True):
    """How a request is sent, besides what it asks. It holds keys: nothing of it is written anywhere."""

    url: str
    headers: Fields
    content: bytes
    timeout_s: float | None
    """How long nothing may come; None where that does not matter."""
    parts: Parts | None
    """Who is given the answer as it comes."""


class HttpRequest(Struct, dict=True):
    """A call of a model, as an SDK wrote it. What is `sent` with it is no field, and so in no digest."""

    target: str
    """Its path and query."""
    body: dict[str, Any]

    if TYPE_CHECKING:
        sent: Sent = cast("Sent", None)

    @property
    def model(self) -> str:
        model = self.body.get("model")
        return model if isinstance(model, str) else ""

    @property
    def streams(self) -> bool:
        return self.body.get("stream") is True

    @cached_property
    def called(self) -> tuple[str, str]:
        """What kind of call it is, and the URL of its endpoint, which stands before that in its own."""
        path = urlsplit(self.target).path
        ending = next(ending for ending in _CALLS if path.endswith(ending))
        parts = urlsplit(self.sent.url)
        base = parts.path[: -len(ending)]
        return _CALLS[ending], urlunsplit((parts.scheme, parts.netloc, base, "", ""))

    def most_output(self, otherwise: int) -> int:
        """The most tokens of its answer; as many as `otherwise` where it does not say."""
        if self.called[0] == "embeddings":
            return 0
        said = (plausible(self.body.get(name), MOST_TOKENS) for name in _LIMITS_OF_ANSWERS)
        several = plausible(self.body.get("n"), MOST_TOKENS) or 1
        return several * next((most for most in said if most is not None), otherwise)

    def largest_input(self, limits: Limits) -> int:
        """The most tokens of what it asks: a token is at least a byte."""
        content = self.sent.content
        files = _FILES.findall(content)
        each = limits.pdf_tokens if any(file.startswith(b"data:application") for file in files) else limits.image_tokens
        return len(content) - sum(map(len, files)) + each * len(files) + _AROUND


class HttpAnswer(Struct, frozen=True):
    status: int
    headers: Fields
    body: bytes
    usage: Usage = UNKNOWN_USAGE
    service_ns: int | None = None


class RefusedCall(BackendError):  # noqa: N818  # as `BackendError`, of which it is one
    """A call that was answered with a status of failure; `answer` is all that was said."""

    answer: HttpAnswer


class Parts:
    """An answer that is given on as it comes: its beginning, then its pieces."""

    def __init__(self) -> None:
        self.status: int | None = None
        """None until its beginning is there."""
        self.headers: Fields = ()
        self.pieces: deque[bytes] = deque()
        self.told: Callable[[], object] = _nothing
        """Called whenever there is more."""
        self.hurry: Callable[[], object] = _nothing
        """Called when nobody wants the rest."""
        self.wanted = True

    def begin(self, status: int, headers: Fields) -> None:
        self.status, self.headers = status, headers
        self.told()

    def add(self, piece: bytes) -> None:
        self.pieces.append(piece)
        self.told()

    def close(self) -> None:
        """Nobody wants the rest: what came so far is the answer."""
        self.wanted = False
        self.hurry()


def _nothing() -> None: ...


def may_be_call(method: str, url: str) -> bool:
    """Whether a request is sent to where models are called."""
    path = urlsplit(url).path
    return method == "POST" and path.endswith(tuple(_CALLS)) and _NO_CALLS not in path


def model_call(method: str, url: str, headers: Fields, content: bytes, timeout_s: float | None) -> HttpRequest | None:
    """A request as a call of a model; None where it is something else."""
    if not may_be_call(method, url):
        return None
    try:
        body: object = msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    parts = urlsplit(url)
    request = HttpRequest(urlunsplit(("", "", parts.path, parts.query, "")), cast(dict[str, Any], body))
    request.sent = Sent(url, headers, content, timeout_s, Parts() if request.streams else None)
    return request


class Exchange:
    """An endpoint, as the requests of others are sent to it."""

    def __init__(self, name: str | None, base: str, limits: Limits, environment: Mapping[str, str]) -> None:
        """`base` is its URL; it is its name, too, where it has none. Raises `ConfigurationError`."""
        endpoint = parse_endpoint(base)
        self.shown = endpoint.shown
        self.name = name or endpoint.shown
        self.limits = limits
        self.info = BackendInfo(
            name=self.name, kind="http", model="", endpoint=endpoint.shown, description=endpoint.shown
        )
        self._secrets = (*endpoint.keys, *proxy_secrets(environment))
        self._proxy = proxy_for(base, environment)
        self._patience_s = STARTING_S if endpoint.local else None
        self.client = Client(base, {}, environment, self._proxy)
        self._errors_with = lru_cache(maxsize=8)(self._errors)

    async def send(self, request: HttpRequest) -> HttpAnswer:
        """Raises `BackendError`; what was given on in part is not worth another attempt."""
        sent = request.sent
        errors = self._errors_with(_keys(sent.headers))
        try:
            return await self._answered(request, errors)
        except BackendError as error:
            error.retryable &= sent.parts is None or sent.parts.status is None
            raise
        except zlib.error as error:
            raise errors.error("unreadable_answer", f"sent an answer that cannot be read: {error}") from None
        except TooLargeError:
            limit = f"{_MAX_ANSWER >> 20} MiB"
            raise errors.error("too_large", f"sent an answer of more than {limit}", retryable=False) from None

    async def _answered(self, request: HttpRequest, errors: EndpointErrors) -> HttpAnswer:
        sent, patience = request.sent, asyncio.timeout(request.sent.timeout_s)
        try:
            async with patience:
                fields = written(sent.headers, "identity" if request.streams else "gzip, zstd, br")
                response = await self.client.send("POST", sent.url, fields, sent.content)
                try:
                    if response.status >= 400:
                        raise await self._refused(response, errors)
                    if sent.parts is not None and _EVENTS in response.headers.get("content-type", "").lower():
                        content = await self._given_on(response, sent, sent.parts, patience)
                    else:
                        content = bytes(await read_content(response, _MAX_ANSWER))
                except BaseException:
                    await response.aclose()
                    raise
        except TimeoutError as error:
            if patience.expired():
                raise errors.error("timeout", f"sent nothing for {sent.timeout_s:g} s") from None
            raise errors.lost(error) from None
        except self.client.lost as error:
            raise errors.lost(error) from None
        return _answer(response, content)

    async def _refused(self, response: Response, errors: EndpointErrors) -> RefusedCall:
        try:
            content = bytes(await read_content(response, MAX_ERROR_BODY))
        except (*self.client.lost, zlib.error):
            content = b""  # the status says enough
        except TooLargeError:
            content = TOO_LONG
        return refused(errors.failed(response.status, response.headers, content), _answer(response, content))

    async def _given_on(self, response: Response, sent: Sent, parts: Parts, patience: asyncio.Timeout) -> bytes:
        """A stream, given on as it comes; as far as somebody wants it."""
        loop, whole, over = asyncio.get_running_loop(), bytearray(), False

        def hurry() -> None:
            if not over:
                patience.reschedule(loop.time() + (_END_S if whole.rstrip().endswith(_DONE) else 0))

        parts.hurry = partial(loop.call_soon, hurry)
        parts.begin(response.status, passed_on(response.headers))
        try:
            async for piece in response.content:
                found = bytes(piece)
                whole += found
                if len(whole) > _MAX_ANSWER:
                    raise TooLargeError
                if sent.timeout_s is not None and parts.wanted:
                    patience.reschedule(loop.time() + sent.timeout_s)
                parts.add(found)
        except asyncio.CancelledError:
            if parts.wanted or not patience.expired():
                raise
            await response.aclose()
        finally:
            over = True
        return bytes(whole)

    def _errors(self, keys: tuple[str, ...]) -> EndpointErrors:
        redact = Redactor([*self._secrets, *keys])
        return EndpointErrors(
            self.name, self.shown, redact, self._proxy, lambda: self.client.unreadable, {}, self._patience_s
        )

    def errors(self, headers: Fields) -> EndpointErrors:
        """What goes wrong with a request that has these headers."""
        return self._errors_with(_keys(headers))


def written(headers: Fields, packed: str | None = None) -> Fields:
    """The headers of a request but for those that our client writes; `packed` is how an answer may be compressed."""
    if packed is None:
        return tuple((name, value) for name, value in headers if name.lower() not in _OURS)
    return (*((name, value) for name, value in headers if name.lower() not in {*_OURS, _PACKED}), (_PACKED, packed))


def refused(error: BackendError, answer: HttpAnswer) -> RefusedCall:
    """The error, with the answer that it was."""
    found = RefusedCall(
        error.kind, error.message, retryable=error.retryable, hint=error.hint, retry_after_s=error.retry_after_s,
        overloaded=error.overloaded,
    )  # fmt: skip
    found.answer = answer
    return found


def _keys(headers: Fields) -> tuple[str, ...]:
    """What the headers of a request hold that must not be shown."""
    telling = [value for name, value in headers if is_telling(name.lower())]
    return tuple(part for value in telling for part in (value, *value.split()[1:]))


def headers_of(lines: bytes) -> Headers:
    """Headers as they are written, a line each."""
    pairs = (line.partition(": ") for line in lines.decode("latin-1").splitlines())
    return Headers([(name.lower(), value) for name, _, value in pairs])


def passed_on(headers: Headers) -> Fields:
    """The headers of an answer that say something of what it says."""
    return tuple((name, value) for name, value in headers.items() if name.lower() not in _NOT_PASSED_ON)


def kept(headers: Fields) -> Fields:
    """Those that a journal may hold."""
    return tuple((name, value) for name, value in headers if name.lower() not in _SECRET)


def _answer(response: Response, content: bytes) -> HttpAnswer:
    timing = response.trailers.getall("server-timing")
    return answer_of_status(response.status, response.headers, timing, content)


def answer_of_status(status: int, headers: Headers, timing: Sequence[str], content: bytes) -> HttpAnswer:
    """An answer that came whole; `timing` is what stood behind it of the time that the endpoint worked."""
    service_ns = service_time((*headers.getall("server-timing"), *timing), headers.get("openai-processing-ms"))
    is_stream = _EVENTS in headers.get("content-type", "").lower()
    return HttpAnswer(status, passed_on(headers), content, usage_of(content, is_stream), service_ns)


# --- usage ---------------------------------------------------------------------------------------------------------

_INPUT = ("prompt_tokens", "input_tokens")
_OUTPUT = ("completion_tokens", "output_tokens")
_decode = msgspec.json.Decoder().decode


def usage_of(content: bytes, is_stream: bool) -> Usage:
    """The tokens that an answer says it took, as any of the kinds of calls writes them; of a stream what it said
    last."""
    given, taken = None, None
    for said in _said(content, is_stream):
        given = next((found for name in _INPUT if (found := plausible(said.get(name), MOST_TOKENS)) is not None), given)
        taken = next(
            (found for name in _OUTPUT if (found := plausible(said.get(name), MOST_TOKENS)) is not None), taken
        )
        if taken is None and given is not None and given == said.get("total_tokens"):
            taken = 0  # vectors
    return Usage(given, taken)


def _said(content: bytes, is_stream: bool) -> Iterator[dict[str, Any]]:
    """Each `usage` in an answer."""
    if b'"usage"' not in content:
        return
    pieces = [content]
    if is_stream:
        reader = EventReader()
        pieces = [event.data for event in (*reader.feed(content), *reader.end()) if b'"usage"' in event.data]
    for piece in pieces:
        try:
            found: object = _decode(piece)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        for holder in (found, *(_field(found, name) for name in ("response", "message"))):
            usage = _field(holder, "usage")
            if isinstance(usage, dict):
                yield cast(dict[str, Any], usage)


def _field(holder: object, name: str) -> object:
    return cast(dict[str, object], holder).get(name) if isinstance(holder, dict) else None
