"""A run as its journal has it, made ready for a page: its processes one behind the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from apxm.analysis.measure import measure
from apxm.analysis.metrics import LinkPhases
from apxm.backends.protocol import BackendInfo
from apxm.journal.rows import Answered, Edited, History, Resumed, Traced
from apxm.program import codec
from apxm.program.invocation import select_flow
from apxm.program.nodes import Operate
from apxm.program.program import Flow, NamesOfFiles, NodeName, Plan, PlanNames, Program
from apxm.program.unfolding import FrameRecord, path_of
from apxm.reports.call_log import answer_parts, request_parts
from apxm.reports.page.model import Reported
from apxm.reports.page.texts import Texts
from apxm.reports.summary import duration
from apxm.runtime.ending import keep_result
from apxm.runtime.frames import Frame
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.kept_trace import KeptTrace, trace_of, unpacked
from apxm.runtime.replay import replay, replayed_calls
from apxm.runtime.trace import RawOperation, Status, Trace

_PYTHON = ("flow", "script")
Place = Callable[[str], tuple[int, int] | None]
"""Frame and node of an operation by its path; None where the run has none such any more."""


@dataclass
class _Process:
    """What one process that carried the run left in the journal."""

    began: float
    """Unix time."""
    program: bytes
    """The artifact, of AIS, that it ran."""
    answers: list[tuple[float, Answered]] = field(default_factory=list[tuple[float, Answered]])
    kept: KeptTrace | None = None
    """None where it was killed, or has not ended."""

    @property
    def duration(self) -> int:
        if self.kept is not None:
            return self.kept.ended - self.kept.started
        return round(max([at - self.began for at, _ in self.answers], default=0.0) * 1e9)


def journaled(run_id: str, history: History, texts: Texts | None = None, *, redacts: bool = False) -> Reported:
    """`texts` go before those of the journal, which may lack some.

    Raises what `codec.decode` and `replay` do, and `ApxmError` where its instants are damaged."""
    processes = _processes(history)
    trace, place = _whole(history, processes[-1])
    offset, breaks = 0, list[tuple[float, str]]()
    own = [] if processes[-1].kept is None else list(processes[-1].kept.raw)
    trace.raw = []
    for number, process in enumerate(processes):
        if number:
            before = processes[number - 1]
            pause = max(0.0, process.began - before.began - before.duration / 1e9)
            breaks.append((offset / 1e6, f"goes on after {duration(pause * 1e3)}"))
        if process.kept is None:
            trace.raw += _answered(process, place, offset)
        elif process is processes[-1]:
            trace.raw += [_moved(raw, offset - process.kept.started) for raw in own]
        else:
            trace.raw += _earlier(history, process, process.kept, place, offset)
        offset += process.duration
    trace.started, trace.ended = 0, offset
    trace.reused = 0  # all of them are shown
    trace.max_in_flight = max([each.kept.max_in_flight for each in processes if each.kept], default=0)
    infos = [info for each in reversed(processes) if each.kept for info in each.kept.backends]
    default = history.header.options.get("default")
    backend = infos[0] if infos else BackendInfo(name=str(default or "unknown"), kind="unknown", model="")
    return Reported(
        trace=trace,
        metrics=measure(trace, LinkPhases(), backend),
        run_id=run_id,
        began=processes[0].began,
        texts=None if redacts else texts or _texts(history),
        notes=tuple(_notes(history, processes, has_texts=texts is not None or redacts)),
        redacts=redacts,
        breaks=tuple(breaks),
        is_whole=all(each.kept for each in processes),
    )


def _processes(history: History) -> list[_Process]:
    header = history.header
    found = [_Process(header.started, header.program)]
    for record in history.records:
        match record.row:
            case Resumed():
                found.append(_Process(record.time, header.program))
            case Edited(program=program) if program:
                found[-1].program = program
            case Answered() as answer:
                found[-1].answers.append((record.time, answer))
            case Traced(content):
                found[-1].kept = kept = unpacked(content)
                found[-1].began = record.time - (kept.ended - kept.started) / 1e9
            case _:
                pass
    return found


def _whole(history: History, last: _Process) -> tuple[Trace, Place]:
    """The trace of the last process without its operations, and where these are."""
    header = history.header
    program = codec.decode(header.program)
    is_python = header.kind in _PYTHON
    flow = program.flows[0] if is_python else select_flow(program, header.flow)
    if last.kept is not None:
        trace = trace_of(last.kept, program, flow)
    elif is_python:
        trace = _made_of_answers(history, flow)
    else:
        trace = _replayed(history, program, flow)
        trace.status = Status.INTERRUPTED
    if is_python or header.kind == "source":
        trace.program.came_from(header.path, header.kind)
    if not is_python and trace.status is Status.SUCCEEDED and flow.result is not None:
        trace.value = _replayed(history, program, flow).value
    places: dict[str, tuple[int, int]] = {}

    def place(path: str) -> tuple[int, int] | None:
        if not places:
            places.update(_places(trace))
        return places.get(path)

    return trace, place


def _places(trace: Trace) -> Iterator[tuple[str, tuple[int, int]]]:
    for index, frame in enumerate(trace.frames):
        for number, node in enumerate(trace.program.plans[frame.plan].nodes):
            if isinstance(node, Operate):
                yield trace.path_of(index, number), (index, number)


def _replayed(history: History, program: Program, flow: Flow) -> Trace:
    """As far as the journal's answers lead, with the result if they lead to it."""

    def answer(trace: Trace, frame: Frame, node: int, _handler: object) -> Answered | None:
        return history.results.get(trace.path_of(frame.index, node))

    state, _ = replay(LoadedProgram(program), flow, history.header.inputs, answer)
    trace = Trace(program, flow, started=0, frames=state.frames, executed=len(history.results))
    if flow.result is not None and 0 in state.results:
        keep_result(trace, state)
    return trace


