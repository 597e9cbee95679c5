"""Learns what the calls of an endpoint cost by their tokens, and makes a `Profile` of it.

A small planned set of calls: short and long prompts, few and many tokens of an answer, alone and in bursts of 2, 4,
8, … It is made again, with other texts, until the costs are known well enough or the calls or the time are spent.
Latencies are what counts, never the service time that an endpoint reports, so transport is part of all predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from statistics import fmean
from time import monotonic
from typing import NamedTuple

from msgspec.structs import replace

from apxm.analysis.calibrate import CalibrationFailed, Client, Report
from apxm.analysis.engine_fit import UNITS, EngineFit, Observed, Round, fitted, relative_error, simulated
from apxm.analysis.profile import Level, Profile
from apxm.analysis.typical import spread_ratios, typical_points
from apxm.backends.engine import BLOCK, Tokens
from apxm.backends.protocol import AnyBackend
from apxm.backends.simulated import CHARACTERS_PER_TOKEN, blocks_of
from apxm.errors import UsageError
from apxm.runtime.trace import Attempt

CONCURRENCIES = (1, 2, 4, 8, 16)
CALLS = 400
PRECISION = 0.02
SHORT, LONG = (20, 60), (600, 1200)
"""Tokens of prompts, about."""
FEW, MANY = (2, 8), (40, 80)
"""Tokens of answers, at most."""
_MOST_FAILED = 0.5
_WORDS = (
    "river stone paper window market garden letter morning engine harbor copper valley teacher signal winter bridge "
    "ladder orange pocket silver thunder candle forest island mirror needle planet rocket saddle tunnel violin"
)


class Question(NamedTuple):
    prompt: str
    max_tokens: int


class Batch(NamedTuple):
    """Questions that are asked one after the other, or all at once."""

    at_once: bool
    questions: Sequence[Question]


def planned(
    number: int, concurrencies: Sequence[int], characters_per_token: float = CHARACTERS_PER_TOKEN
) -> list[Batch]:
    """The batches of a pass, from 0, each with texts of its own.

    Alone, all four of short and long with few and many. At once, half of them mixed, as prompts hold up answers; and
    half short with many tokens, so that as many answers as can be are under way together.
    """
    random = Random(number)
    texts = (_text(random, f"{number}.{i}") for i in range(1 << 30))

    def ask(prompt: tuple[int, int], answer: tuple[int, int]) -> Question:
        characters = round(random.randint(*prompt) * characters_per_token)
        return Question(next(texts)(characters), random.randint(*answer))

    def mixed() -> Question:
        return ask(random.choice((SHORT, LONG)), random.choice((FEW, MANY)))

    corners = [ask(prompt, answer) for prompt in (SHORT, LONG) for answer in (FEW, MANY)]
    # The same prompt again: is its beginning read again?
    alone = [*corners, *(mixed() for _ in range(3)), corners[-1]._replace(max_tokens=FEW[0])]
    batches = [Batch(at_once=False, questions=alone)]
    for together in concurrencies:
        if together > 1:
            batches.append(Batch(at_once=True, questions=[mixed() for _ in range(together)]))
            batches.append(Batch(at_once=True, questions=[ask(SHORT, MANY) for _ in range(together)]))
    return batches


def _text(random: Random, name: str) -> Callable[[int], str]:
    """A text of about so many characters, that begins as no other one."""
    words = _WORDS.split()

    def text(characters: int) -> str:
        said = f"{name}: go on with this list of words."
        while len(said) < characters:
            said += " " + random.choice(words)
        return said

    return text


class Effort(NamedTuple):
    """What a calibration takes, at most."""

    calls: int
    given: int
    """Tokens of prompts, about."""
    taken: int
    """Tokens of answers."""


def least_effort(concurrencies: Sequence[int]) -> Effort:
    """Of one pass."""
    questions = [question for batch in planned(0, concurrencies) for question in batch.questions]
    given = sum(len(question.prompt) // CHARACTERS_PER_TOKEN for question in questions)
    return Effort(len(questions), given, sum(question.max_tokens for question in questions))


def most_effort(concurrencies: Sequence[int], calls: int) -> Effort:
    once = least_effort(concurrencies)
    passes = max(1, calls // once.calls)
    return Effort(*(passes * each for each in once))


async def calibrate_engine(
    backend: AnyBackend,
    *,
    date: str,
    concurrencies: Sequence[int] = CONCURRENCIES,
    calls: int = CALLS,
    seconds: float | None = None,
    precision: float = PRECISION,
    streams: bool = False,
    error: Callable[[Profile], float] | None = None,
    report: Report = lambda _text: None,
) -> Profile:
    """Measures `backend` on the running event loop, real or virtual, and leaves it open.

    It ends once `error`, the standard error of what is to be predicted as a part of it, is at most `precision`; by
    default that of calls as they were made. Or before a pass that would make more than `calls` calls, or after
    `seconds`. A call that fails is counted, and else left out. With `streams` answers come in parts, and the times of
    first tokens count too.

    Raises `CalibrationFailed` where most calls fail, and `UsageError` for concurrencies that the backend is not
    allowed.
    """
    levels = sorted({1, *concurrencies})
    if backend.limits.max_concurrency is not None and levels[-1] > backend.limits.max_concurrency:
        raise UsageError(
            f"backend {backend.info.name!r} may have {backend.limits.max_concurrency} calls in flight, not {levels[-1]}"
        )
    if backend.limits.by_the_minute:
        raise UsageError(
            f"backend {backend.info.name!r} has limits by the minute, which a calibration would measure instead of it"
        )
    client = Client(backend, _MOST_FAILED, streams=streams)
    report("warming up")
    texts = [_text(Random(i), f"warm up {i}")(CHARACTERS_PER_TOKEN * SHORT[1]) for i in range(levels[-1])]
    warm = await client.ask(texts, FEW[1], None)
    told = [n for attempt in warm.answered if (n := attempt.usage.input_tokens)]
    # Prompts are to have so many tokens there, where a token may be a word or a byte.
    size = max(1.0, len(texts[0]) / fmean(told)) if told else CHARACTERS_PER_TOKEN
    began = monotonic()
    asked: list[_Asked] = []
    once = least_effort(levels).calls
    while True:
        number = asked[-1].number + 1 if asked else 0
        asked += [await _ask(client, number, batch, report) for batch in planned(number, levels, size)]
        profile = _profile(backend, date, asked, client)
        found = (error or _error)(profile)
        report(f"{sum(len(batch.answered) for batch in asked)} calls: costs known to {found:.1%}")
        spent = seconds is not None and monotonic() - began > seconds
        # One pass may agree with itself by chance.
        known = found <= precision and (number > 0 or not found)
        if known or spent or (number + 2) * once > calls:
            return profile


class _Asked(NamedTuple):
    """A batch that is over."""

    number: int
    at_once: bool
    answered: Sequence[tuple[Question, Attempt]]


async def _ask(client: Client, number: int, batch: Batch, report: Report) -> _Asked:
    questions = batch.questions
    report(f"{len(questions)} calls, {'all at once' if batch.at_once else 'one after the other'}")
    limit = None if batch.at_once else 1
    made = await client.ask([q.prompt for q in questions], [q.max_tokens for q in questions], limit)
    answered = [(questions[i], each) for i, each in zip(made.places, made.attempts, strict=True) if each is not None]
    return _Asked(number, batch.at_once, answered)


class _Counting(NamedTuple):
    """How many tokens texts have at this endpoint."""

    characters_per_token: float
    beside: float
    """Tokens of a call that are not of its text."""

    @staticmethod
    def learned(calls: Iterable[tuple[Question, Attempt]]) -> _Counting | None:
        """A straight line through what the endpoint says; None where it says nothing."""
        known = [(len(q.prompt), n) for q, attempt in calls if (n := attempt.usage.input_tokens)]
        if not known:
            return None
        weights = [1 / length for length, _ in known]
        total = sum(weights)
        middle = sum(w * length for w, (length, _) in zip(weights, known, strict=True)) / total
        height = sum(w * tokens for w, (_, tokens) in zip(weights, known, strict=True)) / total
        spread = sum(w * (length - middle) ** 2 for w, (length, _) in zip(weights, known, strict=True))
        rise = sum(w * (length - middle) * (n - height) for w, (length, n) in zip(weights, known, strict=True))
        slope = rise / spread if spread else 0.0
        if slope <= 0:
            return None
        return _Counting(1 / slope, max(0.0, height - slope * middle))


def _profile(backend: AnyBackend, date: str, asked: Sequence[_Asked], client: Client) -> Profile:
    calls = [each for batch in asked for each in batch.answered]
    if not calls:
        raise CalibrationFailed("no call was answered")
    counting = _Counting.learned(calls)
    told = [n for _, attempt in calls if (n := attempt.usage.cached_tokens) is not None]
    cache = any(told) if told else None
    engine = _fit(asked, counting or _Counting(CHARACTERS_PER_TOKEN, 0.0), cache)
    engine = replace(engine, unknown=tuple(_unlearned(engine, asked, counting, cache)))
    info = backend.info
    levels = _levels(asked)
    return Profile(
        backend=info.name,
        model=info.model,
        endpoint=info.endpoint,
        simulated=info.simulated,
        max_concurrency=backend.limits.max_concurrency,
        date=date,
        discipline="sharing" if engine.slots is None else "queue",
        levels=levels,
        points=typical_points(engine, [level.concurrency for level in levels]),
        ratios=spread_ratios(engine.spread),
        burst_ms=(),
        client_ms=client.cost_ns / 1e6,
        service_reported=False,
        output_tokens=None,
        failed_calls=client.failed,
        engine=engine,
    )


def _fit(asked: Sequence[_Asked], counting: _Counting, cache: bool | None) -> EngineFit:
    rounds: list[Round] = []
    for number, batch in enumerate(asked):
        observed = [_observed(q, attempt, counting, number, blocks=cache is None) for q, attempt in batch.answered]
        rounds += [observed] if batch.at_once else [[each._replace(sent_ms=0.0)] for each in observed]
    most = max(len(each) for each in rounds)
    engine = fitted([each for each in rounds if each], None if cache is None else False, most)
    return replace(
        engine,
        cache=engine.cache if cache is None else cache,
        characters_per_token=counting.characters_per_token,
        tokens_per_call=counting.beside,
    )


def _observed(question: Question, attempt: Attempt, counting: _Counting, batch: int, *, blocks: bool) -> Observed:
    usage = attempt.usage
    prompt = usage.input_tokens
    if prompt is None:
        prompt = round(counting.beside + len(question.prompt) / counting.characters_per_token)
    size = max(1, round(BLOCK * counting.characters_per_token))
    return Observed(
        attempt.sent / 1e6,
        Tokens(
            max(1, prompt - (usage.cached_tokens or 0)),
            question.max_tokens if usage.output_tokens is None else usage.output_tokens,
            blocks_of(question.prompt, size) if blocks else (),
        ),
        max(attempt.latency, 1) / 1e6,
        # An answer that comes whole is its own first part.
        None if attempt.first in (None, attempt.received) else max(attempt.first - attempt.sent, 1) / 1e6,
        batch,
    )


def _levels(asked: Sequence[_Asked]) -> tuple[Level, ...]:
    """What calls took, by how many were sent at once."""
    found: dict[int, list[Attempt]] = {}
    for batch in asked:
        attempts = [attempt for _, attempt in batch.answered]
        if attempts:
            found.setdefault(len(attempts) if batch.at_once else 1, []).extend(attempts)
    means = {c: fmean(attempt.latency for attempt in attempts) / 1e6 for c, attempts in sorted(found.items())}
    return tuple(Level(c, len(found[c]), mean, mean) for c, mean in means.items())


_PROBES = ([Tokens(40, 5)], [Tokens(40, 60)], [Tokens(1000, 5)], [Tokens(1000, 60)], [Tokens(300, 40)] * 8)


def _error(profile: Profile) -> float:
    """The largest standard error of calls as they were made, as a part of what they take."""
    engine = profile.engine
    assert engine is not None
    return max(relative_error(engine, lambda each, tokens=tokens: _took(each, tokens)) for tokens in _PROBES)


def _took(engine: EngineFit, tokens: Sequence[Tokens]) -> float:
    calls = [Observed(0.0, each, 1.0) for each in tokens]
    return fmean(over for _, over in simulated(engine.costs(units=UNITS), [calls]))


def _unlearned(
    engine: EngineFit, asked: Sequence[_Asked], counting: _Counting | None, cache: bool | None
) -> Iterator[str]:
    most = max(len(batch.answered) for batch in asked if batch.at_once) if any(b.at_once for b in asked) else 1
    if engine.slots is None:
        yield f"how many slots it has: {most} calls at once met no queue"
    if engine.chunk is None:
        yield "whether longer prompts are read in chunks: these were not"
    if counting is None:
        yield f"how many tokens a text has: it does not say, and {CHARACTERS_PER_TOKEN} characters are taken for one"
    if any(attempt.usage.output_tokens is None for batch in asked for _, attempt in batch.answered):
        yield "how long its answers were: it does not say, and all are taken for as long as they were allowed"
    if cache is None and not engine.cache:
        yield "whether it keeps prefixes: it does not say, and a prompt that came again was no quicker"
    for name, time, error in zip(("fixed", "step", "prefill", "decode"), engine.times, engine.errors, strict=True):
        # Where one call is served at a time, how its parts share a token decides nothing.
        if error > 0.5 * time and (engine.slots != 1 or name == "prefill"):
            yield f"{name}: {time:.3g} ± {error:.2g} ms"
