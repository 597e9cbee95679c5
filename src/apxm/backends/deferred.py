"""A backend that is configured and perhaps never used."""

from __future__ import annotations

from collections.abc import Callable

from apxm.backends.protocol import BackendInfo, CoroutineBackend, Limits, ModelAnswer, ModelRequest
from apxm.errors import BackendError, ConfigurationError


class DeferredBackend:
    """Made at its first call. So a run needs the keys, the certificates and the HTTP client of those it calls only.

    Where it cannot be made, each call of it fails with the kind `configuration`.
    """

    def __init__(
        self, info: BackendInfo, limits: Limits, can_reason: bool, make: Callable[[], CoroutineBackend]
    ) -> None:
        self.info = info
        self.limits = limits
        self.can_reason = can_reason
        self._make = make
        self._backend: CoroutineBackend | None = None

    async def call(self, request: ModelRequest) -> ModelAnswer:
        if self._backend is None:
            try:
                self._backend = self._make()
            except ConfigurationError as error:
                what = f"{error.where}: {error.message}" if error.where else error.message
                raise BackendError("configuration", what, retryable=False, hint=error.hint) from None
        return await self._backend.call(request)

    async def close(self) -> None:
        if self._backend is not None:
            await self._backend.close()
