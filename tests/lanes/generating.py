"""Flows drawn at random, as somebody might write them."""

from __future__ import annotations

import random
from textwrap import indent

PRELUDE = """\
import collections
import contextlib
import dataclasses
import io
import json
import random
from apxm.flows.each import each
from apxm.flows.flow import flow
from apxm.flows.asking import ask

seen = []
tally = {}
hits = 0


def plain(text):
    return text.strip().upper()


def asking(text):
    first = ask("h " + text)
    if int(first.split()[0]) % 2:
        return ask("g " + first)
    return first


def noting(text):
    global hits
    hits += 1
    seen.append(text)
    return len(seen)


def kept(text: str) -> str:
    seen.append("kept " + text)
    return str(len(seen))


def drawing(text):
    return text + str(random.randrange(10))


def counted(text):
    global hits
    hits += 1
    return ask("n " + text)


def passed(thing):
    return thing


@contextlib.contextmanager
def noted(text):
    tally["in"] = tally.get("in", 0) + 1
    try:
        yield text + "~"
    finally:
        seen.append("out " + text)


def parts(text):
    yield text
    yield ask("part " + text)
    yield text + "."


class Base:
    label = "base"

    def __init__(self, name):
        self.name = name
        self.done = 0
        self.kinds = collections.Counter()
        self.best = ""
        self.log = []

    def __repr__(self):
        return self.name

    @property
    def state(self):
        return f"{self.done} {self.best}"

    def run(self, text):
        answer = ask(f"{self.label} {self.name} {text}")
        self.kinds[answer[:1]] += 1
        self.count(answer)
        return answer

    def count(self, answer):
        self.done += 1

    def note(self, text):
        if text > self.best:
            self.best = text
        self.log.append(text)
        return len(self.log)


class Louder(Base):
    label = "louder"

    def count(self, answer):
        self.done += 2
        self.best = max(self.best, answer)


@dataclasses.dataclass
class Row:
    number: int
    text: str = ""
    tags: list = dataclasses.field(default_factory=list)

    def __str__(self):
        return str(self.number)

    def __eq__(self, other):
        return self.number == other

    def tag(self, text):
        self.tags.append(text)
        return self


HANDLERS = {"0": plain, "1": asking, "2": noting}


def bumping(text):
    global hits
    hits += 1
    return f"{text}+{hits}"


def counting(function):
    count = 0

    def counts(text):
        nonlocal count
        count += 1
        found = function(text)
        return f"{found}#{count}"

    return counts


@counting
def tracked(text):
    return ask("tracked " + text)


@counting
def weighed(text):
    return f"{text} {len(seen)}"


def counter():
    made = 0

    def add(text):
        nonlocal made
        made += len(text)
        return str(made)

    def peek(text):
        return f"{text} {made}"

    return [add, peek]


def through(function, text):
    return function(text)


class Bus:
    def __init__(self):
        self.told = 0
        self.observers = [self.on, noting]

    def on(self, text):
        self.told += 1
        return text

    def emit(self, text):
        return [str(observer(text)) for observer in self.observers][0]


HOOKS = [noting, bumping]
ASKING = [asking, plain, tracked]
shout = lambda text: seen.append(text) or text.upper()


class Box:
    def __init__(self, name):
        self.name = name
        self.got = []

    def put(self, text):
        self.got.append(text)
        return len(self.got)

    def ask(self):
        return ask("box " + self.name + " ".join(self.got))

"""


