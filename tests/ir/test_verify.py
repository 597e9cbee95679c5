"""What text cannot show: what a pass could get wrong about a whole module."""

from __future__ import annotations

import pytest
from xdsl.utils.exceptions import VerifyException

from apxm.ir.structure import flows_of
from apxm.ir.text import parse_module
from apxm.ir.verify import callees_first, verify_module

MODULE = """
ais.flow @A.main(t %t: str) -> str {
  %a = ais.call @A.helper(%t) : str {path: "a"}
  %b = ais.ask(%a) : str {path: "b"}
  ais.return(%b)
}
ais.flow @A.helper(t %t: str) -> str {
  ais.return(%t)
}
"""


def test_a_value_used_above_its_definition() -> None:
    module = parse_module(MODULE)
    verify_module(module)
    block = flows_of(module)["A.main"].body
    call, ask = block.first_op, block.last_op and block.last_op.prev_op
    assert call is not None
    assert ask is not None
    call.detach()
    block.insert_op_after(call, ask)
    with pytest.raises(VerifyException, match=r"A\.main: ais\.ask uses a value that is not defined above it"):
        verify_module(module)


def test_flows_stand_behind_those_they_call() -> None:
    assert [flow.symbol for flow in callees_first(flows_of(parse_module(MODULE)))] == ["A.helper", "A.main"]
