"""What models say in these tests: decided by what they are asked, and by nothing else."""

from __future__ import annotations

import hashlib
from random import Random
from typing import Any

from tests.meaning.values import Failed, Value, Verdict
from tests.meaning.writer import LABELS

KIND = "broken"
OBJECTS: tuple[Value, ...] = (
    {}, {"a": "x", "b": True, "n": 3, "p": {"name": "Ada"}}, {"a": ["y", "z"], "b": False, "n": 2**63 - 1},
    {"a": {"a": "deep", "b": True}, "p": {"name": "Bob", "age": 7, "ok": False}}, ["i", "j"], [], "text", 4, None, True,
    ["i", 5, {"a": 1}],
)  # fmt: skip


def answer(prompt: str, system: str | None, temperature: float | None) -> Value:
    """The first word of the prompt says what for a value. At temperature 0 nothing fails, as equal calls are one then,
    and so would their failures be."""
    kind = prompt.split()[0]
    random = Random(hashlib.sha256(repr((prompt, system, temperature is None)).encode()).digest())
    number = random.randrange(10)
    if kind == "bad" or (number == 0 and temperature is None):
        return Failed(KIND)
    match kind:
        case "label":
            before, after = random.choice((("", ""), ("", "."), ("**", "**"), (' "', '".')))
            return f"{before}{random.choice((*LABELS, 'other'))}{after}"
        case "choice":
            return random.choice(("yes", "No"))
        case "bool":
            return random.random() < 0.5
        case "int":
            return random.choice((0, 1, 2, 3, 2**62))
        case "list_str":
            return [f"i{random.randrange(100)}" for _ in range(random.randrange(4))]
        case "json":
            return random.choice(OBJECTS)
        case "Person":
            return {
                "name": f"n{number}",
                "age": random.choice((None, 1, 50)),
                "ok": number < 5,
                "tags": ["u"] * (number % 3),
                "more": random.choice(OBJECTS),
            }
        case "verdict":
            return Verdict(
                reason=f"r{number}", label=random.choice(("confirmed", "refuted", "insufficient")), confidence=0.5
            )
        case _:
            return f"s{random.randrange(1000)}"


def calls(said: str, offered: list[str]) -> list[tuple[str, dict[str, Value]]]:
    """The tools that a model calls that may, given all that is said so far; none where it answers."""
    random = Random(hashlib.sha256(repr((said, offered)).encode()).digest())
    found: list[tuple[str, dict[str, Value]]] = []
    for _ in range(random.choice((0, 0, 1, 2, 3)) if said.split()[0] != "bad" else 0):
        name = random.choice((*offered, *offered, *offered, "nothing"))
        found.append((name, {"q": f"{'bad' if random.random() < 0.1 else 'fine'} {random.randrange(100)}"}))
    return found


def tool(name: str, arguments: dict[str, Value]) -> Value:
    """What a tool gives."""
    text = arguments["q"]
    if text.startswith("bad"):
        return Failed("tool_failed")
    return {"look": f"<{text}>", "store": [text, "stored"]}.get(name, {"a": text, "n": len(text)})


def arguments(random: Random) -> list[Any]:
    """Those of `main`."""
    return [random.choice(OBJECTS), ["l", "m"][: random.randrange(3)], random.random() < 0.5, random.randrange(4), []]
