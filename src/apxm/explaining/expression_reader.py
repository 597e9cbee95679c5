"""Reads the expressions of what rewriting made of a function."""

from __future__ import annotations

import ast
from abc import abstractmethod
from collections.abc import Sequence
from types import FunctionType
from typing import cast

from apxm.effects.scopes import parameters
from apxm.effects.specials import SPECIAL, Implied, implied
from apxm.effects.trees import children, walk
from apxm.explaining.callees import Scope, is_ask
from apxm.explaining.effects import Effects
from apxm.explaining.formulas import Amount, Formula
from apxm.explaining.lengths import Lengths
from apxm.explaining.model_calls import model_call
from apxm.explaining.names import Bindings
from apxm.explaining.rewritten import COMPREHENSIONS, Rewritten, behind_turn, ours, plain, position
from apxm.explaining.shape import Ask, Branch, Leave, Loop, Place, Step, Wait, asks
from apxm.rewriting.names import Entered
from apxm.rewriting.nodes import PREFIX, at

_PROMPTS = ("system", "prompt", "messages", "input", "instructions", "contents")


class ExpressionReader:
    """Reads the expressions of one function."""

    effects: Effects

    def __init__(self, scope: Scope, text: Rewritten, node: ast.FunctionDef) -> None:
        self.scope = scope
        self.file = scope.function.__code__.co_filename
        self.bindings = Bindings(node.body, parameters(node), scope)
        self.lengths = Lengths(scope.body(), scope.names)
        self.loops: list[Entered] = []
        """The loops over `each` around what is read, the outermost first."""
        self._refused = text.refused
        self._entered = {position(each.node): each for each in text.entered}

    @abstractmethod
    def _follow(self, call: ast.Call, callee: ast.expr) -> list[Step]:
        """What a function of the user's does that is called."""

    @abstractmethod
    def ahead(self, items: ast.expr) -> list[Step]:
        """What tells of generators among what an `each` goes through, which run ahead of its iterations."""

    def place(self, node: ast.AST) -> Place:
        return Place(self.file, node)

    @abstractmethod
    def of_function(self, call: ast.Call, function: FunctionType) -> list[Step]:
        """What a function of the user's does there."""

    def specials(self, node: ast.AST) -> list[Step]:
        """What special methods do that a node calls. In one of them that is left out: each may call each of them."""
        if self.scope.function.__name__ in SPECIAL:
            return []
        return [step for each in implied(node) for step in self._implied(each, node)]

    def _implied(self, of: Implied, node: ast.AST) -> list[Step]:
        operand = plain(of.operand)
        found: list[Step] = []
        for function in self.scope.special_methods(of._replace(operand=operand)):
            summary = self.scope.summary_of(function)
            if summary is not None and summary.does_something:
                callee = ast.Attribute(operand, function.__name__, ast.Load())
                found += self.of_function(at(ast.Call(callee, [], []), node), function)
        return found

    def expression(self, node: ast.expr) -> list[Step]:
        if isinstance(node, ast.Call):
            return self._called(node)
        found = self._expression(node)
        if isinstance(node, ast.Attribute):
            found += self.effects.property_read(node)
        return [*found, *self.specials(node)]

    def _expression(self, node: ast.expr) -> list[Step]:
        match node:
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return [*self.expression(test), *branch(self.expression(body), self.expression(orelse))]
            case ast.BoolOp() if (waiting := behind_turn(node)) is not None:
                turn, inner = waiting
                if ours(turn) == "reads":
                    return [*self.effects.placed(turn), *self.expression(inner)]
                return [*self.effects.turn(turn, inner), *self.expression(inner)]
            case ast.BoolOp(values=[first, *others]):
                rest = [step for other in others for step in self.expression(other)]
                return [*self.expression(first), *branch([], rest)]
            case ast.Lambda():
                return []
            case _ if isinstance(node, COMPREHENSIONS):
                return self._comprehension(node)
            case _:
                return self.children(node)

    def children(self, node: ast.AST) -> list[Step]:
        found: list[Step] = []
        for child in children(node):
            if isinstance(child, ast.expr):
                found += self.expression(child)
            elif isinstance(child, ast.keyword):
                found += self.expression(child.value)
        return found

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp, generators: int = 0
    ) -> list[Step]:
        """The rest of a comprehension, from so many of its generators on."""
        if generators == len(node.generators):
            parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            return [step for part in parts for step in self.expression(part)]
        generator = node.generators[generators]
        inner = self._comprehension(node, generators + 1)
        tests = [step for test in generator.ifs for step in self.expression(test)]
        body = [*tests, *self.specials(generator), *(branch([], inner) if generator.ifs else inner)]
        if is_ours(generator.iter) and isinstance(generator.iter, ast.Tuple):
            return body  # the item of an `each`
        before = self.expression(generator.iter)
        turns = self.lengths.of(plain(generator.iter))
        return [*before, *self._loop(node, "comprehension", generator.iter, turns, body)]

    def _loop(self, node: ast.AST, kind: str, items: ast.expr, turns: Amount, body: Sequence[Step]) -> list[Step]:
        if not body and position(node) not in self._refused:
            return []
        leaves = isinstance(node, ast.For | ast.While) and _may_leave(node.body)
        if leaves:
            turns = left_early(turns)
        return [Loop(self.place(node), kind, text_of(items), turns, False, body, leaves=leaves)]

    def _gather(self, call: ast.Call) -> list[Step]:
        items, body, *_ = call.args
        assert isinstance(items, ast.Call)
        assert isinstance(body, ast.Lambda)
        before = self.children(items)
        entered = self._entered[position(body.body)]
        self.loops.append(entered)
        inside = [*self.effects.contexts(entered), *self.expression(body.body)]
        self.loops.pop()
        goes_through = plain(items.args[0]) if items.args else items
        turns = self.lengths.of(goes_through)
        place, rules = self.place(body.body), self.effects.rules(entered)
        body_steps = [*self.ahead(goes_through), *inside]
        return [*before, Loop(place, "comprehension", text_of(goes_through), turns, True, body_steps, rules=rules)]

    # --- calls

    def _called(self, call: ast.Call) -> list[Step]:
        match ours(call):
            case None:
                return self._theirs(call)
            case "gather":
                return self._gather(call)
            case "begin":
                _, callee, *arguments = call.args
                inside = [step for part in (*arguments, *values(call)) for step in self.expression(part)]
                return [*inside, self._ask(callee, arguments, call, begun=True)]
            case "deque" | "end" | "Broke":
                return []
            case "turn":
                return list(self.effects.turn(call, None))
            case "turn_of":
                return [*self.children(call), *self.effects.turn(call, call.args[1])]
            case "reading" | "setting":
                return [*self.children(call), *self.effects.placed(call)]
            case "adding" | "set_attribute" | "set_item" | "add_to_item" | "count" | "call_of":
                inside = [step for part in (*call.args[1:], *values(call)) for step in self.expression(part)]
                waits = [*self.effects.given(call), *self.effects.placed(call), *self._placed_method(call)]
                return [*inside, *waits, *self._stored(call)]
            case "later" | "later_call" | "later_change":
                inside = [step for part in (*call.args[1:], *values(call)) for step in self.expression(part)]
                return [*inside, *self.effects.given(call), *self.effects.later(call)]
            case "item_of":
                return [*self.children(call), *self.effects.item(call), *self.specials(plain(call))]
            case "augment":
                is_plain = isinstance(call.args[1], ast.Constant) and bool(call.args[1].value)
                return [] if is_plain else list(self.effects.touch(call))
            case "touch":
                return [*self.children(call), *self.effects.touch(call)]
            case "iterate":
                return [*self.children(call), *self.effects.iterate(call)]
            case "manage":
                return [*self.children(call), *self.effects.manage(call)]
            case _:
                return self.children(call)

    def _stored(self, call: ast.Call) -> list[Step]:
        """What special methods do where something is set."""
        match ours(call), call.args:
            case "set_attribute", [_, _, _, thing, *_]:
                target: ast.expr = ast.Attribute(thing, "", ast.Store())
            case "set_item", [_, _, _, thing, *keys]:
                target = ast.Subscript(thing, keys[-1], ast.Store())
            case _:
                return []
        return self.specials(at(target, call))

    def _placed_method(self, call: ast.Call) -> list[Step]:
        """What a method does that is called like one of a container, where it is one of the user's."""
        method = call.args[1] if ours(call) == "call_of" else None
        if not isinstance(method, ast.Attribute) or not self.scope.methods(
            callee := cast(ast.Attribute, plain(method))
        ):
            return []
        return self._follow(ast.copy_location(ast.Call(callee, call.args[2:], call.keywords), call), callee)

    def _theirs(self, call: ast.Call) -> list[Step]:
        """A call that the user wrote."""
        callee = plain(call.func)
        if isinstance(callee, ast.Name) and callee.id in ("isinstance", "len", "str") and ours(call.func) is None:
            return [*self.children(call), *self.specials(call)]
        role = self.scope.role_of(callee)
        inside = [step for part in (call.func, *call.args, *values(call)) for step in self.expression(part)]
        if is_ask(role):
            tools = self._tools(call) if role.asks else []  # an SDK only tells a model of its tools
            return [*inside, self._ask(callee, call.args, call), *tools]
        waits = list(self.effects.call(call, callee, role))
        if not role.each and role.summary is None:
            waits += self.specials(at(ast.Call(callee, call.args, call.keywords), call))
            if role.is_unknown and not isinstance(callee, ast.Attribute):
                waits += self._implied(Implied(callee, ("__call__",)), call)
        return [*inside, *waits, *self._follow(call, callee)]

    def _tools(self, call: ast.Call) -> list[Step]:
        """What the tools do that a model may call: none that changes something is called before its turn."""
        given = next((plain(keyword.value) for keyword in call.keywords if keyword.arg == "tools"), None)
        tools = given.elts if isinstance(given, ast.List | ast.Tuple) else [] if given is None else [given]
        found: list[Step] = []
        for tool in tools:
            if self.scope.has_turns(tool):
                why = f"`{text_of(tool)}`, which the model may call, waits for its turn"
                found.append(Wait(self.place(call), why, None, True))
            found += self._follow(ast.copy_location(ast.Call(tool, [], []), call), tool)
        return found

    def _ask(self, callee: ast.expr, arguments: Sequence[ast.expr], call: ast.Call, *, begun: bool = False) -> Ask:
        options = {keyword.arg: plain(keyword.value) for keyword in call.keywords}
        given = [plain(part) for part in (*arguments, *(options.get(name) for name in _PROMPTS)) if part is not None]
        parts = [part for each in given for part in walk(each)]
        texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        names = [part.id for part in parts if isinstance(part, ast.Name)]
        written = model_call(callee)
        name = (
            callee.id if isinstance(callee, ast.Name) else callee.attr if isinstance(callee, ast.Attribute) else "ask"
        )
        return Ask(
            self.place(call), getattr(self.scope.found(callee), "__name__", name) if written is None else written,
            sum(map(len, texts)), sum(map(self.bindings.is_answer, names)), begun,
            _number(options.get("max_tokens")), _number(options.get("retries")) or 0,
        )  # fmt: skip


