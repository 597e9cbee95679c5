"""The frameworks that people use, each with what it is used for: words, streams, shapes, tools, vectors.

They come with the extra `clients`, which `make soak` installs into an environment of their own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator
from typing import Any

import pytest

from apxm.simulator.process import SimulatorProcess, start_simulator

pytestmark = [
    pytest.mark.soak,
    pytest.mark.filterwarnings("ignore"),  # theirs are not ours to mend
]
HELLO = "Simulated answer ef15eaf9: Hello"
MESSAGES = [{"role": "user", "content": "Hello"}]
WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
NOT_INSTALLED = "not installed: make soak installs it, or pip install 'apxm[clients]'"


def installed(name: str) -> Any:
    return pytest.importorskip(name, reason=NOT_INSTALLED)


@pytest.fixture(scope="module", params=[None, 10_000.0], ids=["whole", "paced"])
def simulator(request: pytest.FixtureRequest) -> Generator[SimulatorProcess]:
    with start_simulator(latency="constant:2", tokens_per_second=request.param) as started:
        yield started


@pytest.fixture(scope="module")
def person() -> Any:
    """What is asked for: with a choice, a bound, a list and something optional within something else."""
    pydantic = installed("pydantic")
    from typing import Literal

    address = pydantic.create_model("Address", city=(str, ...), zip_code=(str | None, ...))
    return pydantic.create_model(
        "Person",
        name=(str, ...),
        age=(int, pydantic.Field(ge=18, le=99)),
        mood=(Literal["glad", "sad"], ...),
        tags=(list[str], ...),
        address=(address, ...),
    )


# --- openai --------------------------------------------------------------------------------------------------------


@pytest.fixture
def openai_client(simulator: SimulatorProcess) -> Generator[Any]:
    with installed("openai").OpenAI(base_url=simulator.endpoint, api_key="any", max_retries=0) as client:
        yield client


def test_openai_shapes(openai_client: Any, person: Any) -> None:
    parsed = openai_client.chat.completions.parse(model="m", messages=MESSAGES, response_format=person, n=2)
    assert all(isinstance(choice.message.parsed, person) for choice in parsed.choices)
    with openai_client.chat.completions.stream(model="m", messages=MESSAGES, response_format=person) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == parsed.choices[0].message.parsed
    response = openai_client.responses.parse(model="m", input="Hello", text_format=person)
    assert isinstance(response.output_parsed, person)


def test_openai_tools(openai_client: Any) -> None:
    tools = [{"type": "function", "function": {**WEATHER, "strict": True}}]
    message = openai_client.chat.completions.create(model="m", messages=MESSAGES, tools=tools).choices[0].message
    (call,) = message.tool_calls
    assert json.loads(call.function.arguments).keys() == {"city"}
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    after = openai_client.chat.completions.create(model="m", messages=[*MESSAGES, message, result], tools=tools)
    assert after.choices[0].message.content.endswith("Hello sunny")
    with openai_client.chat.completions.stream(model="m", messages=MESSAGES, tools=tools) as stream:
        (streamed,) = stream.get_final_completion().choices[0].message.tool_calls
    assert streamed.function.arguments == call.function.arguments


def test_openai_responses(openai_client: Any) -> None:
    assert openai_client.responses.create(model="m", input="Hello").output_text == HELLO
    told = openai_client.responses.create(model="m", input="Hello", instructions="Be brief.").output_text
    assert told.endswith(": Hello")
    assert told != HELLO, "what it is told counts"
    with openai_client.responses.stream(model="m", input="Hello") as stream:
        assert "".join(event.delta for event in stream if event.type == "response.output_text.delta") == HELLO
        assert stream.get_final_response().usage.output_tokens == 8
    tools = [{"type": "function", **WEATHER}]
    (call,) = openai_client.responses.create(model="m", input=MESSAGES, tools=tools).output
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    after = openai_client.responses.create(model="m", input=[*MESSAGES, call, result], tools=tools)
    assert after.output_text.endswith("Hello sunny")
    with openai_client.responses.stream(model="m", input=MESSAGES, tools=tools) as stream:
        assert stream.get_final_response().output[0].arguments == call.arguments
    with pytest.raises(installed("openai").BadRequestError) as refused:
        openai_client.responses.create(model="m", input="Hello", previous_response_id="resp_1")
    assert refused.value.param == "previous_response_id"


def test_openai_embeddings_and_completions(openai_client: Any) -> None:
    first, second = openai_client.embeddings.create(model="m", input=["a", "b"], dimensions=8).data
    plain = openai_client.embeddings.create(model="m", input="a", dimensions=8, encoding_format="float").data[0]
    assert first.embedding == pytest.approx(plain.embedding, abs=1e-6)
    assert first.embedding != second.embedding
    assert openai_client.completions.create(model="m", prompt="Hello").choices[0].text == HELLO
    chunks = openai_client.completions.create(model="m", prompt="Hello", stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == HELLO


def test_openai_probabilities(openai_client: Any) -> None:
    choice = openai_client.chat.completions.create(model="m", messages=MESSAGES, logprobs=True, top_logprobs=3).choices[
        0
    ]
    assert "".join(token.token for token in choice.logprobs.content) == HELLO
    assert all(len(token.top_logprobs) == 3 for token in choice.logprobs.content)


# --- LangChain -----------------------------------------------------------------------------------------------------


@pytest.fixture
def langchain_model(simulator: SimulatorProcess) -> Any:
    langchain = installed("langchain_openai")
    return langchain.ChatOpenAI(model="m", base_url=simulator.endpoint, api_key="any", max_retries=0)


@pytest.mark.parametrize("method", ["function_calling", "json_schema", "json_mode"])
def test_langchain_shapes(langchain_model: Any, person: Any, method: str) -> None:
    prompt = f"Who? Answer in JSON that fits this schema: {json.dumps(person.model_json_schema())}"
    assert isinstance(langchain_model.with_structured_output(person, method=method).invoke(prompt), person)


def test_langchain_tools(langchain_model: Any) -> None:
    from langchain_core.tools import tool

    @tool
    def get_weather(city: str) -> str:
        """The weather of a city."""
        return f"sunny in {city}"

    model = langchain_model.bind_tools([get_weather])
    called = model.invoke("Hello")
    (call,) = called.tool_calls
    result = get_weather.invoke(call)
    assert model.invoke([("human", "Hello"), called, result]).content.endswith(f"Hello {result.content}")
    chunks = list(model.stream("Hello"))
    assert sum(chunks[1:], chunks[0]).tool_calls[0]["args"] == call["args"]
    forced = langchain_model.bind_tools([get_weather], tool_choice="any")
    assert forced.invoke([("human", "Hello"), called, result]).tool_calls[0]["name"] == "get_weather"


def test_langgraph_agent(langchain_model: Any) -> None:
    prebuilt = installed("langgraph.prebuilt")
    asked: list[str] = []

    def get_weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        return "sunny"

    messages = prebuilt.create_react_agent(langchain_model, [get_weather]).invoke({"messages": MESSAGES})["messages"]
    assert len(asked) == 1
    assert messages[-1].content.endswith("Hello sunny")


def test_langchain_embeddings_and_responses(simulator: SimulatorProcess) -> None:
    langchain = installed("langchain_openai")
    shared = {"model": "m", "base_url": simulator.endpoint, "api_key": "any", "max_retries": 0}
    embeddings = langchain.OpenAIEmbeddings(check_embedding_ctx_length=False, dimensions=8, **shared)
    assert embeddings.embed_documents(["a", "b"])[0] == embeddings.embed_query("a")
    assert langchain.ChatOpenAI(use_responses_api=True, **shared).invoke("Hello").text == HELLO


# --- pydantic-ai ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=["OpenAIChatModel", "OpenAIResponsesModel"])
def pydantic_ai_model(simulator: SimulatorProcess, request: pytest.FixtureRequest) -> Any:
    models = installed("pydantic_ai.models.openai")
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(base_url=simulator.endpoint, api_key="any")
    return getattr(models, request.param)("gpt-4o", provider=provider)


def test_pydantic_ai_words(pydantic_ai_model: Any) -> None:
    from pydantic_ai import Agent

    async def streamed() -> str:
        async with Agent(pydantic_ai_model).run_stream("Hello") as run:
            return await run.get_output()

    assert asyncio.run(streamed()) == HELLO


@pytest.mark.parametrize("output", ["ToolOutput", "NativeOutput", "PromptedOutput"])
def test_pydantic_ai_shapes(pydantic_ai_model: Any, person: Any, output: str) -> None:
    import pydantic_ai

    async def asked() -> Any:
        agent = pydantic_ai.Agent(pydantic_ai_model, output_type=getattr(pydantic_ai, output)(person))
        return (await agent.run("Who?")).output

    assert isinstance(asyncio.run(asked()), person)


@pytest.mark.parametrize("shape", [False, True], ids=["words", "shape"])
def test_pydantic_ai_tools(pydantic_ai_model: Any, person: Any, shape: bool) -> None:
    from pydantic_ai import Agent

    asked: list[str] = []

    async def run() -> Any:
        agent = Agent(pydantic_ai_model, output_type=person if shape else str)

        @agent.tool_plain
        def get_weather(city: str) -> str:
            asked.append(city)
            return "sunny"

        return (await agent.run("Hello")).output

    output = asyncio.run(run())
    assert isinstance(output, person) if shape else output.endswith("Hello sunny")
    assert len(asked) == 1


def test_pydantic_ai_embeddings(simulator: SimulatorProcess) -> None:
    pydantic_ai = installed("pydantic_ai")
    from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
    from pydantic_ai.providers.openai import OpenAIProvider

    async def embedded() -> Any:
        provider = OpenAIProvider(base_url=simulator.endpoint, api_key="any")
        return await pydantic_ai.Embedder(OpenAIEmbeddingModel("m", provider=provider)).embed_query("a")

    assert len(asyncio.run(embedded()).embeddings[0]) == 1536


# --- instructor ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["TOOLS", "TOOLS_STRICT", "JSON", "JSON_SCHEMA"])
def test_instructor_shapes(openai_client: Any, person: Any, mode: str) -> None:
    instructor = installed("instructor")
    client = instructor.from_openai(openai_client, mode=instructor.Mode[mode])
    made = client.chat.completions.create(model="m", messages=MESSAGES, response_model=person, max_retries=0)
    assert isinstance(made, person)
    *_, last = client.chat.completions.create_partial(model="m", messages=MESSAGES, response_model=person)
    person.model_validate(last.model_dump())


# --- DSPy ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def dspy(simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Generator[Any]:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    dspy = installed("dspy")
    # A name that it takes for that of a model that answers in shapes.
    model = dspy.LM("openai/gpt-4o-mini", api_base=simulator.endpoint, api_key="any", cache=False, num_retries=0)
    with dspy.context(lm=model):
        yield dspy


def test_dspy_shapes(dspy: Any, person: Any) -> None:
    assert isinstance(dspy.Predict("question -> answer: str, score: float")(question="Hello").score, float)
    signature = dspy.Signature("question: str -> person").with_updated_fields("person", type_=person)
    for adapter in (dspy.ChatAdapter(), dspy.JSONAdapter()):
        with dspy.context(adapter=adapter):
            assert isinstance(dspy.ChainOfThought(signature)(question="Who?").person, person)


def test_dspy_words_and_embeddings(dspy: Any, simulator: SimulatorProcess) -> None:
    assert dspy.settings.lm("Hello") == [HELLO]
    embed = dspy.Embedder("openai/m", api_base=simulator.endpoint, api_key="any", caching=False)
    assert embed(["a", "b"]).shape == (2, 1536)


def test_dspy_tools(dspy: Any) -> None:
    def get_weather(city: str) -> str:
        """The weather of a city."""
        return f"sunny in {city}"

    signature = dspy.Signature("question: str, tools: list[dspy.Tool] -> calls: dspy.ToolCalls")
    with dspy.context(adapter=dspy.JSONAdapter(use_native_function_calling=True)):
        (call,) = dspy.Predict(signature)(question="Hello", tools=[dspy.Tool(get_weather)]).calls.tool_calls
    assert (call.name, call.args.keys()) == ("get_weather", {"city"})


# --- litellm -------------------------------------------------------------------------------------------------------


@pytest.fixture
def litellm(simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    monkeypatch.setenv("OPENAI_BASE_URL", simulator.endpoint)
    return installed("litellm")


def test_litellm_words_and_shapes(litellm: Any, person: Any) -> None:
    model = {"model": "openai/gpt-4o", "messages": MESSAGES}
    assert litellm.completion(**model).choices[0].message.content == HELLO
    chunks = litellm.completion(stream=True, **model)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == HELLO
    person.model_validate_json(litellm.completion(response_format=person, **model).choices[0].message.content)


def test_litellm_tools(litellm: Any) -> None:
    tools = [{"type": "function", "function": WEATHER}]
    message = litellm.completion(model="openai/gpt-4o", messages=MESSAGES, tools=tools).choices[0].message
    (call,) = message.tool_calls
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    after = litellm.completion(model="openai/gpt-4o", messages=[*MESSAGES, message, result], tools=tools)
    assert after.choices[0].message.content.endswith("Hello sunny")


def test_litellm_other_pages(litellm: Any) -> None:
    assert len(litellm.embedding(model="openai/m", input=["a"]).data[0]["embedding"]) == 1536
    assert litellm.responses(model="openai/gpt-4o", input="Hello").output[0].content[0].text == HELLO
    assert litellm.text_completion(model="text-completion-openai/m", prompt="Hello").choices[0].text == HELLO
