"""Several workers on one study: the same trials as one worker has, and what fails on the way."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import optuna
import pytest

from optimer.errors import SearchError
from optimer.search.api import search
from optimer.search.failures import EngineDied
from optimer.search.storage import JournalFile
from tests.unit.search.test_api import POOL, hill, plain

ROOT = Path(__file__).parents[3]
OPTIONS = {"trials": 24, "batch": 8, "n_startup_trials": 8}
WORKER = """
import json, os, sys, time
from pathlib import Path
from tests.unit.search.test_api import POOL, hill, plain
from optimer.search.api import search

def score(weights):
    time.sleep(0.02 + 0.03 * weights["cpt_ja"])
    print("scored", flush=True)
    return hill(weights)

options = json.loads(sys.argv[2])
together, folder = options.pop("together", 1), Path(sys.argv[1]).parent
(folder / f"ready-{os.getpid()}").touch()
while len(list(folder.glob("ready-*"))) < together:
    time.sleep(0.01)
found = search(POOL, score, rerank=hill, journal=Path(sys.argv[1]), **options)
print(json.dumps([plain(found.trials), found.best.number]))
"""


def start(journal, options=OPTIONS, script=WORKER, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", script, str(journal), json.dumps(options)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip


def open_trials(journal):
    storage = optuna.storages.JournalStorage(JournalFile(journal))
    [study] = storage.get_all_studies()
    return storage.get_all_trials(study._study_id)


@pytest.mark.parametrize("multivariate", [False, True])
def test_three_workers_have_the_trials_of_one(tmp_path, multivariate):
    options = {**OPTIONS, "multivariate": multivariate}
    one = search(POOL, hill, rerank=hill, **options)
    options["together"] = 3
    running = [start(tmp_path / "journal.log", options) for _ in range(3)]
    outputs = [worker.communicate(timeout=60)[0].splitlines() for worker in running]
    for *_, last in outputs:
        assert json.loads(last) == [plain(one.trials), one.best.number]
    shares = [lines.count("scored") for lines in outputs]
    assert sum(shares) == 24  # nothing was scored twice
    assert sum(share > 0 for share in shares) > 1


def test_a_second_search_on_a_study_joins_it(tmp_path):
    """From inside a trial: the other search takes every trial but the one that is held."""
    journal = tmp_path / "journal.log"
    inner: list[int] = []

    def counted(weights):
        inner.append(1)
        return hill(weights)

    def first(weights):
        if not inner:
            options = {"journal": journal, "trials": 4, "batch": 4}
            other = threading.Thread(target=search, args=(POOL, counted), kwargs=options)
            other.start()
            while len(inner) < 3:
                assert other.is_alive()
        return hill(weights)

    found = search(POOL, first, journal=journal, trials=4, batch=4)
    assert len(inner) == 3
    assert plain(found.trials) == plain(search(POOL, hill, trials=4, batch=4).trials)


def test_other_settings_beside_a_running_study_are_another_study(tmp_path):
    journal = tmp_path / "journal.log"
    running = start(journal)
    running.stdout.readline()
    other = search(POOL, hill, journal=journal, seed=9, **OPTIONS)
    ended = json.loads(running.communicate(timeout=60)[0].splitlines()[-1])
    assert ended[0] == plain(search(POOL, hill, **OPTIONS).trials)
    assert plain(other.trials) == plain(search(POOL, hill, seed=9, **OPTIONS).trials)


def test_a_task_that_raises_fails_its_trial_and_leaves_the_others(tmp_path):
    def score(weights):
        if weights["cpt_math"] > 0.7:
            raise ValueError("no answer\nfrom the sandbox")
        return hill(weights)

    journal = tmp_path / "journal.log"
    found = search(POOL, score, journal=journal, trials=16, batch=8)
    failed = [trial for trial in found.trials if trial.state == "failed"]
    reason = "ValueError: no answer from the sandbox (test_workers.py:"
    assert failed and failed[0].reason.startswith(reason)
    stored = open_trials(journal)
    assert [t.state.name for t in stored].count("FAIL") == len(failed)
    assert stored[failed[0].number].user_attrs["failure"] == failed[0].reason
    assert found.best.state == "complete"


def test_a_failed_batch_is_tried_again_by_the_next_run(tmp_path):
    journal = tmp_path / "journal.log"
    options = {"trials": 8, "batch": 4, "n_startup_trials": 4}

    def broken(weights):
        raise RuntimeError("CUDA out of memory")

    with pytest.raises(SearchError, match=r"all 4 trials of batch 0 .* CUDA out of memory"):
        search(POOL, broken, journal=journal, **options)
    found = search(POOL, hill, journal=journal, **options)
    assert plain(found.trials) == plain(search(POOL, hill, **options).trials)


def test_an_engine_that_dies_three_times_on_a_trial_fails_it(tmp_path):
    journal = tmp_path / "journal.log"
    options = {"trials": 8, "batch": 4, "n_startup_trials": 4}
    bad = search(POOL, hill, **options).trials[2].weights

    def dying(weights):
        if weights == bad:
            raise EngineDied("the engine's process ended with signal 9")
        return hill(weights)

    for _ in range(3):
        with pytest.raises(EngineDied):
            search(POOL, dying, journal=journal, **options)
    found = search(POOL, dying, journal=journal, **options)
    assert [trial.number for trial in found.trials if trial.state == "failed"] == [2]
    assert found.trials[2].reason == (
        "its worker died 3 times, the last time with: the engine's process ended with signal 9"
    )


def test_a_full_disk_in_a_trial_is_no_failure_of_the_trial(tmp_path):
    journal = tmp_path / "journal.log"

    def full(weights):
        raise OSError(errno.ENOSPC, "No space left on device", "/somewhere")

    with pytest.raises(SearchError, match=r"trial 0: /somewhere could not be written.*continues"):
        search(POOL, full, journal=journal, trials=4, batch=4)
    found = search(POOL, hill, journal=journal, trials=4, batch=4)
    assert [trial.state for trial in found.trials] == ["complete"] * 4


@pytest.fixture
def small_disk(tmp_path):
    """A filesystem of 96 KiB, where this user may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_stops_the_study_and_space_continues_it(small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (72 << 10))
    journal = small_disk / "journal.log"
    options = {"trials": 24, "batch": 4, "n_startup_trials": 8}
    with pytest.raises(SearchError, match=r"could not be written \(No space left on device\)"):
        search(POOL, hill, journal=journal, **options)
    assert journal.read_bytes().endswith(b"\n")
    done = sum(trial.state.is_finished() for trial in open_trials(journal))
    assert 0 < done < 24
    ballast.unlink()
    scored = []
    found = search(POOL, lambda w: scored.append(1) or hill(w), journal=journal, **options)
    assert plain(found.trials) == plain(search(POOL, hill, **options).trials)
    assert len(scored) == 24 - done


