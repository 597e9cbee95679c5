"""The headers of every request to an endpoint, and the secrets in them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from apxm.backends.endpoint import Endpoint
from apxm.backends.proxies import proxy_secrets
from apxm.backends.redaction import Redactor
from apxm.backends.secrets import is_telling, read_value, reference
from apxm.backends.settings import OpenAISettings
from apxm.errors import ConfigurationError

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS = frozenset({"accept-encoding", "connection", "content-length", "content-type", "transfer-encoding"})


def request_headers(
    name: str, settings: OpenAISettings, environment: Mapping[str, str], from_url: str | None, where: str | None
) -> dict[str, str]:
    """The headers of every request, their names in lower case."""
    headers = {"content-type": "application/json", "accept": "application/json", "user-agent": "apxm"}
    headers["accept-encoding"] = "gzip, zstd, br"  # what the client and we unpack between us
    credentials: list[str] = []
    if settings.api_key is not None:
        key = read_value(settings.api_key, environment, setting=f"backends.{name}.api_key", where=where)
        headers["authorization"] = f"Bearer {key}"
        credentials.append("api_key")
    if from_url is not None:
        headers["authorization"] = from_url
        credentials.append("the endpoint's user and password")
    for given, value in settings.headers.items():
        setting = f"backends.{name}.headers.{given}"
        header = given.lower()
        if not _NAME.fullmatch(given) or header in _OURS:
            raise ConfigurationError(f"{setting}: this header cannot be set", where=where)
        headers[header] = read_value(value, environment, setting=setting, where=where)
        if header == "authorization":
            credentials.append(f"headers.{given}")
    if len(credentials) > 1:
        raise ConfigurationError(
            f"backends.{name}: {' and '.join(credentials)} both set the Authorization header, expected one of them",
            where=where,
        )
    return headers


def redactor(
    settings: OpenAISettings, endpoint: Endpoint, headers: Mapping[str, str], environment: Mapping[str, str]
) -> Redactor:
    """What takes the secrets of a backend out of what others say; `headers` are those that are sent."""
    keys = [*endpoint.keys, *proxy_secrets(environment)]
    others = [*endpoint.secrets]
    referenced = {name.lower() for name, value in settings.headers.items() if reference(value) is not None}
    for name, value in headers.items():
        if is_telling(name):
            keys += [value, *value.split()[1:]]
        elif name in referenced:
            others += [value, *value.split()[1:]]
    return Redactor(keys, others)
