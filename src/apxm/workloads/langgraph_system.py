"""LangGraph's side of a comparison: the graph of the workload's own workflow.py, with clocks around its model.

LangGraph belongs to the extra `bench`, so nothing here is loaded, or known to a type checker, before it is needed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from time import perf_counter_ns
from types import ModuleType
from typing import Any

from apxm.backends.endpoint import parse_endpoint
from apxm.backends.request_headers import redactor
from apxm.backends.secrets import read_value
from apxm.backends.settings import OpenAISettings
from apxm.errors import UsageError
from apxm.workloads.comparison import LANGGRAPH
from apxm.workloads.scalability import prompts
from apxm.workloads.systems import Sample, TimedCall, WorkloadFailed

PACKAGES = ("langgraph", "langchain-openai")


def missing_packages() -> list[str]:
    """The packages of the extra `bench` that are not installed."""
    missing: list[str] = []
    for package in PACKAGES:
        try:
            version(package)
        except PackageNotFoundError:
            missing.append(package)
    return missing


def load_peer(path: Path) -> ModuleType:
    """Imports a workload's workflow.py, in a bare environment. Raises `UsageError` where LangGraph is not installed."""
    if missing := missing_packages():
        raise UsageError(
            f"the comparison needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            hint="pip install 'apxm[bench]', or measure A-PXM alone with --apxm-only",
        )
    name = f"apxm_workload_{path.parent.name}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # LangGraph looks up the annotations of its nodes there
    spec.loader.exec_module(module)
    return module


class LangGraphSystem:
    """One client for all widths, and graphs compiled beforehand, as in a service that is up."""

    name = LANGGRAPH

    def __init__(
        self, peer: ModuleType, widths: Iterable[int], settings: OpenAISettings, environment: Mapping[str, str]
    ) -> None:
        """Keys are read from `environment`. Raises `ConfigurationError`."""
        key = _read(settings.api_key, "api_key", environment) if settings.api_key else None
        headers = {name: _read(value, f"headers.{name}", environment) for name, value in settings.headers.items()}
        sent = {name.lower(): value for name, value in headers.items()} | (
            {"authorization": f"Bearer {key}"} if key else {}
        )
        self._redact = redactor(settings, parse_endpoint(settings.endpoint), sent, environment)
        self._model = _ClockedModel(_chat_model(peer, settings, key, headers))
        self._graphs = {width: peer.build_graph(self._model, prompts(width)) for width in widths}
        self._config = {"max_concurrency": settings.max_concurrency}

    async def run(self, width: int) -> Sample:
        graph = self._graphs[width]
        self._model.calls = []
        begun = perf_counter_ns()
        try:
            state = await graph.ainvoke({"answers": []}, self._config)
        except Exception as error:
            raise WorkloadFailed(self._redact(f"LangGraph's run failed: {type(error).__name__}: {error}")) from None
        duration = perf_counter_ns() - begun
        return Sample(duration, tuple(self._model.calls), state["result"])

    async def close(self) -> None:
        # LangChain's model has no end of its own, and its sockets would outlive their event loop. All models of this
        # process for this endpoint share the client: none of them can be used any more.
        await self._model.model.root_async_client.close()


class _ClockedModel:
    """The chat model as the graph's nodes see it. Callbacks of LangChain would tell the same, and cost a task each."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.calls: list[TimedCall] = []

    async def ainvoke(self, prompt: str) -> Any:
        sent = perf_counter_ns()
        message = await self.model.ainvoke(prompt)
        self.calls.append(TimedCall(sent, perf_counter_ns()))
        return message


def _chat_model(peer: ModuleType, settings: OpenAISettings, key: str | None, headers: Mapping[str, str]) -> Any:
    """The client that sends what A-PXM's backend sends. It repeats no call, as A-PXM does not."""
    body = dict(settings.body)
    if settings.max_tokens is not None:
        body[settings.max_tokens_field] = settings.max_tokens
    return peer.ChatOpenAI(
        model=settings.model,
        base_url=settings.endpoint,
        api_key=key or "none",
        temperature=settings.temperature,
        timeout=settings.timeout_s,
        max_retries=0,
        default_headers=dict(headers) or None,
        extra_body=body or None,
    )


def _read(value: str, setting: str, environment: Mapping[str, str]) -> str:
    return read_value(value, environment, setting=setting, where=None)
