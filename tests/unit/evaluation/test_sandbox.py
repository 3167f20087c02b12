"""Hostile programs against the real sandbox; skipped where bubblewrap is absent."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from optimer.errors import EvaluationError
from optimer.evaluation import sandbox

needs_bwrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is absent")


@pytest.fixture(autouse=True)
def fresh():
    sandbox.available.cache_clear()
    yield
    sandbox.available.cache_clear()


def test_refused_where_bubblewrap_is_absent(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(EvaluationError, match=r"`bwrap` is not on PATH.*apt-get install bubble"):
        sandbox.run("print(1)")


def test_refused_where_bubblewrap_does_not_work(monkeypatch, tmp_path):
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho no namespaces >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(EvaluationError, match=r"does not work \(no namespaces\)"):
        sandbox.run("print(1)")


@needs_bwrap
def test_right_and_wrong_programs():
    good = "import math, socket, random, heapq, re\ndef f(x): return x + 1\nassert f(1) == 2"
    assert sandbox.run(good) == sandbox.Verdict(True, "passed")
    assert sandbox.run("assert 1 == 2").reason == "error: AssertionError"
    assert sandbox.run("def f(:").reason == "error: SyntaxError"
    assert not sandbox.run("raise KeyboardInterrupt").passed
    assert not sandbox.run("\ud800").passed
    assert sandbox.run("print('x' * 10**7)").passed  # output is thrown away


@needs_bwrap
@pytest.mark.parametrize(
    "program", ["import os; os._exit(0)", "exit(0)", "import sys; sys.exit()", "quit()"]
)
def test_leaving_before_the_tests_is_not_passing(program):
    assert not sandbox.run(program + "\nassert False").passed


@needs_bwrap
def test_no_network():
    program = """
import socket
for address in (("1.1.1.1", 53), ("127.0.0.1", PORT)):
    try:
        socket.create_connection(address, timeout=2)
    except OSError:
        continue
    raise SystemExit("reached " + address[0])
"""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert socket.create_connection(("127.0.0.1", port), timeout=2)  # reachable from here
        assert sandbox.run(program.replace("PORT", str(port))).passed


@needs_bwrap
def test_nothing_can_be_written(tmp_path):
    places = ["/", "/tmp", "/dev", "/dev/shm", "/usr", "/var/tmp", str(tmp_path), sys.base_prefix]
    program = f"""
import os
for place in {places!r}:
    try:
        with open(os.path.join(place, "mark"), "w") as file:
            file.write("x")
    except OSError:
        continue
    raise SystemExit("wrote to " + place)
"""
    assert sandbox.run(program).passed
    assert not any((Path(place) / "mark").exists() for place in places)


@needs_bwrap
def test_the_machine_and_its_secrets_are_out_of_sight(monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET_OF_THE_HOST", "xyzzy")
    (tmp_path / "secret").write_text("xyzzy")
    hidden = [str(tmp_path / "secret"), "/etc/shadow", "/etc/passwd", "/proc/1/environ",
              str(Path.home() / ".ssh"), str(Path(__file__))]  # fmt: skip
    program = f"""
import os
assert "SECRET_OF_THE_HOST" not in os.environ
assert os.getuid() != 0
found = [place for place in {hidden!r} if os.path.exists(place)]
assert not found, found
try:
    os.setuid(0)
except OSError:
    pass
else:
    raise SystemExit("root again")
"""
    assert sandbox.run(program) == sandbox.Verdict(True, "passed")


@needs_bwrap
def test_other_processes_are_out_of_reach():
    program = f"""
import os, signal
for pid in (1, 2, {os.getpid()}):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
"""
    sandbox.run(program)
    assert os.getpid() > 0  # still here


@needs_bwrap
def test_endless_loop_sleep_and_deep_recursion_end():
    started = time.monotonic()
    assert sandbox.run("while True: pass", timeout_s=1).reason == "stopped after 1 s"
    assert not sandbox.run("import time\ntime.sleep(60)", timeout_s=1).passed
    assert not sandbox.run("def f(): return f()\nf()", timeout_s=5).passed
    assert time.monotonic() - started < 20


@needs_bwrap
def test_memory_is_limited():
    assert sandbox.run("x = bytearray(2 * 10**9)").reason == "error: MemoryError"
    assert sandbox.run("x = bytearray(10**8)").passed
    assert not sandbox.run("x = []\nwhile True: x.append(' ' * 10**6)", timeout_s=5).passed


@needs_bwrap
def test_a_fork_bomb_fizzles_and_leaves_nothing():
    mark = "fork-bomb-of-the-sandbox-test"
    program = f"""
import os, time
{mark.replace("-", "_")} = 1
made = 0
try:
    for _ in range(200):
        if os.fork() == 0:
            time.sleep(60)
        made += 1
except OSError:
    pass
assert made < 20, made
"""
    verdict = sandbox.run(program, timeout_s=5)
    assert verdict.reason in ("passed", "stopped after 5 s")
    bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    assert not sandbox.run(bomb, timeout_s=1).passed
    time.sleep(0.3)
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert "RLIMIT_" not in listed  # no runner is left


@needs_bwrap
def test_a_flood_of_output_is_cut():
    flood = "import os\nfor fd in range(3, 10):\n    try:\n        while True: os.write(fd, b'x' * 65536)\n    except OSError: pass"  # noqa: E501
    started = time.monotonic()
    assert not sandbox.run(flood, timeout_s=5).passed
    assert time.monotonic() - started < 5
