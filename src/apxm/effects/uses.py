"""What a body does to what outlives an iteration, in the order in which it happens."""

from __future__ import annotations

import ast
from abc import abstractmethod
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from apxm.effects.closures import Around, Captured
from apxm.effects.origins import Origins
from apxm.effects.patterns import root
from apxm.effects.roles import Kind, RoleOf, Special
from apxm.effects.scopes import bound_names


class ContextUse(NamedTuple):
    """One place at which a context variable is used."""

    name: str
    method: str
    """``get``, ``set`` or ``reset``."""
    node: ast.AST


@dataclass(eq=False)
class Use:
    """One place of a body at which a name from around it is used."""

    name: str
    """Or an attribute, as ``.stats``, of whatever object; or a name of the module of a function that is called, as
    ``:total``."""
    kind: Kind
    node: ast.AST
    """The name where it is read or bound; the statement that adds to it or changes it."""
    after_call: bool
    """Whether a model may have been called before it, in the same iteration."""
    deferrable: bool = False
    """Whether it can be done later, as nothing in the body needs it done."""
    through: str | None = None
    """The name that the path to an attribute begins with; None where it begins with something else."""
    whole: bool = False
    """Whether it reads whatever the name stands for, its attributes included."""
    is_alias: bool = False
    """Whether another name is used, which may stand for the same object."""
    deep: bool = False
    """Whether it changes something in the container that the name stands for, and not that alone."""


