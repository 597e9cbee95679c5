"""What expressions do to what outlives an iteration: what they read, what they call, and what that changes."""

from __future__ import annotations

import ast
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from apxm.effects.libraries import Known
from apxm.effects.patterns import EVIDENT, changes_first, is_standard_stream, may_go_through, printed_to, root
from apxm.effects.roles import Kind, Role, Touch, argument_of
from apxm.effects.scopes import free_loads, own_names
from apxm.effects.uses import ContextUse, Uses


class ExpressionUses(Uses):
    """What `StatementUses` finds in expressions, in the order in which they are evaluated."""

    @abstractmethod
    def _branches(self, branches: Sequence[Sequence[ast.stmt]]) -> None:
        """Of several ways one is taken."""

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
                for child in ast.iter_child_nodes(node):
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
        self._use(f".{node.attr}", Kind.LOAD, node, through=self._through(node.value, node.attr))
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
        own = own_names(node)
        inside, self.found[before:] = self.found[before:], []
        for use in inside:
            if use.name not in own:
                self.found.append(replace(use, through=None) if use.through in own else use)

    def _waits_in(self, node: ast.AST) -> bool:
        """Whether other iterations may go on somewhere in there."""
        return any(isinstance(part, ast.Call) and self._role_of(part.func).may_wait for part in ast.walk(node))

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
        if made is not None and (made.only_looks or not made.waits):
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
            elif role.asks and isinstance(function, ast.Name):
                self._follow_named(function.id, call)
        self.called |= role.may_wait

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

    def _touches(self, touches: Iterable[Touch], node: ast.AST, argument: Callable[[str], ast.expr | None]) -> None:
        """What a function does that is called, or a property that is read; `argument` says what it is given."""
        for name, kind, through, late, whole in touches:
            through = through if name.startswith(".") else name
            given = None if through is None else argument(through)
            kind = Kind.CHANGE if kind is Kind.BIND else kind
            adds = kind is Kind.ADD
            if name.startswith("."):
                of_module = through if given is None and through is not None and through.startswith(":") else None
                first = None if given is None else root(given)
                self._use(name, kind, node, deferrable=adds, through=first or of_module, late=late)
            elif name.startswith(":"):
                self._use(name, kind, node, deferrable=adds, late=late)
            elif given is None:
                self._use(f":{name}=", kind, node, late=late)  # what it has where nothing is given
            elif kind is not Kind.LOAD:
                self._change(given, node, late=late)
            elif (first := root(given)) is not None:
                self._use(first, kind, node, late=late, whole=whole)

    def _change(self, path: ast.expr, node: ast.AST, *, deferrable: bool = False, late: bool = False) -> None:
        """What stands at the end of a path is changed."""
        if is_standard_stream(path):
            return
        inner = path
        while isinstance(inner, ast.Subscript):
            self._evaluate(inner.slice)
            inner = inner.value
        name = root(inner)
        kind = Kind.ADD if deferrable and isinstance(inner, ast.Attribute) else Kind.CHANGE
        if isinstance(inner, ast.Attribute):
            self._base(inner.value)
            self._use(
                f".{inner.attr}",
                kind,
                node,
                deferrable=deferrable,
                through=self._through(inner.value, inner.attr),
                late=late,
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
            self._waiting(name, placed=deferrable)
