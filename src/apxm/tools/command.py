"""A tool that is a program: it reads its arguments as JSON, and what it writes is its answer."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from contextlib import suppress

import msgspec

from apxm.errors import ConfigurationError, OperationError
from apxm.tools.schemas import Declaration
from apxm.tools.settings import Command
from apxm.tools.tool import Arguments, CallTool, ToolAnswer, failed

LARGEST_ANSWER = 64 * 1024 * 1024
_LAST_WORDS = 2000
"""Characters of standard error that a message shows."""
_GRACE_S = 2.0
"""How long a program has to end by itself when its call is given up."""


class CommandTool(CallTool):
    def __init__(
        self, name: str, command: Command, environment: Callable[[], Mapping[str, str]], timeout_s: float, most: int
    ) -> None:
        """`environment` gives the variables; it raises `ConfigurationError` where one is missing."""
        self.name = name
        self.timeout_s = timeout_s
        self._command = command
        self._environment = environment
        self._slots = asyncio.Semaphore(most)

    async def call(self, arguments: Arguments) -> ToolAnswer:
        async with self._slots:
            try:
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=PIPE,
                    stdout=PIPE,
                    stderr=PIPE,
                    env={**os.environ, **self._environment()},
                    start_new_session=True,  # a group of its own, which Ctrl-C in the terminal does not reach
                )
            except (OSError, ConfigurationError) as error:
                raise OperationError("configuration", f"tool {self.name!r} cannot be started: {error}") from None
            try:
                return await self._answer(process, msgspec.json.encode(arguments))
            finally:
                await _end(process)

    async def _answer(self, process: Process, arguments: bytes) -> ToolAnswer:
        output, said, status, _ = await asyncio.gather(
            _output(process), _last_words(process), _status(process), _give(process, arguments)
        )
        if len(output) > LARGEST_ANSWER:
            raise OperationError("too_large", f"tool {self.name!r} wrote more than {LARGEST_ANSWER // 2**20} MiB")
        if status:
            how = f"ended with status {status}" if status > 0 else f"was ended by {signal.Signals(-status).name}"
            words = said.decode(errors="replace").strip()[-_LAST_WORDS:]
            raise failed(self.name, f"{how}{': ' if words else ', and said nothing'}{words}")
        try:
            return ToolAnswer(text=output.decode().removesuffix("\n").removesuffix("\r"))
        except UnicodeDecodeError:
            raise failed(self.name, "what it wrote is not UTF-8") from None

    async def flaws(self, declared: Declaration | None) -> list[str]:
        del declared  # a program does not say what it takes
        program = self._command[0]
        try:
            path = {**os.environ, **self._environment()}.get("PATH")
        except ConfigurationError as error:
            return [error.message]  # whoever asks knows the place
        return [] if shutil.which(program, path=path) else [f"there is no program {program!r} that can be run"]


async def _give(process: Process, arguments: bytes) -> None:
    assert process.stdin is not None
    # It need not want to know them; a RuntimeError is what uvloop raises where it has ended already.
    with suppress(BrokenPipeError, ConnectionResetError, RuntimeError):
        process.stdin.write(arguments)
        await process.stdin.drain()
    process.stdin.close()


async def _output(process: Process) -> bytes:
    """All that it writes, or a little more than the most that it may."""
    assert process.stdout is not None
    found = bytearray()
    while part := await process.stdout.read(65536):
        if len(found) <= LARGEST_ANSWER:
            found += part
        else:
            _signal(process, signal.SIGKILL)
    return bytes(found)


async def _last_words(process: Process) -> bytes:
    assert process.stderr is not None
    found = b""
    while part := await process.stderr.read(65536):
        found = (found + part)[-4 * _LAST_WORDS :]
    return found


async def _status(process: Process) -> int:
    """How it ended. What it left behind would keep its output open."""
    status = await process.wait()
    _signal(process, signal.SIGKILL)
    return status


async def _end(process: Process) -> None:
    """Ends it and all that it started, where it is still at work: politely first."""
    if process.returncode is not None:
        return
    _signal(process, signal.SIGTERM)
    with suppress(TimeoutError):
        async with asyncio.timeout(_GRACE_S):
            await process.wait()
    _signal(process, signal.SIGKILL)
    await process.wait()
    with suppress(TimeoutError):  # whatever left the group may hold them open
        async with asyncio.timeout(_GRACE_S):
            await asyncio.gather(*(stream.read() for stream in (process.stdout, process.stderr) if stream))


def _signal(process: Process, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.send_signal(number)
        else:
            os.killpg(process.pid, number)
