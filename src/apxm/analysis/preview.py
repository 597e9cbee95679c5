"""What a run that goes on will ask, and what that may cost, before it asks anything.

The program is replayed with the answers that the journal has. Calls that it has none for, and all that wait for theirs,
are what is left; how much they take follows from the lengths of what is known, as in `analysis/static.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

from msgspec import Struct

from apxm.analysis.branches import Branches
from apxm.analysis.static import Range
from apxm.analysis.usage import Sizes, answer_tokens, calls_model
from apxm.backends.protocol import AnyBackend
from apxm.journal.rows import Answered
from apxm.operations.types import Value, text_form
from apxm.program.frames import SCENARIOS, Scenario
from apxm.program.nodes import Operate
from apxm.program.openers import Opener, Opening
from apxm.program.program import Flow
from apxm.program.unfolding import FrameRecord, unfold
from apxm.runtime.content import ContentFiles, UnreadFiles
from apxm.runtime.frames import Children, Frame
from apxm.runtime.handlers.model import ModelCall, RequestForm, literal
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.handlers.tool import ToolCall
from apxm.runtime.limits import BackendPool
from apxm.runtime.recording import Find
from apxm.runtime.replay import replay
from apxm.runtime.trace import Trace
from apxm.runtime.waiting import WaitingOperation

Place = tuple[int, int]
"""Frame and node."""


class Preview(Struct, frozen=True, kw_only=True):
    """What a resumed run will do. Every range counts one attempt per call."""

    reused: int
    """Answers that it takes from the journal."""
    unused: tuple[str, ...]
    """Operations whose answers are in the journal, and that nothing asks for any more."""
    asked: tuple[str, ...]
    """Operations that will be asked, and now: their requests are known."""
    dependent: tuple[str, ...]
    """Operations that may be asked then, as they wait for the answers to those."""
    tokens: Range
    """The tokens of all of these calls, input and output. `high` is None where nothing limits an answer."""
    cost: Range | None
    """The cost by the configured prices; None where one of them is not known."""


def preview(
    program: LoadedProgram,
    flow: Flow,
    arguments: Sequence[Value],
    pool: BackendPool,
    find: Find,
    recorded: Sequence[str] = (),
    default_max_tokens: float = inf,
    files: ContentFiles | None = None,
) -> Preview:
    """Replays a flow as far as `find` has answers; `files` are what its calls send. `recorded` are the paths of all
    operations that have one; `default_max_tokens` limits an answer where neither the program nor its backend does.

    Raises `JournalError` where `find` does, and `UsageError` where the flow is too large to unfold.
    """
    replayed = _Replay(program, flow, arguments, pool, find, files or UnreadFiles())
    graph = Branches(program.program, replayed.unfolded(), replayed.begun, replayed.openings)
    named = Trace(program.program, flow, started=0, frames=list(graph.frames))
    operations = [
        ((frame, number), node)
        for frame, record in enumerate(graph.frames)
        for number, node in enumerate(program.program.plans[record.plan].nodes)
        if isinstance(node, Operate) and calls_model(node)
    ]
    left = {place: node for place, node in operations if replayed.is_left(*place)}
    calls = _Calls(graph, left, pool, arguments, replayed.answers, default_max_tokens)
    return Preview(
        reused=len(replayed.answers),
        unused=tuple(sorted(set(recorded) - replayed.found)),
        asked=tuple(named.path_of(*place) for place in replayed.asked),
        dependent=tuple(named.path_of(*place) for place in left if place not in replayed.asked),
        tokens=calls.tokens(),
        cost=calls.cost(),
    )


class _Replay:
    """What a flow comes to with the answers that there are."""

    def __init__(
        self,
        program: LoadedProgram,
        flow: Flow,
        arguments: Sequence[Value],
        pool: BackendPool,
        find: Find,
        files: ContentFiles,
    ) -> None:
        self._program = program
        self._flow = flow
        self._pool = pool
        self._find = find
        self._files = files
        self.answers: dict[Place, str] = {}
        self.found: set[str] = set()
        """The paths under which the journal had them."""
        self.asked: dict[Place, None] = {}
        """The operations that are asked, in the order in which they become ready."""
        self._state, first = replay(program, flow, arguments, self._answer)
        self._live: dict[int, Frame] = {}
        """The frames that are not over, by index."""
        frames = [first]
        for frame in frames:  # it grows while it is read
            if frame.remaining:
                self._live[frame.index] = frame
            for child in frame.children.values():
                frames += [] if child is None else [child] if isinstance(child, Frame) else child.live()
        self.begun = len(self._state.frames)
        """How many frames there are so far."""

    def _answer(self, trace: Trace, frame: Frame, node: int, handler: WaitingOperation) -> Answered | None:
        path = trace.path_of(frame.index, node)
        if isinstance(handler, ModelCall):
            backend, _ = self._pool.get(handler.backend)
            request = handler.request(frame.values, RequestForm(backend.can_reason, self._files))
            result = self._find(path, request, backend.info.name, request.model or backend.info.model)
        else:
            assert isinstance(handler, ToolCall)
            result = self._find(path, handler.request(frame.values, None), handler.tool, None)
        if result is None:
            self.asked[frame.index, node] = None
        else:
            self.found.add(result.path)
            self.answers[frame.index, node] = text_form(result.value)
        return result

    def unfolded(self) -> list[FrameRecord]:
        """The frames that it has, and those that may follow."""
        frames = list(self._state.frames)
        for index, frame in self._live.items():
            for node, children in frame.children.items():
                if not isinstance(children, Children):
                    continue
                past = [r for r in self._state.frames if (r.parent, r.opener) == (index, node)]
                for opening in children.openings():
                    there = [r for r in past if r.plan in opening.plans]
                    if opening.most is None or opening.most > len(there):
                        turn = len(there) + 1 if past[0].turn else 0
                        frames += [FrameRecord(plan, index, node, turn) for plan in opening.plans]
        return unfold(
            self._program.program,
            self._flow,
            frames,
            lambda frame, node, _opener: frame >= self.begun or self._waits(frame, node),
        )

    def openings(self, frame: int, node: int, opener: Opener) -> Sequence[Opening]:
        """What an opener opens in all."""
        children = self._live[frame].children.get(node) if frame in self._live else None
        return children.openings() if isinstance(children, Children) else opener.openings

    def is_left(self, frame: int, node: int) -> bool:
        """Whether an operation of such a frame may still be asked."""
        return frame >= self.begun or self._waits(frame, node) or (frame, node) in self.asked

    def _waits(self, frame: int, node: int) -> bool:
        return frame in self._live and self._live[frame].counts[node] > 0


class _Calls:
    """What the calls that are left take."""

    def __init__(
        self,
        graph: Branches,
        left: Mapping[Place, Operate],
        pool: BackendPool,
        arguments: Sequence[Value],
        known: Mapping[Place, str],
        default_max_tokens: float,
    ) -> None:
        self._graph = graph
        self._pool = pool
        self._default = default_max_tokens
        self._left = left
        answers = {graph.number(*place): text for place, text in known.items()}
        self._sizes = {
            scenario: Sizes(graph, scenario, arguments, known=answers, limit=self._limit) for scenario in SCENARIOS
        }

    def tokens(self) -> Range:
        """Input and output, of all of them."""
        return self._range([(1.0, 1.0)] * len(self._left))

    def cost(self) -> Range | None:
        """The cost of the calls; None where a price is not known."""
        prices: list[tuple[float, float]] = []
        for node in self._left.values():
            backend = self._backend(node)
            price = backend.limits.prices.get(literal(node, "model") or backend.info.model)
            if price is None:
                return None
            prices.append((price.input / 1e6, price.output / 1e6))
        return self._range(prices)

    def _range(self, prices: Sequence[tuple[float, float]]) -> Range:
        """The sum of what they cost, given the prices of a token of input and of output for each."""

        def total(scenario: Scenario) -> float:
            own = [0.0] * len(self._graph.frames)
            for ((frame, _), node), (of_input, of_output) in zip(self._left.items(), prices, strict=True):
                prompt = self._backend(node).limits.own_input + self._sizes[scenario].prompt_tokens(frame, node)
                own[frame] += prompt * of_input + answer_tokens(node, scenario, None, self._limit) * of_output
            return self._graph.total(own, scenario)

        low, expected, high = map(total, SCENARIOS)
        return Range(low, expected, None if high == inf else high)

    def _limit(self, node: Operate) -> float:
        return self._backend(node).limits.max_tokens or self._default

    def _backend(self, node: Operate) -> AnyBackend:
        return self._pool.get(literal(node, "backend"))[0]
