"""The types that a function of values takes and gives, and how a call finds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from apxm.operations.types import JSON, NOTHING, STR, Type, common_type, list_of, opened

ITEM = Type("T")
"""Stands in a signature for one type, the same one wherever it occurs."""


class Resolved(NamedTuple):
    """What one call takes and gives."""

    parameters: tuple[Type, ...]
    """What each argument is to be converted to; its own type where nothing is to be."""
    result: Type


class Signature(NamedTuple):
    """One way to call a function. `json` takes json alone: that anything converts to json opens no second way."""

    parameters: tuple[Type, ...]
    result: Type
    items: tuple[Type, ...] = ()
    """What `ITEM` may be; any type where empty."""
    repeats: bool = False
    """Whether the last parameter may be given any number of times."""

    @property
    def is_generic(self) -> bool:
        return any(map(mentions_item, self.parameters))

    @property
    def taken(self) -> str:
        """What it takes, in words: ``list[T], where T is int or str``."""
        types = ", ".join(map(str, self.parameters)) + "…" * self.repeats
        return f"{types}, where T is {' or '.join(map(str, self.items))}" if self.items else types

    def wanted(self, count: int) -> tuple[Type, ...]:
        """The parameters of a call with `count` arguments; those at the end may be left out."""
        surplus = count - len(self.parameters)
        return self.parameters[:count] + (self.parameters[-1:] * surplus if self.repeats else ())

    def resolve(self, found: Sequence[Type]) -> Resolved | None:
        """What a call with arguments of the types `found` takes and gives; None where it is no such call.

        `ITEM` is the type that all arguments in its place convert to. Where the result speaks of it, they are converted
        to it, and json where there is no such type; else they are compared as they stand.
        """
        wanted = self.wanted(len(found))
        if len(wanted) != len(found):
            return None
        candidates: list[Type] = []
        for type_, expected in zip(found, wanted, strict=True):
            if expected == ITEM:
                candidates.append(type_)
            elif mentions_item(expected):
                if not type_.is_list or type_.element is None:
                    return None
                candidates.append(type_.element)
            elif type_ != expected and opened(type_, expected) != expected:
                return None
        builds = mentions_item(self.result)
        item = common_type(candidates) if candidates else JSON
        if item == STR and not {STR, NOTHING}.issuperset(candidates):
            item = None  # the text form of a value is not the value
        if item is None and builds:
            item = JSON
        if item is None or (self.items and not {*candidates, item}.issubset({*self.items, NOTHING})):
            return None
        parameters = tuple(
            (_with_item(expected, item) if builds else type_) if mentions_item(expected) else expected
            for type_, expected in zip(found, wanted, strict=True)
        )
        return Resolved(parameters, _with_item(self.result, item))


def resolve_call(signatures: Sequence[Signature], found: Sequence[Type]) -> Resolved | None:
    """The first of the ways in which a call with arguments of the types `found` can be meant."""
    return next((resolved for s in signatures if (resolved := s.resolve(found)) is not None), None)


def mentions_item(type_: Type) -> bool:
    return type_ == ITEM or (type_.element is not None and mentions_item(type_.element))


def _with_item(type_: Type, item: Type) -> Type:
    if type_ == ITEM:
        return item
    return type_ if type_.element is None else list_of(_with_item(type_.element, item))
