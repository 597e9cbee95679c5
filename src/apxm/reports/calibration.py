"""What a calibration found: ``apxm calibrate``."""

from __future__ import annotations

from apxm.analysis.engine_fit import EngineFit
from apxm.analysis.profile import Profile
from apxm.reports.summary import count
from apxm.reports.tables import markdown

_DISCIPLINES = {
    "sharing": "sharing: calls that are in flight together all get slower",
    "queue": "queue: each call waits for those that came before it",
}
_SHARES = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)


def calibration_text(profile: Profile) -> str:
    """What a calibration found, by tokens or by load."""
    return _by_load(profile) if profile.engine is None else _by_tokens(profile, profile.engine)


_COSTS = (
    ("fixed", "of a call, which nothing shares: transport, tokenizer"),
    ("step", "of an iteration of the engine"),
    ("prefill", "of each token of a prompt that is read in it"),
    ("decode", "of each call that gets a token in it"),
)


def _by_tokens(profile: Profile, engine: EngineFit) -> str:
    costs = [
        [name, f"{time:.4g}", f"± {error:.2g}", what]
        for (name, what), time, error in zip(_COSTS, engine.times, engine.errors, strict=True)
    ]
    levels = [[str(level.concurrency), str(level.calls), f"{level.latency_ms:,.1f}"] for level in profile.levels]
    slots = "not limited, as far as was seen" if engine.slots is None else count(engine.slots, "slot")
    chunks = "read whole" if engine.chunk is None else f"read in chunks of {engine.chunk:,} tokens in an iteration"
    lines = [
        f"backend {profile.backend}, model {profile.model}, calibrated {profile.date}",
        "",
        *markdown(["cost", "ms", "", ""], costs),
        "",
        f"calls in service     {slots}",
        f"prompts              {chunks}{', their beginnings kept' if engine.cache else ''}",
        f"a token              {engine.characters_per_token:.2f} characters, and {engine.tokens_per_call:.0f} a call",
        f"calls vary           σ {engine.spread:.2f}; the engine, from time to time, σ {engine.drift:.2f}",
        f"cost to the client   {profile.client_ms:.3f} ms per call",
        *([f"failed               {count(profile.failed_calls, 'call')}, left out"] if profile.failed_calls else []),
        "",
        "Latencies in ms, transport included, of calls short and long, sent at once:",
        "",
        *markdown(["at once", "calls", "mean"], levels),
    ]
    if engine.unknown:
        lines += ["", "not learned:", *(f"- {each}" for each in engine.unknown)]
    return "\n".join(lines)


def _by_load(profile: Profile) -> str:
    """The points, how calls lie around them, the discipline, and the fit that describes them."""
    lines = [
        f"backend {profile.backend}, model {profile.model}, calibrated {profile.date}",
        "times are service times, in ms, as the endpoint reports them"
        if profile.service_reported
        else "times are latencies, in ms: the endpoint does not report its service time",
        f"answers have {profile.output_tokens:,.1f} tokens in the mean"
        if profile.output_tokens is not None
        else "the endpoint does not say how many tokens its answers have, or says what cannot be",
        "",
        *_points(profile),
        "",
        *_distribution(profile),
        "",
        f"discipline           {_DISCIPLINES[profile.discipline]}",
        f"cost to the client   {profile.client_ms:.3f} ms per call",
        *([f"failed               {count(profile.failed_calls, 'call')}, left out"] if profile.failed_calls else []),
        f"described by         s(c) = 1 + α(c−1) + βc(c−1), {_fit(profile)}",
    ]
    return "\n".join(lines)


def _points(profile: Profile) -> list[str]:
    levels = {level.concurrency: level for level in profile.levels}
    residuals = profile.scalability.residuals
    rows = [
        [
            str(point.concurrency),
            str(levels[point.concurrency].calls),
            f"{levels[point.concurrency].service_ms:,.1f}",
            f"{levels[point.concurrency].latency_ms:,.1f}",
            f"{point.service_ms:,.1f}",
            f"{point.service_ms / profile.isolated_ms:.3f}",
            f"{residual:+.3f}",
        ]
        for point, residual in zip(profile.points, residuals, strict=True)
    ]
    return markdown(["c", "calls", "service", "latency", "kept", "s(c)", "s(c) − fit"], rows)


def _distribution(profile: Profile) -> list[str]:
    last = len(profile.ratios) - 1
    values = [f"{profile.ratios[round(share * last)]:.3f}" for share in _SHARES]
    return markdown(["one call / mean", *("least", "5%", "25%", "50%", "75%", "95%", "most")], [["", *values]])


def _fit(profile: Profile) -> str:
    fit = profile.scalability
    worst = max(map(abs, fit.residuals))
    return f"α {fit.alpha:.4f}, β {fit.beta:.6f}, off by up to {worst:.3f}"
