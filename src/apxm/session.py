"""One run from what it was told to what came of it: it runs, is journaled and measured here, whoever began it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from math import inf
from reprlib import Repr
from time import perf_counter, time
from typing import TYPE_CHECKING, ClassVar

from msgspec.structs import replace

from apxm.analysis.metrics import LinkPhases, Metrics
from apxm.backends.protocol import BackendInfo
from apxm.config.invocation import Invocation
from apxm.errors import ConfigurationError, JournalError
from apxm.journal.ids import new_run_id
from apxm.operations.types import Value
from apxm.program.program import Flow, Program
from apxm.runtime.budget import DEFAULT_MAX_TOKENS
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.observing import Observers
from apxm.runtime.scheduler import Run
from apxm.runtime.stopped import Stopped
from apxm.runtime.trace import Failure, Status, Trace
from apxm.source import shortened
from apxm.tools.toolbox import NO_TOOLS, Toolbox

if TYPE_CHECKING:
    from apxm.analysis.preview import Preview
    from apxm.journaling import JournaledRun
    from apxm.runtime.recording import Recorder  # loads SQLite, which only a journaled run needs
    from apxm.telemetry.spans import Spans

_SHORT = Repr()
"""Shows a value on the rest of a line, however large it is."""
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 34
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist = 1, 2, 3


@dataclass(frozen=True, repr=False)
class Result:
    """What a run leaves behind."""

    trace: Trace
    """Everything that happened, with its instants."""
    link_phases: LinkPhases
    backend: BackendInfo
    run_id: str
    """The run's own; `apxm.resume` takes it where the run was journaled."""

    def __repr__(self) -> str:
        short = shortened(_SHORT.repr(self.value), _SHORT.maxother)  # never all of it: it may be large
        return f"Result({self.run_id!r}, {self.status.value}, value={short})"

    def _repr_html_(self) -> str:
        """How notebooks show it."""
        from apxm.reports.result_page import result_html

        return result_html(self.trace, self.metrics, self.run_id, name=self.trace.flow.qualified_name.lstrip("."))

    @property
    def status(self) -> Status:
        return self.trace.status

    @property
    def value(self) -> Value:
        """What the flow returned; None unless the run succeeded, or where the flow has no result."""
        return self.trace.value

    @property
    def printed(self) -> list[str]:
        """The lines that the program printed, in program order."""
        return self.trace.printed

    @property
    def cost(self) -> float | None:
        """What its answers cost, in the unit of the configured prices; None where a price is not known."""
        return self.trace.cost

    @property
    def failures(self) -> list[Failure]:
        """The operations that failed."""
        return self.trace.failures

    @property
    def stopped(self) -> Stopped | None:
        """Why the run ended before its end, by a limit for instance; None where it did not."""
        return self.trace.stopped

    @cached_property
    def metrics(self) -> Metrics:
        """The run in numbers; docs/metrics.md defines them."""
        from apxm.analysis.measure import measure

        return measure(self.trace, self.link_phases, self.backend)

    def perfetto_trace(self) -> bytes:
        """When each call ran, as a file for Perfetto (docs/traces.md)."""
        from apxm.telemetry.perfetto import trace_file

        return trace_file(self.trace, self.run_id)


