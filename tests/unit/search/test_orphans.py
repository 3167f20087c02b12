"""Processes that follow a search end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from optimer.search.engines import orphans

TREE = """
import importlib.util, json, os, subprocess, sys, time
spec = importlib.util.spec_from_file_location("orphans", sys.argv[1])
orphans = importlib.util.module_from_spec(spec)
spec.loader.exec_module(orphans)
role = sys.argv[2]
if role == "search":
    subprocess.Popen([sys.executable, __file__, sys.argv[1], "core", json.dumps(orphans.whom())])
elif role == "core":  # vLLM's scheduler, which does not care who lives
    subprocess.Popen([sys.executable, __file__, sys.argv[1], "worker", sys.argv[3]])
else:
    orphans.follow(json.loads(sys.argv[3]))
    print(os.getppid(), os.getpid(), flush=True)
time.sleep(600)
"""


def test_scheduler_and_worker_end_when_the_search_is_killed(tmp_path):
    script = tmp_path / "tree.py"
    script.write_text(TREE)
    search = subprocess.Popen(
        [sys.executable, str(script), str(Path(orphans.__file__)), "search"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert search.stdout is not None
    others = [psutil.Process(int(pid)) for pid in search.stdout.readline().split()]
    time.sleep(0.3)
    assert len(others) == 2 and all(other.is_running() for other in others)
    os.kill(search.pid, signal.SIGKILL)
    search.wait()
    _, alive = psutil.wait_procs(others, timeout=30)
    assert [other for other in alive if other.status() != psutil.STATUS_ZOMBIE] == []


def test_a_process_does_not_follow_itself_or_another_node():
    before = len(threading.enumerate())
    orphans.follow(orphans.whom())
    orphans.follow({"pid": 1, "host": "elsewhere"})
    assert len(threading.enumerate()) == before
