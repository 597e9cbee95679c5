"""Which tools a simulated model calls where it is offered some, and with which arguments."""

from __future__ import annotations

from hashlib import blake2b
from random import Random

from apxm.backends.dialogue import OfferedTool, RequestedCall
from apxm.backends.protocol import ModelRequest
from apxm.backends.shapes import drawn_text

_ROUNDS = (0, 1, 1, 2)
"""In how many answers it calls something, before it gives one in words; each is as likely."""
_CALLS = (1, 2)
"""How many tools it calls in one of them."""


def drawn_calls(request: ModelRequest, seed: int, choice: int = 0) -> tuple[RequestedCall, ...]:
    """The calls by which it answers, none where it answers in words. They follow from the seed, the texts of the
    request and the tools."""
    if not request.offers:
        return ()
    asked = f"{choice} {seed}\0{request.system}\0{request.prompt}"
    digest = blake2b(asked.encode(errors="surrogatepass"), digest_size=8).hexdigest()
    done = len(request.rounds)
    if done >= Random(digest).choice(_ROUNDS):
        return ()
    random = Random(f"{digest} {done}")
    tools = [random.choice(request.tools) for _ in range(random.choice(_CALLS))]
    return tuple(_drawn(tool, f"call_{done + 1}_{k}", digest) for k, tool in enumerate(tools, 1))


def _drawn(tool: OfferedTool, own: str, digest: str) -> RequestedCall:
    return RequestedCall(own, tool.name, drawn_text(tool.schema, digest, own) or "{}")
