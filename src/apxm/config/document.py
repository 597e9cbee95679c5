"""The configuration as a typed value, and what is wrong with a file that is none."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Struct

from apxm.backends.endpoint import parse_endpoint
from apxm.backends.faults import parse_faults
from apxm.backends.latency import parse_latency
from apxm.backends.registry import KINDS
from apxm.backends.secrets import is_telling, reference
from apxm.backends.settings import OpenAISettings, ReplaySettings, Settings, SimulatedSettings
from apxm.backends.slowdown import parse_slowdown
from apxm.errors import ConfigurationError, UsageError, hint_for
from apxm.tools.settings import ServerSettings, ToolSettings

SIMULATED = "simulated"
"""The backend that always exists."""
AnyTool = TypeVar("AnyTool", ToolSettings, ServerSettings)
AnySettings = TypeVar("AnySettings", bound=Struct)
_FORMS = (
    ("python", "package.module:function", r"[\w.]+:[\w.]+"),
    ("mcp", "SERVER.TOOL", r"[^.]+\..+"),
    ("url", "an http or https URL", r"https?://\S+"),
)
"""Settings of tools that are texts of a certain form."""
_RESERVED_FIELDS = ("messages", "model", "stream")
"""Fields of a request's body that no setting may give: with others it would be another call."""


class Config(Struct, frozen=True):
    default_backend: str | None = None
    backends: dict[str, Settings] = {}
    tools: dict[str, ToolSettings] = {}
    mcp: dict[str, ServerSettings] = {}


