"""A process forked from one that had run something: multiprocessing's fork, servers that load before they fork.

Each case is a process of its own: a fork of the test's process would copy whatever other tests have left in it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")

PRELUDE = """
import json, multiprocessing, os, signal, sys, threading, traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import apxm

signal.alarm(50)  # whatever waits for ever ends, in the child too
arrived, go_on = threading.Event(), threading.Event()

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        prompt = json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"][-1]["content"]
        if prompt == "wait":
            arrived.set()
            go_on.wait()
        body = json.dumps({"choices": [{"message": {"content": f"to {prompt}"}, "finish_reason": "stop"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_): ...

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
Path("c.toml").write_text(f'''
[backends.s]
kind = "openai"
model = "m"
endpoint = "http://127.0.0.1:{server.server_address[1]}/v1"
max_concurrency = 1
requests_per_minute = 2
retries = 0
''')
SOURCE = "agent A { @entry flow main(q: str) -> str { return ask(q) } }"
program = apxm.compile_text(SOURCE)

def ask(q, **options):
    return apxm.run(program, q=q, **{"config": "c.toml", "journal": False, "timeout_s": 20, **options}).value

def in_child(work):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(50)
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return pid

def must_end_well(pid):
    assert os.waitpid(pid, 0)[1] == 0, "the child failed"

def must_be(found, expected):
    assert found == expected, found
"""

CASES = {
    "a child, its child and the parent": """
def child():
    must_be(ask("b"), "to b")
    must_end_well(in_child(lambda: must_be(ask("c"), "to c")))
    must_be(ask("d"), "to d")

must_be(ask("a"), "to a")
must_end_well(in_child(child))
must_end_well(in_child(child))
must_be(ask("e"), "to e")
""",
    "backends made before": """
from apxm.config.selection import Selection, resolve
from apxm.runtime.limits import PROCESS, BackendPool

resolved = resolve(Selection(file="c.toml"))
pool = BackendPool(resolved.backends, resolved.default, PROCESS)
must_be(ask("a", backends=pool, config=None), "to a")
must_end_well(in_child(lambda: must_be(ask("b", backends=pool, config=None), "to b")))
""",
    "multiprocessing": """
def both(q):
    return ask(q), ask(q, backend="simulated", latency="constant:1", config=None)[:9]

must_be(both("a"), ("to a", "Simulated"))
with multiprocessing.get_context("fork").Pool(2) as pool:
    must_be(pool.map(both, "bcde", chunksize=2), [(f"to {q}", "Simulated") for q in "bcde"])
""",
    "simulated": """
def simulated():
    assert ask("a", backend="simulated", latency="constant:1", config=None).startswith("Simulated answer")

simulated()
must_end_well(in_child(lambda: [simulated() for _ in range(3)]))
""",
    "a run in flight in another thread": """
from apxm.journal.lock import is_held
from apxm.runtime.watch import WATCH

answers = []
def run():
    answers.append(ask("wait", journal=True, journal_dir="runs"))
thread = threading.Thread(target=run)
thread.start()
arrived.wait()
(lock,) = Path("runs").glob("*.apxmlog")
assert is_held(lock)

ran_r, ran_w = os.pipe()
end_r, end_w = os.pipe()
def child():
    # The only slot is the parent's, and so is the run with its journal.
    must_be(ask("b", journal=True, journal_dir="runs", require_journal=True), "to b")
    must_be(ask("c"), "to c")
    assert not WATCH.loops()
    assert is_held(lock)
    os.write(ran_w, b"x")
    os.read(end_r, 1)

pid = in_child(child)
os.close(ran_w)
assert os.read(ran_r, 1) == b"x", "the child failed"
go_on.set()
thread.join()
must_be(answers, ["to wait"])
from apxm.journal.store import store_of
store_of(Path("runs")).rest()
assert not is_held(lock), "the child has the lock as well"
os.write(end_w, b"x")
must_end_well(pid)
must_be(len(list(Path("runs").glob("*.apxmlog"))), 2)
""",
    "a journal that the parent has": """
from apxm.journal.journal import Journal
from apxm.journal.rows import header_of

Path("runs").mkdir()
def begun():
    header = header_of(
        program, apxm="0", run_id=apxm.new_run_id(), started=0, path="p", kind="source", flow="A.main", inputs=("a",),
        options={},
    )
    return Journal.create(Path("runs"), header)
journal = begun()
ids = os.pipe()
def child():
    journal.close()  # waits for nobody, and writes nothing
    os.write(ids[1], apxm.new_run_id().encode())
    begun().close()
must_end_well(in_child(child))
assert os.read(ids[0], 100).decode()[-4:] != apxm.new_run_id()[-4:], "both have drawn the same"
journal.close()
""",
    "locks and the collector held by other threads": """
import gc
from apxm.garbage import without_collector
from apxm.runtime import limits
from apxm.runtime.watch import WATCH

ask("a")
held, let_go = threading.Event(), threading.Event()
def hold():
    (gate,) = limits.PROCESS._gates.values()
    with without_collector(), WATCH._lock, gate._lock, limits.PROCESS.retries._lock:
        held.set()
        let_go.wait()
thread = threading.Thread(target=hold)
thread.start()
held.wait()
def child():
    assert gc.isenabled()
    apxm.compile_text(SOURCE + " ")
    must_be(ask("b"), "to b")
must_end_well(in_child(child))
let_go.set()
thread.join()
""",
}


@pytest.mark.parametrize("name", CASES)
def test_a_forked_process_runs_programs_too(name: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PRELUDE + CASES[name]], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


UNLOADABLE = """
must_be(ask("a"), "to a")
os.environ["TMPDIR"] = "/proc/self/fdinfo"
def child():
    import tempfile
    tempfile.tempdir = "/proc/self/fdinfo"
    try:
        ask("b")
    except apxm.ConfigurationError as error:
        assert "forked" in error.message and "TMPDIR" in error.hint
    else:
        raise AssertionError("no error")
must_end_well(in_child(child))
"""


def test_where_the_client_cannot_be_loaded_anew_that_is_said(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PRELUDE + UNLOADABLE], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
