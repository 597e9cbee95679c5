"""Random AIS programs of everything that opens frames: choices, loops, attempts and flows within each other."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random

from apxm.backends.protocol import ModelRequest
from apxm.errors import BackendError
from apxm.testing import ScriptedBackend

LABELS = ("yes", "no")
_UNTIL = ""


def turning_source(random: Random, *, size: int = 3, depth: int = 3, items: tuple[int, int] = (0, 3)) -> str:
    """An agent whose flow `main` takes a list of texts, `xs`. Every call has a prompt of its own; what is called in a
    turn also gets something that differs from turn to turn, or does not. `items` bounds the turns of each loop."""
    return _Writer(random, size, items).program(depth)


def answering(seed: int, failing: float = 0.0) -> ScriptedBackend:
    """Answers, latencies and failures that depend on nothing but the seed and the request."""

    def drawn(request: ModelRequest, what: str) -> Random:
        return Random(f"{seed}:{what}:{request.prompt}")

    def script(request: ModelRequest) -> str | BackendError:
        if drawn(request, "fails").random() < failing:
            return BackendError("broken", "no", retryable=False)
        return drawn(request, "says").choice(LABELS)

    return ScriptedBackend(script=script, latency_ms=lambda request: drawn(request, "takes").randrange(1, 1000))


@dataclass
class _Scope:
    texts: list[str]
    bools: list[str]
    lists: list[str]

    def inner(self) -> _Scope:
        return _Scope([*self.texts], [*self.bools], [*self.lists])


@dataclass
class _Writer:
    random: Random
    size: int
    items: tuple[int, int]
    flows: list[str] = field(default_factory=list[str])
    names: int = 0
    calls: int = 0

    def program(self, depth: int) -> str:
        written: list[str] = []
        for _ in range(self.random.randrange(3)):
            scope = _Scope(["t"], ["b"], ["xs"])
            body = self.block(scope, depth - 1, gives=True)
            name = f"flow{len(self.flows)}"
            written.append(f"flow {name}(t: str, b: bool, xs: list[str]) -> str {{\n{body}\n}}")
            self.flows.append(name)
        main = self.block(_Scope([], [], ["xs"]), depth, gives=True)
        written.append(f"@entry flow main(xs: list[str]) -> str {{\n{main}\n}}")
        return "agent A {\n" + "\n".join(written) + "\n}"

    def block(self, scope: _Scope, depth: int, *, gives: bool) -> str:
        lines = [self.statement(scope, depth) for _ in range(self.random.randint(1, self.size))]
        return "\n".join([*lines, *([f"return {self.text(scope)}"] if gives else [])])

    def statement(self, scope: _Scope, depth: int) -> str:
        kinds = ["ask", "ask", "ask", "print", "bool"]
        if depth:
            kinds += ["if", "switch", "for", "for", "loop", "loop", "try", *(["flow"] if self.flows else [])]
        kind = self.random.choice(kinds)
        if kind == "print":
            return f"print({self.text(scope)})"
        if kind == "bool":
            return self.condition(scope)
        text = getattr(self, f"_{kind}")(scope, depth)
        assert isinstance(text, str)
        return text

    def _ask(self, scope: _Scope, _depth: int) -> str:
        self.calls += 1
        context = "".join(f", {self.text(scope)}" for _ in range(self.random.randrange(3)))
        return f'ask("call {self.calls}"{context})' + self.bound(scope, 0.9)

    def _flow(self, scope: _Scope, _depth: int) -> str:
        arguments = f"{self.text(scope)}, {self.bool(scope)}, {self.list(scope)}"
        return f"{self.random.choice(self.flows)}({arguments})" + self.bound(scope, 0.8)

    def _if(self, scope: _Scope, depth: int) -> str:
        bound = self.chance(0.6)
        then, otherwise = (self.block(scope.inner(), depth - 1, gives=bound) for _ in range(2))
        rest = f" else {{\n{otherwise}\n}}" if bound or self.chance(0.5) else ""
        return f"if {self.bool(scope)} {{\n{then}\n}}{rest}" + (self.bound(scope, 1) if bound else "")

    def _switch(self, scope: _Scope, depth: int) -> str:
        bound = self.chance(0.6)
        arms = [self.block(scope.inner(), depth - 1, gives=bound) for _ in range(2)]
        cases = f'case "yes" => {{\n{arms[0]}\n}}\ndefault => {{\n{arms[1]}\n}}'
        return f"switch {self.text(scope)} {{\n{cases}\n}}" + (self.bound(scope, 1) if bound else "")

    def _for(self, scope: _Scope, depth: int) -> str:
        inside, item, listed = scope.inner(), self.name(), self.list(scope)
        inside.texts.append(item)
        collects = self.chance(0.5)
        carried, head = self.carried(scope, inside, 0 if collects else 1)
        body = self.turn(inside, depth, carried)
        if collects:
            target = self.name()
            body += f"\nreturn {self.text(inside)}"
            scope.lists.append(target)
            return f"for {item} in {listed} (max: 9{', ' + head[1:] if head else ') '}{{\n{body}\n}} -> {target}"
        target = self.result(scope, carried) if carried else ""
        return f"for {item} in {listed} (max: 9{', ' + head[1:] if head else ') '}{{\n{body}\n}}{target}"

    def _loop(self, scope: _Scope, depth: int) -> str:
        inside = scope.inner()
        carried, head = self.carried(scope, inside, 1)
        limit = self.random.randint(max(1, self.items[0]), self.items[1])
        head = f"(max: {limit}{', ' + head[1:] if head else ') '}"
        ends = [*carried, _UNTIL] if self.chance(0.6) else carried
        body = self.turn(inside, depth, self.random.sample(ends, len(ends)))
        target = self.result(scope, carried) if carried else ""
        return f"loop {head}{{\n{body}\n}}{target}"

    def _try(self, scope: _Scope, depth: int) -> str:
        bound = self.chance(0.7)
        body = self.block(scope.inner(), depth - 1, gives=bound)
        handler, error = scope.inner(), self.name()
        handler.texts.append(f"{error}.message")
        caught = self.block(handler, depth - 1, gives=bound)
        return f"try {{\n{body}\n}} catch {error} {{\n{caught}\n}}" + (self.bound(scope, 1) if bound else "")

    # --- what turns carry ------------------------------------------------------------------------------------------

    def carried(self, scope: _Scope, inside: _Scope, least: int) -> tuple[list[str], str]:
        """The names, and the head in parentheses."""
        names = [self.name() for _ in range(self.random.randint(least, 2))]
        head = ", ".join(f"{name}: {self.text(scope)}" for name in names)
        inside.texts += names
        return names, f"({head}) " if names else ""

    def turn(self, inside: _Scope, depth: int, ends: list[str]) -> str:
        """A block with a `next` for each name, and perhaps `until`, other statements between."""
        lines = [self.block(inside, depth - 1, gives=False)]
        for end in ends:
            if end is _UNTIL:
                lines += [self.condition(inside), f"until {inside.bools[-1]}"]
            else:
                lines.append(f"next {end}: {self.text(inside)}")
            lines.append(self.statement(inside, depth - 1))
        return "\n".join(lines)

    def result(self, scope: _Scope, carried: list[str]) -> str:
        if self.chance(0.2):
            return ""
        target = self.name()
        scope.texts += [target] if len(carried) == 1 else [f"{target}.{name}" for name in carried]
        return f" -> {target}"

    # --- values ----------------------------------------------------------------------------------------------------

    def condition(self, scope: _Scope) -> str:
        target = self.name()
        text = (
            f'switch {self.text(scope)} {{ case "yes" => {{ return true }} default => {{ return false }} }} -> {target}'
        )
        scope.bools.append(target)
        return text

    def bound(self, scope: _Scope, chance: float) -> str:
        if not self.chance(chance):
            return ""
        target = self.name()
        scope.texts.append(target)
        return f" -> {target}"

    def text(self, scope: _Scope) -> str:
        if scope.texts and self.chance(0.85):
            # What came last is the likeliest to be used.
            return self.random.choice([*scope.texts, *scope.texts[-3:]])
        return json.dumps(self.random.choice(LABELS))

    def bool(self, scope: _Scope) -> str:
        return self.random.choice(scope.bools) if scope.bools and self.chance(0.9) else "true"

    def list(self, scope: _Scope) -> str:
        if self.chance(0.6):
            return self.random.choice(scope.lists)
        count = self.random.randint(max(1, self.items[0]), self.items[1])  # the items of `[]` would be json
        return json.dumps([f"item {n}" for n in range(count)])

    def name(self) -> str:
        self.names += 1
        return f"v{self.names}"

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability
