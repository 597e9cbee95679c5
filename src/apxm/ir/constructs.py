"""The constructs: operations that hold blocks, and say which of them run, how often, and what comes of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from apxm.ir.core import Block, InvalidModule, Op, SSAValue
from apxm.ir.literals import quoted
from apxm.ir.structure import YieldOp, listed, types_of, verify_end
from apxm.ir.values import ConstantOp, ListOp, constant_of
from apxm.operations.labels import fold_label, matching_label
from apxm.operations.types import BOOL, ERROR, INT, JSON, STR, Type, assignable, item_of, list_of

_WORD = re.compile(r"[\w-]+")


class SwitchOp(Op):
    """``%r = ais.switch(%selector) : str {path: "r"} case "a" { … } default { … }``

    There is one region per label, in their order, and perhaps one more, the default. Labels are trimmed and folded. An
    arm uses values of the blocks around it freely.
    """

    __slots__ = ("labels",)
    name = "ais.switch"

    def __init__(self, selector: SSAValue, labels: Sequence[str], arms: Sequence[Block], result: Type | None) -> None:
        super().__init__((selector,), result, regions=arms)
        self.labels = tuple(labels)

    @property
    def selector(self) -> SSAValue:
        return self.operands[0]

    @property
    def has_default(self) -> bool:
        return len(self.regions) > len(self.labels)

    def arm_for(self, selector: str) -> Block | None:
        label = matching_label(selector, self.labels)
        if label is None:
            return self.regions[-1] if self.has_default else None
        return self.regions[self.labels.index(label)]

    def taken(self) -> Block | None:
        # None also for a constant that no arm matches: that fails at run time, at the switch.
        selector = constant_of(self.selector)
        return None if selector is None else self.arm_for(str(selector.constant))

    @property
    def titles(self) -> Sequence[str]:
        return [*(f"case {quoted(label)}" for label in self.labels), "default"]

    @property
    def steps(self) -> Sequence[str]:
        return [_step(label) for label in (*self.labels, None)]

    def verify(self) -> None:
        if len(self.operands) != 1 or self.selector.type != STR:
            raise InvalidModule("expected one operand, the selector, a str")
        labels = self.labels
        if not labels:
            raise InvalidModule("expected at least one case")
        if len(self.regions) not in (len(labels), len(labels) + 1):
            raise InvalidModule(f"expected an arm per label, found {len(self.regions)} for {len(labels)}")
        if len(set(labels)) < len(labels) or any(label != fold_label(label) for label in labels):
            raise InvalidModule("expected labels that are trimmed, folded and all different")
        for arm in self.regions:
            if arm.arguments:
                raise InvalidModule("an arm takes no arguments")
            verify_end(arm, YieldOp, types_of(self.results))


class IfOp(Op):
    """``%a, %b = ais.if(%condition) : str : int {path: "a"} then { … } else { … }``"""

    __slots__ = ()
    name = "ais.if"

    def __init__(self, condition: SSAValue, then: Block, otherwise: Block, results: Sequence[Type] = ()) -> None:
        super().__init__((condition,), results, regions=(then, otherwise))

    def taken(self) -> Block | None:
        condition = constant_of(self.operands[0])
        return None if condition is None else self.regions[0 if condition.constant else 1]

    @property
    def titles(self) -> Sequence[str]:
        return ("then", "else")

    def verify(self) -> None:
        if len(self.operands) != 1 or self.operands[0].type != BOOL:
            raise InvalidModule("expected one operand, the condition, a bool")
        for region in self.regions:
            if region.arguments:
                raise InvalidModule("a region of an `if` takes no arguments")
            verify_end(region, YieldOp, types_of(self.results))


class RepeatOp(Op):
    """``%draft = ais.repeat(%max, %start, called: "loop", stops: true) : str {path: "draft"} turn(%draft: str) { … }``

    Its region runs in turns, at most `max` of them. The region's arguments are an item of a list, where it goes through
    one, and then what is carried from turn to turn; the operands are `max`, that list, and what the first turn starts
    with. What a turn gives at its end is, in this order: where the repetition `stops`, whether this turn is the last;
    where it `collects`, an item of the list that is its first result; what is carried into the next turn, or after the
    last one is a result.
    """

    __slots__ = ()
    name = "ais.repeat"
    loops = True

    def __init__(
        self,
        limit: SSAValue,
        items: SSAValue | None,
        starts: Mapping[str, SSAValue],
        carried: Mapping[str, Type],
        *,
        called: str,
        item: str = "",
        stops: bool = False,
        collects: Type | None = None,
    ) -> None:
        """`carried` are the types of what it carries, to which the `starts` convert as they stand; `called` is what the
        source calls it, `item` the name of the item of one turn, and `collects` the type of what a turn gives for the
        list, if it gives that. The region is empty."""
        arguments = carried if items is None else {item: item_of(items.type), **carried}
        collected = () if collects is None else (list_of(collects),)
        flags = {"items": items is not None, "stops": stops, "collects": collects is not None}
        super().__init__(
            (limit, *(() if items is None else (items,)), *starts.values()),
            (*collected, *carried.values()),
            literals={"called": called, **{name: True for name, holds in flags.items() if holds}},
            regions=(Block(arguments),),
        )

    @property
    def body(self) -> Block:
        return self.regions[0]

    @property
    def takes_items(self) -> bool:
        return "items" in self.literals

    @property
    def stops(self) -> bool:
        return "stops" in self.literals

    @property
    def collects(self) -> bool:
        return "collects" in self.literals

    @property
    def carried(self) -> list[SSAValue]:
        """What a turn takes from the one before."""
        return self.body.arguments[self.takes_items :]

    @property
    def starts(self) -> list[SSAValue]:
        """What the first turn takes instead."""
        return self.operands[1 + self.takes_items :]

    @property
    def usual_turns(self) -> float:
        limit = constant_of(self.operands[0])
        most = limit.constant if limit is not None and isinstance(limit.constant, int) else 1
        if not self.takes_items:
            return 2 - 0.5 ** min(most - 1, 64) if self.stops else most  # as `program.openers.Repeat` has it
        items = self.operands[1].owner
        if isinstance(items, ListOp):
            return len(items.operands)
        return len(items.constant) if isinstance(items, ConstantOp) and self.operands[1].type.is_list else 1

    @property
    def carried_on(self) -> Sequence[tuple[SSAValue, SSAValue]]:
        carried = self.carried
        return list(zip(carried, self.body.gives[len(self.body.gives) - len(carried) :], strict=True))

    @property
    def titles(self) -> Sequence[str]:
        return ("turn",)

    @property
    def steps(self) -> Sequence[str]:
        return ("",)

    def verify(self) -> None:
        expected = [INT, *([self.operands[1].type] if self.takes_items else []), *types_of(self.carried)]
        found = types_of(self.operands)
        if len(found) != len(expected) or not all(map(assignable, found, expected)):
            raise InvalidModule(f"expected operands of {listed(expected)}, found {listed(found)}")
        if self.takes_items and not _is_list_of(self.operands[1].type, self.body.arguments[0].type):
            raise InvalidModule(f"takes items of {self.body.arguments[0].type} from {self.operands[1].type}")
        results = types_of(self.results)
        collected: tuple[Type, ...] = ()
        if self.collects:
            if not results or results[0].element is None:
                raise InvalidModule("expected a list as its first result")
            collected = (results[0].element,)
        if results[self.collects :] != types_of(self.carried):
            raise InvalidModule("expected results as what it carries")
        stops = (BOOL,) if self.stops else ()
        verify_end(self.body, YieldOp, (*stops, *collected, *types_of(self.carried)))


class TryOp(Op):
    """``%a = ais.try() : str {path: "a"} body { … } catch(%e: {kind: str, …}) { … }``

    The second region runs once all of the first is over, where something in that failed; its argument, if it takes one,
    says what.
    """

    __slots__ = ()
    name = "ais.try"
    catches = True

    def __init__(self, body: Block, handler: Block, results: Sequence[Type] = ()) -> None:
        super().__init__((), results, regions=(body, handler))

    @property
    def titles(self) -> Sequence[str]:
        return ("body", "catch")

    def verify(self) -> None:
        body, handler = self.regions
        if body.arguments or types_of(handler.arguments) not in ((), (ERROR,)):
            raise InvalidModule("expected no argument of the body, and at most the error as that of the handler")
        for region in self.regions:
            verify_end(region, YieldOp, types_of(self.results))


def _is_list_of(items: Type, item: Type) -> bool:
    if item == JSON:  # only a run can tell, also where what was json is known after a call was inlined
        return True
    return items.element is not None and assignable(items.element, item)


def _step(label: str | None) -> str:
    """The step of an arm; no label is the default's.

    A label that is not a plain word, or is the word ``default``, stands in quotes: so no two arms share a path, and a
    slash in a label cannot be taken for a step.
    """
    if label is None:
        return "/default"
    plain = _WORD.fullmatch(label) is not None and label != "default"
    return f"/{label if plain else json.dumps(label, ensure_ascii=False)}"
