"""A web service with flows in it. README.md says what it promises.

python service.py [--port 8000] [--jobs jobs] [--drain 20]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from apxm import JournalBusyError, Result, UsageError, ask, each, flow, new_run_id

# --- what it does: ordinary flows -------------------------------------------------------------------------------------


@flow
def label(rows: list[str]) -> dict[str, str]:
    labels = {}
    for row in each(rows):
        answer = ask(f"Label this: {row}")
        if "unsure" in answer:
            answer = ask(f"Think again: {row}", answer)
        labels[row] = answer
    return labels


@flow
def title(text: str) -> str:
    return ask("Give this a title of five words.", text)


FLOWS = {"label": label, "title": title}

# --- how it does it: each request is a run that is known by its id before it begins -----------------------------------


class Jobs:
    """What was asked for: a file for each run in `open` until it has ended well, in `done` from then on."""

    def __init__(self, folder: Path) -> None:
        self.open, self.done, self.journals = (folder / name for name in ("open", "done", "journals"))
        for each_folder in (self.open, self.done):
            each_folder.mkdir(parents=True, exist_ok=True)
        self.running: dict[str, asyncio.Task[Result]] = {}

    def begin(self, name: str, *given: object) -> str:
        """Begins a run of the flow `name`, once it is on disk what is asked of it."""
        run_id = new_run_id()
        part = self.open / f"{run_id}.part"
        part.write_text(json.dumps([name, given]))
        part.rename(self.open / f"{run_id}.json")
        self._start(run_id, FLOWS[name].using(journal_dir=self.journals, run_id=run_id).run_async(*given))
        return run_id

    def go_on(self) -> None:
        """Goes on with all that an earlier process has left."""
        for file in self.open.glob("*.json"):
            self._start(file.stem, self._going_on(file))

    async def outcome(self, run_id: str) -> JSONResponse:
        """What came of a run, once it is over; one that nobody carries on goes on."""
        if run_id not in self.running:
            files = [file for folder in (self.open, self.done) if (file := folder / f"{run_id}.json").exists()]
            if not files:
                return JSONResponse({"run": run_id, "error": "there is no such run"}, 404)
            self._start(run_id, self._going_on(files[0]))
        task = self.running[run_id]
        await asyncio.wait([task])
        if task.cancelled():
            return JSONResponse({"run": run_id, "error": "the service is ending; ask for the run then"}, 503)
        error = task.exception()
        if isinstance(error, JournalBusyError):
            return JSONResponse({"run": run_id, "error": str(error)}, 409)
        if error is not None:
            return JSONResponse({"run": run_id, "error": f"{type(error).__name__}: {error}"}, 502)
        return JSONResponse({"run": run_id, "value": task.result().value})

    def cancel(self) -> None:
        for task in self.running.values():
            task.cancel()

    async def ended(self) -> None:
        if self.running:
            await asyncio.wait(self.running.values())

    def _going_on(self, file: Path) -> Coroutine[Any, Any, Result]:
        name, given = json.loads(file.read_text())
        return resumed(FLOWS[name].using(journal_dir=self.journals), file.stem, given)

    def _start(self, run_id: str, run: Coroutine[Any, Any, Result]) -> None:
        self.running[run_id] = asyncio.create_task(run)
        self.running[run_id].add_done_callback(lambda task: self._end(run_id, task))

    def _end(self, run_id: str, task: asyncio.Task[Result]) -> None:
        del self.running[run_id]
        file = self.open / f"{run_id}.json"
        if not task.cancelled() and task.exception() is None and file.exists():
            file.rename(self.done / file.name)


async def resumed(wanted: Any, run_id: str, given: list[Any]) -> Result:
    """Goes on with a run of a flow: whatever was answered is not asked again."""
    try:
        return await wanted.resume_async(run_id, *given)
    except UsageError:  # its process ended before it had a journal
        return await wanted.using(run_id=run_id).run_async(*given)


# --- where it is asked ------------------------------------------------------------------------------------------------


class Rows(BaseModel):
    rows: list[str]


class Text(BaseModel):
    text: str


def service(jobs: Jobs) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
        jobs.go_on()
        yield
        await jobs.ended()

    app = FastAPI(lifespan=lifespan)

    @app.post("/label")
    async def _(asked: Rows) -> JSONResponse:
        return await jobs.outcome(jobs.begin("label", asked.rows))

    @app.post("/title")
    async def _(asked: Text) -> JSONResponse:
        return await jobs.outcome(jobs.begin("title", asked.text))

    @app.get("/runs/{run_id}")
    async def _(run_id: str) -> JSONResponse:
        return await jobs.outcome(run_id)

    return app


class Server(uvicorn.Server):
    """At SIGTERM runs have so many seconds to end; then they are cancelled, and their requests answered by 503."""

    def __init__(self, config: uvicorn.Config, jobs: Jobs, drain_s: float) -> None:
        super().__init__(config)
        self._jobs, self._drain_s = jobs, drain_s

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_later(self._drain_s, self._jobs.cancel)
        await super().shutdown(sockets)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--jobs", type=Path, default=Path("jobs"), help="the folder of requests and journals")
    parser.add_argument("--drain", type=float, default=20, metavar="S", help="seconds that runs have at the end")
    told = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # uvicorn sends itself again what ended it, and that is status 0
    jobs = Jobs(told.jobs)
    Server(uvicorn.Config(service(jobs), port=told.port, access_log=False), jobs, told.drain).run()


if __name__ == "__main__":
    main()
