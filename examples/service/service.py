"""A web service whose requests are runs of flows and programs. README.md says what it promises.

    python service.py [--port 8000] [--workers 1] [--jobs jobs] [--drain 20] [--max-total-tokens N]

It is an ASGI application as any, so `uvicorn service:app --workers 2` does, too; it is then told by the environment.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel

import apxm
from apxm import ask, each, flow

# --- what it does: ordinary flows, and programs -----------------------------------------------------------------------


@flow
def label(rows: list[str]) -> dict[str, str]:
    labels = {}
    for row in each(rows):
        answer = ask(f"Label this: {row}")
        if "unsure" in answer:
            answer = ask(f"Think again: {row}", answer)
        labels[row] = answer
    return labels


WRITER = apxm.compile_text("""
agent Writer {
    @entry flow write(topic: str) -> str {
        ask("List five facts.", topic) -> facts
        return ask("Write a paragraph.", topic, facts)
    }
}
""")

# --- how it does it: each request is a run that is known by its id before it begins -----------------------------------


class Jobs:
    """What was asked for: a file for each run in `open` until it has ended well, in `done` from then on.

    Whoever carries a run on holds the lock of its file, which the system lets go of however the process ends: so
    several processes can have the same folder.
    """

    def __init__(self, folder: Path, drain_s: float, budget: apxm.SharedBudget | None) -> None:
        self.open, self.done, journals = (folder / name for name in ("open", "done", "journals"))
        for each_folder in (self.open, self.done):
            each_folder.mkdir(parents=True, exist_ok=True)
        self.running: dict[str, asyncio.Task[apxm.Result]] = {}
        self.drain_s = drain_s
        self._told: dict[str, Any] = {"journal_dir": journals, "budget": budget}

    def begin(self, name: str, given: dict[str, Any], on_text: Callable[[apxm.TextPart], None] | None = None) -> str:
        """Begins a run of a flow or program, once it is on disk what is asked of it."""
        run_id = apxm.new_run_id()
        part = self.open / f"{run_id}.part"
        part.touch()
        lock = claimed(part)
        assert lock is not None
        part.write_text(json.dumps([name, given]))
        part.rename(self.open / f"{run_id}.json")
        self._start(run_id, self._run(name, given, run_id, on_text), lock)
        return run_id

    def go_on(self) -> None:
        """Goes on with all that earlier processes have left, and that no other one carries on."""
        for file in self.open.glob("*.json"):
            self._go_on(file)

    def drop(self, run_id: str) -> None:
        """Nobody wants what comes of a run: its calls end."""
        if run_id in self.running:
            (self.open / f"{run_id}.json").unlink(missing_ok=True)
            self.running[run_id].cancel()

    def drain(self) -> None:
        """Runs have some time left to end; then they are cancelled, and go on in the next process."""
        asyncio.get_running_loop().call_later(self.drain_s, lambda: [task.cancel() for task in self.running.values()])

    async def ended(self) -> None:
        if self.running:
            await asyncio.wait(self.running.values())

    async def outcome(self, run_id: str) -> tuple[int, dict[str, Any]]:
        """What came of a run, once it is over; one that nobody carries on goes on."""
        if run_id not in self.running:
            files = [file for folder in (self.open, self.done) if (file := folder / f"{run_id}.json").exists()]
            if not files:
                return 404, {"run": run_id, "error": "there is no such run"}
            if not self._go_on(files[0]):
                return 409, {"run": run_id, "error": "another process carries it on"}
        return await self._told_of(run_id, self.running[run_id])

    async def _told_of(self, run_id: str, task: asyncio.Task[apxm.Result]) -> tuple[int, dict[str, Any]]:
        await asyncio.wait([task])
        if task.cancelled():
            return 503, {"run": run_id, "error": "the service is ending; ask for the run then"}
        error = task.exception()
        if error is None:
            return 200, {"run": run_id, "value": task.result().value}
        is_spent = isinstance(error, apxm.RunFailed) and error.stopped and error.stopped.kind in ("tokens", "cost")
        return 429 if is_spent else 502, {"run": run_id, "error": f"{type(error).__name__}: {error}"}

    def _run(
        self, name: str, given: dict[str, Any], run_id: str, on_text: Callable[[apxm.TextPart], None] | None = None
    ) -> Coroutine[Any, Any, apxm.Result]:
        if name == "label":
            return label.using(**self._told, run_id=run_id).run_async(**given)
        return apxm.run_async(WRITER, given, **self._told, run_id=run_id, on_text=on_text)

    async def _resumed(self, name: str, given: dict[str, Any], run_id: str) -> apxm.Result:
        """Goes on with a run: whatever was answered is not asked again."""
        try:
            if name == "label":
                return await label.using(**self._told).resume_async(run_id, **given)
            return await apxm.resume_async(run_id, **self._told)
        except apxm.UsageError:  # its process ended before it had a journal
            return await self._run(name, given, run_id)

    def _go_on(self, file: Path) -> bool:
        """Says whether this process carries it on."""
        if file.stem in self.running:
            return True
        lock = claimed(file)
        if lock is None:
            return False
        name, given = json.loads(file.read_text())
        self._start(file.stem, self._resumed(name, given, file.stem), lock)
        return True

    def _start(self, run_id: str, run: Coroutine[Any, Any, apxm.Result], lock: int) -> None:
        self.running[run_id] = asyncio.create_task(run)
        self.running[run_id].add_done_callback(partial(self._end, run_id, lock))

    def _end(self, run_id: str, lock: int, task: asyncio.Task[apxm.Result]) -> None:
        del self.running[run_id]
        file = self.open / f"{run_id}.json"
        if not task.cancelled() and task.exception() is None and file.exists():
            file.rename(self.done / file.name)
        os.close(lock)


def claimed(file: Path) -> int | None:
    """A descriptor with the lock of a file; None where another process has it, or has just moved the file."""
    try:
        lock = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), file.stat()):
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(lock)
    return None


# --- where it is asked ------------------------------------------------------------------------------------------------

TOKENS = os.environ.get("SERVICE_MAX_TOTAL_TOKENS")
BUDGET = apxm.SharedBudget(max_total_tokens=int(TOKENS)) if TOKENS else None
JOBS = Jobs(Path(os.environ.get("SERVICE_JOBS", "jobs")), float(os.environ.get("SERVICE_DRAIN_S", "20")), BUDGET)


class Rows(BaseModel):
    rows: list[str]


class Topic(BaseModel):
    topic: str


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
    at_signals(JOBS.drain)
    JOBS.go_on()
    yield
    await JOBS.ended()


def at_signals(drain: Callable[[], None]) -> None:
    """Calls `drain` in the event loop when the process is told to end, before the server's own handler."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        servers = signal.getsignal(number)

        def handle(number: int, frame: FrameType | None, servers: Any = servers) -> None:
            loop.call_soon_threadsafe(drain)
            servers(number, frame)

        signal.signal(number, handle)


