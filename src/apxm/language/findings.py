"""What the checker finds out about a program."""

from __future__ import annotations

from apxm.language.declarations import DeclaredAgent, DeclaredFlow, Records
from apxm.language.report import Report
from apxm.language.syntax import CallExpression, Construct, Expression, Flow, FlowCall, OperationCall
from apxm.operations.types import Type


class Findings:
    """What is known of one program so far: filled in flow by flow."""

    def __init__(self, agents: dict[str, DeclaredAgent], records: Records, report: Report) -> None:
        self.agents = agents
        self.records = records
        self.report = report
        self.types: dict[Expression, Type] = {}
        self.calls: dict[CallExpression, OperationCall | FlowCall] = {}
        self.flow_calls: dict[Flow, list[tuple[CallExpression, DeclaredFlow]]] = {}
        """The calls of other flows in each flow, those with wrong arguments too."""
        self.results: dict[Construct, Type] = {}
        """The types of the constructs that give a value."""
        self.tail: set[Construct] = set()
        """The unbound constructs whose value is that of what stands around them."""
