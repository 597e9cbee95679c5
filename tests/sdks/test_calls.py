"""Calls of the OpenAI SDK in a flow: they are those of its run, and the SDK sees no difference."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import openai
import pytest

from apxm.api import RunFailed
from apxm.flows.each import each
from apxm.flows.flow import flow
from apxm.lanes.marks import thread
from tests.sdks.conftest import configured
from tests.sdks.endpoint import DONE, WAIT_S, Asked, Endpoint, Reply, as_json, chunk, completion, echo, events, together


def said(client: Any, prompt: str, **options: Any) -> str:
    messages = [{"role": "user", "content": prompt}]
    return client.chat.completions.create(model="m", messages=messages, **options).choices[0].message.content


@flow
def labelled(client: Any, rows: list[int]) -> list[str]:
    found: list[str] = []
    for row in each(rows):
        first = said(client, f"label {row}")
        found.append(said(client, f"again {first}"))
    return found


def test_iterations_wait_at_the_same_time(client: Any, endpoint: Endpoint, told: dict[str, Any]) -> None:
    endpoint.script = together(8)
    result = labelled.using(**told).run(client, range(8))
    assert result.value == [f"said again said label {row}" for row in range(8)]
    program = result.trace.program
    line, loop = said.__code__.co_firstlineno + 2, labelled.function.__code__.co_firstlineno + 3
    first, *_, last = program.names.plans[0].nodes
    assert (first.path, first.line) == (f"labelled:{loop}[0]/said:{line}", line)
    assert last.path.endswith(f"/said:{line}#2")
    assert {node.operation for node in program.plans[0].nodes} == {"chat.completions"}
    assert [len(node.after) for node in program.plans[0].nodes] == [0] * 8 + [1] * 8
    assert result.trace.executed == 16
    assert (result.metrics.llm.total_input_tokens, result.metrics.llm.total_output_tokens) == (16 * 7, 16 * 3)
    assert {operation.backend for operation in result.trace.operations} == {"mine"}


def test_the_limits_of_a_run_hold(client: Any, told: dict[str, Any]) -> None:
    result = labelled.using(**told, max_concurrency=1).run(client, range(3))
    assert result.trace.max_in_flight == 1


def test_what_is_sent_is_what_the_sdk_sends(client: Any, endpoint: Endpoint, told: dict[str, Any]) -> None:
    labelled.using(**told).run(client, [1])
    with openai.OpenAI(base_url=endpoint.url, api_key="sk-of-the-test") as plain:
        said(plain, "label 1")
    ours, theirs = endpoint.asked[0], endpoint.asked[-1]
    assert ours.body == theirs.body
    sent = {name: value for name, value in theirs.headers.items() if name not in ("accept-encoding", "connection")}
    differing = {"x-stainless-raw-response"}  # what a client of another class says of itself
    assert {name: ours.headers.get(name) for name in sent if name not in differing} == {
        name: value for name, value in sent.items() if name not in differing
    }


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
def test_errors_are_those_of_the_sdk(
    status: int, error: type[Any], client: Any, endpoint: Endpoint, told: dict[str, Any]
) -> None:
    body = {"error": {"message": "no", "type": "of_a_kind", "param": "model", "code": "why"}}
    endpoint.script = lambda _: as_json(body, status, x_request_id="req_9")
    with pytest.raises(error) as failed:
        labelled.using(**told).run(client, [1])
    assert (failed.value.status_code, failed.value.body) == (status, body["error"])
    assert (failed.value.request_id, failed.value.code) == ("req_9", "why")
    assert len(endpoint.asked) == 1, "the SDK makes no retries of its own in a run"


def test_an_error_can_be_caught_where_the_call_stands(client: Any, endpoint: Endpoint, told: dict[str, Any]) -> None:
    endpoint.script = lambda asked: as_json({}, 400) if asked.prompt == "1" else echo(asked)

    @flow
    def careful(rows: list[int]) -> list[str]:
        found: list[str] = []
        for row in each(rows):
            try:
                answer = said(client, f"{row}")
            except openai.BadRequestError as error:
                answer = type(error).__name__
            found.append(answer)
        return found

    assert careful.using(**told).run(range(3)).value == ["said 0", "BadRequestError", "said 2"]


def test_what_fails_for_now_is_tried_again_by_us(client: Any, endpoint: Endpoint, tmp_path: Path) -> None:
    replies = [as_json({}, 429, retry_after_ms="1"), as_json({}, 503), completion("at last"), completion("again")]
    endpoint.script = lambda _: replies.pop(0)
    result = labelled.using(**configured(endpoint, tmp_path, retries=2)).run(client, [1])
    assert result.value == ["again"]
    assert [asked.headers["x-stainless-retry-count"] for asked in endpoint.asked] == ["0"] * 4
    first = min(result.trace.operations, key=lambda operation: operation.node)
    assert [attempt.outcome for attempt in first.attempts] == ["rate_limited", "http_status", "ok"]


def test_a_call_without_an_answer(client: Any, endpoint: Endpoint, told: dict[str, Any]) -> None:
    endpoint.script = lambda _: Reply(lost=True)
    with pytest.raises(openai.APIConnectionError) as failed:
        labelled.using(**told).run(client, [1])
    assert f"mine ({endpoint.url}) was lost" in str(failed.value.__cause__)
    assert "sk-of" not in str(failed.value.__cause__)


def test_where_nobody_listens_the_hint_is_told_once(client: Any, told: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    with pytest.raises(openai.APIConnectionError) as failed:
        labelled.using(**told).run(client.with_options(base_url=url), [1])
    assert str(failed.value.__cause__).count("(hint: ") == 1


def test_a_call_that_takes_too_long(client: Any, endpoint: Endpoint, told: dict[str, Any]) -> None:
    waited = threading.Event()
    endpoint.script = lambda asked: echo(asked) if waited.wait(WAIT_S) else Reply(lost=True)
    with pytest.raises(openai.APITimeoutError):
        labelled.using(**told).run(client.with_options(timeout=0.05), [1])
    waited.set()


def test_the_budget_of_a_run_ends_it(client: Any, endpoint: Endpoint, told: dict[str, Any]) -> None:
    ended: list[str] = []

    @flow
    def spending() -> None:
        try:
            for _ in range(100):
                said(client, "more", max_tokens=20)
        except Exception as error:
            ended.append(type(error).__name__)
        finally:
            ended.append("finally")

    with pytest.raises(RunFailed, match="token") as failed:
        spending.using(**told, max_total_tokens=500).run()
    assert failed.value.result.stopped is not None
    assert 0 < len(endpoint.asked) < 50
    assert ended == ["finally"]


# --- streams -------------------------------------------------------------------------------------------------------


def test_a_stream_is_given_on_as_it_comes(client: Any, endpoint: Endpoint, told: dict[str, Any]) -> None:
    heard = threading.Event()

    def pieces() -> Any:
        yield chunk("one")
        assert heard.wait(WAIT_S), "the first piece was not given on before the second was there"
        yield chunk("two")
        yield DONE

    endpoint.script = lambda _: events(pieces())

    @flow
    def listening() -> list[str]:
        found: list[str] = []
        for piece in client.chat.completions.create(model="m", messages=[], stream=True):
            found.append(piece.choices[0].delta.content)
            heard.set()
        return found

    result = listening.using(**told).run()
    assert result.value == ["one", "two"]
    assert endpoint.asked[0].body["stream"] is True
    assert listening.using(**told).resume(result.run_id).value == result.value
    assert len(endpoint.asked) == 1, "what was streamed is in the journal"


def test_streams_of_iterations_overlap(client: Any, endpoint: Endpoint, told: dict[str, Any]) -> None:
    all_here = threading.Barrier(4, timeout=WAIT_S)

    def pieces(prompt: str) -> Any:
        yield chunk(prompt)
        all_here.wait()
        yield chunk("!")
        yield DONE

    endpoint.script = lambda asked: events(pieces(asked.prompt))

    @flow
    def listening(rows: list[int]) -> list[str]:
        found: list[str] = []
        for row in each(rows):
            messages = [{"role": "user", "content": f"{row}"}]
            stream = client.chat.completions.create(model="m", messages=messages, stream=True)
            found.append("".join(piece.choices[0].delta.content for piece in stream))
        return found

    assert listening.using(**told).run(range(4)).value == ["0!", "1!", "2!", "3!"]


def test_a_stream_that_is_left_is_the_answer_as_far_as_it_came(
    client: Any, endpoint: Endpoint, told: dict[str, Any]
) -> None:
    left = threading.Event()

    def pieces() -> Any:
        yield chunk("one")
        left.wait(WAIT_S)
        yield DONE

    endpoint.script = lambda _: events(pieces())

    @flow
    def leaving() -> str:
        with client.chat.completions.create(model="m", messages=[], stream=True) as stream:
            return next(iter(stream)).choices[0].delta.content

    result = leaving.using(**told).run()
    left.set()
    assert result.value == "one"
    assert leaving.using(**told).resume(result.run_id).value == "one"
    assert len(endpoint.asked) == 1


def test_a_stream_that_breaks_is_not_asked_for_again(client: Any, endpoint: Endpoint, tmp_path: Path) -> None:
    def pieces() -> Any:
        yield chunk("one")
        raise ConnectionError

    endpoint.script = lambda _: events(pieces())

    @flow
    def listening() -> list[str]:
        return [piece.id for piece in client.chat.completions.create(model="m", messages=[], stream=True)]

    with pytest.raises(Exception) as failed:  # noqa: PT011  # one version gives the error of its HTTP library
        listening.using(**configured(endpoint, tmp_path, retries=3)).run()
    assert f"mine ({endpoint.url})" in str(failed.value.__cause__ or failed.value)
    assert len(endpoint.asked) == 1


# --- what is no call of a run --------------------------------------------------------------------------------------


def models(asked: Asked) -> Reply:
    listed = {"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "us"}]}
    return as_json(listed) if asked.method == "GET" else echo(asked)


def test_what_is_no_call_of_a_model_passes(client: Any, endpoint: Endpoint, told: dict[str, Any]) -> None:
    endpoint.script = models

    @flow
    def listing() -> list[str]:
        return [model.id for model in client.models.list()]

    result = listing.using(**told).run()
    assert result.value == ["m"]
    assert result.trace.executed == 0


def test_outside_of_a_run_the_client_is_the_sdks_own(client: Any, endpoint: Endpoint) -> None:
    endpoint.script = models
    assert [model.id for model in client.models.list()] == ["m"]
    replies = [as_json({}, 500), completion("at last")]
    endpoint.script = lambda _: replies.pop(0)
    assert said(client, "hello") == "at last"
    assert [asked.headers["x-stainless-retry-count"] for asked in endpoint.asked[1:]] == ["0", "1"]
    endpoint.script = lambda _: events([chunk("one"), chunk("two"), DONE])
    stream = client.chat.completions.create(model="m", messages=[], stream=True)
    assert [piece.choices[0].delta.content for piece in stream] == ["one", "two"]
    endpoint.script = lambda _: Reply(lost=True)
    with pytest.raises(openai.APIConnectionError):
        said(client.with_options(max_retries=0), "hello")


def test_threads_of_a_flow_call_on_their_own(client: Any, endpoint: Endpoint, told: dict[str, Any]) -> None:
    from concurrent.futures import ThreadPoolExecutor
    from contextvars import copy_context

    endpoint.script = together(2)

    @flow
    def threading_flow() -> list[str]:
        with ThreadPoolExecutor() as pool:  # the second has the context of the lane, and is not the lane all the same
            waiting = [pool.submit(said, client, "a"), pool.submit(copy_context().run, said, client, "b")]
            return [future.result() for future in waiting]

    result = threading_flow.using(**told).run()
    assert result.value == ["said a", "said b"]
    assert result.trace.executed == 0
    endpoint.script = echo

    @flow
    def one_thread() -> str:
        return thread(said, client, "a")

    assert one_thread.using(**told).run().value == "said a"
