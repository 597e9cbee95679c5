"""A backend that answers as it is told, on any clock, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from apxm.backends.protocol import BackendInfo, Clock, Handle, Limits, ModelAnswer, ModelRequest, Price, Usage
from apxm.errors import BackendError
from apxm.operations.types import Value
from apxm.program.program import Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Trace

Script = Callable[[ModelRequest], "str | BackendError"]


@dataclass(eq=False)
class ScriptedCall:
    """One call that a `ScriptedBackend` got; it is also the handle that cancels it."""

    request: ModelRequest
    sent_ms: float
    ended_ms: float | None = None
    cancelled: bool = False
    timer: Handle | None = field(default=None, repr=False)

    def cancel(self) -> None:
        self.cancelled = True
        if self.timer is not None:
            self.timer.cancel()


@dataclass(eq=False)
class ScriptedBackend:
    """Answers a request after `latency_ms(request)` with what `script(request)` gives: a text, or an error.

    By default every call takes a second and is answered with its own prompt in brackets. `calls` has all calls made, in
    the order in which they were sent; its times are in ms of the run's clock.
    """

    script: Script = lambda request: f"[{request.prompt}]"
    latency_ms: Callable[[ModelRequest], float] = lambda _request: 1000
    name: str = "scripted"
    max_concurrency: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_tokens: int | None = None
    timeout_s: float | None = None
    own_input: int = 0
    prices: dict[str, Price] = field(default_factory=dict[str, Price])
    retries: int = 0
    can_reason: bool = False
    calls: list[ScriptedCall] = field(default_factory=list[ScriptedCall])

    @property
    def info(self) -> BackendInfo:
        return BackendInfo(name=self.name, kind="scripted", model="scripted", simulated=True)

    @property
    def limits(self) -> Limits:
        return Limits(**{name: getattr(self, name) for name in Limits.__struct_fields__})

    @property
    def prompts(self) -> list[str]:
        return [call.request.prompt for call in self.calls]

    def begin(self, request: ModelRequest, clock: Clock, done: Callable[[ModelAnswer | BackendError], None]) -> Handle:
        call = ScriptedCall(request, clock.now() / 1e6)
        self.calls.append(call)

        def end() -> None:
            call.ended_ms = clock.now() / 1e6
            answer = self.script(request)
            if isinstance(answer, BackendError):
                done(answer)
            else:
                usage = Usage(input_tokens=len(request.prompt.split()), output_tokens=len(answer.split()))
                done(ModelAnswer(text=answer, usage=usage))

        call.timer = clock.call_at(clock.now() + round(self.latency_ms(request) * 1e6), end)
        return call

    async def close(self) -> None:
        """Nothing is held."""


def execute_virtually(
    program: Program,
    *backends: ScriptedBackend,
    arguments: Sequence[Value] = (),
    flow: str | None = None,
    options: RunOptions | None = None,
) -> Trace:
    """Runs a flow (by default the entry) on virtual time, from instant 0. The first backend is the default one."""
    used = backends or (ScriptedBackend(),)
    index = program.entry if flow is None else [f.name for f in program.flows].index(flow)
    assert index is not None, "the program has no entry: name a flow"
    pool = BackendPool({backend.name: backend for backend in used}, used[0].name)
    run = Run(LoadedProgram(program), program.flows[index], arguments, pool, options)
    return run_virtually(run.execute())
