"""The openai backend over real HTTP on loopback."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from apxm.backends.openai import OpenAIBackend
from apxm.backends.protocol import ModelAnswer, ModelRequest, Usage
from apxm.backends.settings import OpenAISettings
from apxm.errors import BackendError, ConfigurationError
from tests.servers import HANG, Received, Reply, Server, as_json, completion, zipped

BODY = completion().body
PATIENCE_S = 20
"""A limit for what must happen, so that a defect fails instead of hanging."""


def make(server: Server, environment: dict[str, str] | None = None, **settings: Any) -> OpenAIBackend:
    fields = {"model": "tiny", "endpoint": server.endpoint, **settings}
    return OpenAIBackend("local", OpenAISettings(**fields), environment or {})


def ask(
    script: Callable[[Received], Reply] | Reply, request: ModelRequest | None = None, **settings: Any
) -> tuple[ModelAnswer | BackendError, Server]:
    """One call, and the server that it went to."""

    async def run() -> tuple[ModelAnswer | BackendError, Server]:
        async with Server(script) as server:
            backend = make(server, **settings)
            try:
                return await asyncio.wait_for(backend.call(request or ModelRequest("Hi")), PATIENCE_S), server
            except BackendError as error:
                return error, server
            finally:
                await backend.close()

    return asyncio.run(run())


def failure(script: Reply, **settings: Any) -> BackendError:
    outcome, server = ask(script, **settings)
    assert isinstance(outcome, BackendError)
    assert str(outcome).startswith(f"local ({server.endpoint}) ")
    assert len(str(outcome)) < 700
    assert str(outcome).isprintable()
    assert outcome.__cause__ is None
    assert outcome.__suppress_context__ or outcome.__context__ is None
    return outcome


def test_a_call_is_one_post_and_its_answer_is_read_whole() -> None:
    reply = completion("Hello.", model="tiny-1b")
    reply.headers["Server-Timing"] = "total;dur=12.5"
    answer, server = ask(reply, ModelRequest("Hi", system="Be brief."), api_key="k-123", headers={"X-Title": "demo"})
    assert answer == ModelAnswer("Hello.", Usage(12, 3), 12_500_000, "tiny-1b")
    (request,) = server.received
    assert (request.method, request.target) == ("POST", "/v1/chat/completions")
    assert request.json["messages"][0] == {"role": "system", "content": "Be brief."}
    sent = {name: request.headers.get(name) for name in ("authorization", "content-type", "x-title", "cookie")}
    assert sent == {
        "authorization": "Bearer k-123",
        "content-type": "application/json",
        "x-title": "demo",
        "cookie": None,
    }


def test_without_a_key_none_is_sent() -> None:
    _, server = ask(completion())
    assert "authorization" not in server.received[0].headers


def test_user_and_password_of_the_url_are_sent_and_not_shown() -> None:
    async def run() -> None:
        async with Server(completion()) as server:
            backend = make(server, endpoint=server.endpoint.replace("://", "://me:s3cret@"))
            await backend.call(ModelRequest("Hi"))
            await backend.close()
            assert server.received[0].headers["authorization"] == "Basic bWU6czNjcmV0"
            assert "s3cret" not in repr(backend.info)

    asyncio.run(run())


def test_a_compressed_answer_is_read() -> None:
    answer, _ = ask(zipped(completion("Zipped.").body))
    assert isinstance(answer, ModelAnswer)
    assert answer.text == "Zipped."


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("x-gzip", gzip.compress(BODY)),
        ("GZIP", gzip.compress(BODY)),
        ("gzip", gzip.compress(BODY[:40]) + gzip.compress(BODY[40:])),
        ("gzip", gzip.compress(BODY) + bytes(8)),
        ("gzip", BODY),
        ("gzip, gzip", gzip.compress(gzip.compress(BODY))),
        ("deflate", zlib.compress(BODY)),
        ("deflate", zlib.compress(BODY, wbits=-15)),
        ("utf-8", BODY),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_answer_is_read_whatever_its_encoding_is_called(encoding: str, content: bytes) -> None:
    answer, server = ask(Reply(content, headers={"content-encoding": encoding}))
    assert isinstance(answer, ModelAnswer)
    assert answer.text == "Hello."
    assert server.received[0].headers["accept-encoding"] == "gzip, zstd, br"


@pytest.mark.parametrize("status", [200, 201, 202, 203, 206, 226, 299])
def test_a_whole_completion_is_an_answer_with_any_status_of_success(status: int) -> None:
    answer, _ = ask(replace(completion("Fine."), status=status))
    assert isinstance(answer, ModelAnswer)
    assert answer.text == "Fine."


@pytest.mark.parametrize(
    "reply", [Reply(b"<html>", 201), Reply(b"", 202), Reply(b"x" * 100_000, 299), Reply(b"{}", 206)]
)
def test_another_status_of_success_without_a_completion_is_an_error_for_good(reply: Reply) -> None:
    error = failure(reply)
    assert f"answered {reply.status}" in error.message
    assert (error.kind, error.retryable) == ("http_status", False)


def test_a_choice_that_is_none_is_an_error_whatever_the_status_of_success() -> None:
    choice = {"message": {"content": "half an ans"}, "finish_reason": "error", "error": {"message": "It died."}}
    error = failure(as_json({"choices": [choice]}, 203))
    assert error.message.endswith("answered 203, but the answer failed (finish_reason error): It died.")
    assert (error.kind, error.retryable) == ("unreadable_answer", True)
    choice = {"message": {"content": ""}, "finish_reason": "length"}
    error = failure(as_json({"choices": [choice]}))
    assert (error.kind, error.retryable) == ("unreadable_answer", False)
    assert "max_tokens" in (error.hint or "")


@pytest.mark.parametrize(
    "headers",
    [
        {"Server-Timing": "total;dur=1e308"},
        {"openai-processing-ms": "9" * 400},
        {"Server-Timing": 'total;dur="', "x": ""},
    ],
)
def test_a_service_time_that_cannot_be_costs_no_answer(headers: dict[str, str]) -> None:
    reply = completion()
    reply.headers.update(headers)
    assert ask(reply)[0] == ModelAnswer("Hello.", Usage(12, 3), None, "tiny-1")


def test_no_cookie_comes_back() -> None:
    async def run() -> None:
        reply = completion()
        reply.headers["Set-Cookie"] = "session=1"
        async with Server(reply) as server:
            backend = make(server)
            for _ in range(2):
                await backend.call(ModelRequest("Hi"))
            await backend.close()
            assert "cookie" not in server.received[1].headers
            assert server.connections == 1, "the connection is kept for the next call"

    asyncio.run(run())


def test_two_hundred_calls_are_in_flight_at_once() -> None:
    """Each is answered only when all have arrived: with any hidden limit in the client this would never end."""
    calls = 200

    async def run() -> list[ModelAnswer]:
        all_here = asyncio.Barrier(calls)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            prompt = json.loads(await reader.readexactly(length))["messages"][0]["content"]
            await all_here.wait()
            body = completion(prompt).body
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=calls)
        port = server.sockets[0].getsockname()[1]
        backend = OpenAIBackend("local", OpenAISettings(model="m", endpoint=f"http://127.0.0.1:{port}"), {})
        async with asyncio.timeout(PATIENCE_S):
            answers = await asyncio.gather(*(backend.call(ModelRequest(f"Task {i}")) for i in range(calls)))
        await backend.close()
        server.close()
        return answers

    assert [answer.text for answer in asyncio.run(run())] == [f"Task {i}" for i in range(calls)]


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        *[(status, False) for status in (201, 400, 401, 403, 404, 422)],
        *[(status, True) for status in (408, 429, 500, 503, 529)],
    ],
)
def test_an_http_error_names_its_status_and_what_the_endpoint_says(status: int, retryable: bool) -> None:
    error = failure(as_json({"error": {"message": "It is\nso."}}, status))
    assert f"answered {status}" in str(error)
    assert "It is so." in str(error)
    assert (error.kind, error.retryable) == ("rate_limited" if status == 429 else "http_status", retryable)
    assert error.retry_after_s is None


def test_an_endpoint_may_say_how_long_it_wants_to_be_left_alone() -> None:
    assert failure(as_json({}, 429, retry_after="7")).retry_after_s == 7
    assert failure(as_json({}, 503, retry_after="7", retry_after_ms="1500")).retry_after_s == 1.5


QUOTA = {"error": {"message": "You have used it up.", "type": "insufficient_quota", "code": "insufficient_quota"}}


@pytest.mark.parametrize(
    ("status", "body", "headers", "retryable"),
    [
        (429, QUOTA, {}, False),
        (429, QUOTA, {"x_should_retry": "true"}, False),
        (503, QUOTA, {}, False),
        (200, QUOTA, {}, False),
        (429, {}, {"x_should_retry": "false"}, False),
        (503, {}, {"x_should_retry": "false"}, False),
        (408, {}, {"x_should_retry": " False "}, False),
        (400, {}, {"x_should_retry": "true"}, True),
        (409, {}, {"x_should_retry": "true"}, True),
        (429, {}, {"x_should_retry": "perhaps"}, True),
        (400, {}, {"x_should_retry": "perhaps"}, False),
    ],
)
def test_an_endpoint_may_say_whether_trying_again_helps(
    status: int, body: Any, headers: dict[str, str], retryable: bool
) -> None:
    assert failure(as_json(body, status, **headers)).retryable == retryable


def test_a_quota_that_is_used_up_is_no_limit_of_the_rate() -> None:
    """Nobody need wait, nor come more slowly, to be told the same."""
    error = failure(as_json(QUOTA, 429, retry_after="60"))
    assert (error.kind, error.retry_after_s) == ("http_status", None)


def test_an_error_page_is_shortened_and_cannot_drive_the_terminal() -> None:
    error = failure(Reply(b"\x1b[2J" + b"x" * 5000, 500))
    assert "\\x1b[2Jxxx" in error.message
    assert error.message.endswith("…")


def test_a_huge_error_page_is_not_read_to_its_end() -> None:
    assert "more than 64 KiB" in failure(Reply(b"x" * 100_000, 500)).message


def test_an_error_page_that_breaks_off_still_has_its_status() -> None:
    error = failure(Reply(b"It is so.", 503, then="cut"))
    assert (error.kind, error.retryable) == ("http_status", True)
    assert str(error).endswith("answered 503 Service Unavailable")


def test_a_redirect_is_an_error_and_nothing_reaches_its_target() -> None:
    async def run() -> None:
        async with Server(completion()) as target:
            redirect = Reply(status=307, headers={"Location": target.endpoint + "/stolen?key=1"})
            async with Server(redirect) as server:
                backend = make(server, api_key="k-123")
                with pytest.raises(BackendError, match="answered 307") as caught:
                    await backend.call(ModelRequest("Hi"))
                await backend.close()
            assert (caught.value.kind, caught.value.retryable) == ("redirect", True)
            assert "stolen" not in str(caught.value)
            assert target.received == []

    asyncio.run(run())


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(b"<html>", headers={"content-type": "text/html"}), "unreadable_answer"),
        (Reply(b"not gzip", headers={"content-encoding": "gzip"}), "unreadable_answer"),
        (Reply(then="reset"), "connection"),
        (Reply(b'{"choices": []}', then="cut"), "connection"),
        (Reply(raw=b"no HTTP at all\r\n\r\n"), "connection"),
    ],
)
def test_no_whole_answer_is_an_error_that_may_pass(reply: Reply, kind: str) -> None:
    error = failure(reply)
    assert (error.kind, error.retryable) == (kind, True)


def test_the_content_type_is_named_where_the_answer_is_no_json() -> None:
    assert "text/html" in str(failure(Reply(b"<html>", headers={"content-type": "text/html"})))


def test_a_refusal_is_not_retried() -> None:
    message = {"content": None, "refusal": "I will not."}
    error = failure(as_json({"choices": [{"message": message}]}))
    assert (error.kind, error.retryable) == ("refused", False)


def test_nobody_listening_is_an_endpoint_that_no_call_reached() -> None:
    async def run() -> BackendError:
        async with Server(completion()) as server:
            backend = make(server)
        with pytest.raises(BackendError) as caught:
            await backend.call(ModelRequest("Hi"))
        await backend.close()
        return caught.value

    error = asyncio.run(run())
    assert (error.kind, error.retryable) == ("unreachable", True)
    assert "could not be reached: tcp connect error: Connection refused" in str(error)


@pytest.mark.parametrize(("retries", "patience"), [(None, 2.0), (6, None), (0, None)])
def test_a_port_of_this_machine_where_nobody_listens_is_worth_little_patience(
    retries: int | None, patience: float | None
) -> None:
    """Unless the settings say how often to try again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    settings = OpenAISettings(model="m", endpoint=f"http://127.0.0.1:{port}/v1", retries=retries)
    with pytest.raises(BackendError) as caught:
        asyncio.run(OpenAIBackend("b", settings, {}).call(ModelRequest("x")))
    assert (caught.value.kind, caught.value.retryable, caught.value.patience_s) == ("unreachable", True, patience)
    assert caught.value.hint == "nothing listens at that port: is the server running?"
    assert settings.limits.retries == (6 if retries is None else retries)


