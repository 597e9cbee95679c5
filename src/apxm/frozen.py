"""Plain records that are cheap to declare and to make."""

from __future__ import annotations

from typing import Any, dataclass_transform


@dataclass_transform(kw_only_default=True, frozen_default=True, eq_default=False)
class FrozenRecord:
    """A record whose fields are those its class declares, given by name; the type checker holds it to them.

    Records are compared and hashed by identity.
    """

    # A dataclass costs 0.8 ms at each start, for the methods it generates, and 1 µs more for each record: a compiler
    # has fifty kinds, and makes twenty for each call in a program.
    def __init__(self, **fields: Any) -> None:
        self.__dict__ = fields
