"""Flows that call models by an SDK, and go on: what was answered is not asked again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from apxm.backends.protocol import Price
from apxm.errors import JournalError, UsageError
from apxm.flows.flow import each, flow
from tests.sdks.conftest import configured
from tests.sdks.endpoint import Asked, Endpoint, Reply, echo


@flow
def labelled(client: Any, rows: list[int], extra: str = "") -> list[str]:
    found: list[str] = []
    for row in each(rows):
        messages = [{"role": "user", "content": f"label {row}{extra}"}]
        answer = client.chat.completions.with_raw_response.create(model="m", messages=messages)
        found.append(f"{answer.headers['x-request-id']} {answer.parse().choices[0].message.content}")
    return found


def test_what_was_answered_is_given_again(client: Any, endpoint: Endpoint, told: dict[str, Any]) -> None:
    result = labelled.using(**told).run(client, range(3))
    again = labelled.using(**told).resume(result.run_id, client, range(4))
    assert again.value == [f"req_1 said label {row}" for row in range(4)]
    assert (again.trace.reused, len(endpoint.asked)) == (3, 4)


def test_another_way_is_told_of_whatever_the_sdk_makes_of_errors(client: Any, told: dict[str, Any]) -> None:
    run = labelled.using(**told).run(client, range(2)).run_id
    with pytest.raises(JournalError, match=r"took another way at labelled:\d+\[0\]") as other:
        labelled.using(**told).resume(run, client, range(2), extra="!")
    assert other.value.where == f"{__file__}:{labelled.function.__code__.co_firstlineno + 5}"
    changed = labelled.using(**told, as_changed=True).resume(run, client, range(2), extra="!")
    assert changed.value == ["req_1 said label 0!", "req_1 said label 1!"]


def test_no_key_is_kept(client: Any, told: dict[str, Any]) -> None:
    labelled.using(**told).run(client, range(2))
    kept = [path.read_bytes() for path in told["journal_dir"].rglob("*") if path.is_file()]
    assert any(b"said label 1" in each for each in kept)
    assert not any(b"sk-of-the-test" in each for each in kept)


def test_a_price_that_nobody_knows_is_told_of(client: Any, endpoint: Endpoint, told: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="price"):
        labelled.using(**told, max_cost=1.0).run(client, [1])
    assert not endpoint.asked


def test_what_is_answered_costs_what_its_backend_says(client: Any, endpoint: Endpoint, tmp_path: Path) -> None:
    priced = configured(endpoint, tmp_path, prices={"m": Price(input=1.0, output=2.0)})
    result = labelled.using(**priced, max_cost=1.0).run(client, range(3))
    assert result.trace.budget is not None
    assert result.trace.budget.spent.tokens == 3 * 10
    assert result.trace.budget.spent.money == 3 * (7 * 1_000_000 + 3 * 2_000_000)


SCRIPT = """
import os, sys
from apxm import each, flow
from apxm.openai import OpenAI

@flow
def main(rows):
    found = []
    for row in each(rows):
        said = [{"role": "user", "content": f"{row}"}]
        found.append(client.chat.completions.create(model="m", messages=said).choices[0].message.content)
    return found

client = OpenAI(base_url=sys.argv[1], api_key="any")
program = main.using(journal_dir=sys.argv[2], max_concurrency=1)
print(program.resume("last", range(6)).value if len(sys.argv) == 4 else program.run(range(6)).value)
"""


def test_a_process_that_is_killed_goes_on(endpoint: Endpoint, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), endpoint.url, str(tmp_path / "runs")]
    pids: list[int] = []

    def kill(asked: Asked) -> Reply:
        if asked.prompt == "3" and len(endpoint.asked) == 4:
            os.kill(pids[0], signal.SIGKILL)
        return echo(asked)

    endpoint.script = kill
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        pids.append(process.pid)
        output, errors = process.communicate()
    assert (process.returncode, output) == (-signal.SIGKILL, ""), errors
    again = subprocess.run([*command, "again"], capture_output=True, text=True, check=False)
    assert again.stdout == f"{[f'said {row}' for row in range(6)]}\n", again.stderr
    assert endpoint.prompts == ["0", "1", "2", "3", "3", "4", "5"]
