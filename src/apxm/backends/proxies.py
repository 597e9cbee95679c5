"""Which proxy stands before an endpoint. The environment decides, and is read as curl reads it.

The HTTP client's own reading passes over what it cannot parse, so that a prompt goes where it was not meant to.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, unquote, urlsplit

import pyqwest

from apxm.errors import ConfigurationError

_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, repr=False)
class Proxy:
    variable: str
    """The environment variable that names it."""
    url: str
    """May hold a user and a password."""
    shown: str
    """The URL without user and password."""

    @property
    def tls(self) -> bool:
        """Whether certificates are needed to speak to it."""
        return self.url.startswith("https:")

    def __repr__(self) -> str:
        return f"Proxy({self.variable}={self.shown!r})"


def proxy_for(url: str, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy through which `url` is called, None where it is called directly.

    Lower-case names go before upper-case ones, that of the scheme before ALL_PROXY; what is empty counts as not set.
    Raises `ConfigurationError`, which names the variable and does not repeat it, where that proxy cannot be used.
    """
    parts = urlsplit(url)
    names = [name for name in _names(parts.scheme, environment) if environment.get(name, "").strip()]
    if not names or _is_excepted(parts, environment.get("no_proxy") or environment.get("NO_PROXY") or ""):
        return None
    return _read(names[0], environment[names[0]].strip())


def proxy_secrets(environment: Mapping[str, str]) -> list[str]:
    """User names and passwords of the configured proxies, which an error must not show."""
    secrets: list[str] = []
    for name in {*_names("http", {}), *_names("https", {})}:
        try:
            parts = urlsplit(_with_scheme(environment.get(name, "")))
        except ValueError:
            continue
        for secret in (parts.username, parts.password):
            if secret:
                secrets += [secret, unquote(secret)]
    return secrets


def _names(scheme: str, environment: Mapping[str, str]) -> list[str]:
    """The variables that count for a URL of this scheme, the first one first."""
    names = [f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"]
    # Under CGI, HTTP_PROXY is what the header `Proxy` of anybody's request says.
    return [name for name in names if name != "HTTP_PROXY" or "REQUEST_METHOD" not in environment]


def _with_scheme(value: str) -> str:
    return value if "://" in value else f"http://{value}"


def _read(variable: str, value: str) -> Proxy:
    def refuse(why: str) -> ConfigurationError:
        return ConfigurationError(
            f"the environment variable {variable} names a proxy that cannot be used: {why}",
            hint=f"for example {variable}=http://127.0.0.1:3128; NO_PROXY lists the hosts that are called without one",
        )

    url = _with_scheme(value)
    if not url.isascii() or not url.isprintable() or " " in url:
        raise refuse("it holds a space, a control character or one that is not ASCII")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        pyqwest.Proxy(url)  # which takes hosts apart further than we do
    except ValueError:
        raise refuse("it is no URL with a host") from None
    if parts.scheme not in _SCHEMES:
        # Not repeated, as it may belong to a password.
        raise refuse(f"it begins with none of {', '.join(f'{scheme}://' for scheme in _SCHEMES)}")
    if not host:
        raise refuse("it names no host")
    host = f"[{host}]" if ":" in host else host
    return Proxy(variable, url, f"{parts.scheme}://{host}" + (f":{port}" if port is not None else ""))


# --- exceptions ----------------------------------------------------------------------------------------------------

_ENTRY = re.compile(r"\[(?P<v6>[^\]]*)\](?::(?P<v6_port>\d+))?|(?P<name>[^:]*)(?::(?P<port>\d+))?")


def _is_excepted(url: SplitResult, no_proxy: str) -> bool:
    """Whether the list names the host: as curl has it, and an entry may also name one port of it (``HOST:PORT``) or
    begin with ``*.``."""
    host = (url.hostname or "").removesuffix(".")
    port = url.port or _PORTS[url.scheme]
    address = _address(host)
    for entry in re.split(r"[\s,]+", no_proxy.lower()):
        match = _ENTRY.fullmatch(entry)
        pattern, of_port = (match["v6"] or match["name"], match["v6_port"] or match["port"]) if match else (entry, None)
        if not pattern or (of_port is not None and int(of_port) != port):
            continue
        if pattern == "*" or (_holds(pattern, address) if address else _is_in_domain(host, pattern)):
            return True
    return False


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is, however it is written (127.1 is 127.0.0.1); None for a name."""
    try:
        return ip_address(host) if ":" in host else IPv4Address(socket.inet_aton(host))
    except (ValueError, OSError):
        return None


def _holds(network: str, address: IPv4Address | IPv6Address) -> bool:
    try:
        return address in ip_network(network, strict=False)
    except ValueError:
        return False


def _is_in_domain(host: str, domain: str) -> bool:
    domain = domain.removesuffix(".")
    if domain.startswith("*."):
        return host.endswith(domain[1:])
    domain = domain.removeprefix(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))
