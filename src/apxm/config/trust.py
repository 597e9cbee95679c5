"""Which files of projects the user has looked at.

A project's own configuration may have been cloned from a stranger, and so may a journal that names one. Until its
content is trusted such a file can set up simulated backends without `answers` and nothing else: an `openai` backend
would send the user's prompts, and perhaps a key, where its author likes, and an answer's regular expression can be
written so that matching it never ends.
Trust is given to content, by digest; a changed file needs it again.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from apxm.config.document import Document
from apxm.config.files import Scope, find_project_file, read_file
from apxm.errors import ConfigurationError
from apxm.regular import read_regular

VARIABLE = "APXM_TRUST"
"""Set to 1, every project's configuration counts as trusted: for machines that run one project only, such as CI."""
_LONGEST_PATH = 64 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class TrustedFile:
    path: Path
    """Where the content lay when it was trusted."""
    digest: str


def trust(path: Path | None = None) -> TrustedFile:
    """Trusts the content that `path`, by default the project's own file, has now. Raises `ConfigurationError`."""
    if path is None:
        found = find_project_file()
        if found is None:
            raise ConfigurationError("there is no .apxm/config.toml here or above, so there is nothing to trust")
        path, content = found.path, found.content
    else:
        content = read_file(path)
        if content is None:
            raise ConfigurationError("there is no such file", where=str(path))
    Document(str(path), content)  # what cannot be read was not looked at
    trusted = TrustedFile(path.absolute(), _digest(content))
    _record(trusted)
    return trusted


def is_trusted(scope: Scope, content: bytes) -> bool:
    """Whether a file may send prompts and keys. What the user chose or keeps in their own directory may."""
    if scope not in (Scope.PROJECT, Scope.JOURNAL) or os.environ.get(VARIABLE) == "1":
        return True
    return (_store() / _digest(content)).is_file()


def list_trusted() -> list[TrustedFile]:
    """All that was trusted, by path."""
    store = _store()
    if not store.is_dir():
        return []
    found = [
        TrustedFile(Path(os.fsdecode(read_regular(entry, _LONGEST_PATH))), entry.name)
        for entry in store.iterdir()
        if _DIGEST.fullmatch(entry.name) and entry.is_file()  # what else is there trusts nothing
    ]
    return sorted(found, key=lambda trusted: (trusted.path, trusted.digest))


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def _store() -> Path:
    """A directory with one file per digest, so that two commands at once cannot lose an entry."""
    from platformdirs import user_state_path

    return user_state_path("apxm", appauthor=False) / "trusted"


def _record(trusted: TrustedFile) -> None:
    store = _store()
    try:
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=store)  # readable by the user only
        try:
            with open(descriptor, "wb") as file:
                file.write(os.fsencode(trusted.path))
            os.replace(temporary, store / trusted.digest)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise ConfigurationError(f"the trust cannot be recorded: {error.strerror}", where=str(store)) from None
