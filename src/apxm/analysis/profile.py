"""A profile: how one model behind one backend answers under load, as `calibrate` measured it.

It stands for the endpoint wherever a run is predicted or explained. Times are in ms; *service* is what the endpoint
says it spent on a call, and where it says nothing, the call's whole latency. Where it has an `engine`, that says what a
call costs by its tokens, and the points say what calls like those of the calibration take.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import msgspec
from msgspec import Struct

from apxm.analysis.engine_fit import EngineFit
from apxm.backends.latency import MAX_LATENCY_MS
from apxm.backends.protocol import MOST_TOKENS
from apxm.backends.slowdown import MAX_CALLS, MAX_FACTOR, Curve, parse_slowdown
from apxm.errors import ConfigurationError
from apxm.operations.definition import Operation

VERSION = 2
_READ = (1, VERSION)
"""The versions that can be read: the first knows no engine."""

Discipline = Literal["sharing", "queue"]
"""What calls that are in flight together do to each other: all get slower, or each waits for those before it."""


class Level(Struct, frozen=True):
    """What a closed loop measured: `concurrency` calls in flight all the time."""

    concurrency: int
    calls: int
    service_ms: float
    """The mean of its calls."""
    latency_ms: float
    """The mean of its calls."""


class Point(Struct, frozen=True):
    concurrency: int
    service_ms: float


class ScalabilityFit(Struct, frozen=True):
    """``s(c) = 1 + α(c−1) + βc(c−1)`` fitted to the points: it describes them, nothing is computed from it."""

    alpha: float
    beta: float
    residuals: tuple[float, ...]
    """s(c) of each point less s(c) of the fit."""


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    version: int = VERSION
    """The version of this format."""
    backend: str
    """The backend's name in the configuration."""
    model: str
    endpoint: str | None
    simulated: bool
    max_concurrency: int | None
    """Most calls in flight that the backend is configured for."""
    date: str
    """The time of calibration, in ISO 8601."""
    discipline: Discipline
    levels: tuple[Level, ...]
    """The levels of concurrency, as measured."""
    points: tuple[Point, ...]
    """The levels made monotone: more load never means less service. The first is at concurrency 1."""
    ratios: tuple[float, ...]
    """How the services of single calls lie around the mean of their level: ratios to it, rising, equally likely."""
    burst_ms: tuple[float, ...]
    """Services of calls sent all at once, as many as the largest concurrency, rising."""
    client_ms: float
    """What each call costs the client's own thread, one call after the other."""
    service_reported: bool
    """Whether the endpoint says its service time."""
    output_tokens: float | None
    """Mean length of the calibration's answers; None where the endpoint does not count."""
    failed_calls: int = 0
    """Calls of the calibration that failed, and count for nothing else here."""
    specification: str | None = None
    """What a simulated backend says that was not measured, but taken at its word."""
    engine: EngineFit | None = None
    """What a call costs by its tokens; None where that is not known, and calls are predicted as if they were all like
    those of the calibration."""

    def __post_init__(self) -> None:
        if self.version not in _READ:
            raise ValueError(f"its version is {self.version}, and this apxm reads versions 1 and {VERSION}")
        concurrencies = [point.concurrency for point in self.points]
        services = [point.service_ms for point in self.points]
        if concurrencies[:1] != [1] or sorted(set(concurrencies)) != concurrencies:
            raise ValueError("the concurrency of its points must rise from 1")
        if services != sorted(services) or services[0] <= 0:
            raise ValueError("the service of its points must be above 0, and must not fall")
        if services[-1] > services[0] * MAX_FACTOR:
            raise ValueError(f"the service of its points must not grow to more than {MAX_FACTOR:,} times the first one")
        if not self.ratios or list(self.ratios) != sorted(self.ratios) or self.ratios[0] < 0 or not self.ratios[-1]:
            raise ValueError("its ratios must be at least one number, must not fall, and not all be 0")
        if services[-1] * max(1.0, self.ratios[-1]) > MAX_LATENCY_MS:
            raise ValueError(f"its points and ratios give a service of more than {MAX_LATENCY_MS:,} ms (a week)")
        if not 0 <= self.client_ms <= MAX_LATENCY_MS:
            raise ValueError(f"its client_ms must be between 0 and {MAX_LATENCY_MS:,}, not {self.client_ms:g}")
        if self.output_tokens is not None and not 0 <= self.output_tokens <= MOST_TOKENS:
            raise ValueError(f"its output_tokens must be between 0 and {MOST_TOKENS:,}, not {self.output_tokens:g}")
        if concurrencies[-1] > MAX_CALLS:
            raise ValueError(f"the concurrency of its points must be at most {MAX_CALLS:,}")

    @property
    def isolated_ms(self) -> float:
        """Mean service of a call that is alone."""
        return self.points[0].service_ms

    @cached_property
    def slowdown(self) -> Curve:
        """s(c): through the points, and beyond the last one along the last two."""
        written = ",".join(f"{p.concurrency}={p.service_ms / self.isolated_ms:.6f}" for p in self.points)
        curve = parse_slowdown(f"curve:{written}")
        assert isinstance(curve, Curve)
        return curve

    @property
    def scalability(self) -> ScalabilityFit:
        """The fit with α, β ≥ 0 of ``(s−1)/(c−1) = α + βc`` by least squares."""
        points = [(p.concurrency, p.service_ms / self.isolated_ms) for p in self.points]
        alpha, beta = _fit([(c, (s - 1) / (c - 1)) for c, s in points[1:]])
        return ScalabilityFit(alpha, beta, tuple(s - 1 - (c - 1) * (alpha + beta * c) for c, s in points))


def _fit(samples: list[tuple[int, float]]) -> tuple[float, float]:
    """Intercept and slope of a straight line, both at least 0; a single sample gives no slope."""
    if not samples:
        return 0.0, 0.0
    mean_x = sum(x for x, _ in samples) / len(samples)
    mean_y = sum(y for _, y in samples) / len(samples)
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread if spread else 0.0
    intercept = mean_y - slope * mean_x
    if slope < 0:
        return mean_y, 0.0
    if intercept < 0:
        return 0.0, sum(x * y for x, y in samples) / sum(x * x for x, _ in samples)
    return intercept, slope


def assumed(operation: Operation) -> Profile:
    """What is assumed of an endpoint that was not calibrated: the operation always takes its `typical_ms`."""
    return Profile(
        backend="",
        model="",
        endpoint=None,
        simulated=True,
        max_concurrency=None,
        date="",
        discipline="sharing",
        levels=(),
        points=(Point(1, operation.typical_ms),),
        ratios=(1.0,),
        burst_ms=(),
        client_ms=0.0,
        service_reported=True,
        output_tokens=None,
    )


def encode_profile(profile: Profile) -> bytes:
    return msgspec.json.format(msgspec.json.encode(profile), indent=2) + b"\n"


def decode_profile(data: bytes, *, where: str) -> Profile:
    """Reads what `encode_profile` wrote; `where` names the file. Raises `ConfigurationError`."""
    try:
        return msgspec.json.decode(data, type=Profile)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigurationError(
            f"this is not a profile: {error}", where=where, hint="apxm calibrate writes one"
        ) from None
