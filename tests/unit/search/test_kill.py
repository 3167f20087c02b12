"""Workers killed at random moments: the finished study equals one that nobody touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from optimer.search.api import search
from tests.unit.search import killer
from tests.unit.search.test_api import POOL, hill

ROOT = Path(__file__).parents[3]


def check(folder, n_workers, n_kills, *storage):
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.search.killer", str(folder), str(n_workers),
         str(n_kills), *storage],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["kills"] >= n_kills
    for seed, study in enumerate(result["studies"]):
        options = {**killer.OPTIONS, "seed": seed}
        straight = search(POOL, killer.score, rerank=hill, **options)
        assert study == json.loads(json.dumps(killer.summary(straight)))
    return result


@pytest.mark.parametrize("n_workers", [1, 3])
def test_thirty_kills_change_nothing(tmp_path, n_workers):
    result = check(tmp_path, n_workers, 30)
    states = [row[-3] for study in result["studies"] for row in study[0]]
    assert "failed" in states and "complete" in states  # failures come out the same too
