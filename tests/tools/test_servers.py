"""Tools of servers, written with the official SDK, over standard input and output and over HTTP."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from subprocess import DEVNULL
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace

from apxm.errors import ConfigurationError, OperationError
from apxm.operations.types import INT, JSON, STR, list_of
from apxm.runtime.loops import real_loop
from apxm.tools.schemas import Declaration
from apxm.tools.server import Server
from apxm.tools.settings import ServerSettings
from tests.tools.processes import fifo, has_ended, told

pytest.importorskip("mcp")

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "tests.tools.servers")


def over_stdio(kind: str = "stdio", **settings: Any) -> Server:
    command = (*PROGRAM, kind)
    return Server(
        "s", ServerSettings(command=command, **settings), command, lambda: None, lambda: {"PYTHONPATH": str(ROOT)}, dict
    )


@contextmanager
def serving() -> Generator[tuple[str, subprocess.Popen[bytes]]]:
    """A server over HTTP, by its URL and its process. Whoever comes early waits in its socket."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
        number = listening.fileno()
        process = subprocess.Popen(
            [*PROGRAM, "http", str(number)], cwd=ROOT, pass_fds=[number], stdout=DEVNULL, stderr=DEVNULL
        )
    with process:
        try:
            yield url, process
        finally:
            process.kill()


def over_http(url: str, **settings: Any) -> Server:
    return Server("s", ServerSettings(url=url, **settings), None, lambda: None, dict, dict)


def run(server: Server, main: Callable[[Server], Awaitable[T]]) -> T:
    """Uses a server, and asserts that nothing of it is left."""
    errors: list[dict[str, Any]] = []

    async def used() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        try:
            return await main(server)
        finally:
            await server.close()
            assert asyncio.all_tasks() == {asyncio.current_task()}

    before = set(threading.enumerate())
    with asyncio.Runner(loop_factory=real_loop) as runner:
        found = runner.run(used())
    assert errors == []
    assert {thread for thread in threading.enumerate() if not thread.daemon} <= before
    return found


async def failure(asked: Awaitable[object]) -> tuple[str, str]:
    with pytest.raises(OperationError) as caught:
        await asked
    return caught.value.kind, caught.value.message


async def use_every_tool(server: Server) -> None:
    calls: dict[str, dict[str, Any]] = {"search": {"q": "a", "limit": 2}, "weight": {"what": "abc"}}
    calls |= {name: {"what": "x"} for name in ("text", "fields", "chat")}
    given = {name: (await server.tool(name).call(arguments)).value for name, arguments in calls.items()}
    assert given == {
        "search": ["a 0", "a 1"],
        "weight": 3.0,
        "text": "text of x",
        "fields": {"what": "x"},
        "chat": "x",
    }
    kind, message = await failure(server.tool("refuse").call({"what": "x"}))
    assert (kind, message) == ("tool_failed", "tool 's.refuse': Error executing tool refuse: no x today")
    kind, message = await failure(server.tool("none").call({}))
    assert kind == "tool_failed"
    assert "none" in message
    kind, message = await failure(server.tool("text", called="texts").call({}))
    assert message.startswith("tool 'texts': ")
    assert (await server.tool("search").hints(), await server.tool("text").hints()) == ({"readOnlyHint": True}, {})


def test_its_tools_are_called_over_standard_input_and_output(capfd: pytest.CaptureFixture[str]) -> None:
    run(over_stdio(), use_every_tool)
    assert capfd.readouterr() == ("", "")  # lines that are no messages, and what a server logs, are nobody's output


def test_its_tools_are_called_over_http() -> None:
    with serving() as (url, _):
        run(over_http(url), use_every_tool)


def test_calls_at_once_share_one_server() -> None:
    async def main(server: Server) -> list[object]:
        found = await asyncio.gather(*(server.tool("text").call({"what": str(i)}) for i in range(20)))
        return [answer.value for answer in found]

    assert run(over_stdio(), main) == [f"text of {i}" for i in range(20)]


def test_one_that_dies_during_a_call_is_an_error_and_is_begun_anew_by_the_next() -> None:
    async def main(server: Server) -> None:
        both = await asyncio.gather(
            failure(server.tool("die").call({"words": "out of cheese"})),
            failure(server.tool("hang").call({"mark": "/dev/null"})),
        )
        assert {kind for kind, _ in both} == {"connection"}
        assert both[0][1].startswith("server 's' ended; it said: ")
        assert both[0][1].endswith("out of cheese")
        assert (await server.tool("text").call({"what": "again"})).value == "text of again"

    run(over_stdio(), main)


