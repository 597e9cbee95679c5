"""Random programs in which everything that AIS has nests in everything else.

What a program computes is used: from -O1 on a call whose result nothing uses is not made, and what "uses" means then
depends on what the compiler knows before the run. So names that a block binds reach its value or a printed line, and
what stands where a constant may decide counts as no use.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from random import Random
from typing import TypeVar

from apxm.language import syntax

T = TypeVar("T")
LISTS = hasattr(syntax, "Item")

PERSON = "Person"
TYPES = ("str", "str", "str", "int", "bool", "list[str]", "json", PERSON, "verdict")
LABELS = ("yes", "No", "a b", "default", "f/g")
RECORDS = """
type Person {
name: str "as written"   age: int?   ok: bool = true   tags: list[str] = ["t"]   more: json = {"b": false}
}
"""


CAPABILITIES = """
capability look(q: str) -> str readonly
capability change(q: str, n: int = 2)
capability store(q: str) -> list[str]
"""


@dataclass
class Variable:
    name: str
    type: str
    sure: bool
    """Whether it is never a value that cannot be computed."""
    fixed: bool
    """Whether the compiler may know its value."""
    level: int = 0


@dataclass
class Written:
    """An expression."""

    text: str
    sure: bool = True
    fixed: bool = True


@dataclass
class Flow:
    agent: str
    name: str
    parameters: list[str]
    result: str | None


class Writer:
    def __init__(self, random: Random, size: int = 22) -> None:
        self.random = random
        self.left = size
        """How many statements may still be written."""
        self.lines: list[str] = []
        self.flows: list[Flow] = []
        self.scope: list[Variable] = []
        self.unused: list[list[Variable]] = []
        """Of each block around the current place, the names that nothing has used."""
        self.level = 0
        self.floor = 0
        """Names of lower levels are used here only where the compiler does not see that this is never done."""
        self.numbers = 0
        self.agent = ""
        self.repeated: list[str] = []
        self.tools = ("tool", "tool") if random.random() < 0.5 else ()
        self.keeps = random.random() < 0.3
        """Whether no calls are fused, so that -O2 means the same."""

    def program(self) -> str:
        agents = ["First", "Second"][: self.random.choice((1, 1, 2))]
        written: dict[str, list[str]] = {agent: [] for agent in agents}
        total = self.left
        count = self.random.choice((0, 1, 1, 2))
        for number in range(count):
            self.agent = self.random.choice(agents)
            self.left = total // (count + 2)
            written[self.agent] += self.flow(f"flow{number}")
        self.agent = agents[-1]
        self.left = total
        written[self.agent] += self.main()
        return RECORDS + "\n".join(
            "\n".join([f"agent {agent} {{", *(['system: "Be brief."'] * self.chance(0.3)), CAPABILITIES, *lines, "}"])
            for agent, lines in written.items()
        )

    # --- flows -------------------------------------------------------------------------------------------------------

    def main(self) -> list[str]:
        types = {"d": "json", "xs": "list[str]", "t": "bool", "n": "int", "none": "list[str]"}
        parameters = ", ".join(f"{name}: {type_}" for name, type_ in types.items())
        body = self.body([Variable(name, type_, True, False) for name, type_ in types.items()], "json")
        return [f"{'@no_fuse ' * self.keeps}@entry flow main({parameters}) -> json {{", *body, "}"]

    def flow(self, name: str) -> list[str]:
        types = [self.pick(("str", "str", "int", "bool", "list[str]", "json", PERSON)) for _ in range(self.below(4))]
        result = self.pick((None, "str", "json", "bool", "list[str]", PERSON, "int"))
        variables = [Variable(f"{name}p{n}", type_, False, True) for n, type_ in enumerate(types)]
        body = self.body(variables, result)
        parameters = ", ".join(f"{variable.name}: {variable.type}" for variable in variables)
        self.flows.append(Flow(self.agent, name, types, result))
        gives = f" -> {result}" if result else ""
        return [f"{'@no_fuse ' * self.keeps}flow {name}({parameters}){gives} {{", *body, "}"]

    def body(self, variables: list[Variable], result: str | None) -> list[str]:
        self.lines, self.scope, self.unused, self.level, self.floor = [], [], [], 0, 0
        self.block(result, 0, variables, effect=True)
        return self.lines

    # --- blocks ------------------------------------------------------------------------------------------------------

    def block(self, result: str | None, depth: int, variables: list[Variable] | None = None, *, effect: bool) -> None:
        """`effect` says that at least a line is printed."""
        known = len(self.scope)
        self.begin(variables or [])
        self.statements(depth)
        if result is None:
            self.end_without_value(effect=effect)
        elif depth < 3 and self.left > 0 and self.chance(0.3):
            self.flush()
            self.construct(depth, result, tail=True)
        else:
            self.end_with_value(result)
        self.leave()
        del self.scope[known:]

    def begin(self, variables: list[Variable]) -> None:
        self.level += 1
        self.unused.append([])
        for variable in variables:
            self.bind(variable)

    def leave(self) -> None:
        self.unused.pop()
        self.level -= 1

    def bind(self, variable: Variable) -> None:
        variable.level = self.level
        self.scope.append(variable)
        self.unused[-1].append(variable)

    def end_without_value(self, *, effect: bool) -> None:
        if self.unused[-1] or effect:
            self.flush(effect)

    def flush(self, force: bool = False) -> None:
        """Prints what nothing has used."""
        if self.unused[-1] or force:
            names = [variable.name for variable in self.unused[-1]]
            self.unused[-1].clear()
            while names:
                taken = [names.pop() for _ in range(min(len(names), self.random.choice((1, 2, 5))))]
                self.lines.append(f"print({self.text_literal()}, {', '.join(taken)})")
                force = False
            if force:
                self.lines.append(f"print({self.text_literal()})")

    def end_with_value(self, result: str) -> None:
        unused = self.unused[-1]
        if result == "json" and self.chance(0.7):
            names = [variable.name for variable in unused if variable.type != "verdict"]
            unused[:] = [variable for variable in unused if variable.type == "verdict"]
            self.flush()
            entries = [f'"{name}": {name}' for name in names] or [f'"k": {self.value("str", 1).text}']
            self.lines.append(f"return {{{', '.join(entries)}}}")
        elif result == "str" and self.chance(0.7):
            parts = "".join(f" {{{variable.name}}}" for variable in unused)
            unused.clear()
            if self.chance(0.5):
                self.lines.append(f'return f"{self.word()}{parts}"')
            else:
                self.lines.append(f'return ask(f"{self.tag("str")}{parts}")')
        else:
            written = self.value(result, 1, exact=True)
            self.flush()
            self.lines.append(f"return {written.text}")

    @contextmanager
    def doubtful(self, doubtful: bool) -> Iterator[None]:
        """Stands around blocks that the compiler may know to be never done."""
        before = self.floor
        if doubtful:
            self.floor = self.level + 1
        yield
        self.floor = before

    def statements(self, depth: int) -> None:
        for _ in range(self.random.choice((0, 1, 2, 3, 4)) if depth else 6):
            if self.left <= 0:
                return
            self.left -= 1
            self.statement(depth)

    def statement(self, depth: int) -> None:
        kind = self.pick(
            ("ask", "ask", "print", "let", "construct", "construct", "construct", "flow", "merge", *self.tools)
        )
        if kind == "construct" and depth < 4:
            if self.chance(0.7):
                self.construct(depth, self.pick(TYPES[:-1]), tail=False)
            else:
                self.construct(depth, None, tail=False)
        elif kind == "print":
            self.lines.append(f"print({self.arguments('json', self.random.randint(1, 3))})")
        elif kind == "let":
            type_ = self.pick(("str", "int", "bool", "json", "list[str]", PERSON))
            written = self.value(type_, 2, exact=True)
            name = self.name()
            self.lines.append(f"let {name} = {written.text}")
            self.bind(Variable(name, type_, written.sure, written.fixed))
        elif kind == "flow" and self.flows:
            flow = self.pick(self.flows)
            call = self.flow_call(flow)
            if flow.result is None:
                self.lines.append(call)
            else:
                name = self.name()
                self.lines.append(f"{call} -> {name}")
                self.bind(Variable(name, flow.result, False, True))
        elif kind == "tool":
            call, type_ = self.tool()
            name = self.name()
            self.lines.append(f"{call} -> {name}")
            self.bind(Variable(name, type_, True, False))
        elif kind == "merge":
            called = self.pick(("merge", "wait_all"))
            arguments = f"{self.text_literal()}, {self.arguments('str', self.random.randint(1, 2))}"
            name = self.name()
            self.lines.append(f"{called}({arguments}) -> {name}")
            self.bind(Variable(name, "str" if called == "merge" else "list[str]", True, False))
        else:
            type_ = self.pick(TYPES)
            written = self.ask(type_)
            name = self.name()
            if self.tools and written.startswith("ask") and "temperature" not in written and self.chance(0.4):
                offered = ", ".join(self.random.sample(("look", "change", "store"), self.random.randint(1, 3)))
                self.lines.append(f"{written[:-1]}, tools: [{offered}], max_rounds: {self.pick((1, 2, 3))}) -> {name}")
                self.bind(Variable(name, type_, True, False))
                return
            self.lines.append(f"{written} -> {name}")
            self.bind(Variable(name, type_, True, False))

    # --- constructs --------------------------------------------------------------------------------------------------

    def construct(self, depth: int, result: str | None, *, tail: bool) -> None:
        """Bound where it gives a `result` and is not the `tail` of a block."""
        kinds: list[Callable[[int, str | None], str | None]] = [self.branch, self.branch, self.switch, self.attempt]
        if not tail:
            kinds += [self.attempt, self.each, self.each, lambda depth, _: self.loop(depth)]
        given = self.pick(kinds)(depth, result)
        if tail or given is None:
            self.lines.append("}")
            return
        name = self.name()
        self.lines.append(f"}} -> {name}")
        self.bind(Variable(name, given, False, True))

    def branch(self, depth: int, result: str | None) -> str | None:
        condition = self.condition()
        self.lines.append(f"if {condition.text} {{")
        with ExitStack() as known:
            known.enter_context(self.doubtful(condition.fixed))
            self.block(result, depth + 1, effect=True)
            for _ in range(self.below(2)):
                condition = self.condition()
                self.lines.append(f"}} else if {condition.text} {{")
                known.enter_context(self.doubtful(condition.fixed))
                self.block(result, depth + 1, effect=True)
            if result is not None or self.chance(0.6):
                self.lines.append("} else {")
                self.block(result, depth + 1, effect=True)
        return result

    def condition(self) -> Written:
        if self.chance(0.1):
            return Written(self.pick(("true", "false")))
        return self.value("bool", 1)

    def switch(self, depth: int, result: str | None) -> str | None:
        labels = self.random.sample(LABELS, self.random.randint(1, 3))
        if self.chance(0.5):
            selector = Written(f'ask("{self.tag("label")}")', True, False)
        else:
            selector = self.value("str", 1)
            selector.text = f'"" + {selector.text}'  # of which no choices are known
        self.lines.append(f"switch {selector.text} {{")
        with self.doubtful(selector.fixed):
            for label in labels:
                self.arm(f"case {json.dumps(label)} =>", depth, result)
            if self.chance(0.7):
                self.arm("default =>", depth, result)
        return result

    def arm(self, head: str, depth: int, result: str | None) -> None:
        if self.chance(0.3):
            written = self.value(result, 1, exact=True).text if result else f"print({self.text_literal()})"
            self.lines.append(f"{head} {written}")
            return
        self.lines.append(f"{head} {{")
        self.block(result, depth + 1, effect=True)
        self.lines.append("}")

    def attempt(self, depth: int, result: str | None) -> str | None:
        self.lines.append("try {")
        self.block(result, depth + 1, effect=True)
        if self.chance(0.7):
            error = self.name()
            self.lines.append(f"}} catch {error} {{")
            self.lines.append(f"print({self.text_literal()}, {error}.operation, {error}.kind)")
        else:
            self.lines.append("} catch {")
        self.block(result, depth + 1, effect=True)
        return result

    def each(self, depth: int, result: str | None) -> str | None:
        items, element = self.items()
        carried = self.carried() if self.chance(0.5) else {}
        item = self.name()
        most = [f"max: {self.pick((1, 2, 3, 5))}"] if self.chance(0.3) else []
        if self.chance(0.05):
            most = [f"max: {self.most()}"]
        head = [*most, *(f"{name}: {start.text}" for name, (_, start) in carried.items())]
        self.lines.append(f"for {item} in {items} {'(' * bool(head)}{', '.join(head)}{')' * bool(head)} {{")
        collects = result is not None and (not carried or self.chance(0.4))
        self.begin([])
        known = len(self.scope)
        variables = [Variable(item, element, False, False)] + [
            Variable(name, type_, False, True) for name, (type_, _) in carried.items()
        ]
        for variable in variables:
            self.bind(variable)
        self.unused[-1].clear()
        self.turn(depth, carried, stops=False)
        if collects:
            self.end_with_value(self.element(result))
        else:
            self.end_without_value(effect=not carried)
        self.leave()
        del self.scope[known:]
        if collects:
            return f"list[{self.given_element}]"
        return self.carried_type(carried)

    def element(self, result: str | None) -> str:
        self.given_element = result if result in ("str", "json") else "str"
        return self.given_element

    def items(self) -> tuple[str, str]:
        """What a `for` goes through, and the type of its items."""
        kind = self.below(10)
        if kind == 0:
            empty = [variable.name for variable in self.scope if variable.name == "none"]
            return (empty[0], "str") if empty and self.chance(0.7) else ("[]", "json")
        if kind < 3:
            return f"({self.value('json', 0, exact=True).text})", "json"
        if kind == 3:
            return f'ask("{self.tag("json")}", schema: json)', "json"
        return f"({self.value('list[str]', 1, exact=True).text})", "str"

    def most(self) -> str:
        """A limit that only a run knows: at most 3, and perhaps none."""
        names = [v.name for v in self.scope if v.name == "n"] + [
            f"{v.name}.b as int" for v in self.scope if v.type == "json"
        ]
        return self.used(self.pick(names)) if names else "2"

    def carried(self) -> dict[str, tuple[str, Written]]:
        types = [
            self.pick(("str", "str", "int", "bool", "list[str]", "json")) for _ in range(self.random.choice((1, 1, 2)))
        ]
        return {self.name(): (type_, self.start(type_)) for type_ in types}

    def start(self, type_: str) -> Written:
        if type_ == "list[str]" and self.chance(0.3):
            return Written("[]")
        return self.value(type_, 1, exact=True)

    def carried_type(self, carried: dict[str, tuple[str, Written]]) -> str | None:
        if not carried:
            return None
        return next(iter(carried.values()))[0] if len(carried) == 1 else "state"

    def loop(self, depth: int) -> str | None:
        carried = self.carried()
        most = self.most() if self.chance(0.15) else str(self.pick((1, 2, 3)))
        head = [f"max: {most}", *(f"{name}: {start.text}" for name, (_, start) in carried.items())]
        self.lines.append(f"loop ({', '.join(head)}) {{")
        self.begin([])
        known = len(self.scope)
        for name, (type_, _) in carried.items():
            self.bind(Variable(name, type_, False, True))
        self.unused[-1].clear()
        self.turn(depth, carried, stops=True)
        self.end_without_value(effect=False)
        self.leave()
        del self.scope[known:]
        return self.carried_type(carried)

    def turn(self, depth: int, carried: dict[str, tuple[str, Written]], *, stops: bool) -> None:
        """Statements, with each `next` and perhaps an `until` somewhere among them."""
        steps: list[str] = [*carried]
        if stops:
            steps += ["until"] * self.random.choice((0, 1, 1, 2))
        self.random.shuffle(steps)
        floor, level = self.floor, self.level
        for step in steps:
            self.statements(depth + 2)
            if step == "until":
                self.flush()
                condition = self.condition()
                self.lines.append(f"until {condition.text}")
                self.level += 1
                if condition.fixed:
                    self.floor = self.level
            else:
                self.lines.append(f"next {step}: {self.value(carried[step][0], 2).text}")
        self.statements(depth + 2)
        self.flush()
        self.floor, self.level = floor, level

    # --- calls -------------------------------------------------------------------------------------------------------

    def tag(self, kind: str) -> str:
        """The beginning of a prompt, which says what is answered."""
        self.numbers += 1
        return f"{'bad' if self.chance(0.2) else kind.replace('[', '_').replace(']', '')} {self.numbers}"

    def ask(self, type_: str) -> str:
        if type_ == "list[str]" and not LISTS:
            return f'wait_all("{self.word()}", {self.value("str", 1).text})'
        if type_ == "str" and self.chance(0.15):
            if not self.repeated or self.chance(0.4):
                self.numbers += 1
                self.repeated.append(f"same {self.numbers}")
            sure = [v.name for v in self.scope if v.sure and v.type == "str"]
            context = f", {self.used(self.pick(sure))}" if sure and self.chance(0.5) else ""
            return f'ask("{self.pick(self.repeated)}"{context}, temperature: 0)'
        context = f", {self.arguments('json', self.random.randint(1, 2))}" if self.chance(0.6) else ""
        interpolated = f" {{{self.pick(self.scope).name}}}" if self.scope and self.chance(0.4) else ""
        if interpolated:
            self.used(interpolated[2:-1])
        prompt = f'{"f" * bool(interpolated)}"{self.tag(type_)}{interpolated}"'
        if type_ == "verdict":
            return f"verify({prompt}{context})"
        if type_ == "str" and self.chance(0.2):
            return f'ask({prompt}{context}, choices: ["yes", "No"])'.replace('"str ', '"choice ')
        return f"ask({prompt}{context}{'' if type_ == 'str' else f', schema: {type_}'})"

    def tool(self) -> tuple[str, str]:
        """A call of a tool, and the type of what that gives."""
        name, type_ = self.pick(
            (("look", "str"), ("look", "str"), ("change", "json"), ("store", "list[str]"), ("clock", "json"))
        )
        self.numbers += 1
        kind = "bad" if self.chance(0.15) else "fine"
        text = f'"{kind} {self.numbers}" + {self.value("str", 1).text}'
        if name == "clock":
            return f'inv("clock", q: {text})', type_
        if self.chance(0.7):
            return f"{name}({text})", type_
        return f'inv("{name}", {self.pick(("", "q: "))}{text})', type_

    def flow_call(self, flow: Flow) -> str:
        arguments = ", ".join(self.value(type_, 2).text for type_ in flow.parameters)
        called = flow.name if flow.agent == self.agent and self.chance(0.7) else f"{flow.agent}.{flow.name}"
        return f"{called}({arguments})"

    def arguments(self, type_: str, count: int) -> str:
        return ", ".join(self.value(type_ if self.chance(0.6) else "str", 2).text for _ in range(count))

    # --- values ------------------------------------------------------------------------------------------------------

    def used(self, name: str) -> str:
        for unused in self.unused:
            unused[:] = [v for v in unused if v.name != name or v.level < self.floor]
        return name

    def value(self, type_: str, depth: int, *, exact: bool = False) -> Written:
        """An expression of the type, or one that converts to it."""
        fitting = [v for v in self.scope if v.type == type_ or (not exact and type_ == "json" and v.type != "verdict")]
        if fitting and self.chance(0.55):
            pending = [v for v in fitting if any(v in unused for unused in self.unused)]
            variable = self.pick(pending if pending and self.chance(0.7) else fitting)
            return Written(self.used(variable.name), variable.sure, variable.fixed)
        if depth > 0 and self.chance(0.12):
            flows = [flow for flow in self.flows if flow.result == type_]
            if flows:
                return Written(self.flow_call(self.pick(flows)), False, True)
        if depth > 0 and self.chance(0.12) and type_ != "state":
            return Written(self.ask(type_), True, False)
        sources: dict[str, Callable[[int], Written]] = {
            "str": self.text, "int": self.integer, "bool": self.truth, "json": self.json, "list[str]": self.texts,
            PERSON: lambda _: self.person(),
        }  # fmt: skip
        return sources[type_](depth)

    def of(self, *types: str) -> Variable | None:
        found = [v for v in self.scope if v.type in types]
        if not found:
            return None
        variable = self.pick(found)
        self.used(variable.name)
        return variable

    def cast(self, type_: str) -> Written | None:
        """What a json value is taken for."""
        variable = self.of("json")
        if variable is None:
            return None
        key = self.pick(("a", "b", "n", "p"))
        return Written(f"{variable.name}.{key} as {type_}", False, variable.fixed)

    def text(self, depth: int) -> Written:
        kind = self.below(6)
        if kind == 0 and self.scope:
            variable = self.pick(self.scope)
            return Written(f'f"{self.word()} {{{self.used(variable.name)}}}"', variable.sure, variable.fixed)
        if kind == 1 and depth > 0:
            left, right = self.value("str", depth - 1), self.value(self.pick(("str", "int", "bool")), depth - 1)
            return Written(f"{left.text} + {right.text}", left.sure and right.sure, left.fixed and right.fixed)
        if kind == 2 and (person := self.of(PERSON)):
            return Written(f"{person.name}.name", person.sure, person.fixed)
        if kind == 3 and (verdict := self.of("verdict")):
            return Written(f"{verdict.name}.{self.pick(('label', 'reason'))}", verdict.sure, verdict.fixed)
        if kind == 4 and (found := self.cast("str")):
            return found
        return Written(self.text_literal())

    def integer(self, depth: int) -> Written:
        kind = self.below(4)
        if kind == 0 and depth > 0:
            left, right = self.value("int", depth - 1), self.value("int", depth - 1)
            operator = self.pick("+-*%")
            return Written(f"(({left.text}) {operator} ({right.text}))", False, left.fixed and right.fixed)
        if kind == 1 and depth > 0 and self.chance(0.4):
            inner = self.value("list[str]", depth - 1)
            return Written(f"len({inner.text})", inner.sure, inner.fixed)
        if kind == 1 and (person := self.of(PERSON)):
            return Written(f"{person.name}.age as int", False, person.fixed)
        if kind == 2 and (found := self.cast("int")):
            return found
        return Written(self.pick(("0", "1", "2", "-3", str(2**63 - 1))))

    def truth(self, depth: int) -> Written:
        kind = self.below(8)
        if kind > 4 and depth > 0:
            return self.comparison(depth - 1)
        if kind == 0 and (person := self.of(PERSON)):
            return Written(f"{person.name}.ok", person.sure, person.fixed)
        if kind == 1 and (found := self.cast("bool")):
            return found
        if kind == 2 and (person := self.of(PERSON)):
            age = f"{person.name}.age"
            known = self.pick((f"{age} != null and", f"{age} == null or", f"not ({age} == null) and"))
            return Written(f"({known} {age} {self.pick(('<', '>='))} 1)", person.sure, person.fixed)
        if depth > 0 and self.chance(0.5):
            return Written(f'ask("{self.tag("bool")}", schema: bool)', True, False)
        return Written(self.pick(("true", "false")))

    def comparison(self, depth: int) -> Written:
        if self.chance(0.3):
            # What stands on the right of `and` may never be needed, so it counts as no use of what is in it.
            left = self.value("bool", 0)
            with self.doubtful(True):
                right = self.value("bool", 0)
            return Written(f"(({left.text}) {self.pick(('and', 'or'))} not ({right.text}))", False, True)
        type_, operators = self.pick((("int", ("==", "<", ">=")), ("str", ("==", "!=", "<")), ("json", ("==", "!="))))
        if self.chance(0.2):
            left, right, operators = self.value("str", 0), self.value("list[str]", depth), ("in",)
        else:
            left, right = self.value(type_, depth, exact=True), self.value(type_, depth, exact=True)
        if type_ == "str" or operators == ("in",):  # a text beside a choice that is none of them is refused
            left = replace(left, text=f'"" + {left.text}')
        text = f"(({left.text}) {self.pick(operators)} ({right.text}))"
        return Written(text, left.sure and right.sure, left.fixed and right.fixed)

    def json(self, depth: int) -> Written:
        if self.chance(0.6) and (variable := self.of("json")):
            return Written(f"{variable.name}.{self.pick(('a', 'b', 'n', 'p'))}", False, variable.fixed)
        inner = self.value(self.pick(("str", "int", "bool", "list[str]", "json")), depth - 1)
        return Written(f'{{"a": {inner.text}, "b": {self.pick(("true", "false"))}}}', inner.sure, inner.fixed)

    def texts(self, depth: int) -> Written:
        kind = self.below(4)
        if kind == 0 and (person := self.of(PERSON)):
            return Written(f"{person.name}.tags", person.sure, person.fixed)
        if kind == 1 and (found := self.cast("list[str]")):
            return found
        parts = [self.value("str", depth - 1) for _ in range(self.random.randint(1, 3))]
        return Written(
            f"[{', '.join(part.text for part in parts)}]",
            all(part.sure for part in parts),
            all(part.fixed for part in parts),
        )

    def person(self) -> Written:
        variable = self.of("json")
        if variable:
            return Written(f"{variable.name}.p as {PERSON}", False, variable.fixed)
        return Written(f'{{"name": {self.text_literal()}}} as {PERSON}', False, True)

    # --- chance ------------------------------------------------------------------------------------------------------

    def word(self) -> str:
        self.numbers += 1
        return f"w{self.numbers}"

    def text_literal(self) -> str:
        return json.dumps(self.pick((*LABELS, self.word(), self.word(), self.word())))

    def name(self) -> str:
        self.numbers += 1
        return f"v{self.numbers}"

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def below(self, bound: int) -> int:
        return self.random.randrange(bound)

    def pick(self, choices: Sequence[T]) -> T:
        return self.random.choice(choices)
