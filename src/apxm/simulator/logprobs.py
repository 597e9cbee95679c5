"""How probable a simulated model finds its tokens: made up from the text, and always the same for it."""

from __future__ import annotations

from hashlib import blake2b
from math import log
from random import Random

from msgspec import Struct

from apxm.simulator.outputs import pieces

MOST_ALTERNATIVES = 20
_OTHERS = (
    " the", " of", " and", " a", " to", " in", " is", " it", " that", " was", " for", " on", " are", " as", " with",
    " his", " they", " at", " be", " this", " from",
)  # fmt: skip
"""One more than alternatives can be asked for, as the token itself may be among them."""


class Alternative(Struct):
    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(Alternative):
    top_logprobs: list[Alternative]
    """The most probable first, which is the token itself."""


def logprobs_of(text: str, alternatives: int) -> list[TokenLogprob]:
    """One for each token. A token takes at least half of what is probable, each alternative half of what is left."""
    random = Random(int.from_bytes(blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()))
    return [_of_token(token, 0.5 + 0.49 * random.random(), alternatives) for token in pieces(text)]


def _of_token(token: str, probability: float, alternatives: int) -> TokenLogprob:
    chosen = Alternative(token, log(probability), _bytes(token))
    ranked, left = [chosen], 1 - probability
    for other in [other for other in _OTHERS if other != token][: max(0, alternatives - 1)]:
        left /= 2
        ranked.append(Alternative(other, log(left), _bytes(other)))
    return TokenLogprob(token, chosen.logprob, chosen.bytes, ranked[:alternatives])


def _bytes(token: str) -> list[int]:
    return list(token.encode())
