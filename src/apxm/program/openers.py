"""The nodes that make frames of other plans: the constructs that are plans of their own."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, NamedTuple, Protocol

from msgspec.structs import replace

from apxm.operations.types import Value
from apxm.program.expressions import Expression, ListOf, Literal
from apxm.program.nodes import Node


class Opening(NamedTuple):
    """The frames that an opener makes: `least` to `most` of them, each of one of `plans`."""

    plans: tuple[int, ...]
    least: int = 1
    most: int | None = 1
    """The most frames that there can be; None where nothing limits them."""
    usual: float | None = None
    """How many there are on average, as far as one can say without a run; None where each number is as likely."""

    @property
    def is_exact(self) -> bool:
        """Whether it is one frame, neither more nor less."""
        return self.least == self.most == 1


class Ports(Protocol):
    """What an opener has to know of a plan that it opens: how many inputs it has, which outputs, and how many of these
    are values."""

    @property
    def inputs(self) -> int: ...
    @property
    def outputs(self) -> tuple[int, ...]: ...
    @property
    def values(self) -> int: ...


class Opener(Node, frozen=True, array_like=True, kw_only=True):
    """A node that makes frames of other plans, all with the same inputs and outputs. Whoever follows openers asks this
    class; only what makes them and what runs them knows the kinds of them."""

    leaves_flow: ClassVar[bool] = False
    """Whether it opens another flow's plan: the paths of the nodes there begin anew, behind its own."""
    repeats: ClassVar[bool] = False
    """Whether its frames are turns of one plan: paths then name the turn."""
    settles: ClassVar[bool] = False
    """Whether nothing leaves its frames before all in them is over; the frames of a later opening begin then, too."""

    priority: int = 0
    """Longest path from the construct's exits to the end of this plan, in ms."""

    @property
    def openings(self) -> tuple[Opening, ...]:
        """The frames that it makes, in the order in which they begin."""
        raise NotImplementedError

    @property
    def opened(self) -> tuple[int, ...]:
        """All plans that it can open."""
        return tuple([plan for opening in self.openings for plan in opening.plans])

    @property
    def cases(self) -> tuple[Value, ...]:
        """The values by which it chooses among the plans of its first opening, in their order; None is any other one.
        Empty where there is no choice."""
        return ()

    @property
    def own_input(self) -> int | None:
        """The input port that it fills itself, so that nothing enters there."""
        return None

    @property
    def carried(self) -> Mapping[int, tuple[int, ...]]:
        """The input ports that a later turn takes from the turn before, each with the output ports there: a value from
        one, order from all that it waits for. Into other ports the same goes for all turns."""
        return _NOTHING_CARRIED

    @property
    def stop(self) -> int | None:
        """The output port whose value, once known, says that a turn is the last; None where none does."""
        return None

    @property
    def collected(self) -> int | None:
        """The output port whose exit has the list of what all turns gave there."""
        return None

    def moved(self, _by: int, /) -> typing.Self:
        """It in a program in which each plan stands so many places further on."""
        raise NotImplementedError

    @property
    def flaw(self) -> str | None:
        """What is wrong with it whatever the program around it; None where nothing is."""
        return None

    def misfit(self, _opened: Ports, /) -> str | None:
        """What is wrong with it, given one of the plans that it opens; None where nothing is."""
        return None


_NOTHING_CARRIED: Mapping[int, tuple[int, ...]] = MappingProxyType({})


class Switch(Opener, frozen=True, array_like=True, tag="switch", kw_only=True):
    """Opens the frame of the arm whose label equals `selector` after trimming and case folding."""

    selector: Expression
    labels: tuple[str, ...]
    """Already trimmed and folded, all different."""
    arms: tuple[int, ...]
    """The plan of each label, all with the same inputs and outputs."""
    default: int | None = None

    def moved(self, by: int) -> typing.Self:
        default = None if self.default is None else self.default + by
        return replace(self, arms=tuple(plan + by for plan in self.arms), default=default)

    @property
    def computes(self) -> Expression:
        return self.selector

    @property
    def openings(self) -> tuple[Opening, ...]:
        return (Opening(self.arms if self.default is None else (*self.arms, self.default)),)

    @property
    def cases(self) -> tuple[Value, ...]:
        return self.labels if self.default is None else (*self.labels, None)

    @property
    def flaw(self) -> str | None:
        if len(self.labels) != len(self.arms) or not self.opened:
            return f"has {len(self.labels)} labels for {len(self.arms)} arms"
        return "has the same label twice" if len(set(self.labels)) != len(self.labels) else None


class Subflow(Opener, frozen=True, array_like=True, tag="call", kw_only=True):
    """Opens the frame of another flow's plan, as soon as the frame around it exists."""

    leaves_flow: ClassVar[bool] = True

    plan: int

    def moved(self, by: int) -> typing.Self:
        return replace(self, plan=self.plan + by)

    @property
    def openings(self) -> tuple[Opening, ...]:
        return (Opening((self.plan,)),)


