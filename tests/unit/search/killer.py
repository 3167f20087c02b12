"""Runs studies whose workers are killed (signal 9) at random moments; prints how they came out.

    python -m tests.unit.search.killer FOLDER WORKERS KILLS [STORAGE URL]

Everything is imported before the workers are forked, so that kills hit the study and not the
start of Python. Last line: {"kills": n, "studies": [[numbers, weights and scores, winner], …]}.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path

from optimer.search.api import search
from tests.unit.search.test_api import POOL, hill

OPTIONS = {"trials": 30, "batch": 6, "n_startup_trials": 12}


def score(weights):
    """Deterministic, some milliseconds, and now and then not a number."""
    time.sleep(0.004 + 0.012 * weights["cpt_ja"])
    found = hill(weights)
    return {**found, "odd": float("nan") if weights["cpt_math"] > 0.93 else 50.0}


def summary(found):
    return [
        [[t.number, *t.weights.values(), t.state, t.outcome and t.outcome.objective, t.reason]
         for t in found.trials],
        [t.number for t in found.trials if t.rerank], found.best.number,
    ]  # fmt: skip


def run(journal: Path, seed: int, url: str | None):
    return search(POOL, score, rerank=hill, journal=journal, storage=url, seed=seed, **OPTIONS)


def start(journal: Path, seed: int, url: str | None) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        run(journal, seed, url)
        code = 0
    finally:
        os._exit(code)


def killed(journal: Path, seed: int, n_workers: int, url: str | None, wanted: int, draw) -> int:
    """One study to its end; returns how many workers were killed on the way."""
    kills, alive, done = 0, [], 0
    while not done and kills < wanted:
        alive += [start(journal, seed, url) for _ in range(n_workers - len(alive))]
        time.sleep(draw.uniform(0, 0.12 if url is None else 1.2))
        victim = alive.pop(draw.randrange(len(alive)))
        os.kill(victim, 9)
        _, status = os.waitpid(victim, 0)
        if os.WIFSIGNALED(status):
            kills += 1
        else:
            done += 1
            assert os.WEXITSTATUS(status) == 0
    for worker in alive:
        assert os.waitpid(worker, 0)[1] == 0
    return kills


def main() -> None:
    folder, n_workers, wanted = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    url = sys.argv[4] if len(sys.argv) > 4 else None
    draw, kills, studies = random.Random(n_workers), 0, []
    while kills < wanted:
        seed = len(studies)
        journal = folder / f"study{seed}" / "journal.log"
        kills += killed(journal, seed, n_workers, url, wanted - kills, draw)
        studies.append(summary(run(journal, seed, url)))
    print(json.dumps({"kills": kills, "studies": studies}))


if __name__ == "__main__":
    main()
