"""What the body of an `each` does to what outlives an iteration, and when: before or after it may have called a model.

Each use of a name from around the body gets a *rule*:

- `FREE`: at once. Nobody changes it, or everything about it happens before the first call, which is in order.
- `LATER`: it is only added to, and nothing reads it: that is kept until the turn of the iteration.
- `TURN`: it waits for its turn, and keeps it from then on.
- `CARRIED`: what one iteration leaves in the name decides what the next one asks: no `each` can do that.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from apxm.effects.closures import Around, Captured
from apxm.effects.libraries import ONLY_ADDS, Known
from apxm.effects.origins import Origins
from apxm.effects.roles import (
    EVIDENT,
    Kind,
    Role,
    RoleOf,
    Touch,
    adding,
    argument_of,
    changes_first,
    counting,
    is_call_statement,
    is_plain,
    root,
    without_items,
)
from apxm.effects.scopes import bound_names, declared, free_loads, parameters


class Rule(Enum):
    FREE = "free"
    LATER = "later"
    TURN = "turn"
    CARRIED = "carried"


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


class Uses:
    """The uses of names in a body, found in the order in which they happen."""

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
        self._items = bound_names([target]) if target is not None else set[str]()
        self.origins = Origins(body, self._items, role_of)
        self.called = False
        """Whether a model may have been called at this point, or other iterations may have gone on."""
        self._in_try = 0
        self.found: list[Use] = []
        self.exits: list[ast.stmt] = []
        """Each `break` and `return` that may come after a call."""
        self.called_late: list[ast.Call] = []
        """Each call of anything that may come after one of a model."""
        self.draws = False
        """Whether random numbers are drawn."""
        self.given: list[ast.expr] = []
        """What is returned."""
        self._loops = 0
        self._bound: set[str] = self._items.copy()
        """What is bound for certain at this point."""
        self.exposed: set[str] = set()
        """What is read where it is not bound for certain."""
        self.statements(body)

    # --- statements

    def statements(self, statements: Iterable[ast.stmt]) -> None:
        for statement in statements:
            self._statement(statement)

    def _statement(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Assign() if (found := counting(statement)) is not None:
                self._evaluate(found.value)
                self._evaluate(found.key)
                self._change(found.counts, statement, deferrable=True)
            case ast.Assign(targets=targets, value=value):
                self._evaluate(value)
                for target in targets:
                    self._store(target, statement)
            case ast.AnnAssign(target=target, value=value):
                if value is not None:
                    self._evaluate(value)
                    self._store(target, statement)
            case ast.AugAssign(target=target, value=value):
                self._augment(statement, target, value)
            case ast.Expr() if (item := adding(statement)) is not None:
                for part in (*item.keys, *item.arguments, *([] if item.default is None else [item.default])):
                    self._evaluate(part)
                self._change(item.container, statement, deferrable=True)
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=receiver, attr=method)) as call) if is_call_statement(
                statement
            ):
                for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
                    self._evaluate(argument)
                alone = method in ONLY_ADDS and is_plain(receiver)
                self._change(receiver, statement, deferrable=alone)
                role = self._role_of(call.func)
                if role.summary is not None:
                    self._touch(call, role)
                    self.called |= role.may_wait
            case ast.If(test=test, body=body, orelse=orelse):
                self._evaluate(test)
                self._branches([body, orelse])
            case ast.For(target=target, iter=items, body=body, orelse=orelse):
                self._evaluate(items)
                self._loop(body, lambda: self._store(target, statement), orelse)
            case ast.While(test=test, body=body, orelse=orelse):
                self._loop([ast.Expr(test), *body], None, orelse)
            case ast.Try() | ast.TryStar():
                self._try(statement)
            case ast.With(items=items, body=body):
                for item in items:
                    self._evaluate(item.context_expr)
                    self._managed(item.context_expr, "__enter__")
                    if item.optional_vars is not None:
                        self._store(item.optional_vars, statement)
                self.statements(body)
                for item in items:
                    self._managed(item.context_expr, "__exit__")
            case ast.Match(subject=subject, cases=cases):
                self._evaluate(subject)
                self._branches([[*_captures(case.pattern), *_guard(case), *case.body] for case in cases] + [[]])
            case ast.Delete(targets=targets):
                for target in targets:
                    if isinstance(target, ast.Name) and target.id not in self._bound:
                        self.exposed.add(target.id)
                    self._store(target, statement)
            case ast.Return(value=value):
                if value is not None:
                    self._evaluate(value)
                    self.given.append(value)
                self._exit(statement)
            case ast.Break() if not self._loops:
                self._exit(statement)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                self._inside(statement)
                self._bind(name, statement)
            case ast.Import() | ast.ImportFrom():
                for name in bound_names([statement]):
                    self._bind(name, statement)
            case _:
                for child in ast.iter_child_nodes(statement):
                    if isinstance(child, ast.expr):
                        self._evaluate(child)

    def _managed(self, manager: ast.expr, method: str) -> None:
        """A method of a context manager that has a name is called; one that is made there is nobody else's."""
        if isinstance(manager, ast.Call):
            return
        call = ast.Call(ast.copy_location(ast.Attribute(manager, method, ast.Load()), manager), [], [])
        self._call(ast.copy_location(call, manager))

    def _branches(self, branches: Sequence[Sequence[ast.stmt]]) -> None:
        """Of several ways one is taken."""
        before, called = self._bound, self.called
        ends: list[set[str]] = []
        any_called = called
        for branch in branches:
            self._bound, self.called = before.copy(), called
            self.statements(branch)
            if not _leaves(branch):
                ends.append(self._bound)
            any_called |= self.called
        self._bound, self.called = _common(ends) if ends else before, any_called

    def _loop(self, body: Sequence[ast.stmt], bind: Callable[[], None] | None, orelse: Sequence[ast.stmt]) -> None:
        before = self._bound.copy()
        # Its second turn comes behind the calls of its first one.
        self.called |= any(self._waits_in(part) for part in body)
        self._loops += 1
        if bind is not None:
            bind()
        self.statements(body)
        self._loops -= 1
        self._bound = before
        self.statements(orelse)
        self._bound = before

    def _try(self, statement: ast.Try | ast.TryStar) -> None:
        before, called = self._bound.copy(), self.called
        self._in_try += 1
        self.statements(statement.body)
        if not statement.finalbody:  # which comes behind what is done later there
            self._in_try -= 1
        self.statements(statement.orelse)
        ends, self.called = [self._bound], called or self.called
        for handler in statement.handlers:
            self._bound = before.copy()
            if handler.type is not None:
                self._evaluate(handler.type)
            if handler.name is not None:
                self._bind(handler.name, handler)
            self.statements(handler.body)
            if not _leaves(handler.body):
                ends.append(self._bound)
        if statement.finalbody:
            self._in_try -= 1
        self._bound = _common(ends)
        after = self._bound
        self._bound = before.copy()
        self.statements(statement.finalbody)
        self._bound |= after

    def _exit(self, statement: ast.stmt) -> None:
        if self.called:
            self.exits.append(statement)

    # --- expressions

    def _augment(self, statement: ast.AugAssign, target: ast.expr, value: ast.expr) -> None:
        self._evaluate(value)
        if isinstance(target, ast.Name):
            if target.id not in self._bound:
                self.exposed.add(target.id)
            self._use(target.id, Kind.ADD, statement, deferrable=True)
        else:
            self._store(target, statement)

    def _store(self, target: ast.expr, statement: ast.AST) -> None:
        match target:
            case ast.Name(id=name):
                self._bind(name, statement)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for part in parts:
                    self._store(part, statement)
            case ast.Starred(value=part):
                self._store(part, statement)
            case ast.Attribute():
                self._change(target, statement, deferrable=_is_alone(target, statement))
            case ast.Subscript(value=inner):
                self._evaluate(target.slice)
                alone = _is_alone(target, statement) and is_plain(without_items(inner)[0])
                self._change(inner, statement, deferrable=alone)
            case _:
                self._evaluate(target)

    def _bind(self, name: str, node: ast.AST) -> None:
        self._use(name, Kind.BIND, node)
        self._bound.add(name)

    def _evaluate(self, node: ast.AST) -> None:
        """What an expression does, in the order in which it does it."""
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                self._reads((name,), node, whole=True)
            case ast.Attribute(value=value):
                self._base(value)
                self._attribute(node)
            case ast.NamedExpr(target=target, value=value):
                self._evaluate(value)
                self._bind(target.id, node)
            case ast.Lambda():
                self._inside(node)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                self._evaluate(node.generators[0].iter)
                self.called |= self._waits_in(node)
                self._inside(node)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self._evaluate(test)
                self._branches([[ast.Expr(body)], [ast.Expr(orelse)]])
            case ast.Call(func=func, args=arguments, keywords=keywords):
                role = self._role_of(func)
                self._called_by(func, role)
                for argument in (*arguments, *(keyword.value for keyword in keywords)):
                    if role.summary is not None:
                        self._base(argument)
                    else:
                        self._evaluate(argument)
                for part in (func, *arguments):  # it is called now, and was only named before its arguments asked
                    if isinstance(part, ast.Name):
                        self._follow_named(part.id, node)
                self._call(node)
            case _:
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.expr):
                        self._evaluate(child)

    def _attribute(self, node: ast.Attribute) -> None:
        """What is read of an object."""
        self._use(f".{node.attr}", Kind.LOAD, node, through=self._through(node.value))
        if (read := self._role_of(node).read) is not None:
            self._touches(read.touches, node, lambda _: node.value)
            self.called |= read.waits

    def _base(self, node: ast.expr) -> None:
        """What stands in front of an attribute, or is given to a function of which it is known what it reads of it."""
        if isinstance(node, ast.Name):
            self._reads((node.id,), node)
        else:
            self._evaluate(node)

    def _called_by(self, func: ast.expr, role: Role) -> None:
        """What is read to find what is called."""
        if not isinstance(func, ast.Attribute):
            self._evaluate(func)
        elif role.summary is not None or role.found:
            self._base(func.value)
        else:
            self._evaluate(func.value)

    def _inside(self, node: ast.AST) -> None:
        """What code of a scope of its own does: when, and how often, nobody knows."""
        self._reads(free_loads(node), node, whole=True)
        before = len(self.found)
        for part in ast.walk(node):
            match part:
                case ast.Attribute(ctx=ast.Load()):
                    self._attribute(part)
                case ast.Attribute(value=value, attr=attribute):
                    self._use(f".{attribute}", Kind.CHANGE, part, through=root(value))
                case ast.Call():
                    self._call(part)
                case _:
                    pass
        own = _own_names(node)
        inside, self.found[before:] = self.found[before:], []
        for use in inside:
            if use.name not in own:
                self.found.append(replace(use, through=None) if use.through in own else use)

    def _waits_in(self, node: ast.AST) -> bool:
        """Whether other iterations may go on somewhere in there."""
        return any(isinstance(part, ast.Call) and self._role_of(part.func).may_wait for part in ast.walk(node))

    def _call(self, call: ast.Call) -> None:
        role = self._role_of(call.func)
        if self.called:
            self.called_late.append(call)
        self.draws |= role.draws
        given = (*call.args, *(keyword.value for keyword in call.keywords))
        if isinstance(call.func, ast.Name) and self._around.captured.get(call.func.id, Captured()).only_looks:
            return
        if role.summary is not None:
            self._touch(call, role)
            if role.guessed and isinstance(call.func, ast.Attribute) and call.func.attr in EVIDENT:
                self._change(call.func.value, call)
        elif role.is_unknown:
            if isinstance(call.func, ast.Attribute) and not role.found:
                self._change(call.func.value, call)
            for argument in given:
                self._change(argument, call)
                if isinstance(argument, ast.Attribute) and (name := root(argument)) is not None:
                    self._use(name, Kind.CHANGE, call, late=True)  # and whatever can be reached from there
        elif call.args and (role.known is Known.ITS_FIRST or changes_first(call)):
            self._change(call.args[0], call)
        for argument in given:  # functions of the user's, which may be called
            if isinstance(argument, ast.Name | ast.Attribute) and (of := self._role_of(argument)).summary is not None:
                self._touches(of.summary.touches, call, lambda _: None)
        self.called |= role.may_wait

    def _touch(self, call: ast.Call, role: Role) -> None:
        assert role.summary is not None
        parameters, plain = role.summary.parameters, role.summary.plain
        self._touches(
            [each for each in role.summary.touches if each.name not in plain or argument_of(call, role, each.name)],
            call,
            lambda name: argument_of(call, role, name) if name in parameters else None,
        )

    def _touches(self, touches: Iterable[Touch], node: ast.AST, argument: Callable[[str], ast.expr | None]) -> None:
        """What a function does that is called, or a property that is read; `argument` says what it is given."""
        for touch in touches:
            through = touch.through if touch.name.startswith(".") else touch.name
            given = None if through is None else argument(through)
            kind = Kind.CHANGE if touch.kind is Kind.BIND else touch.kind
            late = self.called or touch.late
            if touch.name.startswith("."):
                name = through if given is None and through is not None and through.startswith(":") else None
                self._used(touch.name, kind, node, late, kind is Kind.ADD, _root(given) or name)
            elif touch.name.startswith(":"):
                self._used(touch.name, kind, node, late, kind is Kind.ADD, None)
            elif given is not None and kind is Kind.LOAD:
                for name in [_root(given)] if _root(given) is not None else []:
                    self._used(str(name), kind, node, late, False, None, whole=touch.whole)
            elif given is not None:
                self._change(given, node, late=touch.late)
            else:
                self._used(f":{touch.name}=", kind, node, late, False, None)  # what it has where nothing is given

    def _change(self, path: ast.expr, node: ast.AST, *, deferrable: bool = False, late: bool = False) -> None:
        """What stands at the end of a path is changed."""
        inner = path
        while isinstance(inner, ast.Subscript):
            self._evaluate(inner.slice)
            inner = inner.value
        name = root(inner)
        kind = Kind.ADD if deferrable and isinstance(inner, ast.Attribute) else Kind.CHANGE
        if isinstance(inner, ast.Attribute):
            self._base(inner.value)
            self._use(
                f".{inner.attr}", kind, node, deferrable=deferrable, through=self._through(inner.value), late=late
            )
            if (written := self._role_of(inner).written) is not None:
                given = inner.value
                self._touches(written.touches, node, lambda _: given)
            if name is not None:
                self._waiting(name)
        elif isinstance(inner, ast.Call):
            self._evaluate(inner)
            for of in sorted(self.origins.roots([inner]) or ()):
                self._use(of, Kind.CHANGE, node, late=late)
                self._waiting(of)
        elif name is not None:
            unknown = isinstance(node, ast.Call)  # which waits for its turn
            self._use(name, Kind.CHANGE, node, deferrable=deferrable, late=late or unknown)
            self._waiting(name)

    def _through(self, base: ast.expr) -> str | None:
        """The name that the path to an attribute of `base` begins with; None for an object in an item, which may be in
        other items, too."""
        name = root(base)
        return None if name in self._items and not isinstance(base, ast.Name) else name

    def _waiting(self, name: str) -> None:
        """What belongs to whom nobody knows waits for its turn to be changed."""
        if (self._is_function and name not in self.origins.fresh) or (
            name in self._bound and name not in self.origins.fresh
        ):
            self.called = True

    def _reads(self, names: Iterable[str], node: ast.AST, *, whole: bool = False) -> None:
        for name in names:
            if name not in self._bound:
                self.exposed.add(name)
            self._use(name, Kind.LOAD, node, whole=whole)
            self._follow_named(name, node)

    def _follow_named(self, name: str, node: ast.AST) -> None:
        captured = self._around.captured.get(name)
        if captured is not None and name not in self._following:
            self._following.add(name)
            self._follow(captured, node)
            self._following.discard(name)

    def _follow(self, captured: Captured, node: ast.AST) -> None:
        """A function of the one around may be called here."""
        self._reads(sorted(name for name in captured.reads if not name.startswith(".")), node)
        for name in captured.binds:
            self.exposed.add(name)
            self._use(name, Kind.BIND, node)
        for name in captured.changes:
            self._use(name, Kind.CHANGE, node)
        for name in captured.reads:
            if name.startswith("."):
                self._use(name, Kind.LOAD, node)

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
    ) -> None:
        self._used(name, kind, node, self.called or late, deferrable, through, whole=whole)

    def _used(
        self,
        name: str,
        kind: Kind,
        node: ast.AST,
        late: bool,
        deferrable: bool,
        through: str | None,
        *,
        whole: bool = False,
    ) -> None:
        deferrable = deferrable and not self._in_try
        self.found.append(Use(name, kind, node, late, deferrable, through, whole))
        if name in self._waits and not deferrable:
            self.called = True
        if kind in (Kind.LOAD, Kind.CHANGE) and not name.startswith((".", ":")):
            for other in {*self.origins.aliases(name), *self._around.same.get(name, ())} - {name}:
                self.found.append(Use(other, kind, node, late, whole=whole))

    # --- what follows

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
        """Whether it changes its item, and looks at what the loop goes through, where other items are."""
        kinds = {use.kind for use in self.found if use.name in self._items}
        looks = any(use.name in going_through and use.kind is Kind.LOAD for use in self.found)
        return Kind.CHANGE in kinds and looks

    def is_mine(self, use: Use) -> bool:
        """Whether it is of an attribute of what belongs to this iteration."""
        return use.through is not None and self.origins.is_mine(use.through, self.exposed)

    def rules(self, said: set[str], ahead: bool = False) -> tuple[set[str], dict[str, Rule]]:
        """The names that each iteration has for itself, and the rules of the others, and of attributes; the function
        around has `said` of some that they are not its own; `ahead` is as `uses_in` has it."""
        ahead = ahead and bool(self.exits)
        own = {name for name in self.bound if name not in self.exposed and name not in said}
        by_name: dict[str, list[Use]] = {}
        for use in self.found:
            if use.name not in own and not self.is_mine(use):
                by_name.setdefault(use.name, []).append(use)
        for name in [name for name in by_name if name.startswith(":")]:
            plain = name[1:]
            if plain in by_name and plain not in self._around.bound:
                by_name[name] = by_name[plain] = by_name[name] + by_name[plain]
        rules = {
            name: _rule([*uses, *self._of_wholes(uses)] if name.startswith(".") else uses, ahead)
            for name, uses in by_name.items()
        }
        for name in [name for name in rules if not name.startswith((".", ":")) and name not in self._around.bound]:
            rules[f":{name}"] = rules[name]
        for name in [name for name, rule in rules.items() if rule is Rule.TURN and name.startswith(".")]:
            for through in {use.through for use in by_name[name]} & rules.keys():
                if any(use.whole for use in by_name.get(str(through), ())):
                    rules[str(through)] = max(rules[str(through)], Rule.TURN, key=RANK.__getitem__)
        return own, rules

    def _of_wholes(self, uses: Sequence[Use]) -> Iterator[Use]:
        """What is done to all that the names stand for through which an attribute is reached."""
        names = {use.through for use in uses}
        for use in self.found:
            if use.name in names and (use.kind is Kind.CHANGE or use.whole):
                yield Use(use.name, use.kind, use.node, use.after_call)


