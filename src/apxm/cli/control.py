"""How a run of the command line is reached while it goes on: ``apxm runs limit``, ``apxm runs show --live``.

A socket of the system, named by the run, in a folder of the user's that nobody else can enter. Who waits at a socket
sleeps, and what connects wakes the loop of the run: nothing looks whether there is something to do. Where there can be
no socket the run goes on without.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from math import isinf
from pathlib import Path
from time import perf_counter_ns

import msgspec
from msgspec import Struct

from apxm.config.files import make_folder, user_folder
from apxm.errors import ConfigurationError, UsageError, hint_for
from apxm.reports.progress import RunState
from apxm.runtime.gates import Gate
from apxm.source import printable

_PATIENCE_S = 5.0
_LONGEST = 64 * 1024


class Wanted(Struct, frozen=True):
    """What is said to a run."""

    changes: bool = False
    """Whether something is to change."""
    limit: int | None = None
    """Most calls in flight from now on; None for what was configured, or is found."""
    backend: str | None = None
    """At this backend; None for all."""
    state: bool = False
    """Whether it is to say what it is doing."""


class LimitOf(Struct, frozen=True):
    """A backend of a run."""

    backend: str
    limit: int | None
    """Most calls in flight; None where nothing limits them."""
    by: str
    """Who says so: ``told`` while it goes on, ``found``, ``configured`` or, without a limit, ``nobody``."""
    in_flight: int


class Going(Struct, frozen=True):
    """A run that goes on."""

    id: str
    program: str
    backends: list[LimitOf]
    unknown: bool = False
    """Whether it was told of a backend that it does not have."""
    state: RunState | None = None
    """What it is doing, where that was asked; None of what is many runs."""


# --- the run ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def reachable(
    run_id: str, program: str, gates: Sequence[Gate], state: Callable[[], RunState] | None = None
) -> AsyncGenerator[None]:
    """As long as it lasts, the limits of the gates may be asked for and changed, and what the run is doing, asked
    for."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, ValueError, msgspec.MsgspecError):
            async with asyncio.timeout(_PATIENCE_S):
                wanted = msgspec.json.decode(await reader.readline(), type=Wanted)
                chosen = [gate for gate in gates if wanted.backend in (None, gate.name)]
                for gate in chosen if wanted.changes else ():
                    gate.tell(wanted.limit, perf_counter_ns())
                doing = state() if wanted.state and state is not None else None
                found = Going(run_id, program, list(map(_limit_of, gates)), unknown=not chosen, state=doing)
                writer.write(msgspec.json.encode(found))
                await writer.drain()
        writer.close()

    server, path = None, None
    with suppress(OSError, ConfigurationError, NotImplementedError, AttributeError):
        path = _folder(make=True) / run_id
        server = await asyncio.start_unix_server(answer, str(path), limit=_LONGEST)
    try:
        yield
    finally:
        if server is not None and path is not None:
            server.close()
            path.unlink(missing_ok=True)


def _limit_of(gate: Gate) -> LimitOf:
    limit = None if isinf(gate.most) else int(gate.most)
    by = (
        "told"
        if gate.is_told
        else "found"
        if gate.adaptive is not None
        else "nobody"
        if limit is None
        else "configured"
    )
    return LimitOf(gate.name, limit, by, gate.in_flight)


def _folder(*, make: bool = False) -> Path:
    folder = user_folder("state") / "going"
    return make_folder(folder, "the folder of the runs that go on cannot be made", mode=0o700) if make else folder


# --- who wants something of it ---------------------------------------------------------------------------------------


def going_on() -> list[Going]:
    """All runs of this user that can be reached, the one that began last first."""
    found = (_said(path, Wanted()) for path in _sockets())
    return [run for run in found if run is not None]


def tell_run(wanted_id: str, wanted: Wanted) -> Going:
    """Says it to a run that goes on: named by its id, the begin or the end of a single one, or ``last``. Raises
    `UsageError`."""
    paths = _sockets()
    if wanted_id == "last":
        paths = paths[:1]
    else:
        paths = [path for path in paths if path.name.startswith(wanted_id) or path.name.endswith(wanted_id)]
    if len(paths) > 1:
        raise UsageError(f"{wanted_id!r} may be any of {len(paths)} runs", hint="type more of it")
    said = _said(paths[0], wanted) if paths else None
    if said is None:
        raise UsageError(
            f"no run {wanted_id!r} goes on that can be reached",
            hint="`apxm runs limit` lists them; a run begun in Python, and one of another user, is not among them",
        )
    if said.unknown and wanted.backend is not None:
        known = [limit.backend for limit in said.backends]
        hint = hint_for(str(wanted.backend), known, f"it has {', '.join(known)}")
        raise UsageError(f"run {said.id} has no backend {wanted.backend!r}", hint=printable(hint))
    return said


def _sockets() -> list[Path]:
    with suppress(OSError):
        return sorted((path for path in _folder().iterdir() if path.is_socket()), reverse=True)
    return []


def _said(path: Path, wanted: Wanted) -> Going | None:
    """What a run answers; None where it is over. What a process that was killed has left there is removed."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PATIENCE_S)
        try:
            connection.connect(str(path))
            connection.sendall(msgspec.json.encode(wanted) + b"\n")
            content = b""
            while piece := connection.recv(_LONGEST):
                content += piece
            return msgspec.json.decode(content, type=Going)
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except (OSError, msgspec.MsgspecError):
            pass
    return None
