"""The two ways in which `apxm calibrate` measures: what it may take, said before, and how it is done."""

from __future__ import annotations

from msgspec.structs import replace

from apxm.analysis.calibrate import CALLS as CALLS_BY_LOAD
from apxm.analysis.calibrate import CONCURRENCIES as CONCURRENCIES_BY_LOAD
from apxm.analysis.calibrate import Report, calibrate, most_calls
from apxm.analysis.calibrate_engine import CALLS, CONCURRENCIES, Effort, calibrate_engine, least_effort, most_effort
from apxm.analysis.engine_fit import relative_error
from apxm.analysis.predict import predict
from apxm.analysis.profile import Profile
from apxm.backends.numbers import counts
from apxm.backends.protocol import AnyBackend

_RUNS = 5
"""Behind each prediction of a program of which something is drawn."""


class ByLoad:
    """How calls of one kind slow each other down."""

    notes: tuple[str, ...] = ()

    def __init__(self, backend: AnyBackend, c: str | None, calls: int | None, max_tokens: int | None) -> None:
        self._backend = backend
        self._concurrencies = CONCURRENCIES_BY_LOAD if c is None else counts(c, "--c")
        self._calls = calls or CALLS_BY_LOAD
        self._max_tokens = max_tokens

    @property
    def most_calls(self) -> int:
        return most_calls(self._concurrencies, self._calls)

    async def measure(self, date: str, report: Report) -> Profile:
        found = await calibrate(
            self._backend,
            date=date,
            concurrencies=self._concurrencies,
            calls=self._calls,
            max_tokens=self._max_tokens,
            report=report,
        )
        return found.profile


class ByTokens:
    """What a call costs by its tokens."""

    def __init__(
        self,
        backend: AnyBackend,
        c: str | None,
        calls: int | None,
        seconds: float | None,
        program: str | None,
        *,
        streams: bool,
    ) -> None:
        """Raises `UsageError` and `CompileError` for a program that cannot be predicted."""
        self._backend = backend
        self._concurrencies = CONCURRENCIES if c is None else counts(c, "--c")
        self._calls = calls or CALLS
        self._seconds = seconds
        self._streams = streams
        self._error = None if program is None else _ErrorOf(program)

    @property
    def most_calls(self) -> int:
        return most_effort(self._concurrencies, self._calls).calls

    @property
    def notes(self) -> tuple[str, ...]:
        least = least_effort(self._concurrencies)
        most = most_effort(self._concurrencies, self._calls)
        price = self._backend.limits.prices.get(self._backend.info.model)

        def said(effort: Effort) -> str:
            tokens = f"{effort.calls:,} calls, about {effort.given:,} tokens of prompts and {effort.taken:,} of answers"
            if price is None:
                return tokens
            return f"{tokens}, cost {(effort.given * price.input + effort.taken * price.output) / 1e6:,.4f}"

        if least == most:
            return (f"planned: {said(least)}",)
        return (f"planned: {said(least)} in a pass; at most {said(most)}",)

    async def measure(self, date: str, report: Report) -> Profile:
        return await calibrate_engine(
            self._backend,
            date=date,
            concurrencies=self._concurrencies,
            calls=self._calls,
            seconds=self._seconds,
            streams=self._streams,
            error=self._error,
            report=report,
        )


class _ErrorOf:
    """The standard error of the predicted duration of a program's main flow, as a part of it."""

    def __init__(self, file: str) -> None:
        """Raises `UsageError` and `CompileError`."""
        from apxm import api
        from apxm.analysis.static import assumptions_of, with_stand_ins
        from apxm.cli.inputs import is_artifact
        from apxm.program.invocation import select_flow

        if is_artifact(file) or file.endswith(".apxmobj"):
            self._program = api.load(file)
        else:
            from apxm.cli.sources import compile_file

            self._program = compile_file(file, 1).compilation.program
        self._flow = select_flow(self._program)
        self._arguments, unknown = with_stand_ins(self._flow, {}, self._program.record_types, {})
        self._assumed = assumptions_of(self._flow, unknown, {}, {})

    def __call__(self, profile: Profile) -> float:
        assert profile.engine is not None
        return relative_error(profile.engine, lambda engine: self._predicted(replace(profile, engine=engine)))

    def _predicted(self, profile: Profile) -> float:
        """By costs as they are, so that nothing but these differs from one time to another."""
        assert profile.engine is not None
        exact = replace(profile.engine, spread=0.0, drift=0.0, covariance=())
        found = predict(
            self._program,
            self._flow,
            self._arguments,
            replace(profile, engine=exact),
            runs=_RUNS,
            assumptions=self._assumed,
        )
        return found.mean_ms