def test_an_answer_that_unpacks_to_more_than_its_limit_is_given_up() -> None:
    error = failure(zipped(b" " * 30_000_000), max_answer_mib=1)
    assert (error.kind, error.retryable) == ("too_large", True)
    assert "more than 1 MiB" in str(error)


@pytest.mark.parametrize("reply", [HANG, Reply(completion().body, then="hang")], ids=["before", "in the middle"])
def test_cancelling_closes_the_connection_at_once(reply: Reply) -> None:
    async def run() -> None:
        async with Server(reply) as server, asyncio.timeout(PATIENCE_S):
            backend = make(server)
            call = asyncio.create_task(backend.call(ModelRequest("Hi")))
            await server.got_request.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await server.client_left.wait()
            await backend.close()

    asyncio.run(run())


def test_a_backend_answers_after_another_call_of_it_was_cancelled() -> None:
    async def run() -> str:
        replies = iter([HANG, completion("Still here.")])
        async with Server(lambda _: next(replies)) as server, asyncio.timeout(PATIENCE_S):
            backend = make(server)
            call = asyncio.create_task(backend.call(ModelRequest("Hi")))
            await server.got_request.wait()
            call.cancel()
            answer = await backend.call(ModelRequest("Hi"))
            await backend.close()
            return answer.text

    assert asyncio.run(run()) == "Still here."


