"""The backends of a run: what is configured, and what the command line makes of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, cast

import msgspec

from apxm.backends.faults import parse_faults
from apxm.backends.latency import parse_latency
from apxm.backends.numbers import whole
from apxm.backends.protocol import NO_LIMITS, AnyBackend, BackendInfo, CoroutineBackend
from apxm.backends.registry import DeferredBackend, create_backend
from apxm.backends.settings import OpenAISettings, ReplaySettings, Settings, SimulatedSettings
from apxm.backends.slowdown import parse_slowdown
from apxm.config import environment as env
from apxm.config.files import Scope, user_folder
from apxm.config.inventory import Inventory, KnownBackend
from apxm.config.tools import configured_tools
from apxm.errors import ConfigurationError, UsageError
from apxm.runtime.limits import BackendPool, Gates
from apxm.source import printable
from apxm.tools.simulated import parse_latencies
from apxm.tools.toolbox import NO_TOOLS, SimulatedToolbox, Toolbox

if TYPE_CHECKING:
    from apxm.backends.answers import Answers

_PARSERS = {"latency": parse_latency, "slowdown": parse_slowdown, "faults": parse_faults}
"""What reads the options of a simulated backend that are more than a number."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What the command line, or a caller, says about the backend of a run; None leaves it as configured. Raises
    `UsageError` for a seed that is none.

    All but `backend` and where to find it change the backend that answers by default, and no other.
    """

    backend: str | None = None
    model: str | None = None
    latency: str | None = None
    slowdown: str | None = None
    faults: str | None = None
    seed: int | None = None
    simulate_tools: bool | None = None
    """Whether tools are called in earnest; None: where the backend that answers by default is not simulated."""
    tool_latency: list[str] | None = None
    """How long simulated tools take, as ``MS`` or ``NAME=MS``."""
    file: str | None = None
    """The configuration to use and no other, which a caller calls `config`; from Python it may be any path."""
    directory: str | None = None
    """Where to look for a project's configuration; None: in the working directory."""
    scope: Scope = Scope.CHOSEN
    """Who named `file`."""

    def __post_init__(self) -> None:
        if self.file is not None:
            object.__setattr__(self, "file", os.fspath(self.file))
        if self.tool_latency is not None:
            object.__setattr__(self, "tool_latency", list(self.tool_latency))
        if self.seed is not None:
            object.__setattr__(self, "seed", whole(self.seed, "the seed"))


@dataclass(frozen=True)
class ResolvedBackends:
    backends: Mapping[str, AnyBackend]
    default: str
    notice: str
    """Which model answers, for people."""
    warnings: tuple[str, ...]
    stands_in: bool = False
    """Whether the default one answers for whatever backend the program names."""
    tools: Toolbox = NO_TOOLS
    settings: Mapping[str, Settings] = field(default_factory=dict[str, Settings])
    """What is configured of each backend, by its name."""
    inventory: Inventory | None = None
    """All that they were chosen from."""

    def pool(self, shared: Gates | None = None) -> BackendPool:
        return BackendPool(self.backends, self.default, shared, stands_in=self.stands_in)


def resolve(selection: Selection, inventory: Inventory | None = None) -> ResolvedBackends:
    """Finds the configuration and makes the backends of a run, those that need a key or a client when first called.
    `inventory` is what another process has found.

    Raises `ConfigurationError`, also where the default backend lacks its key or its file is not trusted; `UsageError`
    for a selection that makes no sense.
    """
    if inventory is None:
        inventory = Inventory(selection.file, selection.directory, selection.scope)
    chosen = _chosen(inventory, selection)
    chosen.must_be_trusted()
    default = _made(chosen)
    others = [known for known in inventory.backends.values() if known.name != chosen.name]
    # Who asks for a simulation must not pay, nor trust anybody first, whichever backend the program names.
    forced = selection.backend is not None and default.info.simulated
    backends = {known.name: default if forced else _backend(known) for known in others}
    backends[chosen.name] = default
    warnings = tuple(printable(warning) for warning in inventory.warnings)
    notice = _notice(default.info, chosen, inventory, forced)
    tools = _tools(inventory, selection, default.info)
    settings = {known.name: known.settings for known in (*inventory.backends.values(), chosen)}
    return ResolvedBackends(backends, chosen.name, notice, warnings, forced, tools, settings, inventory)


