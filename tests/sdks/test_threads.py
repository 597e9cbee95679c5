"""Calls of models that threads of a program's own make: no run knows of them, and nobody is left to think otherwise."""

from __future__ import annotations

import contextvars
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from apxm.errors import UsageError
from apxm.flows.flow import flow
from apxm.lanes.marks import thread
from apxm.sdks.in_place import sdks_in_place
from tests.sdks.endpoint import Endpoint
from tests.sdks.test_calls import said
from tests.sdks.test_scripts import apxm

WHERE = f"{said.__code__.co_filename}:{said.__code__.co_firstlineno + 2}"


@flow
def in_threads(client: Any, rows: list[str]) -> list[str]:
    found: list[str] = []
    for row in rows:
        with ThreadPoolExecutor(1) as pool:
            context = contextvars.copy_context()  # as LangChain does
            found.append(thread(pool.submit(context.run, said, client, row).result))
    return found


def test_a_run_tells_of_the_first(client: Any, endpoint: Endpoint, told: dict[str, Any], caplog: Any) -> None:
    result = in_threads.using(**told).run(client, ["a", "b"])
    assert (result.value, result.trace.executed, len(endpoint.asked)) == (["said a", "said b"], 0, 2)
    (warned,) = caplog.messages
    assert warned.startswith(f"{WHERE}: a thread of the program's own calls a model past the run")


def test_a_simulated_run_refuses_it(client: Any, endpoint: Endpoint) -> None:
    simulated = in_threads.using(backend="simulated", latency="constant:1", journal=False)
    with pytest.raises(Exception) as refused:  # noqa: PT011  # the SDK of the major version before wraps it
        simulated.run(client.with_options(max_retries=0), ["a"])
    found = refused.value if isinstance(refused.value, UsageError) else refused.value.__cause__
    assert isinstance(found, UsageError)
    assert "which cannot be simulated there" in found.message
    assert found.where == WHERE
    assert not endpoint.asked


def test_threads_of_others_are_none_of_a_run_s_business(client: Any, endpoint: Endpoint) -> None:
    with ThreadPoolExecutor(1) as pool, sdks_in_place():
        pool.submit(int).result()  # its thread is there before any run

        @flow
        def waiting() -> str:
            return thread(pool.submit(said, client, "a").result)

        assert waiting.using(backend="simulated", journal=False).run().value == "said a"
    assert len(endpoint.asked) == 1


def test_all_threads_of_a_simulated_script_are_refused(tmp_path: Path, endpoint: Endpoint) -> None:
    (tmp_path / "s.py").write_text(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from openai import OpenAI\n"
        f"client = OpenAI(api_key='none', base_url={endpoint.url!r}, max_retries=0)\n"
        "def asked(text):\n"
        "    messages = [{'role': 'user', 'content': text}]\n"
        "    return client.chat.completions.create(model='m', messages=messages).choices[0].message.content\n"
        "with ThreadPoolExecutor(2) as pool:\n"
        "    print(list(pool.map(asked, ['a', 'b'])))\n"
    )
    ran = apxm(tmp_path, "run", "--backend", "simulated", "--latency", "constant:1", "s.py")
    assert ran.returncode in (1, 2)  # as that SDK does
    assert "a thread of the program's own calls a model, which cannot be simulated there" in ran.stderr
    assert not endpoint.asked
    passed = apxm(tmp_path, "run", "--journal-dir", "runs", "s.py")
    assert (passed.returncode, passed.stdout) == (0, "['said a', 'said b']\n")
    assert "s.py:6: a thread of the program's own calls a model past the run" in passed.stderr


def test_a_thread_with_a_lane_s_context_sleeps_as_any_other() -> None:
    @flow
    def sleeping() -> str:
        with ThreadPoolExecutor(1) as pool:
            return thread(pool.submit(contextvars.copy_context().run, slept).result)

    assert sleeping.using(backend="simulated", journal=False).run().value == "slept"


def slept() -> str:
    time.sleep(0.001)
    return "slept"
