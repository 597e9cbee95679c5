"""Which configurations of projects the user has looked at, or has from `apxm init`.

A project's own configuration may have been cloned from a stranger, and so may a journal that names one. Until it is
trusted such a file can set up simulated backends without `answers` and nothing else: an `openai` backend would send the
user's prompts, and perhaps a key, where its author likes, a tool runs what its author likes, and an answer's regular
expression can be written so that matching it never ends.

Trust is given to the content, wherever it lies, and to each of its backends at this place: as long as a backend there
sends the same to the same endpoint, other edits of the file need no trust again (docs/design/0011-trust.md).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import msgspec

from apxm.backends.settings import ReplaySettings, Settings, SimulatedSettings
from apxm.config.document import Document
from apxm.config.files import ConfigFile, Scope, find_project_file, make_folder, read_file, user_folder
from apxm.errors import ConfigurationError
from apxm.tools.settings import ServerSettings, ToolSettings

VARIABLE = "APXM_TRUST"
"""Set to 1, every project's configuration counts as trusted: for machines that run one project only, such as CI."""
AnySettings = Settings | ToolSettings | ServerSettings
_ANYBODY_MAY = frozenset(
    {
        "model",
        "system",
        "temperature",
        "max_tokens",
        "timeout_s",
        "timeout_first_token_s",
        "retries",
    }  # a call in the program may say these
    | {"max_concurrency", "requests_per_minute", "tokens_per_minute"}  # when, not what or where
    | {"any_model"}  # what is found out before a run
    | {"latency", "slowdown", "faults", "seed"}  # of what is simulated
)
"""Settings that may change at a trusted place: nothing goes elsewhere by them, and no other secret. What is not listed,
such as the prices that a budget is kept by, needs trust again; so will settings that are still to come."""


def trust(path: Path | None = None) -> Path:
    """Trusts the content that a file, by default the project's own, has now, and returns where that file lies.

    Raises `ConfigurationError`.
    """
    if path is None:
        found = find_project_file()
        if found is None:
            raise ConfigurationError("there is no .apxm/config.toml here or above, so there is nothing to trust")
        path, content = found.path, found.content
    else:
        content = read_file(path)
        if content is None:
            raise ConfigurationError("there is no such file", where=str(path))
    document = Document(str(path), content)  # what cannot be read was not looked at
    _record(_store() / _digest(content), path.absolute())
    config = document.config
    for settings in (*config.backends.values(), *config.tools.values(), *config.mcp.values()):
        _record(_places() / _digest_at(path, settings), path.absolute())
    return path.absolute()


def trusted_names(file: ConfigFile, settings: Mapping[str, AnySettings]) -> set[str]:
    """The names of those backends or tools of `file` that may be called."""
    if is_trusted(file.scope, file.content):
        return set(settings)
    return {name for name, found in settings.items() if _is_harmless(found) or _is_trusted_at(file, found)}


def is_trusted(scope: Scope, content: bytes) -> bool:
    """Whether all of a file may be used. What the user chose or keeps in their own directory may."""
    if scope not in (Scope.PROJECT, Scope.JOURNAL) or os.environ.get(VARIABLE) == "1":
        return True
    return (_store() / _digest(content)).is_file()


def _is_harmless(settings: AnySettings) -> bool:
    """Whether it stays inside this process and leaves it in our hands: while an expression is matched, neither
    --timeout nor Ctrl-C gets a turn."""
    if isinstance(settings, ReplaySettings):
        return settings.of is None
    return isinstance(settings, SimulatedSettings) and not settings.answers


def _is_trusted_at(file: ConfigFile, settings: AnySettings) -> bool:
    # A journal can name any place; what counts there is what it holds.
    return file.scope is Scope.PROJECT and (_places() / _digest_at(file.path, settings)).is_file()


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def _digest_at(path: Path, settings: AnySettings) -> str:
    """The digest of a place, and of what a backend sends where, or what a tool runs. Settings as they are by default
    are left out, so that a new one changes no digest."""
    given = msgspec.structs.asdict(settings)
    for field in msgspec.structs.fields(settings):
        default = field.default_factory() if callable(field.default_factory) else field.default
        if field.name in _ANYBODY_MAY or given[field.name] == default:
            del given[field.name]
    # The project's folder without links, the file in it as it is named: whoever makes it a link chooses the content.
    project = os.path.realpath(path.absolute().parent.parent)
    said = [os.path.join(project, path.parent.name, path.name), type(settings).__name__, msgspec.to_builtins(given)]
    return _digest(json.dumps(said, sort_keys=True).encode())


def _store() -> Path:
    """A directory with one file per digest, so that two commands at once cannot lose an entry."""
    return user_folder("state") / "trusted"


def _places() -> Path:
    """The folder of marks for backends at their places."""
    return user_folder("state") / "trusted-places"


def _record(entry: Path, trusted: Path) -> None:
    """Makes the file `entry`, whose name says what is trusted, and which holds for people where that lay."""
    store = make_folder(entry.parent, "the trust cannot be recorded", mode=0o700)
    try:
        descriptor, temporary = tempfile.mkstemp(dir=store)  # readable by the user only
        try:
            with open(descriptor, "wb") as file:
                file.write(os.fsencode(trusted))
            os.replace(temporary, entry)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise ConfigurationError(f"the trust cannot be recorded: {error.strerror}", where=str(store)) from None