class Uses:
    """The uses of names in a body that were found until now; `StatementUses` finds them."""

    def __init__(
        self,
        body: Sequence[ast.stmt],
        target: ast.expr | None,
        role_of: RoleOf,
        around: Around,
        waits: frozenset[str] = frozenset(),
    ) -> None:
        """`waits` are the names of which it is known that their uses wait for a turn. Without a `target` it is the body
        of a function."""
        self._role_of = role_of
        self._around = around
        self._following: set[str] = set()
        """Functions of the one around that are being followed: they may call each other."""
        self._waits = waits
        self._is_function = target is None
        self.placed: frozenset[str] = frozenset()
        """Names of a function around that one, of which a run knows the rules."""
        self._items = bound_names([target]) if target is not None else set[str]()
        self.origins = Origins(body, self._items, role_of)
        self.called: bool = False
        """Whether a model may have been called at this point, or other iterations may have gone on."""
        self._in_try = 0
        self.found: list[Use] = []
        self.exits: list[ast.stmt] = []
        """Each `break` and `return` that may come after a call."""
        self.called_late: list[ast.Call] = []
        """Each call of anything that may come after one of a model."""
        self.draws: bool = False
        """Whether random numbers are drawn."""
        self.draws_late: bool = False
        """Whether a function may draw them behind a call of which only a run knows which one that is."""
        self.meets: bool = False
        """Whether something is called that only a run knows."""
        self._met: set[tuple[bool, bool]] = set()
        """Whether that came behind a call, and in a `try`."""
        self.swallows: bool = False
        """Whether it yields in a `with` that goes on behind what is raised there."""
        self.specials: list[Special] = []
        """The special methods that a function calls."""
        self.puts_streams: bool = False
        """Whether something is put in the place of `sys.stdout` or `sys.stderr`."""
        self.contexts: list[ContextUse] = []
        """The uses of context variables."""
        self.given: list[ast.expr] = []
        """What is returned."""
        self._loops = 0
        self._bound: set[str] = self._items.copy()
        """What is bound for certain at this point."""
        self.exposed: set[str] = set()
        """What is read where it is not bound for certain."""
        self._reached: set[str] = set()
        """The attributes of objects that its item holds."""
        self.shared: set[str] = set()
        """Names that each iteration binds, and that functions see which wait for nothing: iterations run one after the
        other. `uses_in` finds them."""
        self.published: set[str] = set()
        """Names that each iteration has for itself, and leaves at its turn to functions, which wait for that."""

    @property
    def bound(self) -> set[str]:
        """The names that an iteration binds, its item's included."""
        names = {use.name for use in self.found if use.kind in (Kind.BIND, Kind.ADD)}
        return {name for name in names if not name.startswith((".", ":"))} | self._items

    @property
    def changed(self) -> set[str]:
        """The names that it does more with than read them."""
        return {use.name for use in self.found if use.kind is not Kind.LOAD}

    def sees_others(self, going_through: set[str]) -> bool:
        """Whether it changes its item, and looks at what the loop goes through, where other items are; or sets an
        attribute of its item that it reads of others, as far as anybody sees whose that is."""
        kinds = {use.kind for use in self.found if use.name in self._items}
        changed = {use.name for use in self.found if use.through in self._items and use.kind is not Kind.LOAD}
        reads = [use for use in self.found if use.kind is Kind.LOAD]
        looks = any(use.name in going_through for use in reads)
        # Of ``self.rows`` the name says nothing: ``self.model`` is no attribute of a row.
        names = set[str]() if any(name.startswith(".") for name in going_through) else going_through
        owners = self._around.bound - names
        others = (use for use in reads if use.through not in owners and not self.is_mine(use))
        return looks and (Kind.CHANGE in kinds or any(use.name in changed for use in others))

    def changes_what(self, going_through: set[str]) -> bool:
        """Whether it changes what the loop goes through, and not only something in there."""
        changes = (use for use in self.found if use.name in going_through and use.kind is not Kind.LOAD)
        return any(not (self.is_mine(use) or (use.deep and use.name.startswith((".", ":")))) for use in changes)

    @property
    def links_items(self) -> bool:
        """Whether it changes an attribute that it uses of its item and of what that holds, which may be another one:
        ``chapter.start = chapter.before.start + 1``."""
        of_item = {use.name for use in self.found if use.through in self._items}
        return not (of_item & self._reached).isdisjoint(self.changed)

    @property
    def contexts_set(self) -> dict[str, list[ContextUse]]:
        """The context variables that it leaves at another value than they had, with their uses."""
        found: dict[str, list[ContextUse]] = {}
        for use in self.contexts:
            found.setdefault(use.name, []).append(use)
        methods = {name: {use.method for use in uses} for name, uses in found.items()}
        return {name: uses for name, uses in found.items() if "set" in methods[name] and "reset" not in methods[name]}

    def is_mine(self, use: Use) -> bool:
        """Whether it is of an attribute of what belongs to this iteration."""
        return use.through is not None and self.origins.is_mine(use.through, self.exposed)

    def begins(self, target: ast.expr) -> None:
        """An iteration begins by binding its items: where something else does, too, that is a use like others."""
        items = sorted(self._items & self.exposed)
        self.found[:0] = [Use(name, Kind.BIND, target, after_call=False) for name in items]

    # --- for those who find them

    @abstractmethod
    def _meet(self, node: ast.AST, *, late: bool = False) -> None:
        """A function is called of which only a run knows which one that is; `late` says that this may come behind
        a call of a model that is made there."""

    def _bind(self, name: str, node: ast.AST) -> None:
        self._use(name, Kind.BIND, node)
        self._bound.add(name)

    def _reads(self, names: Iterable[str], node: ast.AST, *, whole: bool = False, late: Container[str] = ()) -> None:
        for name in names:
            if name not in self._bound:
                self.exposed.add(name)
            self._use(name, Kind.LOAD, node, whole=whole, late=name in late)
            self._follow_named(name, node)

    def _follow_named(self, name: str, node: ast.AST) -> None:
        captured = self._around.captured.get(name)
        if captured is not None and name not in self._following:
            self._following.add(name)
            self._follow(captured, node)
            self._following.discard(name)

    def _follow(self, captured: Captured, node: ast.AST) -> None:
        """A function of the one around may be called here."""
        late = captured.late
        self._reads(sorted(name for name in captured.reads if not name.startswith(".")), node, late=late)
        for name in captured.binds:
            self.exposed.add(name)
            self._use(name, Kind.BIND, node, late=name in late)
        for name in captured.changes:
            self._use(name, Kind.CHANGE, node, late=name in late)
        for name in captured.reads:
            if name.startswith("."):
                self._use(name, Kind.LOAD, node)
            self.called |= f"@{name}" in self._waits
        if captured.meets:
            self._meet(node, late=True)

    def _use(
        self,
        name: str,
        kind: Kind,
        node: ast.AST,
        *,
        deferrable: bool = False,
        through: str | None = None,
        whole: bool = False,
        late: bool = False,
        deep: bool = False,
    ) -> None:
        """A use is found; `late` says that one of what is called there may have called a model before it."""
        late, deferrable = self.called or late, deferrable and not self._in_try
        self.puts_streams |= name in (".stdout", ".stderr") and through in ("sys", ":sys") and kind is not Kind.LOAD
        self.found.append(Use(name, kind, node, late, deferrable, through, whole, deep=deep))
        original = self._around.imported.get(name)
        if original is not None and kind is not Kind.BIND:  # others have it from the module
            self._use(f":{original}", kind, node, deferrable=deferrable, whole=whole, late=late)
        if name in self._waits:
            self.called = True
        for other in self._same_places(name):
            same = Kind.LOAD if kind is Kind.LOAD else Kind.CHANGE
            self.found.append(Use(other, same, node, late, whole=whole, is_alias=True))
        if kind in (Kind.LOAD, Kind.CHANGE) and not name.startswith((".", ":")):
            for other in {*self.origins.aliases(name), *self._around.same.get(name, ())} - {name}:
                if self._role_of(ast.Name(other, ast.Load())).is_unknown:  # else it is a function, which nobody changes
                    # What is changed may be a part of what the other name stands for.
                    self.found.append(Use(other, kind, node, late, whole=whole, is_alias=True, deep=True))

    def _same_places(self, name: str) -> frozenset[str]:
        """Attributes, and names from around the body, that may hold what one of them holds, or hold the same."""
        if self._is_function or self.origins.binds(name) or name in self._items:
            return frozenset()
        held = self._around.held.get(f".{name[1:]}" if name.startswith(":") else name, frozenset())
        held |= {f":{each[1:]}" for each in held if each.startswith(".")}
        return (held if name in self._around.bound else held | self._role_of.same_as(name)) - {name}

    def _through(self, base: ast.expr, attribute: str) -> str | None:
        """The name that the path to an attribute of `base` begins with; None for an object in an item, which may be in
        other items, too."""
        name = root(base)
        if self._is_shared(base, attribute):
            return None
        if name not in self._items or isinstance(base, ast.Name):
            return name
        self._reached.add(f".{attribute}")
        return None

    def _is_shared(self, path: ast.expr, attribute: str | None = None) -> bool:
        """Whether all objects of a class may have what is at a path, or is its attribute."""
        names = [] if attribute is None else [attribute]
        while isinstance(path, ast.Attribute | ast.Subscript):
            names += [path.attr] if isinstance(path, ast.Attribute) else []
            path = path.value
        return any(map(self._role_of.is_shared, names))

    def _waiting(self, name: str, *, placed: bool = False) -> None:
        """What belongs to whom nobody knows waits for its turn to be changed; `placed` says that a run is asked."""
        if placed and name in self.placed:
            return
        if (self._is_function and name not in self.origins.fresh) or (
            name in self._bound and name not in self.origins.fresh
        ):
            self.called = True
