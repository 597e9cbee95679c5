"""A batch that several workers do, all of them in one event loop: what they say is pickled, as between processes."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import apxm
from apxm.batches.batch import Batch, BatchOptions, Finished
from apxm.batches.foreman import Foreman
from apxm.batches.index import Index
from apxm.batches.inputs import open_input
from apxm.batches.journals import Journals
from apxm.batches.output import Output
from apxm.batches.tally import Tally
from apxm.batches.work import ProgramWork, program_work
from apxm.batches.worker import FromForeman, Order, Worker
from apxm.config.invocation import Invocation
from apxm.config.selection import resolve
from apxm.program import codec
from apxm.program.invocation import select_flow
from apxm.runtime.budget import NOTHING
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.loops import run_virtually
from apxm.runtime.shared_budget import SharedBudget
from tests.batches.working import PROGRAM, Asked


class InLoop:
    """Workers in the event loop of the foreman."""

    def __init__(self, order: Order, count: int) -> None:
        self.order = order
        self.count = count
        self.workers: dict[int, Worker] = {}
        self.closed: list[Coroutine[Any, Any, None]] = []

    @asynccontextmanager
    async def running(self, foreman: Foreman) -> AsyncGenerator[int]:
        self._foreman, loop = foreman, asyncio.get_running_loop()

        def carried(heard: Callable[[Any], None], number: int, said: Any) -> None:
            message = pickle.dumps(said)
            loop.call_soon(lambda: heard(pickle.loads(message)) if number in self.workers else None)

        for number in range(self.count):
            order = pickle.loads(pickle.dumps(self.order))
            worker = Worker(order, partial(carried, partial(foreman.heard, number), number))
            self.workers[number] = worker

            def hear(worker: Worker, said: FromForeman) -> None:
                worker.heard(said)

            foreman.joined(number, partial(carried, partial(hear, worker), number))
        yield self.count
        for number in [*self.workers]:
            await self.workers.pop(number).close()
        for each in self.closed:
            await each

    def kill(self, number: int) -> None:
        worker = self.workers.pop(number)
        self.closed.append(worker.close())
        for task in worker._tasks.values():  # a process that is killed does nothing any more
            task.cancel()
        self._foreman.lost(number, "killed")


class Taken:
    has_room = True

    def __init__(self) -> None:
        self.finished: list[Finished] = []

    def put(self, finished: Finished) -> None:
        self.finished.append(finished)


class Shop:
    """A batch of the program at `config`, with everything that belongs to it."""

    def __init__(
        self,
        config: str,
        number: int,
        workers: int,
        program: str = PROGRAM,
        dedupe: bool = False,
        budget: SharedBudget | None = None,
    ) -> None:
        Path("c.toml").write_text(config)
        Path("in.jsonl").write_text("".join(json.dumps({"text": f"<row {k}>"}) + "\n" for k in range(number)))
        compiled = apxm.compile_text(program)
        told = Invocation.of({"config": "c.toml"})
        configured = resolve(told.selection)
        assert configured.inventory is not None
        self.pool = configured.pool()
        make = partial(program_work, codec.encode(compiled), "Label.main", {})
        limits = None if budget is None else (budget.max_tokens, budget.max_money)
        order = Order(make, told, configured.inventory, {}, limits, dedupe, holds_text=False, is_table=False)
        self.engine = InLoop(order, workers)
        work = ProgramWork(
            LoadedProgram(compiled), select_flow(compiled, None), {}, told, self.pool, configured.tools
        )  # fmt: skip
        work.takes(holds_text=False, is_table=False)
        self.warned: list[str] = []
        self.foreman = Foreman(work, self.pool.gates, budget, self.engine, self.warned.append)
        self.source = open_input("in.jsonl")
        self.source.may_block = False
        self.index = Index()
        self.tally = Tally(lambda: 0.0)
        self.taken = Taken()
        self.batch = Batch(self.foreman, self.source, BatchOptions(at_once=64), self.tally, self.index)

    async def run(self, meanwhile: Callable[[], Coroutine[Any, Any, None]] | None = None) -> Sequence[Finished]:
        async with self.foreman.running():
            beside = asyncio.create_task(meanwhile()) if meanwhile else None
            await self.batch.run(self.taken)
            if beside is not None:
                await beside
        self.source.close()
        await self.pool.close()
        assert all(gate.in_flight == 0 for gate in self.pool.gates.values())
        return self.taken.finished


@pytest.fixture(autouse=True)
def _here(empty_directory: Path) -> None:
    """The files are those of the test."""


def simulated(**settings: Any) -> str:
    said = {"kind": "simulated", "latency": "constant:1000", **settings}
    return "[backends.b]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in said.items())


def seconds(shop: Shop, meanwhile: Callable[[], Coroutine[Any, Any, None]] | None = None) -> float:
    async def timed() -> float:
        await shop.run(meanwhile)
        return asyncio.get_running_loop().time()

    return run_virtually(timed())


@pytest.mark.parametrize("workers", [1, 3])
def test_calls_in_flight_are_as_many_as_the_limit_of_all(workers: int) -> None:
    shop = Shop(simulated(max_concurrency=5), 40, workers)
    assert seconds(shop) == pytest.approx(40 * 2 / 5 * 1.0)
    assert sorted(each.row.line for each in shop.taken.finished) == list(range(1, 41))
    assert (shop.tally.succeeded, shop.tally.calls, shop.warned) == (40, 80, [])


def test_what_is_found_is_found_for_all() -> None:
    shop = Shop(simulated(max_concurrency=4), 40, 2)

    async def told() -> None:
        await asyncio.sleep(2.5)
        shop.pool.gates["b"].tell(16, 2_500_000_000)

    # 12 calls by then, of which 4 are in flight for half a second more; the other 68 go by sixteens.
    assert 2.5 + 68 / 16 < seconds(shop, told) < 3.0 + 68 / 16 + 2.0


@pytest.mark.parametrize(("limit", "windows"), [({"requests_per_minute": 30}, 3), ({"tokens_per_minute": 100_000}, 0)])
def test_rates_are_those_of_all(limit: dict[str, int], windows: int) -> None:
    shop = Shop(simulated(**limit), 50, 3)
    minute = 60 * 1.02
    assert windows * minute <= seconds(shop) <= windows * minute + 5


def test_a_pause_that_one_worker_hears_of_is_for_all() -> None:
    faults = "429:@1"
    assert seconds(Shop(simulated(faults=faults, max_concurrency=64), 20, 2)) < 60


def test_an_endpoint_that_is_down_is_down_for_all() -> None:
    shop = Shop(simulated(faults="503:1.0", latency="constant:1", max_concurrency=64), 60, 3)
    seconds(shop)
    kinds = {each.line.error.kind for each in shop.taken.finished}  # type: ignore[union-attr]
    assert (shop.tally.failed, kinds) == (60, {"circuit_open"})


@pytest.mark.parametrize("workers", [1, 3])
def test_a_budget_is_that_of_all(workers: int) -> None:
    budget = SharedBudget(max_total_tokens=20_000)
    shop = Shop(simulated(max_concurrency=6), 500, workers, budget=budget)
    seconds(shop)
    assert budget.reserved == NOTHING
    assert 15_000 < budget.tokens <= 20_000
    assert shop.tally.tokens == budget.tokens
    assert shop.batch.uncovered is not None
    assert shop.batch.uncovered.left is not None
    assert (shop.batch.uncovered.left.limit, shop.tally.failed) == (20_000, 0)


def test_what_a_lost_worker_had_reserved_counts_as_used() -> None:
    budget = SharedBudget(max_total_tokens=10**6)
    shop = Shop(simulated(max_concurrency=6), 20, 2, budget=budget)
    reserved = list[int]()

    async def lose() -> None:
        await asyncio.sleep(0.5)
        reserved.append(budget.reserved.tokens)
        shop.engine.kill(0)

    seconds(shop, lose)
    assert budget.reserved == NOTHING
    assert 0 < budget.charged.tokens < reserved[0]
    assert budget.tokens == shop.tally.tokens + budget.charged.tokens


def test_the_inputs_of_a_worker_that_is_lost_are_done_elsewhere() -> None:
    shop = Shop(simulated(max_concurrency=6), 30, 3)

    async def lose() -> None:
        await asyncio.sleep(2.5)
        shop.engine.kill(1)

    seconds(shop, lose)
    assert sorted(each.row.line for each in shop.taken.finished) == list(range(1, 31))
    assert shop.tally.succeeded == 30
    assert [text.partition(";")[0] for text in shop.warned] == ["a worker is lost (killed)"]


def test_an_input_that_loses_its_worker_again_and_again_fails() -> None:
    shop = Shop(simulated(latency="constant:10000"), 2, 4)

    async def lose() -> None:
        for number in (0, 1, 2):
            await asyncio.sleep(1)
            while any(worker._tasks and k <= number for k, worker in shop.engine.workers.items()):
                shop.engine.kill(min(k for k, worker in shop.engine.workers.items() if worker._tasks))
                await asyncio.sleep(1)

    seconds(shop, lose)
    assert {each.line.error.kind for each in shop.taken.finished if each.line.failed} <= {"worker"}  # type: ignore[union-attr]


def test_what_a_lost_worker_had_been_answered_is_not_asked_again() -> None:
    """Its journals are where the output is: what it had been answered the next worker finds."""
    with Asked(holds="Sure?") as server:
        shop = Shop(f'[backends.b]\nkind = "openai"\nmodel = "m"\nendpoint = "{server.endpoint}"\n', 8, 2)

        async def scenario() -> None:
            output = Output("out.jsonl", {})
            journals = Journals(output, shop.index, ())
            shop.foreman.keep(journals)

            async def lose() -> None:
                await asyncio.to_thread(server.wait_for, 16)
                shop.engine.kill(0)
                server.go_on.set()

            await shop.run(lose)
            journals.close(remove=False)
            output.close()

        asyncio.run(scenario())
    firsts = [prompt for prompt in server.prompts if "Label it." in prompt]
    assert (len(firsts), len(set(firsts)), shop.tally.succeeded) == (8, 8, 8)
    assert 8 < len(server.prompts) - len(firsts) <= 16  # those in flight are asked again


def test_equal_calls_are_made_once_by_all_workers() -> None:
    program = 'agent Label { @entry flow main(text: str) -> str { return ask("The same.", temperature: 0.0) } }'
    with Asked(0.02) as server:
        config = f'[backends.b]\nkind = "openai"\nmodel = "m"\nendpoint = "{server.endpoint}"\n'
        shop = Shop(config, 20, 3, program, dedupe=True)
        asyncio.run(shop.run())
    assert (len(server.asked), shop.foreman.shared, shop.tally.succeeded) == (1, 19, 20)


def test_where_the_worker_is_lost_that_asks_for_others_one_of_these_asks() -> None:
    program = 'agent Label { @entry flow main(text: str) -> str { return ask("The same.", temperature: 0.0) } }'
    with Asked(holds="same") as server:
        config = f'[backends.b]\nkind = "openai"\nmodel = "m"\nendpoint = "{server.endpoint}"\n'
        shop = Shop(config, 9, 3, program, dedupe=True)

        async def lose() -> None:
            await asyncio.to_thread(server.wait_for, 1)
            shop.engine.kill(0)
            await asyncio.to_thread(server.wait_for, 2)
            server.go_on.set()

        asyncio.run(shop.run(lose))
    assert (len(server.asked), shop.tally.succeeded) == (2, 9)
