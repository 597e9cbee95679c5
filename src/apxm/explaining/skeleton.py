"""The calls of a file of Python as a graph: what each waits for in one turn of each loop (``apxm graph``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from apxm.errors import UsageError, hint_for
from apxm.explaining.explainer import Explainer
from apxm.explaining.explanation import Given
from apxm.explaining.files import ReadFile, comments_promise, reading
from apxm.explaining.modules import Decorated
from apxm.explaining.reading import Readings
from apxm.explaining.shape import Ask, Branch, Loop, Step, Within, asks
from apxm.explaining.sources import Sources
from apxm.reports.graph import GraphEdge, GraphGroup, GraphNode, ProgramGraph
from apxm.rewriting.twins import Twins


@comments_promise()
def skeleton(path: str, text: str, twins: Twins, decorated: Decorated, name: str | None = None) -> ProgramGraph:
    """Of the function with that name, or of all that no other one calls: flows, functions, the statements of the file.
    Raises `SourceError` where the file is no Python, and `UsageError`."""
    with reading(path, twins):
        file = ReadFile(path, text, twins, decorated)
        found = file.asking
        if name is None:
            explainer = Explainer(file.callees, Sources(), Given())
            called = {each for function, _ in found for each in explainer.reachable(function)[1:]}
            chosen = [function for function, _ in found if function not in called]
        else:
            chosen = [function for function, _ in found if function.__qualname__ == name]
            if not chosen:
                known = [function.__qualname__ for function, _ in found]
                hint = hint_for(name, known, f"there is {', '.join(known)}" if known else "nothing here calls a model")
                raise UsageError(f"no function {name!r} here calls a model", where=path, hint=hint)
        readings, drawn = Readings(file.callees), _Drawing()
        for function in chosen:
            read = readings.of(function)
            if read is not None and asks(read.steps):
                several = len(chosen) > 1
                group = drawn.group(function.__qualname__, None) if several else None
                drawn.steps(read.steps, [], group, function.__qualname__)
        title = chosen[0].__qualname__ if len(chosen) == 1 else path
        return ProgramGraph(path, title, tuple(drawn.nodes), tuple(drawn.edges), tuple(drawn.groups))


class _Drawing:
    def __init__(self) -> None:
        self.nodes: list[GraphNode] = []
        self.edges: list[GraphEdge] = []
        self.groups: list[GraphGroup] = []
        self._names = Counter[str]()

    def group(self, label: str, parent: int | None) -> int:
        self.groups.append(GraphGroup(label, parent))
        return len(self.groups) - 1

    def steps(self, steps: Sequence[Step], before: list[int], group: int | None, function: str) -> list[int]:
        """Draws what a function does behind the calls `before`. Returns what is waited for behind that."""
        begun: list[int] = []
        for step in steps:
            if isinstance(step, Ask) and step.begun:
                begun.append(self._ask(step, before, group, function))
                continue
            if begun:
                before, begun = begun, []
            before = self._step(step, before, group, function)
        return begun or before

    def _step(self, step: Step, before: list[int], group: int | None, function: str) -> list[int]:
        match step:
            case Ask():
                return [self._ask(step, before, group, function)]
            case Branch(ways=(way,)):
                return self.steps(way, before, group, function)
            case Branch(ways=ways) if asks([step]):
                groups = [self.group(f"way {k} of {len(ways)}", group) for k in range(1, len(ways) + 1)]
                ends = [self.steps(way, before, inner, function) for way, inner in zip(ways, groups, strict=True)]
                return list(dict.fromkeys(end for way in ends for end in way))
            case Loop(body=body) if asks(body):
                how = "overlap" if step.promised else "one after the other"
                return self.steps(body, before, self.group(f"{step.kind} over {step.items}: {how}", group), function)
            case Within(body=body, recursive=False) if asks(body):
                return self.steps(body, before, self.group(step.name, group), step.name)
            case _:
                return before

    def _ask(self, ask: Ask, before: list[int], group: int | None, function: str) -> int:
        number = len(self.nodes)
        where = f"{ask.place.file}:{ask.place.line}"
        self.nodes.append(GraphNode(self._named(f"{function}:{ask.place.line}"), ask.operation, where, group))
        self.edges += [GraphEdge(each, number, "data") for each in before]
        return number

    def _named(self, place: str) -> str:
        """A name of its own for what is called at a place, as runs have it: of several the second is ``label:9#2``."""
        self._names[place] += 1
        return place if self._names[place] == 1 else f"{place}#{self._names[place]}"
