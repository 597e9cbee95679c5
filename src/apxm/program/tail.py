"""What a program says, before any run, about how the result of a flow comes about: as the answer of which calls, and
behind which output."""

from __future__ import annotations

from apxm.operations.catalog import OPERATIONS
from apxm.operations.definition import Family
from apxm.operations.effects import Effect
from apxm.operations.types import STR
from apxm.program.expressions import Operand
from apxm.program.nodes import Compute, Exit, Operate, Output
from apxm.program.openers import Opener
from apxm.program.program import Flow, Program

_Port = tuple[int, int]
"""A plan, and one of its outputs."""


class Tail:
    """The nodes that give a flow's result as it is, by their plans, and the outputs that say that it prints no more."""

    def __init__(self, program: Program, flow: Flow) -> None:
        self._program = program
        self._places: set[tuple[int, int]] = set()
        self.has_calls = False
        """Whether a call may give the result: then its text may be known before the call is over."""
        if flow.result is not None:
            self._follow((flow.plan, 0))
        outputs = program.plans[flow.plan].outputs
        self.print_ports = tuple(port for port in range(len(outputs)) if self._prints((flow.plan, port)))
        """The flow's order ports that wait for what it prints."""

    def gives(self, plan: int, node: int) -> bool:
        """Whether a frame of the plan gives what its node does, and all frames around it do where they give what it
        does."""
        return (plan, node) in self._places

    def _follow(self, port: _Port) -> None:
        left, seen = [port], {port}
        while left:
            plan, output = left.pop()
            nodes = self._program.plans[plan].nodes
            node = self._program.plans[plan].outputs[output]
            while isinstance(found := nodes[node], Output | Compute) and isinstance(found.value, Operand):
                node = found.operands[found.value.index]
            if isinstance(found, Operate):
                if _gives_its_text(found):
                    self._places.add((plan, node))
                    self.has_calls = True
            elif isinstance(found, Exit):
                opener = self._opener(plan, found)
                if opener.repeats or opener.settles:
                    continue  # nobody knows which turn is the last, or whether what failed is caught
                inner = self._inside(plan, found)
                self._places.add((plan, found.opener))
                left += [opened for opened in inner if opened not in seen]
                seen.update(inner)

    def _prints(self, port: _Port) -> bool:
        left, seen = [port], {port}
        while left:
            plan, output = left.pop()
            nodes = self._program.plans[plan].nodes
            at = nodes[self._program.plans[plan].outputs[output]]
            for before in map(nodes.__getitem__, (*at.after, *at.requires)):
                if isinstance(before, Operate) and OPERATIONS[before.operation].effect is Effect.OUTPUT:
                    return True
                inner = self._inside(plan, before) if isinstance(before, Exit) else []
                left += [opened for opened in inner if opened not in seen]
                seen.update(inner)
        return False

    def _inside(self, plan: int, leaving: Exit) -> list[_Port]:
        """The ports of the frames inside by which something leaves."""
        return [(opened, leaving.port) for opened in self._opener(plan, leaving).opened]

    def _opener(self, plan: int, leaving: Exit) -> Opener:
        opener = self._program.plans[plan].nodes[leaving.opener]
        assert isinstance(opener, Opener)
        return opener


def _gives_its_text(call: Operate) -> bool:
    """Whether the value of an operation is the text of a model's answer, as it is."""
    asks = OPERATIONS[call.operation].family is Family.MODEL
    return asks and call.result == str(STR) and not {"choices", "tools"} & call.options.keys()