def _may_leave(body: Sequence[ast.stmt]) -> bool:
    """Whether a loop with that body may end before it has gone through everything."""
    left: list[tuple[ast.AST, bool]] = [(statement, True) for statement in body]
    while left:
        node, own = left.pop()
        if isinstance(node, ast.Return) or (own and isinstance(node, ast.Break)):
            return True
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        inner = own and not isinstance(node, ast.For | ast.While)
        left += [(child, inner) for child in children(node)]
    return False


def left_early(turns: Amount) -> Amount:
    return Amount(Formula.of(1).least(turns.low), turns.high)


def values(call: ast.Call) -> list[ast.expr]:
    return [keyword.value for keyword in call.keywords]


def branch(*ways: Sequence[Step]) -> list[Step]:
    if any(asks(way) or Leave() in way for way in ways):
        return [Branch(ways)]
    return [step for way in ways for step in way]


def is_ours(node: ast.AST) -> bool:
    """Whether something was put in by us, and does nothing of the user's."""
    return any(isinstance(part, ast.Name) and part.id.startswith(PREFIX) for part in walk(node)) and not any(
        isinstance(part, ast.Name) and not part.id.startswith(PREFIX) for part in walk(node)
    )


def _number(node: ast.expr | None) -> int | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, int) else None


def text_of(node: ast.expr) -> str:
    return " ".join(ast.unparse(plain(node)).split())
