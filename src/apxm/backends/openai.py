"""Any endpoint that speaks OpenAI's chat completions: OpenAI, vLLM, Ollama, llama.cpp, LM Studio, OpenRouter, …

Over pyqwest, without a vendor's SDK: the client decides how far a fan-out scales (docs/design/0002-backends.md).
"""

from __future__ import annotations

import asyncio
import errno
import re
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache, partial
from http import HTTPStatus
from typing import TypeVar

import msgspec
from pyqwest import Headers, Response

from apxm.backends.chat import MalformedAnswerError, NoCompletionError, decode_answer, encode_call
from apxm.backends.chat_stream import ChatStream
from apxm.backends.choice import UnreadableAnswerError
from apxm.backends.content import TooLargeError, unpacked
from apxm.backends.endpoint import openai_info, parse_endpoint, shown_origin
from apxm.backends.error_report import read_error_body
from apxm.backends.models import Models, decode_models
from apxm.backends.protocol import SCHEMA_REFUSED, TOOLS_REFUSED, ModelAnswer, ModelRequest, Tell
from apxm.backends.proxies import proxy_for
from apxm.backends.request_headers import redactor, request_headers
from apxm.backends.response_headers import retry_after, service_time, should_retry
from apxm.backends.settings import OpenAISettings
from apxm.backends.transport import Client
from apxm.errors import BackendError
from apxm.source import printable, shortened

T = TypeVar("T")

_MIB = 1024 * 1024
_MAX_ERROR_BODY = 64 * 1024
_TOO_LONG = b"(an error page of more than 64 KiB)"
"""A body cut somewhere could show half of a key, which no redactor would know."""
_SHOWN = 300
"""Most characters of other people's words in an error of ours."""
_FOR_NOW = frozenset({302, 303, 307})
"""Redirects that are not for good: a page in place of an endpoint that will be back."""
_RETRYABLE = frozenset({408, 429})
_CONNECTING = "client error (Connect): "
"""How the words of what went wrong begin where there was no connection yet, so that no call was sent."""
_REFUSED = f"(os error {errno.ECONNREFUSED})"
"""How the HTTP client ends what it says where nobody listens at the port."""
_UNSUPPORTED = frozenset({400, 422, 500, 501})
"""How endpoints refuse a field that they do not take: older servers of llama.cpp do so with 500."""
_FORMAT_WORDS = re.compile(
    rb"response.?format|json.?schema|structured.?output|guided|grammar|initialize sampler", re.IGNORECASE
)
"""What they speak of where it is the format of the answer that they do not take."""
_TOOL_WORDS = re.compile(
    rb"(?s)(?=.*(?:\btools?\b|tool.?(?:choice|call)|functions?.?call))"
    rb".*(?:support|unknown|unrecognized|unexpected|extra|permitted|allowed|enable|require)",
    re.IGNORECASE,
)
"""What they say where they take no tools: they speak of those, and of what is not there."""
_without_schemas: set[tuple[str, str]] = set()
"""URLs and models that refused a schema, as this process found out."""
_STARTING_S = 2.0
"""How long a server on this machine that does not listen yet is waited for, unless the settings say how often."""
_NO_FILE_LEFT = tuple(f"(os error {number})" for number in (errno.EMFILE, errno.ENFILE))
"""How the HTTP client ends what it says of such an error."""
_EVENTS = "text/event-stream"
_END_S = 1.0
"""How long the end of a stream is waited for, once the endpoint has said that it is there: it may bring the time that
the endpoint worked, and only then another call can have the connection."""


