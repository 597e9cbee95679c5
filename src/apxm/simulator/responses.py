"""What a client sends to ``/v1/responses``. Nothing is stored: a conversation is sent whole each time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from apxm.backends.protocol import ModelAnswer, ModelRequest
from apxm.simulator.bodies import Anything, BadRequestError, Limit, Nothing, StreamOptions, passing_over
from apxm.simulator.logprobs import MOST_ALTERNATIVES, logprobs_of
from apxm.simulator.messages import ContentPart, FunctionName, Message, any_object, as_model_request
from apxm.simulator.outputs import Sampling, Say, calls_of, outputs, usage_of, with_format
from apxm.simulator.response_answer import ResponseAnswer
from apxm.simulator.tools import Function, Mode, Offer, ToolChoice, functions_to_call

LOGPROBS = "message.output_text.logprobs"


class ItemPart(Struct):
    type: Literal["input_text", "output_text", "text", "refusal", "input_image", "input_file", "input_audio"]
    text: str | None = None


class Item(Struct):
    """One item of the input. What a model has thought before is passed over."""

    type: Literal["message", "function_call", "function_call_output", "reasoning"] = "message"
    role: str | None = None
    content: str | list[ItemPart] | None = None
    name: str | None = None
    output: str | list[ItemPart] | None = None

    def as_message(self) -> Message | None:
        match self.type:
            case "message":
                return Message(self.role or "user", _text(self.content))
            case "function_call":
                return Message("assistant", function_call=FunctionName(self.name))
            case "function_call_output":
                return Message("tool", _text(self.output))
            case "reasoning":
                return None


class TextFormat(Struct):
    type: Literal["text", "json_object", "json_schema"]
    name: str | UnsetType = UNSET
    schema: Raw | UnsetType = UNSET
    strict: bool | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET


class TextOptions(Struct, omit_defaults=True):
    format: TextFormat | None = None
    verbosity: Anything = None


class FunctionTool(Struct):
    type: Literal["function"]
    name: str
    parameters: Raw = Raw(b"null")
    strict: bool | None = None
    description: str | None = None


class ResponseToolReference(Struct):
    type: Literal["function"]
    name: str


class ResponseToolChoice(Struct, omit_defaults=True):
    type: Literal["function", "allowed_tools"]
    name: str | None = None
    mode: Literal["auto", "required"] = "auto"
    tools: list[ResponseToolReference] | None = None


_UNHEEDED = "prompt_cache_key prompt_cache_options prompt_cache_retention safety_identifier service_tier store user"


class ResponseRequest(passing_over(_UNHEEDED), forbid_unknown_fields=True):
    input: str | list[Item] | None = None
    model: str | None = None
    instructions: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_output_tokens: Limit = None
    text: TextOptions | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: Mode | ResponseToolChoice | None = None
    parallel_tool_calls: bool | None = None
    include: list[Literal["message.output_text.logprobs", "reasoning.encrypted_content"]] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MOST_ALTERNATIVES)] | None = None
    background: bool | None = None

    context_management: Nothing = None
    conversation: Nothing = None
    max_tool_calls: Nothing = None
    moderation: Nothing = None
    previous_response_id: Nothing = None
    prompt: Nothing = None

    metadata: Anything = None
    reasoning: Anything = None
    temperature: Anything = None
    top_p: Anything = None
    truncation: Anything = None


class ResponseCall:
    def __init__(self, request: ResponseRequest) -> None:
        """Raises `BadRequestError`."""
        if request.background:
            raise BadRequestError("'background': the simulator does not serve it, expected false.", "background")
        if not request.input:
            raise BadRequestError("'input' is required: expected a text, or a list of at least one item.", "input")
        items = [Item(content=request.input)] if isinstance(request.input, str) else request.input
        messages = [message for item in items if (message := item.as_message()) is not None]
        if request.instructions:
            messages.insert(0, Message("system", request.instructions))
        self.stream = bool(request.stream)
        self.asked = as_model_request(messages, request.model, request.max_output_tokens)
        self._request = request
        calls = calls_of(_called(request, messages), self.asked, 1)
        if not calls:
            self.asked = with_format(self.asked, *_schema(request.text and request.text.format, self.asked))
        self._sampling = Sampling(max_tokens=request.max_output_tokens, calls=calls)

    def answer(self, number: int, created: int, said: ModelAnswer, say: Say) -> ResponseAnswer:
        request = self._request
        (output,) = outputs(self.asked, self._sampling, said, say, number)
        wanted = LOGPROBS in (request.include or ()) and not output.calls
        return ResponseAnswer(
            number=number,
            created=created,
            model=said.model or "",
            output=output,
            usage=usage_of(said.usage, (output,)),
            logprobs=logprobs_of(output.text, request.top_logprobs or 0) if wanted else [],
            echoed={
                "instructions": request.instructions,
                "max_output_tokens": request.max_output_tokens,
                "metadata": request.metadata or {},
                "parallel_tool_calls": request.parallel_tool_calls is not False,
                "reasoning": request.reasoning or {"effort": None, "summary": None},
                "store": False,
                "temperature": 1.0 if request.temperature is None else request.temperature,
                "text": request.text if request.text and request.text.format else {"format": {"type": "text"}},
                "tool_choice": request.tool_choice or "auto",
                "tools": request.tools or [],
                "top_p": 1.0 if request.top_p is None else request.top_p,
                "truncation": request.truncation or "disabled",
            },
        )


def _text(content: str | list[ItemPart] | None) -> str | list[ContentPart]:
    return content or "" if not isinstance(content, list) else [ContentPart(text=part.text) for part in content]


def _called(request: ResponseRequest, messages: Sequence[Message]) -> Sequence[Offer]:
    offered = [
        Offer(Function(tool.name, parameters=tool.parameters), f"tools[{index}].parameters")
        for index, tool in enumerate(request.tools or ())
    ]
    return functions_to_call(offered, _choice(request), messages)


def _schema(wanted: TextFormat | None, asked: ModelRequest) -> tuple[bytes | None, str]:
    """The schema that the answer has to fit, and where it stands; None where the answer is free."""
    place = "text.format.schema"
    if wanted is None or wanted.type == "text":
        return None, place
    if wanted.type == "json_object":
        return any_object(asked), place
    if wanted.schema is UNSET or wanted.name is UNSET:
        missing = place if wanted.schema is UNSET else "text.format.name"
        raise BadRequestError(f"'{missing}' is required.", missing)
    return bytes(wanted.schema), place


def _choice(request: ResponseRequest) -> ToolChoice:
    several = request.parallel_tool_calls is True
    chosen = request.tool_choice
    if isinstance(chosen, ResponseToolChoice):
        if chosen.type == "allowed_tools":
            return ToolChoice(chosen.mode, [tool.name for tool in chosen.tools or ()], several)
        return ToolChoice("required", (chosen.name or "",))
    return ToolChoice(chosen or "auto", None, several)
