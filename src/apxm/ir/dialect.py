"""The AIS dialect, complete."""

from __future__ import annotations

from xdsl.ir import Dialect

from apxm.ir.attributes import LiteralAttr, ValueType
from apxm.ir.operations import OPERATE_OPS
from apxm.ir.structure import CallOp, FlowOp, ReturnOp, SwitchOp, YieldOp
from apxm.ir.values import VALUE_OPS

AIS = Dialect(
    "ais",
    [*OPERATE_OPS.values(), *VALUE_OPS, FlowOp, CallOp, SwitchOp, YieldOp, ReturnOp],
    [ValueType, LiteralAttr],
)
