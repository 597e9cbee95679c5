"""Random AIS programs that pass the checker, as source text."""

from __future__ import annotations

import json
from random import Random

from hypothesis import strategies as st

LABELS = ("yes", "No", "default", "a/b", "ä ö", '"q"', "yes.")
TOOLS = "capability look(q: str) -> str readonly\ncapability change(q: str) -> str\n"
_RECORD = 'type Record { text: str   n: float   more: list[str?] = ["x"] }\n'
TEXTS = ("", "plain", "two words", 'quo"te', "back\\slash", "line\nbreak", "tab\t", "ünï ✓", "no", "YES ")


def sources(*, fields: bool = True, tools: bool = False) -> st.SearchStrategy[str]:
    return st.randoms(use_true_random=False).map(lambda random: random_source(random, fields=fields, tools=tools))


def random_source(random: Random, *, size: int = 5, fields: bool = True, tools: bool = False) -> str:
    """An agent or two with up to four flows, the last of them ``main``, the entry. A flow calls only flows above it.
    `fields` lets it use fields of values that may have none, `tools` the tools `look`, which only reads, and `change`.
    """
    return _Writer(random, size, fields, tools).program()


class _Writer:
    def __init__(self, random: Random, size: int, fields: bool, tools: bool) -> None:
        self.random = random
        self.size = size
        self.fields = fields
        self.tools = tools
        self.flows: list[tuple[str, str, list[str], bool]] = []
        """Agent, name, types of the parameters and whether it gives a str."""
        self.names = 0
        self.objects: list[str] = []
        """Parameters of the flow at hand that may hold an object: of type json."""
        self.agent = ""

    def program(self) -> str:
        agents = ["First", "Second"][: self.random.randint(1, 2)]
        count = self.random.randint(1, 4)
        bodies: dict[str, list[str]] = {agent: [] for agent in agents}
        for index in range(count):
            last = index == count - 1
            self.agent = agents[-1] if last else self.random.choice(agents)
            bodies[self.agent].append(self.flow("main" if last else f"flow{index}", entry=last))
        return _RECORD + "\n".join(
            f"agent {agent} {{\n"
            + 'system: "Be brief."\n' * self.chance(0.2)
            + TOOLS * self.tools
            + "\n".join(flows)
            + "\n}"
            for agent, flows in bodies.items()
        )

    def flow(self, name: str, *, entry: bool) -> str:
        types = [] if entry else [self.random.choice(("str", "int", "float", "json")) for _ in range(self.below(3))]
        parameters = [(self.name(), type_) for type_ in types]
        gives = entry or self.chance(0.8)
        known = [*parameters]
        self.objects = [name for name, type_ in parameters if type_ == "json"]
        declared = ", ".join(f"{name}: {type_}{self.default(type_)}" for name, type_ in parameters)
        body = self.block(known, result=gives, tail=True, depth=2)
        annotation = "@entry " if entry else "@no_fuse " if self.chance(0.1) else ""
        self.flows.append((self.agent, name, types, gives))
        return f"{annotation}flow {name}({declared}){' -> str' if gives else ''} {{\n{body}\n}}"

    def default(self, type_: str) -> str:
        if self.chance(0.7):
            return ""
        return " = " + {"str": self.text(), "int": "3", "float": "2", "json": '{"key": [1, true]}'}[type_]

    # --- statements ------------------------------------------------------------------------------------------------

    def block(self, known: list[tuple[str, str]], *, result: bool, tail: bool, depth: int) -> str:
        known = [*known]
        lines = [self.statement(known, depth) for _ in range(self.random.randint(0, self.size))]
        if result:
            lines.append(
                self.switch(known, "" if tail else None, depth, result=True)
                if tail and depth and self.chance(0.3)
                else f"return {self.str_value(known, 2)}"
            )
        return "\n".join(lines)

    def statement(self, known: list[tuple[str, str]], depth: int) -> str:
        kind = self.random.choice(("ask", "ask", "ask", "merge", "print", "let", "flow", "switch", "switch"))
        if self.tools and self.chance(0.4):
            return self.tool_call(known) + self.bound(known, "str", 0.7)
        if kind == "ask":
            return self.model_call(known) + self.bound(known, "str", 0.8)
        if kind == "merge":
            values = [self.value(known) for _ in range(self.random.randint(1, 3))]
            all_text = all(type_ == "str" for _, type_ in values)
            operation, result = self.random.choice((("merge", "str" if all_text else "json"), ("wait_all", "json")))
            return f"{operation}({', '.join(text for text, _ in values)})" + self.bound(known, result, 0.9)
        if kind == "let":
            text, type_ = self.value(known)
            name = self.name()
            known.append((name, type_))
            return f"let {name} = {text}"
        if kind == "flow" and self.flows:
            text, gives = self.flow_call(known)
            return text + (self.bound(known, "str", 0.7) if gives else "")
        if kind == "switch" and depth:
            if self.chance(0.6):
                name = self.name()
                text = self.switch(known, f" -> {name}", depth, result=True)
                known.append((name, "str"))
                return text
            return self.switch(known, "", depth, result=False)
        return f"print({', '.join(self.value(known)[0] for _ in range(self.below(3)))})"

    def switch(self, known: list[tuple[str, str]], target: str | None, depth: int, *, result: bool) -> str:
        labels = self.random.sample(LABELS, self.random.randint(1, 3))
        arms = [f"case {_quoted(label)} => {self.arm(known, depth, result, target)}" for label in labels]
        if self.chance(0.8):
            arms.append(f"default => {self.arm(known, depth, result, target)}")
        body = "\n".join(arms)
        return f"switch {self.str_value(known, 1)} {{\n{body}\n}}{target or ''}"

    def arm(self, known: list[tuple[str, str]], depth: int, result: bool, target: str | None) -> str:
        if self.chance(0.4):
            return self.str_value(known, 1) if result else "print(" + self.value(known)[0] + ")"
        tail = result and target == ""
        return "{\n" + self.block(known, result=result, tail=tail, depth=depth - 1) + "\n}"

    def bound(self, known: list[tuple[str, str]], type_: str, chance: float) -> str:
        if not self.chance(chance):
            return ""
        name = self.name()
        known.append((name, type_))
        return f" -> {name}"

    # --- expressions -----------------------------------------------------------------------------------------------

    def model_call(self, known: list[tuple[str, str]]) -> str:
        operation = self.random.choice(("ask", "ask", "think", "reason"))
        prompt = _quoted(self.random.choice(TEXTS) or "something") if self.chance(0.5) else self.prompt(known)
        context = [self.value(known)[0] for _ in range(self.below(3))]
        options = [
            option
            for option in ("temperature: 0", "temperature: 0.5", f"system: {self.text()}", "max_tokens: 9")
            if self.chance(0.15)
        ]
        if "temperature: 0" in options and "temperature: 0.5" in options:
            options.remove("temperature: 0.5")
        return f"{operation}({', '.join([prompt, *context, *options])})"

    def tool_call(self, known: list[tuple[str, str]]) -> str:
        tool, value = self.random.choice(("look", "look", "change")), self.str_value(known, 1)
        form = self.random.choice(("{0}({1})", "{0}(q: {1})", 'inv("{0}", {1})', 'inv("{0}", {{"q": {1}}})'))
        return form.format(tool, value)

    def prompt(self, known: list[tuple[str, str]]) -> str:
        return f'f"Q: {self.interpolated(known)}"'

    def flow_call(self, known: list[tuple[str, str]]) -> tuple[str, bool]:
        agent, name, types, gives = self.random.choice(self.flows)
        arguments = [self.of_type(known, type_) for type_ in types]
        called = name if agent == self.agent and self.chance(0.7) else f"{agent}.{name}"
        return f"{called}({', '.join(arguments)})", gives

    def of_type(self, known: list[tuple[str, str]], type_: str) -> str:
        if type_ == "str":
            return self.str_value(known, 1)
        if type_ == "json":
            return self.value(known)[0]
        return self.number(known, type_)

    def value(self, known: list[tuple[str, str]]) -> tuple[str, str]:
        """Any expression, with its type; types beyond str, int and float are all called json."""
        kind = self.random.choice(("str", "str", "int", "float", "list", "dict", "known", "field", "record"))
        if kind == "field" and self.fields and self.objects:
            # Of what the generator passes, some objects have it, and most values are no objects.
            return f"{self.random.choice(self.objects)}.a", "json"
        if kind == "known" and known:
            return self.random.choice(known)
        if kind == "list":
            return f"[{', '.join(self.str_value(known, 1) for _ in range(self.below(3)))}]", "json"
        if kind == "record":
            return f'({{"text": {self.str_value(known, 1)}, "n": {self.number(known, "int")}}} as Record)', "json"
        if kind == "dict":
            return f'{{"a": {self.str_value(known, 1)}, "b": {self.number(known, "int")}}}', "json"
        if kind in ("int", "float"):
            return self.number(known, kind), kind
        return self.str_value(known, 1), "str"

    def number(self, known: list[tuple[str, str]], type_: str) -> str:
        fitting = [name for name, found in known if found == type_ or (type_, found) == ("float", "int")]
        parts = [
            self.random.choice(fitting)
            if fitting and self.chance(0.6)
            else self.random.choice(("0", "1", "-7", "12") if type_ == "int" else ("0.5", "1", "-2.25", "0.1"))
            for _ in range(self.random.randint(1, 3))
        ]
        if type_ == "float":
            parts.append("0.25")
        return " + ".join(parts)

    def str_value(self, known: list[tuple[str, str]], depth: int) -> str:
        fitting = [name for name, type_ in known if type_ == "str"]
        kind = self.random.choice(("text", "name", "name", "format", "sum", "call", "flow", "cast"))
        if kind == "name" and fitting:
            return self.random.choice(fitting)
        if kind == "cast" and self.fields and self.objects:
            return f"({self.random.choice(self.objects)} as Record).text"  # few of them are
        if kind == "format":
            return f'f"{self.interpolated(known)} {self.interpolated(known)}"'
        if kind == "sum" and depth:
            return f"{self.str_value(known, depth - 1)} + {self.value(known)[0] if self.chance(0.3) else self.text()}"
        if kind == "call" and depth:
            return self.model_call(known)
        if kind == "flow" and depth:
            text, gives = self.flow_call(known) if self.flows else ("", False)
            if gives:
                return text
        return self.text()

    def interpolated(self, known: list[tuple[str, str]]) -> str:
        return f"{{{self.random.choice(known)[0]}}}" if known else "nothing"

    def text(self) -> str:
        return _quoted(self.random.choice(TEXTS))

    # --- chance ----------------------------------------------------------------------------------------------------

    def name(self) -> str:
        self.names += 1
        return f"v{self.names}"

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def below(self, bound: int) -> int:
        return self.random.randrange(bound)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
