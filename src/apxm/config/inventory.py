"""Every backend that a run could use here: built in, from the environment, and from the one file that counts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import join, quote
from typing import Generic, Literal, TypeVar

import msgspec

from apxm.backends.endpoint import openai_info, parse_endpoint
from apxm.backends.protocol import BackendInfo, Limits
from apxm.backends.registry import create_backend
from apxm.backends.secrets import reference
from apxm.backends.settings import OpenAISettings, ReplaySettings, Settings, SimulatedSettings
from apxm.config import environment as env
from apxm.config.document import SIMULATED, Document
from apxm.config.files import PROJECT_FILE, ConfigFile, Scope, find_file
from apxm.config.trust import trusted_names
from apxm.errors import ConfigurationError, UntrustedConfigurationError, UsageError, hint_for
from apxm.tools.settings import ServerSettings, ToolSettings

KeyStatus = Literal["none", "set", "missing"]
AnyTool = TypeVar("AnyTool", ToolSettings, ServerSettings)


def _whose(file: ConfigFile) -> tuple[str, str]:
    """A file that needs trust, in words, and what gives it."""
    if file.scope is Scope.JOURNAL:
        return "the configuration that a journal outside your own folder names", "name it yourself with --config"
    return (
        "this project's own configuration",
        f"run `apxm trust {quote(str(file.path))}`, again only where it then sends or runs something else; "
        "--backend simulated runs without",
    )


@dataclass(frozen=True)
class KnownBackend:
    """A backend that could be made."""

    name: str
    settings: Settings
    origin: str
    """A file and line, or what in the environment made it, in words."""
    where: str | None = None
    """The backend's place in a file."""
    trusted: bool = True
    """False for one that a project's own file sets up, and that only `apxm trust` allows to be called."""
    file: ConfigFile | None = None
    """The file that it comes from, where it comes from one."""
    of: KnownBackend | None = None
    """The backend that it records."""

    @property
    def info(self) -> BackendInfo:
        if isinstance(self.settings, OpenAISettings):
            return openai_info(self.name, self.settings, parse_endpoint(self.settings.endpoint))
        if isinstance(self.settings, ReplaySettings):
            from apxm.backends.replay import replay_info  # few have one

            return replay_info(self.name, self.settings.file, None if self.of is None else self.of.info)
        return create_backend(self.name, self.settings, {}, where=self.where).info

    @property
    def limits(self) -> Limits:
        return (self.of or self).settings.limits

    @property
    def key(self) -> KeyStatus:
        if self.of is not None:
            return self.of.key
        if not isinstance(self.settings, OpenAISettings) or self.settings.api_key is None:
            return "none"
        variable = reference(self.settings.api_key)
        return "set" if variable is None or os.environ.get(variable, "").strip() else "missing"

    def must_be_trusted(self) -> None:
        """Raises `UntrustedConfigurationError`, which says what a call would send, and where."""
        if (refusal := self.refusal) is not None:
            raise refusal

    @property
    def refusal(self) -> UntrustedConfigurationError | None:
        """Why it must not be called; None where it may be."""
        if self.trusted or self.file is None:
            return None
        if isinstance(self.settings, SimulatedSettings):
            what = "sets answers, regular expressions that can keep this process busy for ever"
        elif isinstance(self.settings, ReplaySettings):
            what = f"would record the answers of {self.settings.of} in {self.settings.file}"
        else:
            what = f"(kind {self.info.kind}) would send prompts to {self.info.endpoint}{self._with_keys()}"
        whose, hint = _whose(self.file)
        return UntrustedConfigurationError(
            f"{whose} is not trusted, and its backends.{self.name} {what}",
            where=self.where,
            hint=f"read the file, then {hint}",
        )

    def _with_keys(self) -> str:
        if not isinstance(self.settings, OpenAISettings):
            return ""
        values = (self.settings.api_key or "", *self.settings.headers.values())
        variables = [variable for value in values if (variable := reference(value))]
        return f", with the value of {' and '.join(variables)}" if variables else ""


@dataclass(frozen=True)
class KnownTool(Generic[AnyTool]):
    """A tool, or a server of tools, that could be made."""

    name: str
    settings: AnyTool
    where: str
    """Its place in the file."""
    trusted: bool
    file: ConfigFile

    @property
    def kind(self) -> str:
        """Which of its settings says what it is."""
        return next(way for way in ("python", "command", "mcp", "url") if getattr(self.settings, way, None) is not None)

    @property
    def title(self) -> str:
        """What it calls, in words."""
        what: str | tuple[str, ...] = getattr(self.settings, self.kind)
        return what if isinstance(what, str) else join(what)

    @property
    def folder(self) -> str | None:
        """Where its modules and programs are looked for besides: the project's folder, which is the one that `.apxm`
        lies in, and that of any other file. The user's own file is of no project."""
        if self.file.scope is Scope.USER:
            return None
        folder = self.file.path.absolute().parent
        return os.path.abspath(folder.parent if folder.name == PROJECT_FILE.parent.name else folder)

    def must_be_trusted(self) -> None:
        """Raises `UntrustedConfigurationError`, which says what would happen."""
        if self.trusted:
            return
        section = "mcp" if isinstance(self.settings, ServerSettings) else "tools"
        does = "send arguments to" if self.kind == "url" else "run"
        whose, hint = _whose(self.file)
        raise UntrustedConfigurationError(
            f"{whose} is not trusted, and its {section}.{self.name} would {does} {self.title}",
            where=self.where,
            hint=f"read the file, then {hint}",
        )


