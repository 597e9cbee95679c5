"""`apxm workloads check`: what can be said of a workload without a paid call and without waiting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from apxm.backends.simulated import SimulatedBackend
from apxm.errors import ApxmError
from apxm.runtime.loops import run_virtually
from apxm.workloads.apxm_system import ApxmSystem
from apxm.workloads.catalog import Workload
from apxm.workloads.environment import bare_environment
from apxm.workloads.langgraph_system import load_peer, missing_packages
from apxm.workloads.scalability import WRITTEN, programs, prompts, source_text
from apxm.workloads.systems import Sample, most_in_flight

_SECOND = 1_000_000_000


@dataclass(frozen=True)
class Check:
    workload: str
    subject: str
    outcome: Literal["ok", "failed", "skipped"]
    detail: str = ""


def check(workload: Workload) -> list[Check]:
    """Every check of one workload, the failed ones too. Raises `SourceError` where its source does not compile."""
    found = programs(WRITTEN)
    written = workload.source.read_text(encoding="utf-8")
    other_form = (
        "" if written == source_text(WRITTEN) else "it has another form than what is generated for other widths"
    )
    checks = [_judged(workload, "workflow.ais", other_form)]
    checks += [_judged(workload, f"flow {flow.name}", _fault_of_flow(width)) for width, (_, flow) in found.items()]
    if missing := missing_packages():
        detail = f"{' and '.join(missing)} not installed: pip install 'apxm[bench]'"
        checks.append(Check(workload.name, "workflow.py", "skipped", detail))
    else:
        checks.append(_judged(workload, "workflow.py", _fault_of_peer(workload)))
    return checks


def _judged(workload: Workload, subject: str, fault: str) -> Check:
    return Check(workload.name, subject, "failed" if fault else "ok", fault)


def _fault_of_flow(width: int) -> str:
    """What is wrong with a run on virtual time, whose calls of one second must all go at once; empty if nothing is."""
    sample = run_virtually(_run(width))
    if len(sample.calls) != width:
        return f"{len(sample.calls)} calls instead of {width}"
    if (together := most_in_flight(sample.calls)) != width:
        return f"{together} calls at once instead of {width}"
    if sample.duration != _SECOND:
        return f"calls of 1 s make it take {sample.duration / 1e9:g} s"
    return ""


async def _run(width: int) -> Sample:
    return await ApxmSystem(programs([width]), SimulatedBackend(latency="constant:1000")).run(width)


def _fault_of_peer(workload: Workload) -> str:
    try:
        with bare_environment():
            peer = load_peer(workload.peer)
            peer.build_graph(None, prompts(WRITTEN[-1]))
    except ApxmError as error:
        return error.message
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""