class Drawn:
    """One flow, `main(rows)`, in a module of its own."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._fresh = 0
        self._depth = 0
        self._calls_unknown = self._random.choice((0, 0, 0, 0.35))
        """How much of it calls what only a run knows."""
        self._remember = self._random.choice(("remember", "bumping"))
        """Without the first of them no function of the flow's own is handed on."""

    def module(self) -> str:
        lines = [
            "results = []",
            "found = {}",
            "total = 0",
            "last = None",
            "shared = Box('shared')",
            "stages = [Base('one'), Louder('two')]",
            "stage = stages[1]",
            "best = ''",
            "book = io.StringIO()",
            "counts = {}",
            "def remember(text):",
            "    nonlocal total",
            "    total += 1",
            "    found[text] = total",
            "    return total",
            "rng = iter(range(1000))",
            "row = None",
            "current = None",
            "held = {'a': [], 'b': set()}",
            "left = []",
            f"hooks = [{self._remember}, noting]",
            "counters = counter()",
            "bus = Bus()",
            "def told(text):",
            "    return f'{row} {current} {text}'",
        ]
        if self._chance(0.3):
            lines += ["p = ask('p')", "q = ask('q')", "results.append(p + q)"]
        for _ in range(self._random.choice((1, 1, 2))):
            lines += self._loop(self._random.choice(("rows", "rows", "items")), [], outer=True)
        lines += [
            "print(total, last)",
            "of_stages = [(s.name, s.state, s.log, sorted(s.kinds.items())) for s in stages]",
            "of_items = [(i.number, i.text, i.tags) for i in items]",
            "state = results, found, total, last, shared.got, list(seen), dict(tally), hits, next(rng)",
            "state = *state, row, current, held['a'], sorted(held['b']), [f() for f in left]",
            "return state, of_stages, best, counts, book.getvalue(), of_items",
        ]
        return (
            PRELUDE
            + "\n@flow\ndef main(rows):\n    items = [Row(k) for k in rows]\n"
            + indent("\n".join(lines), "    ")
            + "\n"
        )

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _name(self) -> str:
        self._fresh += 1
        return f"v{self._fresh}"

    def _loop(self, items: str, texts: list[str], *, outer: bool) -> list[str]:
        item = "row" if self._chance(0.2) else self._name()
        lookahead = self._random.choice(("", "", "", ", lookahead=2"))
        body = self._head(item)
        names = [f"str({item})", *texts]
        if items == "items" and self._chance(0.8):
            body += [self._random.choice((f"{item}.text = ask('i ' + str({item}))", f"{item}.tag('t').text += '.'"))]
        if self._calls_unknown and self._chance(0.7):
            body += self._around_unknown(names)
        else:
            body += self._statements(names, self._random.randrange(2, 6), in_loop=True)
        around = self._random.choice(("", "", "", "", "passed"))
        head = (
            f"for {item} in {around}(each({items}{lookahead})):"
            if around
            else f"for {item} in each({items}{lookahead}):"
        )
        if items == "items":
            texts = [*texts, f"{item}.text", f"str({item}.tags)"]
        ending = ["else:", "    print('all')"] if self._chance(0.1) else []
        del outer
        return [head, *(f"    {line}" for line in body), *ending]

    def _head(self, item: str) -> list[str]:
        found: list[str] = []
        if self._chance(0.15):
            found.append(f"if {item} == {self._random.randrange(6)}: continue")
        if self._chance(0.1):
            found.append(f"if {item} == {self._random.randrange(3, 9)}: break")
        if self._chance(0.1):
            found.append(f"print('head', {item})")
        return found or ["pass"]

    def _statements(self, texts: list[str], count: int, *, in_loop: bool) -> list[str]:
        found: list[str] = []
        texts = list(texts)
        for _ in range(count):
            found += self._statement(texts, in_loop=in_loop)
        return found

    def _text(self, texts: list[str]) -> str:
        return self._random.choice(texts[-4:])

    def _statement(self, texts: list[str], *, in_loop: bool) -> list[str]:
        pick = self._random.random()
        text = self._text(texts)
        if self._chance(self._calls_unknown):
            return self._unknown(texts, text)
        if pick < 0.25:
            name = self._name()
            made = f"{name} = ask({self._prompt(text)})"
            texts.append(name)
            return [made]
        if pick < 0.30:
            one, two = self._name(), self._name()
            texts += [one, two]
            return [f"{one} = ask('a ' + {text})", f"{two} = ask('b ' + {text})"]
        if pick < 0.38 and self._depth < 3:
            self._depth += 1
            inner = self._statements(texts, self._random.randrange(1, 3), in_loop=in_loop)
            other = self._statements(texts, 1, in_loop=in_loop) if self._chance(0.5) else []
            self._depth -= 1
            lines = [
                f"if len({text}) % 2:"
                if self._chance(0.5)
                else f"if int(('0' + {text}).split()[0][:3] if {text}[:1].isdigit() else 7) % 3 == 0:"
            ]
            lines += [f"    {line}" for line in inner]
            return [*lines, *(["else:", *(f"    {line}" for line in other)] if other else [])]
        if pick < 0.43 and self._depth < 2:
            self._depth += 1
            inner = self._loop(self._random.choice(("range(3)", "['x', 'y']")), texts, outer=False)
            self._depth -= 1
            return inner
        if pick < 0.47 and self._depth < 2:
            self._depth += 1
            inner = self._statements(texts, 2, in_loop=False)
            self._depth -= 1
            k = self._name()
            return [f"for {k} in range(2):", *(f"    {line}" for line in inner)]
        if pick < 0.52 and self._depth < 3:
            self._depth += 1
            inner = self._statements(texts, 2, in_loop=in_loop)
            self._depth -= 1
            e = self._name()
            last = f"    int({text})" if self._chance(0.5) else "    pass"
            return [
                "try:",
                *(f"    {line}" for line in inner),
                last,
                f"except ValueError as {e}:",
                f"    print('bad', {text})",
            ]
        if pick < 0.55:
            name = self._name()
            texts.append(name)
            return [f"{name} = ' '.join([ask('c ' + {text} + str(i)) for i in each(range(2))])"]
        if pick < 0.59:
            name = self._name()
            texts.append(name)
            return [f"{name} = {self._random.choice(('plain', 'asking', 'drawing'))}({text})"]
        if pick < 0.62:
            return [f"noting({text})"]
        if pick < 0.66:
            name = self._name()
            texts.append(f"str({name}.got)")
            return [f"{name} = Box({text})", f"{name}.put({text})", f"{name}.name = {name}.name + '!'"]
        if pick < 0.69:
            return [f"shared.put({text})" if self._chance(0.5) else f"shared.name = {text}"]
        if pick < 0.73:
            name = self._name()
            texts.append(f"str({name})")
            return [f"{name} = []", f"{name}.append({text})", f"{name} += [1]"]
        if pick < 0.75 or self._chance(0.3):
            return self._richer(texts, text)
        if pick < 0.77 and in_loop:
            left = self._random.choice(("continue", "break", "return results", "continue"))
            return [f"if {text}.endswith('{self._random.choice('0123456789abcdef')}'): {left}"]
        if pick < 0.78:
            return [f"if {text}.endswith('{self._random.choice('0123456789abcdef')}'): raise KeyError({text})"]
        return [
            self._random.choice(
                (
                    f"results.append({text})",
                    f"results.append(ask('r ' + {text}))",
                    f"found[{text}] = {text} + '.'",
                    f"found[{text}[:2]] = ask('f ' + {text})",
                    f"total += len({text})",
                    f"total += len(ask('t ' + {text}))",
                    f"tally[{text}[:1]] = tally.get({text}[:1], 0) + 1",
                    f"tally.setdefault({text}[:1], 0)",
                    f"print({text})",
                    f"print(len(results), {text})",
                    f"seen.append({text})",
                    "results.append(next(rng))",
                    "results.append(random.random())",
                    "results.append(shared.ask())",
                    f"results.append(sorted([{text}, 'm']))",
                    f"results.extend([json.loads('[1]'), {text}])",
                    f"x = {text}; results.append(x)",
                )
            )
        ]

    def _richer(self, texts: list[str], text: str) -> list[str]:
        """What uses attributes, closures, context managers, generators and files."""
        name = self._name()
        found = self._random.choice(
            (
                [f"last = {text}"],
                [f"{name} = stage.run({text})"],
                [f"for s in stages: {name} = s.run({text})"],
                [f"{name} = [s.run({text}) for s in stages][0]"],
                [f"{name} = stage.note({text})"],
                [f"stage.note({text})"],
                [f"{name} = stage.state"],
                [f"{name} = stages[0].best + str(stages[0].done)"],
                [f"stage.done += len({text})"],
                ["stage.done += 1"],
                [f"stages[0].kinds.update([{text}[:1]])"],
                [f"{name} = Louder({text})", f"{name}.run('own')", f"results.append({name}.state)"],
                [f"{name} = counted({text})"],
                [f"with noted({text}) as {name}:", f"    {name} = ask({name})"],
                [f"with noted({text}):", f"    results.append({text})"],
                [f"{name} = ' '.join(parts({text}))"],
                [f"for {name} in parts({text}):", f"    print({name})"],
                [f"{name} = remember({text})"],
                [f"remember({text})"],
                [f"best = max(best, {text})"],
                [f"if {text} > best:", f"    best = {text}", "    print('best', best)"],
                [f"counts[{text}[:1]] = counts.get({text}[:1], 0) + 1"],
                [f"book.write({text})"],
                [f"print({text}, file=book)"],
                [f"{name} = HANDLERS[str(len({text}) % 3)]({text})"],
                [f"{name} = (lambda t: ask('l ' + t + str(len(results))))({text})"],
                [f"{name} = [ask('k ' + {text} + x) for x in each(['x', 'y']) if x < {text}[-1:]]"],
                [f"{name} = max(stages, key=lambda s: s.done).name"],
                ["del results[:0]"],
                [f"{name} = told({text})"],
                [f"print(told({text}))"],
                [f"current = {text}"],
                [f"{name} = held['a']", f"{name} += [{text}]"],
                [f"held['b'] |= {{{text}}}", f"{name} = held['b']", f"{name} |= {{{text}}}"],
                ["print(len(held['a']))"],
                [f"left.append(lambda: {text})"],
                [f"{name} = dict(zip({text}[:2], rng))"],
                [f"{name} = [*zip({text}[:1], rng)]"],
                [f"{name} = any(n % 3 == 0 for n in rng)"],
                [f"{name} = ask({text}, tools=[kept])"],
                [f"{name} = [{text}]", f"results.extend({name})", f"{name}.clear()"],
                [f"{name} = [{text}]", f"results += {name}", f"{name}[0] = 'late'"],
                [f"{name} = {{{text}: 1}}", f"found.update({name})", f"{name}[{text}] = 2"],
                [f"{name} = {text}", f"results.extend(x + {name} for x in {text}[:2])", f"{name} = 'late'"],
            )
        )
        if f"{name} = " in found[0] or f" as {name}:" in found[0]:
            texts.append(f"str({name})")
        return found

    def _around_unknown(self, texts: list[str]) -> list[str]:
        """Little else: nearly all else that a body does has it wait for its turn before it comes to that."""
        first, comes_last = self._name(), self._chance(0.3)
        found = [f"{first} = ask({self._prompt(self._text(texts))})"]
        if not comes_last:
            texts.append(first)
        look = self._random.choice(("hits", "len(seen)", "(hits, len(seen), total)", "counters[1]('')", "bus.told"))
        parts = [*self._unknown(texts, self._text(texts)), f"results.append({look})"]
        if self._chance(0.3):
            parts[:0] = [f"results.append({look})"]
        if self._chance(0.4):
            parts += self._unknown(texts, self._text(texts))
        if comes_last:
            found, parts = [*parts, *found], []
        return [*found, *parts, f"print({look}, {texts[0]})"]

    def _unknown(self, texts: list[str], text: str) -> list[str]:
        """What calls something of which only a run knows what it is."""
        name = self._name()
        callback = self._random.choice(("bumping", "asking", self._remember, "tracked", "drawing"))
        found = self._random.choice(
            (
                [f"for hook in HOOKS: {name} = hook({text})"],
                [f"for hook in hooks: hook({text})"],
                [f"{name} = [str(hook({text})) for hook in HOOKS][0]"],
                [f"hook = HOOKS[len({text}) % 2]", f"{name} = hook({text})"],
                [f"{name} = ASKING[len({text}) % 3]({text})"],
                [f"for asks in ASKING: {name} = asks({text})"],
                [f"{name} = through({callback}, {text})"],
                [f"{name} = through(lambda t: t + str(hits) + str(total), {text})"],
                [f"{name} = {self._random.choice(('tracked', 'weighed', 'shout'))}({text})"],
                [f"{name} = bus.emit({text})"],
                [f"{name} = str(bus.told)"],
                [f"{name} = counters[len({text}) % 2]({text})"],
                [f"{name} = counters[1]({text})"],
                ["add, peek = counters", f"add({text})"],
                [f"{name} = ' '.join(map(str, map(hooks[0], [{text}])))"],
                [f"{name} = max({text}, 'm', key=HOOKS[1])"],
                [f"{name} = str(hits)"],
                [f"{name} = f'{{hits}} {{len(seen)}}'"],
            )
        )
        if f"{name} = " in found[-1] and not found[-1].startswith("for "):
            texts.append(f"str({name})")
        return found

    def _prompt(self, text: str) -> str:
        return self._random.choice((f"f'q {{{text}}}'" if "'" not in text else f"'q ' + {text}", f"{text} + '?'"))
