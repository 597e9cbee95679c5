"""The URL of an endpoint: what may be shown of it, and what is sent."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit, urlunsplit

from apxm.backends.protocol import BackendInfo
from apxm.backends.secrets import is_telling
from apxm.backends.settings import OpenAISettings
from apxm.errors import ConfigurationError


@dataclass(frozen=True, repr=False)
class Endpoint:
    shown: str
    """The URL without credentials, query and fragment."""
    chat_url: str
    """Where chat calls are posted. May hold secrets in its query."""
    models_url: str
    """Where the endpoint lists its models."""
    authorization: str | None
    """The header that the URL's own user and password make."""
    keys: tuple[str, ...]
    """What the URL holds that must not be shown, nor parts of it."""
    secrets: tuple[str, ...]
    """What else must not be shown: a query is not, but may well consist of ordinary words."""
    local: bool
    """Whether its host is this machine, by what the URL says."""

    def __repr__(self) -> str:
        return f"Endpoint({self.shown!r})"


def parse_endpoint(url: str, *, setting: str = "endpoint", where: str | None = None) -> Endpoint:
    """Reads an ``http`` or ``https`` URL. Raises `ConfigurationError`, which does not repeat it: it may hold a key."""

    def refuse(why: str) -> ConfigurationError:
        return ConfigurationError(f"{setting}: {why}", where=where, hint="for example http://127.0.0.1:8000/v1")

    if not url.strip():
        raise refuse("the URL is empty")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise refuse("the URL holds a space, a control character or one that is not ASCII")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise refuse("this is not a URL") from None
    if parts.scheme not in ("http", "https"):
        found = f"found {parts.scheme}:" if parts.scheme and "://" in url else "found none"
        raise refuse(f"a URL that starts with http:// or https:// is expected, {found}")
    if not parts.hostname:
        raise refuse("the URL names no host")
    if parts.fragment:
        raise refuse("the URL has a part after #, which is never sent")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if port is not None:
        host = f"{host}:{port}"
    path = parts.path.rstrip("/")
    return Endpoint(
        shown=urlunsplit((parts.scheme, host, path, "", "")),
        chat_url=urlunsplit((parts.scheme, host, f"{path}/chat/completions", parts.query, "")),
        models_url=urlunsplit((parts.scheme, host, f"{path}/models", parts.query, "")),
        authorization=_authorization(parts),
        keys=_keys(parts),
        secrets=tuple(filter(None, [parts.query, *(value for _, value in parse_qsl(parts.query))])),
        local=_is_local(parts.hostname),
    )


def openai_info(name: str, settings: OpenAISettings, endpoint: Endpoint) -> BackendInfo:
    return BackendInfo(
        name=name,
        kind="openai",
        model=settings.model,
        endpoint=endpoint.shown,
        description=f"{settings.model} at {endpoint.shown}",
    )


def shown_origin(url: str) -> str:
    """Scheme and host of any URL, for a message; a relative one shows as "another path"."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname}" if parts.hostname else "another path"
    except ValueError:
        return "something that is not a URL"


def _is_local(host: str) -> bool:
    name = host.removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified  # who connects to 0.0.0.0 or :: gets this machine


def _authorization(parts: SplitResult) -> str | None:
    if parts.username is None and parts.password is None:
        return None
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return "Basic " + b64encode(pair.encode()).decode("ascii")


def _keys(parts: SplitResult) -> tuple[str, ...]:
    found = [parts.username or "", parts.password or "", unquote(parts.username or ""), unquote(parts.password or "")]
    fields = parse_qsl(parts.query, keep_blank_values=True)
    found += [value or name for name, value in fields if not value or is_telling(name)]
    return tuple(filter(None, found))