app = FastAPI(lifespan=lifespan)


@app.post("/label")
async def _(asked: Rows, request: Request) -> JSONResponse:
    run_id = JOBS.begin("label", asked.model_dump())
    leaving = asyncio.create_task(left(request))
    leaving.add_done_callback(lambda task: None if task.cancelled() else JOBS.drop(run_id))
    try:
        return told(*await JOBS.outcome(run_id))
    finally:
        leaving.cancel()


@app.post("/write")
async def _(asked: Topic) -> StreamingResponse:
    parts = asyncio.Queue[apxm.TextPart | None]()
    run_id = JOBS.begin("write", asked.model_dump(), parts.put_nowait)
    JOBS.running[run_id].add_done_callback(lambda _: parts.put_nowait(None))
    outcome = asyncio.create_task(JOBS.outcome(run_id))

    async def events() -> AsyncGenerator[str]:
        try:
            yield event("run", run_id)
            while (part := await parts.get()) is not None:
                yield event("anew" if part.anew else "text", part.text)
            status, body = await outcome
            yield event("end" if status == 200 else "error", {"status": status, **body})
        finally:  # the client may have gone
            JOBS.drop(run_id)

    return StreamingResponse(events(), media_type="text/event-stream", headers={"cache-control": "no-store"})


@app.get("/runs/{run_id}")
async def _(run_id: str) -> JSONResponse:
    return told(*await JOBS.outcome(run_id))


@app.get("/health")
async def _() -> dict[str, Any]:
    return {"process": os.getpid(), "runs": len(JOBS.running), "tokens": BUDGET and BUDGET.tokens}


async def left(request: Request) -> None:
    """Ends when the client goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def told(status: int, body: dict[str, Any]) -> JSONResponse:
    return JSONResponse(body, status)


def event(name: str, data: object) -> str:
    """An event of `text/event-stream`; JSON has no line ends that would end it."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=1, help="processes; each has the limits of the configuration")
    parser.add_argument("--jobs", default="jobs", help="the folder of requests and journals")
    parser.add_argument("--drain", default="20", metavar="S", help="seconds that runs have at the end")
    parser.add_argument("--max-total-tokens", metavar="N", help="the most that all runs of a process may use together")
    given = parser.parse_args()
    os.environ |= {"SERVICE_JOBS": given.jobs, "SERVICE_DRAIN_S": given.drain}
    if given.max_total_tokens:
        os.environ["SERVICE_MAX_TOTAL_TOKENS"] = given.max_total_tokens
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # uvicorn sends itself again what ended it, and that is status 0
    here = os.path.dirname(os.path.abspath(__file__))
    uvicorn.run(
        "service:app", app_dir=here, port=given.port, workers=given.workers, access_log=False,
        timeout_worker_healthcheck=60,  # a worker that begins on a busy machine is not dead after five seconds
    )  # fmt: skip


if __name__ == "__main__":
    main()