def uses_in(
    body: Sequence[ast.stmt], target: ast.expr, role_of: RoleOf, said: set[str], around: Around, ahead: bool = False
) -> tuple[Uses, set[str], dict[str, Rule]]:
    """What a body does, the names that each iteration has for itself, and the rules of the others.

    A use that waits for its turn lets other iterations go on, so whatever comes behind it comes behind a call. `ahead`
    says that iterations may run which turn out not to begin, as one before them leaves the loop.
    """
    waits: frozenset[str] = frozenset()
    while True:
        uses = Uses(body, target, role_of, around, waits)
        own, rules = uses.rules(said, ahead)
        found = frozenset(name for name, rule in rules.items() if rule is Rule.TURN)
        if found <= waits:
            return uses, own, rules
        waits |= found


RANK = {Rule.FREE: 0, Rule.LATER: 1, Rule.TURN: 2, Rule.CARRIED: 3}


def _rule(uses: Sequence[Use], ahead: bool) -> Rule:
    """The rule of what outlives an iteration, and whose value there comes from before it."""
    changes = [use for use in uses if use.kind is not Kind.LOAD]
    in_head = not any(use.after_call for use in uses)
    if not changes or (in_head and not ahead):
        return Rule.FREE
    if all(use.deferrable for use in uses):
        return Rule.LATER
    if in_head:
        return Rule.TURN
    rebinds = any(use.kind in (Kind.BIND, Kind.ADD) and not isinstance(use.node, ast.Call) for use in changes)
    is_name = not uses[0].name.startswith((".", ":"))
    if rebinds and is_name and not all(use.after_call for use in uses):
        return Rule.CARRIED
    return Rule.TURN