def test_stopping_a_worker_is_no_death(tmp_path):
    journal = tmp_path / "journal.log"

    def stopped(weights):
        raise SystemExit(143)

    for _ in range(11):
        with pytest.raises(SystemExit):
            search(POOL, stopped, journal=journal, trials=4, batch=4)
    found = search(POOL, hill, journal=journal, trials=4, batch=4)
    assert [trial.state for trial in found.trials] == ["complete"] * 4


def test_a_rerank_that_fails_keeps_the_trials(tmp_path):
    journal = tmp_path / "journal.log"
    done: list[int] = []

    def fails_second(weights):
        if done:
            raise RuntimeError("gone")
        done.append(1)
        return hill(weights)

    with pytest.raises(SearchError, match=r"re-ranking trial \d+ failed with: RuntimeError: gone"):
        search(POOL, hill, rerank=fails_second, journal=journal, trials=8, batch=4)
    again: list[int] = []

    def counted(weights):
        again.append(1)
        return hill(weights)

    search(POOL, counted, rerank=counted, journal=journal, trials=8, batch=4)
    assert len(again) == 2  # one of three was kept, and every trial


def test_asynchronous_workers_fill_the_study(tmp_path):
    journal = tmp_path / "journal.log"
    running = [start(journal, {**OPTIONS, "mode": "asynchronous"}) for _ in range(2)]
    outputs = [worker.communicate(timeout=60)[0].splitlines() for worker in running]
    trials = [json.loads(lines[-1])[0] for lines in outputs]
    assert trials[0] == trials[1] and len(trials[0]) == 24
    assert sum(lines.count("scored") for lines in outputs) == 24


def test_known_points_come_first(tmp_path):
    journal = tmp_path / "journal.log"
    first = search(POOL, hill, journal=journal, trials=8, batch=4)
    found = search(POOL, hill, journal=journal, trials=8, batch=4, known_points=True)
    assert [trial.phase for trial in found.trials] == ["known"] * 5 + ["random"] * 3
    assert found.trials[0].weights == {"it": 1.0, "cpt_ja": 0.0, "cpt_math": 0.0}
    assert found.trials[1].weights == {"it": 0.6, "cpt_ja": 0.6, "cpt_math": 0.0}
    assert found.trials[4].weights == first.best.weights
    again = search(POOL, hill, journal=journal, trials=8, batch=4, known_points=True)
    assert plain(again.trials) == plain(found.trials)
