"""Workers of a batch as actors of Ray.

Of Ray this uses actors, their methods and what is raised when one is lost, and nothing else. A worker is an
asynchronous actor: it hears by `hear`, and says what there is to say as the answer to `said`, which is asked again and
again. One call of each is open at a time, so all that comes meanwhile goes together, and in order.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib import import_module
from typing import Any

from apxm.batches.foreman import Foreman
from apxm.batches.worker import FromForeman, Order, ToForeman, Worker
from apxm.errors import ApxmError, ConfigurationError

_STORE_BYTES = 100 << 20
"""Of the objects of a cluster that is begun here: a batch keeps next to nothing there."""
_FAILED_STARTS = 3
"""After so many workers in a row that could not begin no more are begun."""
_END_S = 5.0
"""How long a worker may take to close what it has."""


class Actor:
    """A worker, as Ray has it."""

    async def begin(self, order: Order) -> ApxmError | None:
        """Gives why there can be no worker."""
        self._said: list[ToForeman] = []
        self._told = asyncio.Event()
        try:
            self._worker = Worker(order, self._say)
        except ApxmError as error:
            return error
        return None

    def _say(self, said: ToForeman) -> None:
        self._said.append(said)
        self._told.set()

    async def hear(self, said: Sequence[FromForeman]) -> None:
        for each in said:
            self._worker.heard(each)

    async def said(self) -> Sequence[ToForeman]:
        await self._told.wait()
        self._told.clear()
        said, self._said = self._said, []
        return said

    async def end(self) -> None:
        await self._worker.close()


class RayEngine:
    def __init__(self, make_order: Callable[[], Order], address: str | None, workers: int | None) -> None:
        """`address` is that of a cluster, None for one that is begun here and ends with the batch; `workers` is how
        many there are, None for one for each of its processors. Raises `ConfigurationError` where Ray is missing."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody was asked
        try:
            self._ray: Any = import_module("ray")  # which has no types
        except ImportError:
            raise ConfigurationError(
                "--engine ray needs Ray, which is not installed", hint="pip install 'apxm[ray]'"
            ) from None
        self._make_order = make_order
        self._address = address
        self._count = workers
        self._number = 0
        self._failed_starts = 0
        self._live: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending = False

    @asynccontextmanager
    async def running(self, foreman: Foreman) -> AsyncGenerator[int]:
        with self._cluster():
            count = self._count or max(1, int(self._ray.cluster_resources().get("CPU", 1)))
            order = self._ray.put(self._make_order())
            begun = asyncio.Event()
            try:
                for _ in range(count):
                    self._hire(foreman, order, begun)
                await begun.wait()
                yield count
            finally:
                self._ending = True
                for task in self._tasks:
                    task.cancel()
                if self._tasks:
                    await asyncio.wait(self._tasks)

    @contextmanager
    def _cluster(self) -> Generator[None]:
        ray = self._ray
        if ray.is_initialized():  # by whoever calls this
            yield
            return
        address = self._address or os.environ.get("RAY_ADDRESS")
        own = {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
        handler = signal.getsignal(signal.SIGTERM)
        try:
            _knock(address or "")
            ray.init(address or "local", log_to_driver=False, logging_level="ERROR", **({} if address else own))
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise ConfigurationError(
                f"the Ray cluster cannot be reached: {str(error).strip() or type(error).__name__}",
                where=address,
                hint="`ray status` on one of its machines shows it; without --address one is begun here",
            ) from None
        finally:
            with suppress(ValueError, TypeError):  # not in the main thread, or not of Python
                signal.signal(signal.SIGTERM, handler)  # Ray takes it
        try:
            yield
        finally:
            ray.shutdown()

    def _hire(self, foreman: Foreman, order: Any, begun: asyncio.Event) -> None:
        self._number += 1
        task = asyncio.create_task(self._employ(self._number, foreman, order, begun))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _employ(self, number: int, foreman: Foreman, order: Any, begun: asyncio.Event) -> None:
        """Has a worker from its begin to its end, and another one in its place where it is lost."""
        ray = self._ray
        options = {"num_cpus": 1, "scheduling_strategy": "SPREAD", "max_restarts": 0, "max_task_retries": 0}
        actor = ray.remote(Actor).options(**options).remote()
        refusal: ApxmError | None = None
        why = ""
        try:
            refusal = await actor.begin.remote(order)
            if refusal is None:
                self._failed_starts = 0
                line = _Line(actor)
                foreman.joined(number, line.say)
                self._live.add(number)
                begun.set()
                await line.open(lambda said: foreman.heard(number, said))
        except Exception as error:  # whatever it is: whoever waits for its inputs must not wait for ever
            why = _reason(error)
        finally:
            was_live = number in self._live
            if was_live and self._ending and not why:
                with suppress(ray.exceptions.RayError, TimeoutError):
                    await asyncio.wait_for(_awaited(actor.end.remote()), _END_S)
            # One that only cannot be reached may be alive, and must do nothing that others do again.
            ray.kill(actor, no_restart=True)
            self._live.discard(number)
        if was_live:
            foreman.lost(number, why)
        else:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                if not self._live:
                    foreman.failed(refusal or ConfigurationError(f"no worker can begin: {why}", hint=_SAME))
                    begun.set()
                return
        self._hire(foreman, order, begun)


_SAME = "all machines of the cluster need apxm and whatever the program imports, and the same version of Python"


def _knock(address: str) -> None:
    """Raises `OSError` where nobody listens: Ray tries for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "://" not in address:
        socket.create_connection((host, int(port)), _END_S).close()


class _Line:
    """What is said to a worker and by it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._saying: list[FromForeman] = []
        self._told = asyncio.Event()

    def say(self, said: FromForeman) -> None:
        self._saying.append(said)
        self._told.set()

    async def open(self, heard: Callable[[ToForeman], object]) -> None:
        """Until the worker is lost: raises then what Ray does."""
        both = [asyncio.create_task(self._say_all()), asyncio.create_task(self._hear_all(heard))]
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)

    async def _say_all(self) -> None:
        while True:
            await self._told.wait()
            self._told.clear()
            saying, self._saying = self._saying, []
            await self._actor.hear.remote(saying)

    async def _hear_all(self, heard: Callable[[ToForeman], object]) -> None:
        while True:
            for each in await self._actor.said.remote():
                heard(each)


async def _awaited(reference: Awaitable[None]) -> None:
    await reference


def _reason(error: Exception) -> str:
    """What Ray says, in a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next((line for line in lines if "because" in line or "Error" in line), lines[0] if lines else "")
    return f"{type(error).__name__}: {told}"[:300]
