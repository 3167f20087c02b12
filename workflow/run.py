"""Run Snakemake targets so that a killed run just continues: `python workflow/run.py [target]`.

One run per checkout holds `work/run.lock`; its jobs inherit the lock. A later run that finds the
lock held by the orphans of a killed run ends them first, then clears Snakemake's own stale lock
and continues with `--rerun-incomplete`. After target `main` it prints the table and says where
figures and recipes are.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from optimer.errors import OptimerError
from optimer.params import load
from optimer.paths import PARAMS, Paths

LOCK = Path("work/run.lock")
GRACE = 15  # seconds between SIGTERM and SIGKILL


def main() -> int:
    """Exit status of Snakemake; 2 when params are wrong or another run is alive."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("target", nargs="?", default="main")
    parser.add_argument("--scale")
    parser.add_argument("--seed", type=int)
    arguments, extra = parser.parse_known_args()
    overrides = {
        key: value
        for key, value in (("scale", arguments.scale), ("seed", arguments.seed))
        if value is not None
    }
    try:
        params = load(PARAMS, overrides=overrides)
    except OptimerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("a+") as lock:
        if not _acquire(lock):
            return 2
        config = [f"{key}={value}" for key, value in overrides.items()]
        if _pulled(Paths(params.scale)):
            print("Artifacts equal dvc.lock: marking what was pulled as up to date …", flush=True)
            _quiet(["--touch", "--cores", "1", *_options(config), "--", "main"])
        status = _snakemake(lock, arguments.target, config, extra)
    if status == 0 and arguments.target == "main":
        _summary(Paths(params.scale), list(params.combinations))
    return status


def _acquire(lock) -> bool:
    """Take the lock; end the orphans of a killed run, never a live run."""
    deadline = time.monotonic() + 2 * GRACE
    signalled = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            lock.seek(0)
            owner, group = [*map(int, lock.read().split()), 0, 0][:2]
        if owner and _alive(owner):
            print(
                f"error: one run per checkout; process {owner} is running the graph here. "
                "Wait for it or stop it, then try again.",
                file=sys.stderr,
            )
            return False
        if time.monotonic() > deadline:
            print(
                f"error: jobs of a killed run (process group {group}) do not end. "
                f"Stop them by hand (kill -9 -{group}), then try again.",
                file=sys.stderr,
            )
            return False
        if group:
            if not signalled:
                print(f"Ending jobs left over from a killed run (process group {group}) …")
            _signal_group(group, signal.SIGKILL if signalled else signal.SIGTERM)
            signalled = time.monotonic() > deadline - GRACE or signalled
        time.sleep(0.5)


def _alive(pid: int) -> bool:
    try:
        return "run.py" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def _pulled(paths: Paths) -> bool:
    """Whether a fresh clone holds what `dvc pull` brought.

    DVC restores bytes but not modification times, by which Snakemake would run everything again.
    """
    fresh = not any(Path(".snakemake/metadata").glob("*"))
    if not (fresh and paths.artifacts.exists() and Path("dvc.lock").exists()):
        return False
    status = [sys.executable, "-m", "dvc", "status", "--quiet"]
    return subprocess.run(status, check=False).returncode == 0


def _options(config: list[str]) -> list[str]:
    return ["--config", *config] if config else []


def _quiet(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "snakemake", *arguments]
    subprocess.run(command, check=False, capture_output=True)


def _snakemake(lock, target: str, config: list[str], extra: list[str]) -> int:
    """Run Snakemake in a process group of its own, which inherits the lock."""
    base = [sys.executable, "-m", "snakemake"]
    # Safe: this process holds the checkout's lock, so Snakemake's own can only be stale.
    if any(Path(".snakemake/locks").glob("*")):
        _quiet([*_options(config), "--unlock"])
    os.set_inheritable(lock.fileno(), True)
    process = subprocess.Popen(
        [*base, *_options(config), "--quiet", "rules", *extra, "--", target],
        start_new_session=True,
        close_fds=False,
    )
    lock.seek(0)
    lock.truncate()
    lock.write(f"{os.getpid()} {process.pid}\n")
    lock.flush()

    def forward(number, _frame) -> None:
        _signal_group(process.pid, number)

    signal.signal(signal.SIGINT, forward)
    signal.signal(signal.SIGTERM, forward)
    return process.wait()


def _summary(paths: Paths, combinations: list[str]) -> None:
    print()
    print(paths.table("table1", "md").read_text().rstrip())
    print()
    print(
        f"Table 1       {paths.table('table1')}  (.md, .tex; beside the paper: table1_vs_paper.md)"
    )
    print(f"Figures       {paths.figure('fig3_cosine').parent}/")
    for name in combinations:
        print(f"Best recipe   {paths.recipe(name)}")


if __name__ == "__main__":
    sys.exit(main())