class OpenAIBackend:
    """Coroutine style; works in any event loop, also in several at a time."""

    def __init__(
        self, name: str, settings: OpenAISettings, environment: Mapping[str, str], *, where: str | None = None
    ) -> None:
        """Reads the keys, certificates and proxies it needs. Raises `ConfigurationError`; `where` names the file."""
        endpoint = parse_endpoint(settings.endpoint, setting=f"backends.{name}.endpoint", where=where)
        headers = request_headers(name, settings, environment, endpoint.authorization, where)
        self._settings = settings
        self._patience_s = _STARTING_S if endpoint.local and settings.retries is None else None
        self._shown = endpoint.shown
        self._chat_url = endpoint.chat_url
        self._models_url = endpoint.models_url
        self._redact = redactor(settings, endpoint, headers, environment)
        self._shown_model = lru_cache(maxsize=64)(self._redact)
        self._tells_usage = True
        """Whether a stream is asked for its usage, which some endpoints refuse."""
        self._max_answer = int(settings.max_answer_mib * _MIB)
        self._read = partial(_read, limit=self._max_answer)
        self._proxy = proxy_for(endpoint.chat_url, environment)
        self._client = Client(endpoint.chat_url, headers, environment, self._proxy)
        self.limits = settings.limits
        self.can_reason: bool = settings.can_reason
        self.can_see = settings.can_see
        self.can_read_pdf = settings.can_read_pdf
        self.info = openai_info(name, settings, endpoint)

    async def call(self, request: ModelRequest) -> ModelAnswer:
        response, content = await self._asked(request, self._read)
        return self._answer(response, content, partial(decode_answer, content, offered=bool(request.tools)))

    async def call_stream(self, request: ModelRequest, tell: Tell) -> ModelAnswer:
        usage, offered = self._tells_usage, bool(request.tools)
        try:
            response, found = await self._asked(
                request, partial(self._read_stream, tell, offered), stream=True, stream_options=usage
            )
        except BackendError as error:
            if not usage or error.kind != "http_status" or "stream_options" not in error.message:
                raise
            self._tells_usage = False  # it knows no such field, so it is not asked again by any call
            return await self.call_stream(request, tell)
        if isinstance(found, ChatStream):
            return self._answer(response, b"", found.answer, response.trailers.getall("server-timing"))
        answer = self._answer(response, found, partial(decode_answer, found, offered=offered))
        tell(answer.text)
        return answer

    async def _asked(
        self, request: ModelRequest, read: Callable[[Response], Awaitable[T]], **options: bool
    ) -> tuple[Response, T]:
        """Sends a call, whose format `options` say more of, and gives what is `read` of its answer. Raises
        `BackendError`."""
        structured, place = self._settings.structured, (self._chat_url, request.model or self._settings.model)
        asks = request.answer is not None and not request.offers
        asks = asks and structured == "auto" and place not in _without_schemas
        body = encode_call(request, self._settings, takes_schema=asks or structured == "schema", **options)
        try:
            send = partial(self._client.post, body)
            return await self._received(send, read, asks_schema=asks, offers=bool(request.tools))
        except BackendError as error:
            if error.kind == SCHEMA_REFUSED:
                _without_schemas.add(place)
            raise

    def _answer(
        self,
        response: Response,
        content: bytes | bytearray,
        read: Callable[[int | None], ModelAnswer],
        timing: Sequence[str] = (),
    ) -> ModelAnswer:
        """What `read` makes of an answer, given the time that the endpoint says to have worked, in the headers or in
        the `timing` behind it. Raises `BackendError`."""
        headers = response.headers
        service_ns = service_time((*headers.getall("server-timing"), *timing), headers.get("openai-processing-ms"))
        asked_again = should_retry(headers.get("x-should-retry")) is not False
        try:
            answer = read(service_ns)
        except UnreadableAnswerError as error:
            if isinstance(error, NoCompletionError) and response.status != HTTPStatus.OK:
                raise self._failed(response, content if len(content) <= _MAX_ERROR_BODY else _TOO_LONG) from None
            words = f"answered {response.status}, but {error}"
            if isinstance(error, MalformedAnswerError):
                words += f"; its content type is {headers.get('content-type') or 'not given'}"
            retryable = error.retryable and asked_again
            raise self._error(error.kind, words, retryable=retryable, hint=error.hint) from None
        if answer.model is not None and (shown := self._shown_model(answer.model)) != answer.model:
            answer = msgspec.structs.replace(answer, model=shown)  # its text is left as it is
        return answer

    async def models(self) -> list[str]:
        """The names of the models that the endpoint lists. Raises `BackendError`."""
        return (await self._models()).names

    async def listed(self) -> list[str] | None:
        """The only models that it has; None where it may be asked for others too. Raises `BackendError`."""
        if self._settings.any_model:
            return None
        found = await self._models()
        return None if found.any_name else found.names

    async def _models(self) -> Models:
        response, content = await self._received(partial(self._client.get, self._models_url), self._read)
        found = decode_models(content)
        if found is None:
            words = f"answered {response.status} at {self._shown}/models, but no list of models"
            raise self._error("unreadable_answer", words)
        return found

    async def close(self) -> None:
        """Does nothing: connections stay with the process, for whoever calls the same endpoint next."""

    async def _received(
        self,
        send: Callable[[], Awaitable[Response]],
        read: Callable[[Response], Awaitable[T]],
        *,
        asks_schema: bool = False,
        offers: bool = False,
    ) -> tuple[Response, T]:
        """An answer with a status of success, and what is `read` of it. Raises `BackendError`; `asks_schema` says that
        nobody knows yet whether the endpoint takes the schema that is sent, `offers` that tools are."""
        try:
            found = await send()
            # Not `async with`: to leave one well costs as much as to read an answer, and gives nothing back.
            try:
                if not 200 <= found.status < 300:
                    raise await self._refused(found, asks_schema=asks_schema, offers=offers)
                return found, await read(found)
            except BaseException:
                await found.aclose()
                raise
        except self._client.lost as error:
            raise self._lost(error) from None
        except zlib.error as error:
            raise self._error("unreadable_answer", f"sent an answer that cannot be read: {error}") from None
        except TooLargeError:
            limit = f"{self._settings.max_answer_mib:g} MiB"
            raise self._error("too_large", f"sent an answer of more than {limit}") from None

    async def _read_stream(self, tell: Tell, offered: bool, response: Response) -> ChatStream | bytes | bytearray:
        """The answer as it comes; its content where it is no stream. Raises what `_read` raises."""
        if _EVENTS not in response.headers.get("content-type", "").lower():
            return await self._read(response)
        stream, length = ChatStream(tell, offered=offered), 0
        if response.headers.get("content-encoding"):
            stream.feed(bytes(await self._read(response)))
            return stream
        try:
            async with asyncio.timeout(None) as patience:
                async for piece in response.content:
                    length += len(piece)
                    if length > self._max_answer:
                        raise TooLargeError
                    stream.feed(bytes(piece))
                    if stream.failed:
                        break
                    if stream.done and patience.when() is None:
                        patience.reschedule(asyncio.get_running_loop().time() + _END_S)
            if not stream.failed:
                return stream
        except TimeoutError:
            if not stream.done:
                raise
        await response.aclose()
        return stream

    async def _refused(self, response: Response, *, asks_schema: bool, offers: bool) -> BackendError:
        """The error for an answer whose status is not one of success."""
        status = response.status
        said = f"answered {_status(status)}"
        if 300 <= status < 400:
            target = response.headers.get("location")
            to = f" to {shown_origin(target)}" if target else ""
            return self._error(
                "redirect", f"{said}: a redirect{to}, which is not followed", retryable=status in _FOR_NOW,
                hint="write the final address as the endpoint",
            )  # fmt: skip
        try:
            content = await _read(response, _MAX_ERROR_BODY)
        except (*self._client.lost, zlib.error):
            content = b""  # the status says enough
        except TooLargeError:
            content = _TOO_LONG
        if asks_schema and status in _UNSUPPORTED and _FORMAT_WORDS.search(content):
            return self._error(
                SCHEMA_REFUSED, f"{said}: {read_error_body(content).words}",
                hint=f'structured = "instruction" in [backends.{self.info.name}] spares the question',
            )  # fmt: skip
        if offers and status in _UNSUPPORTED and _TOOL_WORDS.search(content):
            return self._error(
                TOOLS_REFUSED, f"{said} to a call with tools: {read_error_body(content).words}", retryable=False,
                hint="let another `backend:` or `model:` answer; vLLM calls tools with --enable-auto-tool-choice and "
                "--tool-call-parser, llama.cpp with --jinja",
            )  # fmt: skip
        return self._failed(response, content)

    def _failed(self, response: Response, content: bytes | bytearray) -> BackendError:
        """The error for an answer that is none, `content` being all it says."""
        status, headers = response.status, response.headers
        said = read_error_body(content)
        asked = should_retry(headers.get("x-should-retry"))
        retryable = (status in _RETRYABLE or status >= 500) if asked is None else asked
        pause = retry_after(headers.get("retry-after-ms"), headers.get("retry-after"))
        if said.out_of_money:
            retryable, pause = False, None  # others need not wait either, to be told the same
        # A limit of its rate is one that time heals; only then are fewer calls at a time any better.
        limited = status == HTTPStatus.TOO_MANY_REQUESTS and not said.out_of_money
        answered = f"answered {_status(status)}"
        return self._error(
            "rate_limited" if limited else "http_status",
            f"{answered}: {said.words}" if said.words.strip() else answered,
            retryable=retryable, hint=self._hint(status), retry_after_s=pause,
        )  # fmt: skip

    def _hint(self, status: int) -> str | None:
        if status in (401, 403):
            return "check the backend's api_key" if self._settings.api_key else "the backend has no api_key"
        if status == 404:
            return "check the endpoint (it mostly ends in /v1) and the model's name"
        return None

    def _lost(self, error: Exception) -> BackendError:
        """The error for a call that brought no whole answer."""
        # "Request failed: error sending request for url (…): what happened": the URL is ours to name.
        words = str(error)
        detail = words.partition("): ")[2] or words
        if isinstance(error, TimeoutError):
            return self._error("timeout", f"did not answer in time: {detail}", retryable=True)
        if isinstance(error, self._client.unreadable):
            return self._error("unreadable_answer", f"sent an answer that cannot be read: {detail}", retryable=True)
        if detail.endswith(_NO_FILE_LEFT):
            return self._error(
                "open_files", f"could not be called, as every file that may be open is: {detail}", retryable=True,
                hint="ulimit -n raises how many may be, --max-concurrency lowers how many are needed",
            )  # fmt: skip
        reason = detail.removeprefix(_CONNECTING)
        through = self._proxy and f"it is called through {self._proxy.shown}, as {self._proxy.variable} says"
        if reason == detail:
            return self._error("connection", f"was lost: {detail}", retryable=True, hint=through)
        untrusted = "certificate" in reason
        refused = reason.endswith(_REFUSED)
        if untrusted:
            hint = "SSL_CERT_FILE names a file of further authorities to trust"
        else:
            hint = through or ("nothing listens at that port: is the server running?" if refused else None)
        return self._error(
            "unreachable", f"could not be reached: {reason}", retryable=not untrusted, hint=hint,
            patience_s=self._patience_s if refused else None,
        )  # fmt: skip

    def _error(
        self,
        kind: str,
        words: str,
        *,
        retryable: bool = True,
        hint: str | None = None,
        retry_after_s: float | None = None,
        patience_s: float | None = None,
    ) -> BackendError:
        """One line that names the backend and its endpoint, with every secret taken out before anything is cut."""
        text = " ".join(printable(self._redact.beginning(words).replace("\n", " ")).split())
        message = f"{self.info.name} ({self._shown}) {shortened(text, _SHOWN)}"
        return BackendError(
            kind, message, retryable=retryable, hint=hint, retry_after_s=retry_after_s, patience_s=patience_s
        )


async def _read(response: Response, limit: int) -> bytes | bytearray:
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


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
