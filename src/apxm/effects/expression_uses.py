"""What expressions do to what outlives an iteration: what they read, what they call, and what that changes."""

from __future__ import annotations

import ast
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from types import FunctionType

from apxm.effects.libraries import TEXT_METHODS, Known
from apxm.effects.patterns import (
    EVIDENT,
    called_as,
    called_back,
    changes_first,
    is_standard_stream,
    may_go_through,
    printed_to,
    root,
)
from apxm.effects.roles import Kind, Role, RoleOf, Special, Summary, Touch, argument_of
from apxm.effects.scopes import free_loads, own_names
from apxm.effects.specials import Implied, implied
from apxm.effects.trees import children, walk
from apxm.effects.uses import ContextUse, Uses


class ExpressionUses(Uses):
    """What `StatementUses` finds in expressions, in the order in which they are evaluated."""

    @abstractmethod
    def _branches(self, branches: Sequence[Sequence[ast.stmt]]) -> None:
        """Of several ways one is taken."""

    def _evaluate(self, node: ast.AST) -> None:
        """What an expression does, in the order in which it does it."""
        self._parts(node)
        self._implied(node)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            self._item(node)

    def _implied(self, node: ast.AST) -> None:
        """What the special methods do that a node calls."""
        for each in self._implied_by(node):
            if functions := self._methods(each):
                through = self._root_of(each.operand)
                is_part = not isinstance(each.operand, ast.Name)
                self._special(Special(tuple(functions), through, is_part, late=False), node, each.operand)

    def _methods(self, of: Implied) -> Sequence[FunctionType]:
        """The special methods of the user's that may be called; of an object of which it is evident what made it, those
        of that class."""
        operand = of.operand
        made = self._around.constructed.get(operand.id) if isinstance(operand, ast.Name) else None
        return self._role_of.special_methods(of if made is None else of._replace(operand=made))

    def _special(self, called: Special, node: ast.AST, operand: ast.expr | None = None) -> None:
        """Special methods may be called here, and those that these call."""
        self.called |= any(map(self._role_of.may_wait, called.functions))
        if self._is_function:
            self.specials.append(called._replace(late=called.late or self.called))
            return
        left, seen = [called], {called}
        while left:
            each = left.pop()
            given = operand or (None if each.through is None else ast.Name(each.through, ast.Load()))
            operand = None
            for summary in filter(None, map(self._role_of.summary_of, each.functions)):
                own, others = summary.parameters[:1], summary.parameters[1:]
                touches = [
                    touch._replace(late=touch.late or each.late, whole=touch.whole and not each.is_part)
                    for touch in summary.touches
                    if (touch.through or touch.name) not in others
                ]
                self._touches(touches, node, lambda name, own=own, given=given: given if name in own else None)
                self.draws |= summary.draws
                if summary.meets:
                    self._meet(node, late=True)
                inner = [
                    special._replace(
                        through=each.through if special.through in own else _of_module(special.through),
                        is_part=special.is_part or each.is_part,
                        late=special.late or each.late,
                    )
                    for special in summary.specials
                ]
                left += [special for special in inner if special not in seen]
                seen.update(inner)

    def _specials_of(self, summary: Summary, node: ast.AST, argument: Callable[[str], ast.expr | None]) -> None:
        """A function calls special methods; `argument` says what it is given."""
        for special in summary.specials:
            given = argument(special.through) if special.through in summary.parameters else None
            through = _of_module(special.through) if given is None else self._root_of(given)
            is_part = special.is_part or not isinstance(given, ast.Name)
            self._special(special._replace(through=through, is_part=is_part), node)
        if summary.meets:
            self._meet(node, late=summary.waits)

    def _meet(self, node: ast.AST, *, late: bool = False) -> None:
        self.meets = True
        late = late or self.called
        if self._is_function or (late, self._in_try > 0) in self._met:
            return
        self._met.add((late, self._in_try > 0))
        targets = self._role_of.targets()
        if targets is None:
            return
        self._touches([each._replace(late=each.late or late) for each in targets.touches], node, lambda _: None)
        self._specials_of(targets, node, lambda _: None)
        self.draws |= targets.draws
        self.draws_late |= targets.draws and late

    def _root_of(self, operand: ast.expr) -> str | None:
        """The name that the path to an object begins with; None for one in an item, which may be in others, too."""
        name = root(operand)
        return None if name in self._items and not isinstance(operand, ast.Name) else name

    def _item(self, node: ast.Subscript) -> None:
        """To read an item of a `defaultdict` makes it, where there is none."""
        container = node.value
        made = self._around.constructed.get(container.id) if isinstance(container, ast.Name) else None
        functions = self._role_of.factories(container if made is None else made)
        if functions is None:
            return
        self._change(container, node)
        for factory in made.args if isinstance(made, ast.Call) else ():
            if isinstance(factory, ast.Lambda):
                self._inside(factory)
        if functions:
            self._special(Special(tuple(functions), None, is_part=True, late=False), node)

    def _implied_by(self, node: ast.AST) -> Iterable[Implied]:
        if not isinstance(node, ast.Call):
            return implied(node)
        role = self._role_of(node.func)
        if role.each or role.asks or role.summary is not None:
            return ()  # what it does to what it is given is in its own text
        is_method = isinstance(node.func, ast.Attribute) and node.func.attr in EVIDENT | TEXT_METHODS
        is_object = role.is_unknown and not is_method and (isinstance(node.func, ast.Name) or not role.found)
        return [*implied(node), *([Implied(node.func, ("__call__",))] if is_object else [])]

    def _parts(self, node: ast.AST) -> None:
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
                for generator in node.generators:
                    self._goes_through(generator.iter, node)
                self._inside(node)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self._evaluate(test)
                self._branches([[ast.Expr(body)], [ast.Expr(orelse)]])
            case ast.Compare(ops=ops, comparators=others):
                for part in (node.left, *others):
                    self._evaluate(part)
                for op, other in zip(ops, others, strict=True):
                    if isinstance(op, ast.In | ast.NotIn):
                        self._goes_through(other, node)
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
                for child in children(node):
                    if isinstance(child, ast.expr):
                        self._evaluate(child)

    def _goes_through(self, items: ast.expr, node: ast.AST) -> None:
        """An iterator has less in it afterwards."""
        if isinstance(items, ast.Starred):
            items = items.value
        if isinstance(items, ast.Name) and self._is_iterator(items.id):
            self._use(items.id, Kind.CHANGE, node)

    def _is_iterator(self, name: str) -> bool:
        around = self._around
        return name in around.iterators or (name not in around.bound and self._role_of.is_iterator(name))

    def _attribute(self, node: ast.Attribute) -> None:
        """What is read of an object."""
        place = self._role_of.place_of(node.value, node.attr)
        self._use(place, Kind.LOAD, node, through=self._through(node.value, node.attr))
        if (read := self._role_of(node).read) is not None:
            self._touches(read.touches, node, lambda _: node.value)
            self._specials_of(read, node, lambda _: node.value)
            self.called |= read.waits

    def _base(self, node: ast.expr) -> None:
        """What stands in front of an attribute, or is given to a function of which it is known what it reads of it."""
        if isinstance(node, ast.Name):
            self._reads((node.id,), node)
        else:
            self._evaluate(node)

    def _called_by(self, func: ast.expr, role: Role) -> None:
        """What is read to find what is called."""
        if isinstance(func, ast.Name) and self._methods(Implied(func, ("__call__",))):
            self._base(func)
        elif not isinstance(func, ast.Attribute):
            self._evaluate(func)
        elif role.summary is not None or role.found:
            self._base(func.value)
        else:
            self._evaluate(func.value)
            self._implied(func)

    def _inside(self, node: ast.AST) -> None:
        """What code of a scope of its own does: when, and how often, nobody knows."""
        self._reads(free_loads(node), node, whole=True)
        before = len(self.found)
        for part in walk(node):
            match part:
                case ast.Attribute(ctx=ast.Load()):
                    self._attribute(part)
                case ast.Attribute(value=value, attr=attribute):
                    self._use(self._role_of.place_of(value, attribute), Kind.CHANGE, part, through=root(value))
                case ast.Call():
                    self._call(part)
                case _:
                    pass
            self._implied(part)
            if isinstance(part, ast.Subscript) and isinstance(part.ctx, ast.Load):
                self._item(part)
        own = own_names(node)
        inside, self.found[before:] = self.found[before:], []
        for use in inside:
            if use.name not in own:
                self.found.append(replace(use, through=None) if use.through in own else use)

    def _waits_in(self, node: ast.AST) -> bool:
        """Whether other iterations may go on somewhere in there."""
        return any(
            (isinstance(part, ast.Call) and self._role_of(part.func).may_wait)
            or any(
                self._role_of.may_wait(function) for each in self._implied_by(part) for function in self._methods(each)
            )
            for part in walk(node)
        )

    # --- calls, and what they change

    def _call(self, call: ast.Call) -> None:
        role = self._role_of(call.func)
        if self.called:
            self.called_late.append(call)
        self.draws |= role.draws
        if role.context is not None and isinstance(call.func, ast.Attribute):
            self.contexts.append(ContextUse(role.context, call.func.attr, call))
        elif role.summary is not None:
            self.contexts += [ContextUse(name, method, call) for name, method in role.summary.contexts]
        given = (*call.args, *(keyword.value for keyword in call.keywords))
        made = self._around.captured.get(call.func.id) if isinstance(call.func, ast.Name) else None
        if made is not None and self._is_made(call.func) and (made.only_looks or not made.waits):
            return
        if self._around.leaked.reads and (role.is_unknown or (role.summary is not None and role.summary.waits)):
            self._follow(self._around.leaked, call)
        if role.summary is not None:
            self._touch(call, role)
            if role.guessed and isinstance(call.func, ast.Attribute) and call.func.attr in EVIDENT:
                self._change(call.func.value, call)
        elif role.is_unknown:
            if isinstance(call.func, ast.Attribute) and not role.found:
                self._change(call.func.value, call)
            changes_its_own = isinstance(call.func, ast.Attribute) and call.func.attr in EVIDENT
            if role.meets and not (changes_its_own or self._is_made(call.func)):
                self._meet(call)
            for argument in given:
                self._change(argument, call)
                if isinstance(argument, ast.Attribute) and (name := root(argument)) is not None:
                    self._use(name, Kind.CHANGE, call, late=True)  # and whatever can be reached from there
        elif call.args and role.known is Known.REDIRECTS:
            self._change(call.args[0], call, late=True)  # by what is printed from there on
        elif call.args and (role.known is Known.ITS_FIRST or changes_first(call)):
            self._change(call.args[0], call)
        if (file := printed_to(call)) is not None:
            self._change(file.value, call)
        if role.summary is not None or may_go_through(call, role.known is not None):
            for argument in given:
                self._goes_through(argument, call)
        self.called |= role.asks  # a model calls tools when it has been asked
        if role.is_unknown:
            self._change_by(call.func, call)
        for function in (each for argument in given for each in self._functions_in(argument)):
            self._change_by(function, call)
            if (summary := self._role_of(function).summary) is not None:
                self._touches(summary.touches, call, lambda _: None)
                self._specials_of(summary, call, lambda _: None)
            elif role.asks and isinstance(function, ast.Name):
                self._follow_named(function.id, call)
        for function in given_back(call, role):
            summary = self._role_of(function).summary
            self.called |= summary is not None and summary.waits
            if may_be_any(function, self._role_of) and not self._is_made(function):
                self._meet(call)
        self.called |= role.may_wait

    def _is_made(self, function: ast.expr) -> bool:
        """Whether it is evidently one that the function around makes: what that does is known."""
        return isinstance(function, ast.Name) and self._around.makes(function.id)

    def _change_by(self, function: ast.expr, call: ast.Call) -> None:
        """A method may be called by another name, or by who gets it, and changes what it belongs to."""
        owners: Sequence[ast.expr] = ()
        match function:
            case ast.Name(id=name):
                owners = self._around.methods.get(name, ())
            case ast.Attribute(value=owner, attr=method) if method in EVIDENT and function is not call.func:
                owners = [owner]
            case _:
                pass
        for owner in owners:
            self._change(owner, call, late=True)
        if function is call.func:  # what it is a part of may be gone through by it, as by ``iterator.__next__``
            named = {*self.origins.aliased(function), *self._around.same.get(getattr(function, "id", ""), ())}
            for name in sorted(filter(self._is_iterator, named)):
                self._use(name, Kind.CHANGE, call, late=True)

    def _functions_in(self, given: ast.expr) -> Iterable[ast.expr]:
        """What is given of which it may be that it is called: a function of the user's, or those in a list, or dict."""
        left, seen = [given], set[str]()
        while left:
            match left.pop():
                case ast.Name(id=name) as found if name not in seen:
                    seen.add(name)
                    yield found
                    yield ast.copy_location(ast.Subscript(found, ast.Constant(0), ast.Load()), found)
                    left += self._around.tables.get(name, ())
                case ast.Attribute() as found:
                    yield found
                case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Dict(values=parts):
                    left += parts
                case ast.Starred(value=part):
                    left.append(part)
                case ast.BinOp(left=one, right=other):
                    left += [one, other]
                case _:
                    pass

    def _touch(self, call: ast.Call, role: Role) -> None:
        assert role.summary is not None
        parameters, plain = role.summary.parameters, role.summary.plain
        self._touches(
            [each for each in role.summary.touches if each.name not in plain or argument_of(call, role, each.name)],
            call,
            lambda name: argument_of(call, role, name) if name in parameters else None,
        )
        self._specials_of(role.summary, call, lambda name: argument_of(call, role, name))

    def _touches(self, touches: Iterable[Touch], node: ast.AST, argument: Callable[[str], ast.expr | None]) -> None:
        """What a function does that is called, or a property that is read; `argument` says what it is given."""
        for name, kind, through, late, whole, deep in touches:
            through = through if name.startswith(".") else name
            given = None if through is None else argument(through)
            kind = Kind.CHANGE if kind is Kind.BIND else kind
            adds = kind is Kind.ADD
            if name.startswith("."):
                of_module = through if given is None and through is not None and through.startswith(":") else None
                shared = given is not None and self._is_shared(given, name[1:])
                first = None if given is None or shared else root(given)
                self._use(name, kind, node, deferrable=adds, through=first or of_module, late=late, deep=deep)
            elif name.startswith(":"):
                self._use(name, kind, node, deferrable=adds, late=late, deep=deep)
            elif given is None:
                self._use(f":{name}=", kind, node, late=late)  # what it has where nothing is given
            elif kind is not Kind.LOAD:
                self._change(given, node, late=late, deep=deep)
            elif (first := root(given)) is not None:
                self._use(first, kind, node, late=late, whole=whole)

    def _change(
        self, path: ast.expr, node: ast.AST, *, deferrable: bool = False, late: bool = False, deep: bool = False
    ) -> None:
        """What stands at the end of a path is changed, or, where that is `deep`, something in it."""
        if is_standard_stream(path):
            return
        inner = path
        while isinstance(inner, ast.Subscript):
            self._evaluate(inner.slice)
            self._implied(inner)
            inner = inner.value
        name, deep = root(inner), deep or inner is not path
        kind = Kind.ADD if deferrable and isinstance(inner, ast.Attribute) else Kind.CHANGE
        if isinstance(inner, ast.Attribute):
            self._base(inner.value)
            self._use(
                self._role_of.place_of(inner.value, inner.attr),
                kind,
                node,
                deferrable=deferrable,
                through=self._through(inner.value, inner.attr),
                late=late,
                deep=deep,
            )
            if (written := self._role_of(inner).written) is not None:
                given = inner.value
                self._touches(written.touches, node, lambda _: given)
                self._specials_of(written, node, lambda _: given)
            self._implied(inner)
            if name is not None:
                self._waiting(name)
        elif isinstance(inner, ast.List | ast.Tuple | ast.Set | ast.Dict):
            called = self.called
            for part in (inner.values if isinstance(inner, ast.Dict) else inner.elts) if deep else ():
                self._change(part.value if isinstance(part, ast.Starred) else part, node, late=late, deep=True)
            self.called = called  # where what is in it waits, it does so where that is changed
        elif isinstance(inner, ast.Call):
            self._evaluate(inner)
            for of in sorted(self.origins.roots([inner]) or ()):
                self._use(of, Kind.CHANGE, node, late=late)
                self._waiting(of)
        elif name is not None:
            unknown = isinstance(node, ast.Call)  # which waits for its turn
            self._use(name, Kind.CHANGE, node, deferrable=deferrable, late=late or unknown, deep=deep)
            self._waiting(name, placed=deferrable)


def given_back(call: ast.Call, role: Role) -> Iterator[ast.expr]:
    """What a call gives to be called: to a function of a library, or to a model as a tool."""
    if role.summary is None:
        yield from called_back(call)
    for keyword in call.keywords if role.asks else ():
        if keyword.arg == "tools":
            parts = keyword.value.elts if isinstance(keyword.value, ast.List | ast.Tuple) else [keyword.value]
            yield from (part for part in parts if not isinstance(part, ast.Constant))


def may_be_any(function: ast.expr, role_of: RoleOf) -> bool:
    """Whether what is given may be any function of the user's, or calls one."""
    match function:
        case ast.Lambda():
            return False  # it is looked into where it stands
        case ast.Call():
            return called_as(function) not in ("attrgetter", "itemgetter")
        case _:
            return role_of(function).meets


def _of_module(name: str | None) -> str | None:
    return name if name is not None and name.startswith(":") else None