def _common(sets: Sequence[set[str]]) -> set[str]:
    return sets[0].intersection(*sets[1:])


def _root(path: ast.expr | None) -> str | None:
    return None if path is None else root(path)


def _own_names(node: ast.AST) -> set[str]:
    """The names that a function, a lambda or a class has for itself."""
    match node:
        case ast.Lambda():
            return parameters(node)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return (parameters(node) | bound_names(node.body)) - declared(node.body)
        case _:
            return set()


def _leaves(branch: Sequence[ast.stmt]) -> bool:
    """Whether what comes behind some statements is not reached from them."""
    return bool(branch) and isinstance(branch[-1], ast.Return | ast.Continue | ast.Break | ast.Raise)


def _is_alone(target: ast.expr, statement: ast.AST) -> bool:
    """Whether a statement does nothing but assign to a target."""
    match statement:
        case ast.Assign(targets=[one]):
            return one is target
        case ast.AugAssign(target=one):
            return one is target
        case _:
            return False


def _captures(pattern: ast.pattern) -> list[ast.stmt]:
    """What a pattern binds, as statements."""
    return [ast.Import([ast.alias(name)]) for name in sorted(bound_names([pattern]))]


def _guard(case: ast.match_case) -> list[ast.stmt]:
    return [] if case.guard is None else [ast.Expr(case.guard)]
