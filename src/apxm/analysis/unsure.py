"""Which values of a program nobody knows without a model: those that answers are, and what is computed from them."""

from __future__ import annotations

from collections.abc import Iterable

from apxm.analysis.usage import calls_model, calls_tool
from apxm.program.nodes import Compute, Enter, Exit, Input, Operate, Output
from apxm.program.openers import Opener
from apxm.program.program import AnyNode, Program

Place = tuple[int, int]
"""A plan, and a node in it."""


def unsure_values(program: Program, inputs: Iterable[Place] = ()) -> set[Place]:
    """The nodes whose value depends on what an answer says, and the openers that decide by such a value; `inputs` are
    those that are not known either. A value that a choice picks is known where each that it could be is."""
    return _Unsure(program, set(inputs)).found


class _Unsure:
    def __init__(self, program: Program, found: set[Place]) -> None:
        self.found = found
        self._plans = program.plans
        known = -1
        while known != len(found):  # what a turn gives may come back to it
            known = len(found)
            for plan in range(len(self._plans)):
                self._look(plan)

    def _look(self, plan: int) -> None:
        nodes = self._plans[plan].nodes
        for i, node in enumerate(nodes):
            if self._is_unsure(plan, node):
                self.found.add((plan, i))
            if isinstance(node, Opener):
                self._enter(plan, i, node)
            elif isinstance(node, Enter) and (plan, i) in self.found:
                opener = nodes[node.opener]
                assert isinstance(opener, Opener)
                self.found.update((opened, node.port) for opened in opener.opened)

    def _is_unsure(self, plan: int, node: AnyNode) -> bool:
        if isinstance(node, Operate) and (calls_model(node) or calls_tool(node)):
            return True
        if isinstance(node, Exit):
            opener = self._plans[plan].nodes[node.opener]
            assert isinstance(opener, Opener)
            if opener.repeats and (plan, node.opener) in self.found:
                return True
            return any(self._gives(opened, node.port) for opened in opener.opened)
        needed = (*node.operands, *(node.after if isinstance(node, Compute) else ()))
        return not isinstance(node, Input) and any((plan, each) in self.found for each in needed)

    def _enter(self, plan: int, index: int, opener: Opener) -> None:
        """What an opener itself, or the turn before, gives to its frames."""
        own = opener.own_input
        if own is not None and (opener.settles or (plan, index) in self.found):
            self.found.update((opened, own) for opened in opener.opened)
        for port, sources in opener.carried.items():
            for opened in opener.opened:
                if any(self._gives(opened, source) for source in sources):
                    self.found.add((opened, port))

    def _gives(self, plan: int, port: int) -> bool:
        output = self._plans[plan].outputs[port]
        node = self._plans[plan].nodes[output]
        return isinstance(node, Output) and node.value is not None and (plan, output) in self.found