class If(Opener, frozen=True, array_like=True, tag="if", kw_only=True):
    """Opens the frame of `then` where `condition` holds, else that of `otherwise`."""

    condition: Expression
    then: int
    otherwise: int

    def moved(self, by: int) -> typing.Self:
        return replace(self, then=self.then + by, otherwise=self.otherwise + by)

    @property
    def computes(self) -> Expression:
        return self.condition

    @property
    def openings(self) -> tuple[Opening, ...]:
        return (Opening((self.then, self.otherwise)),)

    @property
    def cases(self) -> tuple[Value, ...]:
        return (True, False)


class Repeat(Opener, frozen=True, array_like=True, tag="repeat", kw_only=True):
    """Opens the frames of one plan in turns: at most `limit` of them, or one for each of `items`.

    A turn's inputs are what `shared` ports get, the same for all turns; an item, where there are items; and what comes
    from the turn before. Its outputs are whether it is the last, where turns say so; an item of a list, where it
    `collects` one; and what goes into the next turn, or out of the last.
    """

    repeats: ClassVar[bool] = True

    limit: Expression
    """An int; with more items than it says, the opener fails."""
    plan: int
    shared: int
    """How many of the first inputs all turns have in common."""
    items: Expression | None = None
    comes_from: tuple[tuple[int, ...], ...] = ()
    """For each of the last inputs, the output ports of the turn before that it waits for."""
    stops: bool = False
    collects: bool = False
    called: str = "loop"
    """What the source calls it."""

    def moved(self, by: int) -> typing.Self:
        return replace(self, plan=self.plan + by)

    @property
    def kind(self) -> str:
        return self.called

    @property
    def computes(self) -> Expression:
        return self.limit if self.items is None else ListOf((self.limit, self.items))

    @property
    def openings(self) -> tuple[Opening, ...]:
        limit = self.limit.value if isinstance(self.limit, Literal) else None
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
            limit = None
        if self.items is None:
            if not self.stops:
                return (Opening((self.plan,), limit or 1, limit),)
            # As if `until` held in every other turn: 1 + 1/2 + 1/4 + …
            return (Opening((self.plan,), 1, limit, 2 - 0.5 ** min(limit - 1, 64) if limit else 2),)
        if isinstance(self.items, ListOf):
            return (Opening((self.plan,), len(self.items.items), len(self.items.items)),)
        known: Value = self.items.value if isinstance(self.items, Literal) else None
        if isinstance(known, list):
            count = len(typing.cast("list[Value]", known))
            return (Opening((self.plan,), count, count),)
        return (Opening((self.plan,), 0, limit, 1),)

    @property
    def own_input(self) -> int | None:
        return None if self.items is None else self.shared

    @property
    def carried(self) -> Mapping[int, tuple[int, ...]]:
        first = self.shared + (self.items is not None)
        return dict(enumerate(self.comes_from, first))

    @property
    def stop(self) -> int | None:
        return 0 if self.stops else None

    @property
    def collected(self) -> int | None:
        return int(self.stops) if self.collects else None

    @property
    def flaw(self) -> str | None:
        return "has no turns to share its inputs" if self.shared < 0 else None

    def misfit(self, opened: Ports, /) -> str | None:
        inputs = self.shared + (self.items is not None) + len(self.comes_from)
        if inputs != opened.inputs:
            return f"gives its turns {inputs} inputs, and they take {opened.inputs}"
        first = self.stops + self.collects
        if first > opened.values:
            return f"takes {first} values of each turn, and they give {opened.values}"
        carried = opened.values - first
        for place, ports in enumerate(self.comes_from):
            if place < carried and ports != (first + place,):
                return f"carries value {place} from the outputs {list(ports)}, expected [{first + place}]"
            if not all(opened.values <= port < len(opened.outputs) for port in ports[place < carried :]):
                return f"carries from the outputs {list(ports)} of {len(opened.outputs)}"
        return f"carries {len(self.comes_from)} of {carried} values" if len(self.comes_from) < carried else None


class Try(Opener, frozen=True, array_like=True, tag="try", kw_only=True):
    """Opens the frame of `body`, and where something in that failed, once all of it is over, that of `handler`."""

    settles: ClassVar[bool] = True

    body: int
    handler: int
    error_input: int | None = None
    """The input port into which the handler gets what failed, and the body nothing."""

    def moved(self, by: int) -> typing.Self:
        return replace(self, body=self.body + by, handler=self.handler + by)

    @property
    def openings(self) -> tuple[Opening, ...]:
        return (Opening((self.body,)), Opening((self.handler,), 0, 1, 0))

    @property
    def own_input(self) -> int | None:
        return self.error_input

    def misfit(self, opened: Ports, /) -> str | None:
        port = self.error_input
        if port is not None and not 0 <= port < opened.inputs:
            return f"gives the failure into input {port} of {opened.inputs}"
        return None
