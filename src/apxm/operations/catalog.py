"""The one table of operations, by name."""

from __future__ import annotations

from types import MappingProxyType

from apxm.operations.definition import Operation
from apxm.operations.model_operations import MODEL_OPERATIONS
from apxm.operations.other_operations import OTHER_OPERATIONS

OPERATIONS: MappingProxyType[str, Operation] = MappingProxyType(
    {operation.name: operation for operation in (*MODEL_OPERATIONS, *OTHER_OPERATIONS)}
)
AVAILABLE: MappingProxyType[str, Operation] = MappingProxyType(
    {name: operation for name, operation in OPERATIONS.items() if operation.available}
)