def _made_of_answers(history: History, flow: Flow) -> Trace:
    """Of Python that was killed the journal has no more than what was answered where."""
    paths = list(history.results)
    names = PlanNames(path=flow.name, nodes=tuple(NodeName(path=path, line=_line(path)) for path in paths))
    plan = Plan(nodes=tuple(Operate(operation="ask") for _ in paths), inputs=0, outputs=())
    file = history.header.path
    program = Program(
        plans=(plan,),
        flows=(flow,),
        entry=0,
        optimization_level=0,
        names=NamesOfFiles(file=file, plans=(names,), files=(file,)),
    )
    frames = [FrameRecord(0, -1, -1)]
    return Trace(program, flow, 0, frames=frames, status=Status.INTERRUPTED, executed=len(paths))


def _line(path: str) -> int:
    """Of ``label:9[17]#2`` 9."""
    digits = path.rpartition(":")[2].partition("[")[0].partition("#")[0]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 8 else 0


def _moved(raw: RawOperation, by: int) -> RawOperation:
    """The same on another clock."""
    earlier = tuple(
        (a + by, g + by, s + by, r + by, outcome, service, usage, slot, None if first is None else first + by)
        for a, g, s, r, outcome, service, usage, slot, first in raw[5]
    )
    asked, granted, sent, received, outcome, service, usage, slot, first = raw[6:]
    return (
        raw[0], raw[1], raw[2], raw[3] + by, raw[4] + by, earlier, asked + by, granted + by, sent + by,
        received + by, outcome, service, usage, slot, None if first is None else first + by,
    )  # fmt: skip


def _earlier(history: History, process: _Process, kept: KeptTrace, place: Place, offset: int) -> Iterator[RawOperation]:
    """The operations of a process before the last one, where the run still has them."""
    program = codec.decode(process.program)
    is_python = history.header.kind in _PYTHON
    flow = program.flows[0] if is_python else select_flow(program, history.header.flow)
    then = trace_of(kept, program, flow)
    for raw in kept.raw:
        found = place(path_of(then.program, then.frames, raw[0], raw[1]))
        if found is not None:
            moved = _moved(raw, offset - kept.started)
            # Who gave them their slots was numbered otherwise in that process.
            alone = tuple((*attempt[:7], None, attempt[8]) for attempt in moved[5])
            yield (*found, *moved[2:5], alone, *moved[6:13], None, moved[14])


def _answered(process: _Process, place: Place, offset: int) -> Iterator[RawOperation]:
    """Of a process that was killed: when each answer was there, as if it had taken no time."""
    for at, answer in process.answers:
        found = place(answer.path)
        if found is not None:
            now = offset + round((at - process.began) * 1e9)
            yield (
                *found, answer.backend or "", now, now, (), now, now, now, now, "ok", None, answer.usage, None, None,
            )  # fmt: skip


def _texts(history: History) -> Texts:
    texts = Texts()
    told = set[str]()
    if history.header.kind not in _PYTHON:
        for call in replayed_calls(history):
            parts = request_parts(call.request)
            if call.result is not None:
                parts += answer_parts(call.result)
            texts.add(call.path, 0, parts)
            told.add(call.path)
    for path, answer in history.results.items():
        if path not in told:
            texts.add(path, 0, answer_parts(answer))
    for each in history.discarded:
        texts.add(each.path, each.attempt, [("of no use", each.message)])
    return texts


def _notes(history: History, processes: list[_Process], *, has_texts: bool) -> Iterator[str]:
    killed = sum(each.kept is None for each in processes)
    if killed:
        who = "A process" if killed == 1 else f"{killed:,} processes"
        yield f"{who} of the run left no instants (killed, or goes on): what it called stands where it was answered."
    if history.header.kind in _PYTHON and not has_texts:
        yield "Prompts are not in the journal of a run of Python: --report keeps them while it runs."
