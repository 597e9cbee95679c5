"""A simulated model that answers what the scripts ask for: whatever it says follows from the prompt, and from how often
that was asked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from hashlib import sha256

from msgspec.structs import replace

from apxm.backends.protocol import Clock, Handle, ModelAnswer, ModelRequest
from apxm.backends.simulated import SimulatedBackend


def _one_of(*texts: str) -> Callable[[int], str]:
    return lambda number: texts[number % len(texts)]


def _acting(number: int) -> str:
    return (
        "Thought: I look it up. Action: lookup[bees]",
        f"Thought: I calculate. Action: calculate[{number % 90} * 3 + 1]",
        "Thought: let me search. Action: search[web]",
        "Thought: hm. Action: calculate[1 / 0]",
        f"Thought: I know. Final: {number % 1000}",
    )[number % 5]


_RULES: tuple[tuple[str, Callable[[int], str]], ...] = (
    (r"as \(X\)", lambda n: f"I think it is ({'ABCD'[n % 4]})." if n % 7 else "I do not know."),
    (r"as \[A\]", lambda n: f"[{'ABCD'[n % 4]}]" if n % 5 else "It depends."),
    (r"Rewrite the prompt", lambda n: f"Sorry, no. {n % 100}" if n % 6 == 0 else f"Harder task {n % 1000}."),
    (r"equal in meaning", _one_of("Not Equal", "Not Equal", "Equal")),
    (r"'Score: N/10'", lambda n: f"Too long.\nScore: {n % 11}/10" if n % 9 else "Score: fine"),
    (r"yes or no", _one_of("No.", "Yes, it is.", "no", "no")),
    (r"one per line", lambda n: "\n".join(f"- step {n % 97 + k}" for k in range(3))),
    (r"from 1 to 10: ", lambda n: f"{n % 10 + 1}"),
    (r"as \[\[rating\]\]", lambda n: f"[[{n % 10}]] and [[{n // 16 % 10}.5]]" if n % 3 else f"[[{n % 10}]]"),
    (r"Action: tool", _acting),
    (r"'grade: N'", lambda n: f"It is fair. grade: {n % 11}" if n % 8 else "grade: none"),
    (r"Combine", lambda n: f"All in all {n % 1000}" + " and more" * (n % 9)),
)


class Answering(SimulatedBackend):
    """Takes a second for each call, unless told otherwise."""

    def __init__(self, latency: str = "constant:1000", seed: int = 0) -> None:
        super().__init__(latency=latency, seed=seed)
        self.asked: list[str] = []
        self._times: Counter[str] = Counter()

    def begin(self, request: ModelRequest, clock: Clock, done: Callable[..., None]) -> Handle:
        self.asked.append(f"{request.system or ''}|{request.prompt}")
        return super().begin(request, clock, done)

    def answer(self, request: ModelRequest, service_ns: int, choice: int = 0) -> ModelAnswer:
        answer = super().answer(request, service_ns, choice)
        self._times[request.prompt] += 1
        said = f"{request.prompt} {self._times[request.prompt]}"
        number = int.from_bytes(sha256(said.encode()).digest()[:4])
        for pattern, text in _RULES:
            if request.answer is None and re.search(pattern, request.prompt):
                return replace(answer, text=text(number))
        return answer