# --- headers -------------------------------------------------------------------------------------------------------


def headers_of(environment: dict[str, str], **settings: Any) -> dict[str, str]:
    async def run() -> dict[str, str]:
        async with Server(completion()) as server:
            backend = make(server, environment, **settings)
            await backend.call(ModelRequest("Hi"))
            await backend.close()
            return server.received[0].headers

    return asyncio.run(run())


def test_keys_and_headers_are_read_from_the_environment() -> None:
    sent = headers_of({"KEY": " k-1\n", "ORG": "o-2"}, api_key="env:KEY", headers={"X-Org": "env:ORG"})
    assert (sent["authorization"], sent["x-org"]) == ("Bearer k-1", "o-2")


def test_a_header_of_the_configuration_replaces_ours() -> None:
    assert headers_of({}, headers={"User-Agent": "mine"})["user-agent"] == "mine"


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"api_key": "env:MISSING"}, "environment variable MISSING, which is not set"),
        ({"api_key": "env:"}, "(no name)"),
        ({"api_key": ""}, "is empty"),
        ({"api_key": "HIDDEN\nX: y"}, "printable ASCII"),
        ({"headers": {"X-Key": "HIDDÉN"}}, "printable ASCII"),
        ({"headers": {"X Key": "HIDDEN"}}, "cannot be set"),
        ({"headers": {"Content-Length": "1"}}, "cannot be set"),
        ({"api_key": "HIDDEN", "headers": {"Authorization": "HIDDEN"}}, "both set the Authorization header"),
        ({"api_key": "HIDDEN", "endpoint": "http://u:HIDDEN@h"}, "both set the Authorization header"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_any_call(settings: dict[str, Any], found: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        OpenAIBackend("x", OpenAISettings(**{"model": "m", "endpoint": "http://h", **settings}), {}, where="f:1")
    assert found in caught.value.message
    assert "HIDD" not in str(caught.value)
    assert caught.value.where == "f:1"


def test_settings_do_not_show_their_key() -> None:
    assert "HIDDEN" not in repr(OpenAISettings(model="m", endpoint="http://h", api_key="HIDDEN"))


def test_a_process_without_a_file_left_for_a_connection_is_named_and_may_try_again() -> None:
    resource = pytest.importorskip("resource")
    # In a process of its own: the limit is that of a process.
    code = (
        "import asyncio, resource, sys\n"
        "from apxm.backends.openai import OpenAIBackend\n"
        "from apxm.backends.protocol import ModelRequest\n"
        "from apxm.backends.settings import OpenAISettings\n"
        "from apxm.backends import transport\n"
        "from apxm.errors import BackendError\n"
        "async def call():\n"
        "    transport.IDLE_S = 600  # no connection closes meanwhile, whose file would be free then\n"
        "    settings = [OpenAISettings(model='m', endpoint=endpoint) for endpoint in sys.argv[1:]]\n"
        "    first, backend = (OpenAIBackend('local', each, {}) for each in settings)\n"
        "    await first.call(ModelRequest('The first call makes threads, which have files too.'))\n"
        "    files = []\n"
        "    try:\n        while True: files.append(open('/dev/null'))\n"
        "    except OSError: pass\n"
        "    for _ in range(2):\n"
        "        try: print((await backend.call(ModelRequest('Hi'))).text)\n"
        "        except BackendError as error: print(error.kind, error.retryable, error)\n"
        "        while files: files.pop().close()\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "asyncio.run(call())\n"
    )

    async def run() -> tuple[str, str]:
        async with Server(completion()) as first, Server(completion()) as server:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", code, first.endpoint, server.endpoint), stdout=asyncio.subprocess.PIPE
            )
            out, _ = await asyncio.wait_for(child.communicate(), PATIENCE_S)
            return out.decode(), server.endpoint

    assert resource
    out, endpoint = asyncio.run(run())
    refused, answered = out.splitlines()
    assert refused.startswith(f"open_files True local ({endpoint}) could not be called, as every file that may be open")
    assert "Too many open files" in refused
    assert answered == "Hello."
