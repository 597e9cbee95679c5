"""What a client sends to ``/v1/chat/completions``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct

from apxm.backends.protocol import ModelAnswer, ModelRequest
from apxm.simulator.bodies import BadRequestError, Limit, Nothing, StreamOptions, passing_over, wants_usage
from apxm.simulator.chat_answer import ChatAnswer
from apxm.simulator.logprobs import MOST_ALTERNATIVES
from apxm.simulator.messages import FunctionName, Message, any_object, as_model_request, told_schema
from apxm.simulator.outputs import Sampling, Say, calls_of, outputs, usage_of, with_format
from apxm.simulator.tools import Function, Mode, Offer, ToolChoice, functions_to_call

_MOST_CHOICES = 128

Stop = Annotated[str, Meta(min_length=1)]
Choices = Annotated[int, Meta(ge=1, le=_MOST_CHOICES)] | None


class JsonSchema(Struct):
    name: str
    schema: Raw = Raw()
    strict: bool | None = None
    description: str | None = None


class ResponseFormat(Struct, forbid_unknown_fields=True):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None
    schema: Raw = Raw()
    """The schema of a ``json_object``, as some servers take it."""


class Tool(Struct):
    type: Literal["function"]
    function: Function


class ChatToolReference(Struct):
    type: Literal["function"]
    function: FunctionName


class AllowedTools(Struct):
    mode: Literal["auto", "required"]
    tools: list[ChatToolReference]


class ChatToolChoice(Struct):
    type: Literal["function", "allowed_tools"]
    function: FunctionName | None = None
    allowed_tools: AllowedTools | None = None


_OF_OPENAI = (
    "frequency_penalty logit_bias metadata presence_penalty prompt_cache_key prompt_cache_options "
    "prompt_cache_retention reasoning_effort safety_identifier seed service_tier store temperature top_p user verbosity"
)
_OF_OTHER_SERVERS = "cache_prompt chat_template_kwargs min_p repetition_penalty top_k typical_p"


class ChatRequest(passing_over(f"{_OF_OPENAI} {_OF_OTHER_SERVERS}"), forbid_unknown_fields=True):
    messages: list[Message] | None = None
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Limit = None
    max_completion_tokens: Limit = None
    n: Choices = None
    stop: Stop | list[Stop] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MOST_ALTERNATIVES)] | None = None
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = None
    tool_choice: Mode | ChatToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Function] | None = None
    function_call: Literal["none", "auto"] | FunctionName | None = None
    modalities: list[Literal["text"]] | None = None

    audio: Nothing = None
    moderation: Nothing = None
    prediction: Nothing = None
    web_search_options: Nothing = None

    @property
    def max_output_tokens(self) -> int | None:
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens


class ChatCall:
    """A chat request."""

    __slots__ = ("_alternatives", "_request", "_sampling", "asked", "stream")

    def __init__(self, request: ChatRequest) -> None:
        """Raises `BadRequestError`."""
        if not request.messages:
            found = "an empty one" if request.messages == [] else "none"
            raise BadRequestError(
                f"'messages' is required: expected a list of at least one message, found {found}.", "messages"
            )
        self._request = request
        self.stream = bool(request.stream)
        self.asked = as_model_request(request.messages, request.model, request.max_output_tokens)
        self._alternatives = _alternatives(request)
        offers = request.tools or request.functions or request.tool_choice or request.function_call
        called = _called(request) if offers else ()
        calls = calls_of(called, self.asked, request.n or 1)
        if not calls:
            self.asked = with_format(self.asked, *_schema(request.response_format, self.asked))
        self._sampling = Sampling(request.n or 1, listed(request.stop), request.max_output_tokens, calls)

    def answer(self, number: int, created: int, said: ModelAnswer, say: Say) -> ChatAnswer:
        request = self._request
        made = outputs(self.asked, self._sampling, said, say, number)
        return ChatAnswer(
            id=f"chatcmpl-simulated-{number}",
            created=created,
            model=said.model or "",
            outputs=made,
            usage=usage_of(said.usage, made),
            alternatives=self._alternatives,
            wants_usage=wants_usage(request.stream_options),
            older=bool(request.functions),
        )


def listed(stop: str | list[str] | None) -> Sequence[str]:
    return (stop,) if isinstance(stop, str) else stop or ()


def _alternatives(request: ChatRequest) -> int | None:
    """How many are asked for with each token; None where no probabilities are."""
    if not request.logprobs:
        if request.top_logprobs:
            raise BadRequestError("'top_logprobs' needs 'logprobs' to be true.", "top_logprobs")
        return None
    return request.top_logprobs or 0


def _called(request: ChatRequest) -> Sequence[Offer]:
    offered = [Offer(f, f"functions[{i}].parameters") for i, f in enumerate(request.functions or ())]
    if request.tools:
        if offered:
            raise BadRequestError("'functions' is the older name of 'tools': expected one of the two.", "functions")
        offered = [Offer(t.function, f"tools[{i}].function.parameters") for i, t in enumerate(request.tools)]
    return functions_to_call(offered, _choice(request), request.messages or ())


def _choice(request: ChatRequest) -> ToolChoice:
    several = request.parallel_tool_calls is True
    chosen = request.tool_choice
    if request.functions:
        older = request.function_call
        if isinstance(older, FunctionName):
            return ToolChoice("required", (older.name or "",), place="function_call")
        return ToolChoice(older or "auto")
    if isinstance(chosen, ChatToolChoice):
        if chosen.type == "allowed_tools":
            if chosen.allowed_tools is None:
                raise BadRequestError("'tool_choice.allowed_tools' is required.", "tool_choice.allowed_tools")
            names = [tool.function.name or "" for tool in chosen.allowed_tools.tools]
            return ToolChoice(chosen.allowed_tools.mode, names, several)
        if chosen.function is None:
            raise BadRequestError("'tool_choice.function' is required.", "tool_choice.function")
        return ToolChoice("required", (chosen.function.name or "",))
    return ToolChoice(chosen or "auto", None, several)


def _schema(wanted: ResponseFormat | None, asked: ModelRequest) -> tuple[bytes | None, str]:
    """The schema that the answer has to fit, and where it stands; None where the answer is free."""
    if wanted is None or wanted.type == "text":
        return told_schema(asked), "messages"
    if wanted.type == "json_object":
        return bytes(wanted.schema) or any_object(asked), "response_format.schema"
    if wanted.json_schema is None:
        raise BadRequestError("'response_format.json_schema' is required.", "response_format.json_schema")
    return bytes(wanted.json_schema.schema) or any_object(asked), "response_format.json_schema.schema"
