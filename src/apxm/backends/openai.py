"""Any endpoint that speaks OpenAI's chat completions: OpenAI, vLLM, Ollama, llama.cpp, LM Studio, OpenRouter, …

Over pyqwest, without a vendor's SDK: the client decides how far a fan-out scales (docs/design/0002-backends.md).
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache, partial
from http import HTTPStatus
from typing import TypeVar

import msgspec
from pyqwest import Response

from apxm.backends.chat import MalformedAnswerError, NoCompletionError, decode_answer, encode_call
from apxm.backends.chat_stream import ChatStream
from apxm.backends.choice import UnreadableAnswerError
from apxm.backends.content import TooLargeError
from apxm.backends.endpoint import openai_info, parse_endpoint
from apxm.backends.endpoint_errors import MAX_ERROR_BODY, STARTING_S, TOO_LONG, EndpointErrors, status_text
from apxm.backends.error_report import read_error_body
from apxm.backends.models import Models, decode_models
from apxm.backends.protocol import SCHEMA_REFUSED, TOOLS_REFUSED, ModelAnswer, ModelRequest, Tell
from apxm.backends.proxies import proxy_for
from apxm.backends.request_headers import redactor, request_headers
from apxm.backends.response_headers import service_time, should_retry
from apxm.backends.settings import OpenAISettings
from apxm.backends.transport import Client, read_content
from apxm.errors import BackendError

T = TypeVar("T")

_MIB = 1024 * 1024
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
        self._shown = endpoint.shown
        self._chat_url = endpoint.chat_url
        self._models_url = endpoint.models_url
        redact = redactor(settings, endpoint, headers, environment)
        self._shown_model = lru_cache(maxsize=64)(redact)
        self._tells_usage = True
        """Whether a stream is asked for its usage, which some endpoints refuse."""
        self._max_answer = int(settings.max_answer_mib * _MIB)
        self._read = partial(read_content, limit=self._max_answer)
        proxy = proxy_for(endpoint.chat_url, environment)
        self._client = Client(endpoint.chat_url, headers, environment, proxy)
        patience_s = STARTING_S if endpoint.local and settings.retries is None else None
        self._errors = EndpointErrors(
            name, endpoint.shown, redact, proxy, lambda: self._client.unreadable, _hints(settings), patience_s
        )
        self.limits = settings.limits
        self.can_reason: bool = settings.can_reason
        self.can_see = settings.can_see
        self.can_read_pdf = settings.can_read_pdf
        self.temperature = settings.temperature
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
                content = content if len(content) <= MAX_ERROR_BODY else TOO_LONG
                raise self._errors.failed(response.status, headers, content) from None
            words = f"answered {response.status}, but {error}"
            if isinstance(error, MalformedAnswerError):
                words += f"; its content type is {headers.get('content-type') or 'not given'}"
            retryable = error.retryable and asked_again
            raise self._errors.error(error.kind, words, retryable=retryable, hint=error.hint) from None
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
            raise self._errors.error("unreadable_answer", words)
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
            raise self._errors.lost(error) from None
        except zlib.error as error:
            raise self._errors.error("unreadable_answer", f"sent an answer that cannot be read: {error}") from None
        except TooLargeError:
            limit = f"{self._settings.max_answer_mib:g} MiB"
            raise self._errors.error("too_large", f"sent an answer of more than {limit}") from None

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
        if 300 <= status < 400:
            return self._errors.redirected(status, response.headers.get("location"))
        try:
            content = await read_content(response, MAX_ERROR_BODY)
        except (*self._client.lost, zlib.error):
            content = b""  # the status says enough
        except TooLargeError:
            content = TOO_LONG
        said = f"answered {status_text(status)}"
        if asks_schema and status in _UNSUPPORTED and _FORMAT_WORDS.search(content):
            return self._errors.error(
                SCHEMA_REFUSED, f"{said}: {read_error_body(content).words}",
                hint=f'structured = "instruction" in [backends.{self.info.name}] spares the question',
            )  # fmt: skip
        if offers and status in _UNSUPPORTED and _TOOL_WORDS.search(content):
            return self._errors.error(
                TOOLS_REFUSED, f"{said} to a call with tools: {read_error_body(content).words}", retryable=False,
                hint="let another `backend:` or `model:` answer; vLLM calls tools with --enable-auto-tool-choice and "
                "--tool-call-parser, llama.cpp with --jinja",
            )  # fmt: skip
        return self._errors.failed(status, response.headers, content)


def _hints(settings: OpenAISettings) -> dict[int, str]:
    """What may help where an endpoint answers with a status."""
    key = "check the backend's api_key" if settings.api_key else "the backend has no api_key"
    return {401: key, 403: key, 404: "check the endpoint (it mostly ends in /v1) and the model's name"}