class Document:
    """A parsed file. `place` finds the line of a setting, for messages."""

    def __init__(self, path: str, content: bytes) -> None:
        """Raises `ConfigurationError` for the first thing that is wrong."""
        self._path = path
        try:
            self._text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"the file is not UTF-8 (byte {error.start})", where=path) from None
        try:
            tables = tomllib.loads(self._text)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f"the file is not TOML: {error}", where=path) from None
        self.config = self._read(tables)

    def place(self, *keys: str) -> str:
        """``file:line`` of a setting named by its keys, or of the nearest table around it that is found."""
        line = next((line for n in range(len(keys), 0, -1) if (line := _line_of(self._text, keys[:n]))), None)
        return f"{self._path}:{line}" if line else self._path

    def warnings(self) -> list[str]:
        """About keys that are written into the file. Never shows one."""
        found: list[str] = []
        for name, settings in self.config.backends.items():
            if not isinstance(settings, OpenAISettings):
                continue
            at = ("backends", name)
            if settings.api_key is not None and reference(settings.api_key) is None:
                found.append(self._written_out(*at, "api_key"))
            for header, value in settings.headers.items():
                if is_telling(header) and reference(value) is None:
                    found.append(self._written_out(*at, "headers", header))
            if parse_endpoint(settings.endpoint).authorization:
                found.append(self._written_out(*at, "endpoint"))
        return found

    def _written_out(self, *keys: str) -> str:
        return f"{self.place(*keys)}: {'.'.join(keys)} holds a key itself; env:NAME keeps it out of files"

    def _refuse(self, keys: tuple[str, ...], why: str, hint: str | None = None) -> ConfigurationError:
        return ConfigurationError(f"{'.'.join(keys)}: {why}", where=self.place(*keys), hint=hint)

    def _read(self, tables: Mapping[str, Any]) -> Config:
        self._known((), tables, Config.__struct_fields__)
        default = tables.get("default_backend")
        if default is not None and not isinstance(default, str):
            raise self._refuse(("default_backend",), "the name of a backend is expected, in quotes")
        return Config(
            default,
            {name: self._read_backend(name, table) for name, table in self._named(tables, "backends")},
            {name: self._read_tool(name, table, ToolSettings) for name, table in self._named(tables, "tools")},
            {name: self._read_tool(name, table, ServerSettings) for name, table in self._named(tables, "mcp")},
        )

    def _named(self, tables: Mapping[str, Any], section: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The tables ``[section.NAME]``."""
        found = tables.get(section, {})
        if not isinstance(found, dict):
            raise self._refuse((section,), f"tables named [{section}.NAME] are expected")
        for name, table in cast(dict[str, Any], found).items():
            if not isinstance(table, dict):
                raise self._refuse((section, name), f"a table [{section}.{name}] is expected")
            if not name or not name.isprintable():
                raise self._refuse((section, name), "it needs a name of printable characters")
            yield name, cast(dict[str, Any], table)

    def _known(self, at: tuple[str, ...], table: Mapping[str, Any], known: Iterable[str]) -> None:
        names = sorted(known)
        for key in table:
            if key not in names:
                hint = hint_for(key, names, f"known here: {', '.join(names)}")
                raise self._refuse((*at, key), "there is no such setting", hint)

    def _read_tool(self, name: str, fields: dict[str, Any], kind: type[AnyTool]) -> AnyTool:
        at = ("tools" if kind is ToolSettings else "mcp", name)
        ways = [way for way in ("python", "command", "mcp", "url") if way in kind.__struct_fields__]
        self._known(at, fields, kind.__struct_fields__)
        if sum(way in fields for way in ways) != 1:
            raise self._refuse(at, f"exactly one of {', '.join(ways)} says what it is")
        if at[0] == "mcp" and "." in name:
            raise self._refuse(at, "a dot in its name would part it from the names of its tools")
        settings = self._convert(at, fields, kind)
        if settings.command == ():
            raise self._refuse((*at, "command"), "a program is expected, and perhaps its arguments")
        for way, form, pattern in _FORMS:
            text = getattr(settings, way, None)
            if text is not None and not re.fullmatch(pattern, text):
                raise self._refuse((*at, way), f"{form} is expected")
        return settings

    def _read_backend(self, name: str, fields: dict[str, Any]) -> Settings:
        at = ("backends", name)
        kinds = ", ".join(KINDS)
        kind = fields.get("kind")
        if kind is None:
            raise self._refuse(at, "kind is missing", f"one of {kinds}")
        if not isinstance(kind, str) or kind not in KINDS:
            raise self._refuse((*at, "kind"), f"{kind!r} is no kind of backend", f"one of {kinds}")
        if name == SIMULATED and kind != "simulated":
            raise self._refuse((*at, "kind"), f"the name {SIMULATED} is kept for a simulated backend")
        self._known(at, fields, ("kind", *KINDS[kind].__struct_fields__))
        settings = self._convert(at, fields, KINDS[kind])
        self._check(at, settings)
        return settings

    def _convert(self, at: tuple[str, ...], fields: Mapping[str, Any], kind: type[AnySettings]) -> AnySettings:
        try:
            return msgspec.convert(fields, kind)
        except msgspec.ValidationError as error:
            raise self._ill_typed(at, str(error)) from None

    def _ill_typed(self, at: tuple[str, ...], error: str) -> ConfigurationError:
        """msgspec says ``Expected `int`, got `str` - at `$.max_concurrency` ``; it never quotes a value."""
        what, _, path = error.partition(" - at ")
        inner = tuple(re.findall(r"[^.$`\[\]]+", path))
        keys = (*at, *(key for key in inner if not key.isdigit() and key != "..."))
        return self._refuse(keys, what[:1].lower() + what[1:])

    def _check(self, at: tuple[str, ...], settings: Settings) -> None:
        """What a type cannot say."""
        if isinstance(settings, SimulatedSettings):
            parsers = {"latency": parse_latency, "slowdown": parse_slowdown, "faults": parse_faults}
            for setting, parse in parsers.items():
                try:
                    parse(getattr(settings, setting))
                except UsageError as error:
                    raise self._refuse((*at, setting), error.message, error.hint) from None
            for answer in settings.answers:
                try:
                    re.compile(answer.match)
                # Beside its own errors: too many brackets in brackets, and a repetition beyond all numbers.
                except (re.error, RecursionError, OverflowError) as error:
                    why = f"{answer.match!r} is not a regular expression: {error}"
                    raise self._refuse((*at, "answers", "match"), why) from None
            return
        if isinstance(settings, ReplaySettings):
            if not settings.file.strip() or not settings.file.isprintable():
                raise self._refuse((*at, "file"), "the name of a file is expected, of printable characters")
            return
        parse_endpoint(settings.endpoint, setting=".".join((*at, "endpoint")), where=self.place(*at, "endpoint"))
        if not settings.model.strip():
            raise self._refuse((*at, "model"), "the name of a model is expected")
        for field in _RESERVED_FIELDS:
            if field in settings.body:
                raise self._refuse((*at, "body", field), "this field is not to be set here")


_HEADER = re.compile(r"\s*\[\[?([^\[\]]+)\]\]?\s*(#.*)?")
_KEY = re.compile(r"""\s*("[^"]*"|'[^']*'|[A-Za-z0-9_-]+)\s*=""")


def _line_of(text: str, keys: tuple[str, ...]) -> int | None:
    """The line where a table or a setting is written in the usual way; tomllib does not tell."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), 1):
        if header := _HEADER.fullmatch(line):
            table = tuple(part.strip().strip("\"'") for part in header[1].split("."))
            if table == keys:
                return number
        elif (key := _KEY.match(line)) and (*table, key[1].strip("\"'")) == keys:
            return number
    return None
