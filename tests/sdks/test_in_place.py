"""Existing code, unedited, on our transport."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest

from apxm.flows.each import each
from apxm.flows.flow import flow
from apxm.sdks.in_place import sdks_in_place
from tests.sdks.endpoint import Endpoint, as_json, echo, together


def said(client: Any, prompt: str) -> str:
    messages = [{"role": "user", "content": prompt}]
    return client.chat.completions.create(model="m", messages=messages).choices[0].message.content


@pytest.fixture
def plain(endpoint: Endpoint) -> Any:
    return openai.OpenAI(base_url=endpoint.url, api_key="any", max_retries=2)


def test_clients_of_the_sdk_itself_are_those_of_the_run(plain: Any, endpoint: Endpoint, told: dict[str, Any]) -> None:
    @flow
    def labelled(rows: list[int]) -> list[str]:
        return [said(plain, f"{row}") for row in each(rows)]

    endpoint.script = together(4)
    with sdks_in_place():
        result = labelled.using(**told).run(range(4))
    assert result.value == ["said 0", "said 1", "said 2", "said 3"]
    assert result.trace.executed == 4


def test_it_makes_no_retries_of_its_own_in_a_lane(plain: Any, endpoint: Endpoint, told: dict[str, Any]) -> None:
    endpoint.script = lambda _: as_json({}, 500)

    @flow
    def failing() -> str:
        return said(plain, "hello")

    with sdks_in_place(), pytest.raises(openai.InternalServerError):
        failing.using(**told).run()
    assert len(endpoint.asked) == 1


def test_coroutines_of_the_sdk_itself(endpoint: Endpoint, told: dict[str, Any]) -> None:
    @flow
    def gathering() -> list[str]:
        async def one(client: Any, row: int) -> str:
            messages = [{"role": "user", "content": f"{row}"}]
            answer = await client.chat.completions.create(model="m", messages=messages)
            return answer.choices[0].message.content

        async def main() -> list[str]:
            async with openai.AsyncOpenAI(base_url=endpoint.url, api_key="any") as client:
                return await asyncio.gather(*(one(client, row) for row in range(3)))

        return asyncio.run(main())

    endpoint.script = together(3)
    with sdks_in_place():
        result = gathering.using(**told).run()
    assert result.value == ["said 0", "said 1", "said 2"]
    assert result.trace.executed == 3


def test_everything_is_as_it_was_afterwards(plain: Any, endpoint: Endpoint) -> None:
    library = sys.modules[type(plain._client).__mro__[-2].__module__.partition(".")[0]]
    before = library.HTTPTransport.handle_request
    with sdks_in_place(), sdks_in_place():
        assert library.HTTPTransport.handle_request is not before
        assert said(plain, "outside of a run") == "said outside of a run"
        assert plain.max_retries == 2
    assert library.HTTPTransport.handle_request is before
    assert plain.max_retries == 2
    endpoint.script = echo
    assert said(plain, "again") == "said again"


LATE = """
import sys
from apxm import flow
from apxm.sdks.in_place import sdks_in_place

@flow
def main():
    import openai
    client = openai.OpenAI(base_url=sys.argv[1], api_key="any")
    said = [{"role": "user", "content": "hello"}]
    return client.chat.completions.create(model="m", messages=said).choices[0].message.content

assert not any(name.startswith(("openai", "httpx")) for name in sys.modules)
with sdks_in_place():
    result = main.using(backend="simulated", latency="constant:1").run()
print(result.value, result.trace.executed)
"""


def test_what_is_imported_later_is_met_too(endpoint: Endpoint, tmp_path: Path) -> None:
    script = tmp_path / "late.py"
    script.write_text(LATE)
    done = subprocess.run([sys.executable, script, endpoint.url], capture_output=True, text=True, check=False)
    assert done.stdout == "Simulated answer ef15eaf9: hello 1\n".replace("ef15eaf9", done.stdout[17:25]), done.stderr
    assert not endpoint.asked


SCRIPT = """
import sys
import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="any")
for row in range(3):  # apxm: each
    said = [{"role": "user", "content": f"{row}"}]
    print(client.chat.completions.create(model="m", messages=said).choices[0].message.content)
"""


def test_an_unedited_script_runs_so(endpoint: Endpoint, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    endpoint.script = together(3)
    command = [sys.executable, "-m", "apxm", "run", str(script), endpoint.url]
    environment = {**os.environ, "APXM_JOURNAL_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.stdout == "said 0\nsaid 1\nsaid 2\n", done.stderr
    assert done.returncode == 0
    assert "journaled" in done.stderr


PAID = """\
import sys
from openai import OpenAI
from apxm import ask, step

@step
def noted(word):
    with open("noted", "a") as file:
        file.write(word)
    return word

client = OpenAI(base_url=sys.argv[1], api_key="any")
noted("early "), ask("simulated")
said = [{"role": "user", "content": "real"}]
print(client.chat.completions.create(model="m", messages=said).choices[0].message.content)
noted("late ")
sys.exit(1)
"""


def test_a_simulated_script_is_journaled_from_its_first_real_call_on(endpoint: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(PAID)
    environment = {**os.environ, "APXM_JOURNAL_DIR": str(tmp_path / "runs")}

    def apxm(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "apxm", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)

    first = apxm("run", "s.py", endpoint.url)
    assert (first.returncode, first.stdout) == (1, "said real\n"), first.stderr
    assert first.stderr.count("is journaled") == 1
    again = apxm("resume", "last")
    assert (again.returncode, again.stdout) == (1, "said real\n"), again.stderr
    assert (tmp_path / "noted").read_text() == "early late ", "no step is done again"
    assert len(endpoint.asked) == 1
