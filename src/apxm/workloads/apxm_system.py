"""A-PXM's side of a comparison."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from apxm.analysis.predict import predict
from apxm.analysis.profile import Profile
from apxm.backends.protocol import AnyBackend
from apxm.config.invocation import Invocation
from apxm.program.program import Flow, Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import clock_of
from apxm.runtime.trace import Status, Trace
from apxm.session import Session
from apxm.workloads.comparison import APXM
from apxm.workloads.systems import Sample, TimedCall, WorkloadFailed


class ApxmSystem:
    """A-PXM in this process, with the backend that any run would use; programs are compiled and loaded beforehand."""

    name = APXM

    def __init__(self, programs: Mapping[int, tuple[Program, Flow]], backend: AnyBackend) -> None:
        loaded: dict[int, LoadedProgram] = {}
        self._flows: dict[int, tuple[LoadedProgram, Flow]] = {}
        for width, (program, flow) in programs.items():
            self._flows[width] = loaded.setdefault(id(program), LoadedProgram(program)), flow
        self._pool = BackendPool({backend.info.name: backend}, backend.info.name)

    async def run(self, width: int) -> Sample:
        return await self._run(width, None)

    async def run_serially(self, width: int) -> Sample:
        """The same, one call at a time, in the order of the text."""
        return await self._run(width, 1)

    def predicted_ms(self, width: int, profile: Profile) -> float:
        """How long a run will take on an endpoint like that of the profile."""
        program, flow = self._flows[width]
        return predict(program.program, flow, profile=profile, runs=max(20, min(200, 4000 // width))).mean_ms

    async def close(self) -> None:
        await self._pool.close()

    async def _run(self, width: int, most: int | None) -> Sample:
        program, flow = self._flows[width]
        now = clock_of(asyncio.get_running_loop()).now
        begun = now()
        # What prepares a run is part of the system's work, as it is inside LangGraph's one call.
        trace = await Session(program, flow, (), Invocation.of({"max_concurrency": most}), self._pool).execute()
        duration = now() - begun
        _must_have_succeeded(trace)
        return Sample(duration, _calls(trace), str(trace.value), trace)


def _calls(trace: Trace) -> tuple[TimedCall, ...]:
    """The calls of a run, in the order of the text."""
    records = sorted(trace.operations, key=lambda record: record.node)
    return tuple(TimedCall(attempt.sent, attempt.received) for record in records for attempt in record.attempts)


def _must_have_succeeded(trace: Trace) -> None:
    if trace.status is Status.SUCCEEDED:
        return
    if not trace.failures:
        raise WorkloadFailed(f"the run of A-PXM ended as {trace.status.value}")
    failure, count = trace.failures[0], len(trace.failures)
    raise WorkloadFailed(
        f"{count} of the calls failed in A-PXM, the first one with {failure.kind}: {failure.message}",
        where=failure.where,
    )