def chosen_backend(selection: Selection) -> KnownBackend | None:
    """The backend that answers by default in a run that is told so; None where there are several, and a run would
    refuse to choose. Raises `ConfigurationError` and `UsageError`."""
    inventory = Inventory(selection.file, selection.directory, selection.scope)
    if selection.backend is None and inventory.chosen is None:
        return None
    return _chosen(inventory, selection)


def _chosen(inventory: Inventory, selection: Selection) -> KnownBackend:
    return _changed(inventory.get(selection.backend or inventory.default()), selection)


def _tools(inventory: Inventory, selection: Selection, default: BackendInfo) -> Toolbox:
    """Who asks for a simulation must not touch the world by it."""
    latencies = parse_latencies(selection.tool_latency or ())
    simulated = default.simulated if selection.simulate_tools is None else selection.simulate_tools
    return SimulatedToolbox(latencies, selection.seed or 0) if simulated else configured_tools(inventory)


def _changed(known: KnownBackend, selection: Selection) -> KnownBackend:
    settings = known.settings
    if selection.model is not None:
        if not selection.model.strip():
            raise UsageError("--model is empty, the name of a model is expected")
        if isinstance(settings, ReplaySettings):
            raise UsageError(
                f"--model chooses a model, and {known.name} answers from a file",
                hint="a backend that it records has a model",
            )
        settings = msgspec.structs.replace(settings, model=selection.model)
    given = {name: value for name in (*_PARSERS, "seed") if (value := getattr(selection, name)) is not None}
    if given and not isinstance(settings, SimulatedSettings):
        raise UsageError(
            f"{', '.join(f'--{name}' for name in given)} is for a simulated backend, and {known.name} is not one",
            hint="add --backend simulated",
        )
    # Here rather than when it is made, so that the message is about the option and not about a file.
    for name, parse in _PARSERS.items():
        if name in given:
            parse(given[name])
    return replace(known, settings=msgspec.structs.replace(settings, **given))


def _made(known: KnownBackend) -> AnyBackend:
    of = None if known.of is None else cast(CoroutineBackend, _backend(known.of))
    settings = known.settings
    made = create_backend(known.name, settings, os.environ, where=known.where, of=of)
    if isinstance(settings, OpenAISettings) and settings.cache:
        from apxm.backends.equal_calls import EqualCalls  # loads SQLite

        return cast(AnyBackend, EqualCalls(made, _kept_answers(), made.info.endpoint, settings.answers_by))
    return made


@cache
def _kept_answers() -> Answers:
    """The answers that all processes of this user keep."""
    from apxm.backends.answers import Answers

    return Answers(user_folder("cache") / "answers.sqlite")


def _backend(known: KnownBackend) -> AnyBackend:
    def make() -> CoroutineBackend:
        known.must_be_trusted()
        return cast(CoroutineBackend, _made(known))

    asked = known.of or known
    by_operation = isinstance(known.settings, ReplaySettings)
    if isinstance(asked.settings, OpenAISettings):
        settings = asked.settings
        return DeferredBackend(
            known.info, known.limits, make,
            can_reason=settings.can_reason, can_see=settings.can_see, can_read_pdf=settings.can_read_pdf,
            by_operation=by_operation, temperature=settings.temperature,
        )  # fmt: skip
    if known.refusal is None:
        with suppress(ConfigurationError):
            return _made(known)
    # Each call of it fails, and a run without one is not held up.
    return DeferredBackend(known.info, NO_LIMITS, make, by_operation=by_operation)


def _notice(info: BackendInfo, known: KnownBackend, inventory: Inventory, forced: bool) -> str:
    if not info.simulated:
        return printable(f"model: {info.description} (backend {info.name}: {known.origin})")
    everywhere = ", in place of every other backend" if forced and len(inventory.backends) > 1 else ""
    return printable(f"model: {info.description}{everywhere}; for a real one {_how_to_use_a_model(inventory)}")


def _how_to_use_a_model(inventory: Inventory) -> str:
    real = [known.name for known in inventory.backends.values() if isinstance(known.settings, OpenAISettings)]
    if real:
        return f"choose backend {' or '.join(real)}"
    # Where a file sets up backends, the environment alone changes nothing.
    return f"add one to {inventory.path}" if inventory.path else f"set {env.KEY}, or run `apxm init`"
