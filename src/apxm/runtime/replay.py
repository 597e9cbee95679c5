"""The calls of an earlier run, made again from its journal: the program and its inputs give each request, the journal
each answer. Nothing is sent.

What a backend adds of its own (its system text, temperature, further fields) is configuration, and in no journal. Nor
is the request itself: the digest of the one that was answered tells whether it is the one that is found here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from apxm.backends.protocol import ModelRequest
from apxm.errors import OperationError
from apxm.journal.rows import Answered, History
from apxm.operations.types import Value
from apxm.program import codec
from apxm.program.invocation import select_flow
from apxm.program.nodes import Operate
from apxm.program.program import Flow
from apxm.runtime.content import UnreadFiles
from apxm.runtime.frames import Frame
from apxm.runtime.handlers.model import ModelCall, RequestForm
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.recording import request_digest
from apxm.runtime.state import State
from apxm.runtime.trace import Trace
from apxm.runtime.waiting import WaitingOperation


@dataclass(frozen=True)
class ReplayedCall:
    path: str
    operation: str
    where: str
    """``file:line:column``"""
    request: ModelRequest
    exact: bool | None
    """Whether this is the request that was answered, by its digest; None where there is no answer, where the journal
    does not say which model was asked, or where files that are not read are part of it."""
    backend: str | None
    """Which answered, or which the program names; None for the one that answers by default."""
    result: Answered | None
    """None where the journal has no answer: it was in flight at the end, failed, or was never sent."""


def replayed_calls(history: History) -> list[ReplayedCall]:
    """All calls that have an answer and those that could be asked next, in program order.

    Raises `ArtifactError` where the journal's program cannot be run by this version, `UsageError` where it lacks the
    flow.
    """
    header = history.header
    program = codec.decode(header.program)
    flow = select_flow(program, header.flow)
    found: list[tuple[tuple[int, ...], ReplayedCall]] = []

    def answer(trace: Trace, frame: Frame, node: int, handler: WaitingOperation) -> Answered | None:
        if not isinstance(handler, ModelCall):
            return history.results.get(trace.path_of(frame.index, node))
        call = _replayed(trace, history, handler, frame, node)
        found.append((frame.place(node), call))
        return call.result

    replay(LoadedProgram(program), flow, header.inputs, answer)
    return [call for _, call in sorted(found, key=lambda entry: entry[0])]


def unknown_results(history: History) -> dict[str, str]:
    """The types of what the operations of an unknown outcome give, by path, as far as the journal's answers lead to
    them. Raises what `replayed_calls` does."""
    header = history.header
    program = codec.decode(header.program)
    found: dict[str, str] = {}

    def answer(trace: Trace, frame: Frame, node: int, _: WaitingOperation) -> Answered | None:
        path, operation = trace.path_of(frame.index, node), frame.plan.nodes[node]
        if path in history.unknown:
            assert isinstance(operation, Operate)
            found[path] = operation.result
            # It may have failed, and another one come behind that.
            raise OperationError("tool_failed", "its outcome is not known")
        return history.results.get(path)

    replay(LoadedProgram(program), select_flow(program, header.flow), header.inputs, answer)
    return found


def replay(
    program: LoadedProgram,
    flow: Flow,
    inputs: Sequence[Value],
    answer: Callable[[Trace, Frame, int, WaitingOperation], Answered | None],
) -> tuple[State, Frame]:
    """Runs a flow without time, calls and output, as far as `answer` has results of its calls: for the operation at a
    node of a frame; the trace knows what they are called. Gives what is left, and the flow's own frame."""
    state = State(program.program, program.plans)
    trace = Trace(program.program, flow, started=0, frames=state.frames)
    first = state.start(flow.plan, inputs)
    while (item := state.take()) is not None:
        frame, node = item
        handler = program.handlers[frame.plan.index][node]
        try:
            if isinstance(handler, WaitingOperation) and (result := answer(trace, frame, node, handler)) is not None:
                state.succeed(frame, node, result.value)
        except OperationError as error:
            state.broke(frame, node, error)
    return state, first


def _replayed(trace: Trace, history: History, handler: ModelCall, frame: Frame, node: int) -> ReplayedCall:
    """Raises `OperationError` where the operation fails before it asks anything."""
    path = trace.path_of(frame.index, node)
    result = history.results.get(path)
    # Whether the backend has a reasoning setting is no part of the journal either.
    requests = [handler.request(frame.values, RequestForm(reasons, UnreadFiles())) for reasons in (False, True)]
    exact = None
    request = requests[0]
    if result is not None and result.backend is not None and result.model is not None and not handler.has_content:
        backend, model = result.backend, result.model
        matching = [made for made in requests if request_digest(made, backend, model) == result.digest]
        exact = bool(matching)
        request = matching[0] if matching else request
    operation = frame.plan.nodes[node]
    assert isinstance(operation, Operate)
    return ReplayedCall(
        path=path,
        operation=operation.operation,
        where=trace.place_of(frame.index, node),
        request=request,
        exact=exact,
        backend=handler.backend if result is None or result.backend is None else result.backend,
        result=result,
    )
