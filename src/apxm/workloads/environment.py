"""The environment of a comparison. Of the user's own only what any process needs is left in it.

The libraries of the other system read dozens of variables: some make them send prompts, answers and keys to a third
party (LANGCHAIN_TRACING_V2), some change what they do (OPENAI_ORG_ID) or keep them from starting. No list of those
would stay complete.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from apxm.backends.proxies import proxy_for
from apxm.backends.transport import read_certificates
from apxm.simulator.process import process_environment


@contextmanager
def bare_environment(url: str | None = None, given: Mapping[str, str] | None = None) -> Generator[None]:
    """The process's own, for as long as the block runs.

    With a `url`, it is called through the proxy, and with the certificates, that the environment `given` says: these
    are passed on in the one form that every client understands. Raises `ConfigurationError` where they cannot be used.
    """
    before = dict(os.environ)
    with TemporaryDirectory(prefix="apxm-") as folder:
        bare = process_environment(before)
        if url is not None:
            bare |= _way_to(url, given or {}, Path(folder))
        try:
            _replace(bare)
            yield
        finally:
            _replace(before)


def _replace(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def _way_to(url: str, given: Mapping[str, str], folder: Path) -> dict[str, str]:
    way: dict[str, str] = {}
    proxy = proxy_for(url, given)
    scheme = urlsplit(url).scheme
    if proxy is None:
        way["NO_PROXY"] = "*"  # those of the system's settings do not count either
    else:
        way[f"{scheme}_proxy"] = proxy.url
    certificates = read_certificates(given) if scheme == "https" or (proxy is not None and proxy.tls) else None
    if certificates is not None:
        file = folder / "authorities.pem"
        file.write_bytes(certificates)
        way["SSL_CERT_FILE"] = str(file)
    return way