@dataclass(eq=False, repr=False)
class Session:
    """A run that is ready to be executed, with its backends and its journal. Raises what `Run` raises.

    Closing the backends and the tools is left to whoever has them from a configuration.
    """

    program: LoadedProgram
    flow: Flow
    inputs: Sequence[Value]
    told: Invocation
    pool: BackendPool
    _: KW_ONLY
    tools: Toolbox = NO_TOOLS
    run_id: str = field(default_factory=lambda: new_run_id(time()))
    recorder: Recorder | None = None
    """The journal of a run that goes on; a new one gets its own by `open_journal`."""
    begun: float = field(default_factory=perf_counter)
    """The `perf_counter` at which somebody began to check what is given here."""
    phases: LinkPhases = field(default_factory=LinkPhases)
    """What came before that."""
    noted: Mapping[str, Value] = field(default_factory=dict[str, Value])
    """What else the next process needs, where this one does not end it."""

    in_lanes: ClassVar[bool] = False
    """Whether code in lanes asks."""

    def __post_init__(self) -> None:
        self._spans = self._new_spans()
        if self._spans is not None:
            others = () if (other := self.told.options.observer) is None else (other,)
            self.told = self.told.but({"observer": Observers((*others, self._spans))})
        self.run = self.new_run()
        self._validated = self.begun

    def new_run(self) -> Run:
        """The run itself."""
        return Run(self.program, self.flow, self.inputs, self.pool, self.told.options, self.tools)

    def _new_spans(self) -> Spans | None:
        """The run as spans of OpenTelemetry. Only who has loaded that can have set it up."""
        if "opentelemetry.trace" not in sys.modules:
            return None
        from apxm.telemetry.spans import spans_here

        return spans_here(self.flow.qualified_name.lstrip("."), self.run_id, self.in_lanes)

    @classmethod
    def resumed(
        cls, earlier: JournaledRun, told: Invocation, pool: BackendPool, begun: float, tools: Toolbox = NO_TOOLS
    ) -> Session:
        """A run that goes on. Raises `JournalError` too, where another backend than before would answer."""
        earlier.refuse_another_backend(pool.default)
        program, recorder = LoadedProgram(earlier.program), earlier.recorder
        return cls(
            program, earlier.flow, earlier.inputs, told, pool,
            tools=tools, run_id=recorder.run_id, recorder=recorder, begun=begun,
        )  # fmt: skip

    async def link(self) -> None:
        """Raises what `Run.link` raises, before anything is paid."""
        await self.run.link()

    @property
    def wants_journal(self) -> bool:
        """Whether it is told to have a journal or, where nothing is said, does what should not be done twice."""
        journaling = self.told.journaling
        if journaling.journal is not None:
            return journaling.journal
        real = bool(self.run.tools) and not self.tools.simulated
        return journaling.require_journal or real or not all(info.simulated for info in self.run.backends)

    @property
    def first_program(self) -> Program:
        """The program as the run begins with it."""
        return self.program.program

    def open_journal(self, warn: Callable[[str], None]) -> None:
        """Begins the journal of a new run, where it has one. `warn` is told where there should be one and cannot be.
        Raises `JournalError`, and `ConfigurationError`, where the run must not go on without."""
        if not self.wants_journal:
            return
        from apxm.journaling import begin

        try:
            self.recorder = begin(
                self.run_id, self.first_program, self.flow, self.inputs, self.told, self.pool.default, self.noted
            )
        except (JournalError, ConfigurationError) as error:
            if self.told.journaling.require_journal:
                raise
            warn(f"this run has no journal, so nothing of it can be resumed: {error}")

    def preview(self) -> Preview:
        """What a run that goes on will ask, and what that may cost. Asks nothing, and changes nothing."""
        from apxm.analysis.preview import preview  # what every other run can do without

        recorder = self.recorder
        assert recorder is not None
        most = DEFAULT_MAX_TOKENS if self.told.options.has_budget else inf
        return preview(
            self.program, self.flow, self.inputs, self.pool, recorder.preview(), recorder.answered, most, self.run.files
        )

    def prepared(self) -> None:
        """What takes time from here on is the run itself."""
        self._validated = perf_counter()

    async def execute(self) -> Trace:
        """Runs to the end, once. Raises what `Run.execute` raises."""
        if self._spans is None:
            return await self.run.execute(self.recorder)
        with self._spans.around(self.run):
            return await self.run.execute(self.recorder)

    def result(self, trace: Trace) -> Result:
        """What came of the run; its time ends here."""
        phases = replace(
            self.phases,
            validation_ms=milliseconds(self._validated - self.begun),
            runtime_ms=milliseconds(perf_counter() - self._validated),
        )
        return Result(trace, phases, replace(self.pool.info, description=""), self.run_id)

    def close(self) -> JournalError | None:
        """Closes the journal, which waits for the disk. Returns why it lacks the end of the run, where that is so and
        nobody has been told."""
        if self.recorder is None:
            return None
        from apxm.journaling import tidy

        lost = self.recorder.close()
        tidy(self.told.journaling)
        return lost

    async def closed(self) -> JournalError | None:
        """As `close`, for a loop that has other runs to carry on meanwhile."""
        if self.recorder is None:
            return None
        from apxm.journaling import is_due, tidy

        lost = await self.recorder.closed()
        if is_due(self.told.journaling):
            await asyncio.to_thread(tidy, self.told.journaling)
        return lost

    @property
    def lost(self) -> JournalError | None:
        """Why a journal that is required lacks what the run did; None where there is no such failure."""
        recorder = self.recorder
        return recorder.failure if recorder is not None and recorder.required else None


def milliseconds(seconds: float) -> float:
    """A duration as `LinkPhases` has it."""
    return round(seconds * 1e3, 3)
