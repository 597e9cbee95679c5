"""Damaged input of every kind ends in an error of ours, soon, and in little memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

import apxm
from apxm.backends.chat import UnreadableAnswerError, decode_answer
from apxm.compiler.pipeline import compile_source
from apxm.config.document import Document
from apxm.errors import ApxmError, ConfigurationError, InternalError
from apxm.program import codec
from apxm.source import SourceFile
from tests.servers import completion

ROOT = Path(__file__).parents[2]
ALL = 20_000
PART = 500
"""So many in one process, which has so much"""
MEMORY = 2 << 30
TIME_S = 300

SOURCES = [path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("workloads/**/*.ais"))]
CONFIGURATION = """\
default_backend = "local"
[backends.local]
kind = "openai"
endpoint = "http://127.0.0.1:8000/v1"
model = "tiny"
headers = { "X-Team" = "env:TEAM" }
max_concurrency = 64
prices."tiny" = { input = 0.15, output = 0.6 }
[backends.dry]
kind = "simulated"
latency = "lognormal:800,0.4"
answers = [{ match = "a+", answer = "b" }]
"""


def damaged(random: Random, content: bytes) -> bytes:
    """One to five pieces replaced, removed, doubled or moved."""
    data = bytearray(content)
    for _ in range(random.randrange(1, 6)):
        begin = random.randrange(len(data) + 1)
        end = min(len(data), begin + random.choice([0, 1, 1, 2, 8, 64]))
        piece = bytes(data[begin:end])
        match random.randrange(5):
            case 0:
                data[begin:end] = random.randbytes(random.choice([0, 1, 2, 5]))
            case 1:
                del data[begin:end]
            case 2:
                data[begin:begin] = piece * random.choice([1, 2, 50])
            case 3:
                data[begin:end] = random.choice(
                    [b"{", b"}", b"(", b")", b'"', b"\\", b"\xff", b"\x00", b"9" * 30, b"["]
                )
            case _:
                at = random.randrange(len(data) + 1)
                data[at:at] = piece
    return bytes(data)


def source(random: Random) -> None:
    text = damaged(random, random.choice(SOURCES).encode()).decode(errors="replace")
    compile_source(SourceFile("fuzzed.ais", text), level=random.choice([0, 1, 2]), needs_entry=False)


def artifact(random: Random) -> None:
    codec.decode(damaged(random, random.choice(artifacts())))


def configuration(random: Random) -> None:
    Document("config.toml", damaged(random, CONFIGURATION.encode()))


def answer(random: Random) -> None:
    try:
        decode_answer(damaged(random, completion("Fine.", note="x" * 40).body), None)
    except UnreadableAnswerError as error:
        raise ConfigurationError(str(error)) from None  # the backend makes an error of ours of it


_artifacts: list[bytes] = []


def artifacts() -> list[bytes]:
    if not _artifacts:
        _artifacts.extend(codec.encode(apxm.compile_text(text)) for text in SOURCES)
    return _artifacts


KINDS: dict[str, Callable[[Random], None]] = {
    "source": source,
    "artifact": artifact,
    "configuration": configuration,
    "answer": answer,
}


def fuzz(kind: str, begin: int, count: int) -> None:
    for seed in range(begin, begin + count):
        try:
            KINDS[kind](Random(f"{kind} {seed}"))
        except InternalError as error:
            raise AssertionError(f"{kind} {seed}") from error
        except ApxmError:
            pass
        except Exception as error:
            raise AssertionError(f"{kind} {seed}") from error


PARTS = [pytest.param(begin, marks=[] if begin == 0 else [pytest.mark.soak]) for begin in range(0, ALL, PART)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("begin", PARTS)
def test_damage_ends_in_an_error_of_ours(kind: str, begin: int) -> None:
    code = (
        "import sys\n"
        "try:\n"
        "    import resource\n"
        f"    resource.setrlimit(resource.RLIMIT_AS, ({MEMORY}, {MEMORY}))\n"
        "except ImportError: pass\n"
        "from tests.faults.test_fuzzing import fuzz\n"
        f"fuzz({kind!r}, {begin}, {PART if begin else 100})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True, timeout=TIME_S
    )
    assert done.returncode == 0, done.stderr