def test_one_over_http_that_dies_during_a_call_is_an_error(tmp_path: Path) -> None:
    mark = fifo(tmp_path)

    async def main(server: Server, process: subprocess.Popen[bytes]) -> None:
        asked = asyncio.create_task(server.tool("hang").call({"mark": str(mark)}))
        await told(mark)
        process.kill()
        kind, _ = await failure(asked)
        assert kind in ("connection", "tool_failed")

    with serving() as (url, process):
        run(over_http(url), partial(main, process=process))


@pytest.mark.parametrize("cancelled", ["call", "all"])
def test_a_call_that_hangs_can_be_given_up_and_nothing_is_left(tmp_path: Path, cancelled: str) -> None:
    mark = fifo(tmp_path)

    async def main(server: Server) -> str:
        asked = asyncio.create_task(server.tool("hang").call({"mark": str(mark)}))
        pid = await told(mark)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        if cancelled == "call":
            assert (await server.tool("text").call({"what": "x"})).value == "text of x"
        return pid

    assert has_ended(int(run(over_stdio(), main)))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("broken", "server 's' cannot be begun: Connection closed; it said: no such model"),
        ("silent", "server 's' did not answer within 1 s"),
    ],
)
def test_one_that_cannot_be_begun_says_why(kind: str, message: str) -> None:
    server = over_stdio(kind, start_timeout_s={"silent": 1.0}.get(kind, 60.0))
    assert run(server, lambda server: server.tool("text").flaws(None)) == [message]


def test_a_list_of_tools_that_does_not_come_to_an_end_has_a_limit() -> None:
    async def main(server: Server) -> list[str]:
        await server.ask(lambda _: asyncio.sleep(0))  # it is begun, however long that takes
        server.settings = replace(server.settings, start_timeout_s=0.1)
        return await server.tool("text").flaws(None)

    found = run(over_stdio("endless", start_timeout_s=60.0), main)
    assert found == ["server 's' did not list its tools within 0.1 s"]


def test_a_program_that_is_not_there_and_an_endpoint_that_is_not_are_errors_of_the_call() -> None:
    command = ("/no/such/program",)
    for server in (
        Server("s", ServerSettings(command=command), command, lambda: None, dict, dict),
        over_http("http://127.0.0.1:9/mcp"),
    ):
        kind, message = run(server, lambda server: failure(server.tool("text").call({"what": "x"})))
        assert (kind, message.startswith("server 's' cannot be begun: ")) == ("connection", True)


def test_one_that_is_not_trusted_is_not_begun() -> None:
    def refuse() -> None:
        raise ConfigurationError("not trusted")

    server = Server("s", ServerSettings(command=("true",)), ("true",), refuse, dict, dict)
    assert run(server, lambda server: failure(server.tool("t").call({}))) == ("configuration", "not trusted")


@pytest.mark.parametrize(
    ("own", "declared", "found"),
    [
        ("search", Declaration("", {"q": STR, "limit": INT}, list_of(STR)), []),
        ("search", Declaration("", {"q": STR}, JSON), []),
        ("search", Declaration("", {"query": STR}, STR), [
            "it has no parameter 'query'; it has 'q', 'limit'",
            "it needs 'q', which is not declared",
            "it gives array of string, declared as str",
        ]),
        ("weight", Declaration("", {"what": INT}, INT), [
            "its 'what' is string, declared as int",
            "it gives number, declared as int",
        ]),
    ],
)  # fmt: skip
def test_what_it_says_of_a_tool_is_held_against_the_declaration(
    own: str, declared: Declaration, found: list[str]
) -> None:
    assert run(over_stdio(), lambda server: server.tool(own).flaws(declared)) == found


def test_a_tool_that_it_does_not_have_is_told_with_those_that_it_has() -> None:
    [flaw] = run(over_stdio(), lambda server: server.tool("find").flaws(None))
    assert flaw.startswith("server 's' has no tool 'find'; it has search, weight, text")


def test_it_can_be_left_and_begun_again_in_another_loop() -> None:
    server = over_stdio()
    for _ in range(2):
        assert run(server, lambda server: server.tool("weight").call({"what": "ab"})).value == 2.0


def test_its_library_is_loaded_where_it_is_needed_only() -> None:
    script = "import sys, apxm.cli.session, apxm.cli.tools; print('mcp' in sys.modules, 'anyio' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.split() == ["False", "False"]


def test_nothing_of_it_goes_to_the_terminal_where_nobody_listens_to_the_log() -> None:
    run(over_stdio(), lambda server: server.offers())
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("mcp").handlers)