class Inventory:
    def __init__(
        self, chosen: str | os.PathLike[str] | None = None, directory: str | None = None, scope: Scope = Scope.CHOSEN
    ) -> None:
        """The arguments are those of `find_file`. Raises `ConfigurationError`; a key that is missing, or a file that is
        not trusted, is no error yet."""
        self._built_in = {SIMULATED: KnownBackend(SIMULATED, SimulatedSettings(), "built in")}
        if found := env.openai_from(os.environ):
            settings, origin = found
            parse_endpoint(settings.endpoint, setting=env.ENDPOINT)
            self._built_in[env.OPENAI] = KnownBackend(env.OPENAI, settings, origin)
        self._configured: dict[str, KnownBackend] = {}
        self._document: Document | None = None
        self.tools: dict[str, KnownTool[ToolSettings]] = {}
        self.servers: dict[str, KnownTool[ServerSettings]] = {}
        """The servers of tools."""
        self.path: str | None = None
        """The path of the file that counts."""
        self.warnings: list[str] = []
        path, start = (None if given is None else Path(given) for given in (chosen, directory))
        if file := find_file(path, start, scope):
            self.path = str(file.path)
            self._document = Document(self.path, file.content)
            backends = self._document.config.backends
            trusted = trusted_names(file, backends)
            for name, settings in backends.items():
                where = self._document.place("backends", name)
                self._configured[name] = KnownBackend(name, settings, where, where, name in trusted, file)
            self.tools = self._known(file, "tools", self._document.config.tools)
            self.servers = self._known(file, "mcp", self._document.config.mcp)
            self.warnings += self._document.warnings()
            for name, known in self._configured.items():
                if isinstance(settings := known.settings, ReplaySettings):
                    self._configured[name] = self._replay(known, settings, file.path)
        if env.OPENAI not in self._built_in and not self._configured and os.environ.get(env.ENDPOINT):
            self.warnings.append(f"{env.ENDPOINT} is set and {env.KEY} is not, so it is not used")
        self.backends = {**self._built_in, **self._configured}

    def _known(self, file: ConfigFile, section: str, found: Mapping[str, AnyTool]) -> dict[str, KnownTool[AnyTool]]:
        assert self._document is not None
        trusted = trusted_names(file, found)
        return {
            name: KnownTool(name, settings, self._document.place(section, name), name in trusted, file)
            for name, settings in found.items()
        }

    def _replay(self, known: KnownBackend, settings: ReplaySettings, configuration: Path) -> KnownBackend:
        """A replay backend with the place of its file and what it records. Raises `ConfigurationError`."""
        settings = msgspec.structs.replace(settings, file=str(configuration.parent / settings.file))
        if settings.of is None:
            return replace(known, settings=settings)
        of = {**self._built_in, **self._configured}.get(settings.of)
        if of is None or not isinstance(of.settings, OpenAISettings):
            found = "there is no such backend" if of is None else f"it is of kind {of.info.kind}"
            raise ConfigurationError(
                f"backends.{known.name}.of: {settings.of!r} cannot be recorded: {found}", where=known.where,
                hint="a backend of kind openai is expected",
            )  # fmt: skip
        return replace(known, settings=settings, of=None if env.in_ci(os.environ) else of)

    @property
    def variables(self) -> dict[str, str]:
        """The variables of the environment that are named in it, with their values: another process needs them to make
        what is here."""
        said: list[str] = []
        for known in self.backends.values():
            if isinstance(settings := (known.of or known).settings, OpenAISettings):
                said += [settings.api_key or "", *settings.headers.values()]
        for tool in self.tools.values():
            said += tool.settings.env.values()
        for server in self.servers.values():
            said += [*server.settings.env.values(), *server.settings.headers.values()]
        names = {name for value in said if (name := reference(value))}
        return {name: os.environ[name] for name in sorted(names) if name in os.environ}

    def get(self, name: str) -> KnownBackend:
        """Raises `UsageError` where there is none of that name."""
        if name in self.backends:
            return self.backends[name]
        hint = hint_for(name, self.backends, f"there are: {', '.join(self.backends)}")
        if name == env.OPENAI:
            hint = f"it exists where {env.KEY} is set"
        raise UsageError(f"there is no backend {name!r}", hint=hint)

    def must_have_tool(self, name: str) -> None:
        """Raises `UsageError` where there is no tool of that name. What a server has only that one can say."""
        if name not in self.tools and name.partition(".")[0] not in self.servers:
            listed = f"configured: {', '.join(sorted(self.tools))}" if self.tools else f"[tools.{name}] sets it up"
            raise UsageError(f"there is no tool {name!r}", hint=hint_for(name, self.tools, listed))

    def default(self) -> str:
        """The name of the backend that answers unless something else is said. Raises `ConfigurationError`."""
        document = self._document
        if document is not None and (name := document.config.default_backend) is not None:
            try:
                self.get(name)
            except UsageError as error:
                place = document.place("default_backend")
                raise ConfigurationError(f"default_backend: {error.message}", where=place, hint=error.hint) from None
            return name
        if document is not None and len(self._configured) > 1:
            raise ConfigurationError(
                f"several backends are configured ({', '.join(self._configured)}), and none is the default",
                where=document.place(),
                hint='add default_backend = "NAME" at the top, or give --backend NAME',
            )
        return next(iter(self._configured), env.OPENAI if env.OPENAI in self._built_in else SIMULATED)

    @property
    def chosen(self) -> str | None:
        """`default`, or None where a run would refuse: whoever only looks at what there is need not."""
        try:
            return self.default()
        except ConfigurationError:
            return None
