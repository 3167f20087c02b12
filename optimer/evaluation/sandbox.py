"""Run model-written Python where it can do no harm: bubblewrap, resource limits, a wall clock.

Inside: no network, no other processes, no environment, nothing of the machine's files but the
system libraries and the Python installation, and those read-only; an unprivileged user; limits on
memory, processes, CPU time and file size. The kernel is shared with the host, so this is a
sandbox for careless and cheeky programs, not a virtual machine.

A program passes when it runs to its end: a token that it is not given is printed after it. That
catches `exit(0)` before the tests; it cannot catch a program that sets out to forge its own tests.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from optimer.errors import EvaluationError

_MOST_OUTPUT = 4096  # bytes read from a program; the rest of a flood is never looked at

_RUNNER = r"""
import json, os, resource, sys
job = json.loads(sys.stdin.read())
for name, value in job["limits"].items():
    resource.setrlimit(getattr(resource, "RLIMIT_" + name), (value, value))
if os.getuid() == 0:  # real root: become a user that owns nothing and has no capabilities
    os.setgroups([]); os.setgid(job["user"]); os.setuid(job["user"])
out = os.dup(1)
null = os.open("/dev/null", os.O_RDWR)
for stream in (0, 1, 2):
    os.dup2(null, stream)
token = job["token"].encode()
program, job = job["program"], None
try:
    exec(compile(program, "program", "exec"), {"__name__": "__main__"})
except BaseException as error:
    os.write(out, ("error: " + type(error).__name__).encode()[:200])
    os._exit(1)
os.write(out, token)
os._exit(0)
"""


@dataclass(frozen=True)
class Verdict:
    """Whether a program ran to its end, and if not, why."""

    passed: bool
    reason: str


def run(
    program: str, timeout_s: float = 10.0, memory_mb: int = 512, n_processes: int = 8
) -> Verdict:
    """Run one program.

    `timeout_s` is wall-clock time, `memory_mb` address space per process. Raises EvaluationError
    where there is no sandbox; never runs anything outside of one.
    """
    available()
    return _run(program, timeout_s, memory_mb, n_processes)


@cache
def available() -> None:
    """Check once that a sandbox works here. Raises EvaluationError with the way out."""
    hint = (
        "Tasks that run model-written code (HumanEval, MBPP) need it: install bubblewrap "
        "(apt-get install bubblewrap), or take these tasks out of benchmark.columns"
    )
    if sys.platform != "linux" or shutil.which("bwrap") is None:
        raise EvaluationError(f"no sandbox here: `bwrap` is not on PATH. {hint}")
    trial = _run("assert 1 + 1 == 2", timeout_s=20.0, memory_mb=512, n_processes=8)
    if not trial.passed:
        raise EvaluationError(
            f"no sandbox here: bubblewrap is installed but does not work ({trial.reason}); user "
            f"namespaces may be switched off (sysctl user.max_user_namespaces). {hint}"
        )


def _run(program: str, timeout_s: float, memory_mb: int, n_processes: int) -> Verdict:
    token = secrets.token_hex(16)
    memory = memory_mb << 20
    limits = {
        "AS": memory,
        "CPU": int(timeout_s) + 1,
        "NPROC": n_processes,
        "FSIZE": 1 << 20,
        "CORE": 0,
        "NOFILE": 64,
    }
    user = 100_000 + secrets.randbelow(900_000)  # of its own: NPROC counts processes of a user
    job = {"program": program, "token": token, "limits": limits, "user": user}
    process = subprocess.Popen(
        _command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        output, late = _converse(process, json.dumps(job).encode(), timeout_s)
    finally:
        process.kill()  # takes the whole process namespace with it
        process.wait()
        message = _stderr(process)
    if output == token.encode():
        return Verdict(True, "passed")
    if late:
        return Verdict(False, f"stopped after {timeout_s:g} s")
    text = output.decode(errors="replace")
    return Verdict(False, text[:200] or message or "ended early")


def _converse(process: subprocess.Popen[bytes], job: bytes, timeout_s: float) -> tuple[bytes, bool]:
    """Send the job, read a little of the answer; (output, whether time ran out)."""
    assert process.stdin is not None and process.stdout is not None
    deadline = time.monotonic() + timeout_s
    try:
        process.stdin.write(job)
        process.stdin.close()
    except BrokenPipeError:
        return b"", False
    output = b""
    while len(output) < _MOST_OUTPUT:
        left = deadline - time.monotonic()
        if left <= 0:
            return output, True
        if select.select([process.stdout], [], [], min(left, 0.5))[0]:
            block = os.read(process.stdout.fileno(), _MOST_OUTPUT)
            if not block:
                break
            output += block
        elif process.poll() is not None:
            break
    return output, False


def _stderr(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    with process.stderr as stream:
        return stream.read(_MOST_OUTPUT).decode(errors="replace").strip()


@cache
def _command() -> tuple[str, ...]:
    """bwrap's command line, with a Python that sees its standard library and nothing else."""
    python = Path(os.path.realpath(sys.executable))
    parts = ["bwrap", "--die-with-parent", "--new-session", "--clearenv"]
    parts += ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    parts += ["--unshare-cgroup-try"]
    if os.getuid() == 0:
        parts += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        parts += ["--unshare-user", "--uid", "65534", "--gid", "65534"]
    parts += [*_libraries(), "--dev", "/dev", "--remount-ro", "/dev"]
    prefix = Path(sys.base_prefix).resolve()
    for place in {prefix, python.parent.parent}:
        if not place.is_relative_to("/usr"):
            for above in reversed(place.parents):  # to be walked through by the user inside
                parts += ["--perms", "0755", "--dir", str(above)] if above.name else []
            parts += ["--ro-bind", str(place), str(place)]
    return (*parts, "--remount-ro", "/", "--chdir", "/", str(python), "-I", "-S", "-c", _RUNNER)


def _libraries() -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        place = Path(name)
        if place.is_symlink():
            yield from ("--symlink", str(place.readlink()), name)
        elif place.is_dir():
            yield from ("--ro-bind", name, name)
    yield from ("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache")
