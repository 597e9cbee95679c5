"""What is known of a backend before it is asked: its profile, one file per calibrated backend in the user's data
directory, and its price."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from apxm.analysis.profile import Profile, decode_profile
from apxm.analysis.specified import specified_profile
from apxm.backends.protocol import Price
from apxm.backends.settings import SimulatedSettings
from apxm.config.files import make_folder, read_file, user_folder
from apxm.config.selection import Selection, chosen_backend
from apxm.errors import ConfigurationError


def profile_file(backend: str) -> Path:
    """Where the profile of a backend is kept, whether or not there is one."""
    return user_folder("data") / "profiles" / f"{quote(backend, safe='')}.json"


def make_room(backend: str) -> Path:
    """`profile_file`, in a directory that exists. Raises `ConfigurationError`."""
    path = profile_file(backend)
    make_folder(path.parent, "the profile cannot be kept")
    return path


def known_price(told: Selection) -> Price | None:
    """What the model of the backend that would answer by default costs; None where there is none, or it is not known.

    Raises `ConfigurationError` and `UsageError`; no `ConfigurationError` where no file is named.
    """
    try:
        known = chosen_backend(told)
    except ConfigurationError:
        if told.file is not None:
            raise
        return None
    return None if known is None else known.limits.prices.get(known.info.model)


def known_profile(chosen: str | None, told: Selection) -> Profile | None:
    """The profile in the file `chosen` or, where there is no such file, of the backend of that name.

    Without a choice, that of the backend that would answer by default, where it is simulated: then its configuration
    says all; None where it is not. Raises `ConfigurationError` and `UsageError`.
    """
    if chosen is None:
        known = chosen_backend(told)
        if known is None or not isinstance(known.settings, SimulatedSettings):
            return None
        return specified_profile(known.name, known.settings)
    for path in (Path(chosen), profile_file(chosen)):
        content = None if path.is_dir() else read_file(path)
        if content is not None:
            return decode_profile(content, where=str(path))
    raise ConfigurationError(
        f"there is no file {chosen!r}, and no profile of a backend of that name",
        hint=f"apxm calibrate --backend {chosen} makes one",
    )
