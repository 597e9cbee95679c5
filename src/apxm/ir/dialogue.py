"""A call of a model that may call tools, as operations that there are anyway: turns of one call of the model and, for
each call of a tool that it asks for, one of that (docs/design/0023-tools.md).

    answer = repeat at most max_rounds + 1 times, carrying rounds, until there are no calls:
        asked = ask(…, rounds)
        results = for each call in asked.calls: switch call.tool { case "search" => inv("search", call.arguments) … }
        rounds = rounds + [{text, calls, results}]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from apxm.ir.blocks import AnyOp, BlockBuilder
from apxm.ir.constructs import RepeatOp, SwitchOp
from apxm.ir.core import PATH, Block, SSAValue
from apxm.ir.operations import OPERATE_OPS
from apxm.ir.structure import YieldOp
from apxm.ir.values import ApplyOp, CastOp, ConstantOp, DictOp, FieldOp, ListOp
from apxm.language import syntax
from apxm.language.checked import DeclaredCapability
from apxm.operations.catalog import ANSWERS_AS, MOST_ROUNDS, ROUNDS
from apxm.operations.functions import CONCATENATION
from apxm.operations.labels import fold_label
from apxm.operations.types import BOOL, INT, JSON, STR, Type, Value, list_of

MOST_CALLS = 128
"""How many calls one answer may ask for."""


class DialogueBuilder:
    """Builds one call of a model with `tools`, and all that belongs to it."""

    def __init__(self, builder: BlockBuilder, call: syntax.CallExpression, tools: Sequence[DeclaredCapability]) -> None:
        self._builder = builder
        self._call = call
        self._tools = tools

    def build(
        self,
        arguments: Sequence[SSAValue],
        options: Mapping[str, SSAValue],
        literals: Mapping[str, Value],
        answer: Type,
        target: syntax.Identifier | None,
    ) -> SSAValue:
        """The answer, a value of that type, to what an `ask` without tools would have as operands and literals."""
        most = literals.get("max_rounds", MOST_ROUNDS)
        starts = {"rounds": self._add(ListOp([], JSON)).result, "answer": self._constant(None, JSON)}
        types = {name: start.type for name, start in starts.items()}
        turns = self._add(RepeatOp(self._constant(most + 1, INT), None, starts, types, called="ask", stops=True))
        self._builder.name(turns, "ask", target)
        own = {"tools": [tool.callee.name for tool in self._tools], "max_rounds": most, ANSWERS_AS: str(answer)}
        with self._builder.inside(turns.body, turns.path):
            rounds, _ = turns.body.arguments
            asked = self._add(OPERATE_OPS["ask"](arguments, {**options, ROUNDS: rounds}, {**literals, **own}, JSON))
            asked.attributes[PATH] = f"{turns.path}/ask"
            text, calls, given = (self._field(asked.results[0], name) for name in ("text", "calls", "answer"))
            entry = self._add(DictOp(["text", "calls", "results"], [text, calls, self._results(calls, turns.path)]))
            more = [rounds, self._add(ListOp([entry.result], JSON)).result]
            longer = self._add(ApplyOp(CONCATENATION, more, list_of(JSON))).result
            count = self._add(ApplyOp("len", [calls], INT)).result
            is_last = self._add(ApplyOp("==", [count, self._constant(0, INT)], BOOL)).result
            self._add(YieldOp(is_last, longer, given))
        turns.results[0].hint, found = "rounds", turns.results[1]
        if answer != JSON:
            found = self._add(CastOp(found, answer)).result
        found.hint = "" if target is None else target.text
        return found

    def _results(self, calls: SSAValue, around: str) -> SSAValue:
        """What the tools give, in the order of the calls; of a call that the model got wrong, what is wrong."""
        limit = self._constant(MOST_CALLS, INT)
        turns = self._add(RepeatOp(limit, calls, {}, {}, called="tools", item="call", collects=JSON))
        turns.attributes[PATH] = f"{around}/call"
        with self._builder.inside(turns.body, turns.path):
            (call,) = turns.body.arguments
            tool = self._add(CastOp(self._field(call, "tool"), STR)).result
            labels = [fold_label(declared.callee.name) for declared in self._tools]
            chosen = self._add(SwitchOp(tool, labels, [Block() for _ in (*labels, None)], JSON))
            chosen.attributes[PATH] = f"{turns.path}/tool"
            for arm, declared in zip(chosen.regions, (*self._tools, None), strict=True):
                with self._builder.inside(arm, turns.path):
                    given = self._field(call, "error") if declared is None else self._inv(call, declared, turns.path)
                    self._add(YieldOp(given))
            self._add(YieldOp(chosen.results[0]))
        return turns.results[0]

    def _inv(self, call: SSAValue, declared: DeclaredCapability, around: str) -> SSAValue:
        name = declared.callee.name
        literals = {"tool": name, **({"readonly": True} if declared.capability.readonly else {})}
        made = self._add(OPERATE_OPS["inv"]([self._field(call, "arguments")], {}, literals, declared.callee.result))
        made.attributes[PATH] = f"{around}/{name}"
        return made.results[0]

    def _add(self, op: AnyOp) -> AnyOp:
        return self._builder.add(op, self._call)

    def _constant(self, value: Value, type_: Type) -> SSAValue:
        return self._add(ConstantOp(value, type_)).result

    def _field(self, value: SSAValue, name: str) -> SSAValue:
        return self._add(FieldOp(value, name)).result
