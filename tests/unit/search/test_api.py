"""Studies over a synthetic pool: quality, determinism, resume after a real kill, errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from optimer.errors import SearchError
from optimer.search import space
from optimer.search.api import default_settings, search

POOL = ["it", "cpt_ja", "cpt_math"]
PEAK = {"it": 0.6, "cpt_ja": 0.2, "cpt_math": 0.8}


def hill(weights: dict[str, float]) -> dict[str, float]:
    """Two tasks whose mean peaks at PEAK with 90 %."""
    drop = 100 * sum((weights[name] - best) ** 2 for name, best in PEAK.items())
    return {"gsm8k": 90 - drop - 5, "mgsm": 90 - drop + 5}


def plain(trials) -> list[dict]:
    return [{"number": t.number, **t.weights, "score": t.outcome.objective} for t in trials]


def test_tpe_beats_random_and_finds_the_peak():
    found = search(POOL, hill, trials=96, seed=3)
    random = search(POOL, hill, trials=96, seed=3, sampler="random")
    assert found.best.outcome.objective > random.best.outcome.objective
    assert found.best.outcome.objective > 89
    for name, best in PEAK.items():
        assert abs(found.best.weights[name] - best) < 0.15
    assert [t.phase for t in found.trials].count("random") == 24  # 20, rounded up to a batch
    assert {t.phase for t in random.trials} == {"random"}


def test_weights_stay_in_bounds_and_depend_on_the_seed():
    first = search(POOL, hill, trials=24, seed=0)
    again = search(POOL, hill, trials=24, seed=0)
    other = search(POOL, hill, trials=24, seed=1)
    assert plain(first.trials) == plain(again.trials)
    assert plain(first.trials) != plain(other.trials)
    for trial in first.trials:
        assert 0.3 <= trial.weights["it"] <= 1
        assert all(0 <= trial.weights[name] <= 1 for name in POOL[1:])


def test_a_batch_is_asked_before_it_is_scored():
    """Proposals of a batch must not depend on how many of its trials are already told."""
    seen: list[list[float]] = []

    def score(weights):
        seen.append(list(weights.values()))
        return hill(weights)

    one = search(POOL, score, trials=32, batch=16, n_startup_trials=16)
    by_place = [t.batch for t in one.trials]
    assert by_place == [0] * 16 + [1] * 16
    assert seen == [list(t.weights.values()) for t in one.trials]
    assert len({tuple(row) for row in seen}) == 32


def test_rerank_decides_among_the_top_k():
    asked: list[dict[str, float]] = []

    def rerank(weights):
        asked.append(weights)
        return {"gsm8k": 50.0 + len(asked)}  # the last one asked wins

    result = search(POOL, hill, rerank=rerank, trials=16, top_k=3)
    ranked = sorted(result.trials, key=lambda t: -t.outcome.objective)
    assert asked == [t.weights for t in ranked[:3]]
    assert result.best.number == ranked[2].number
    assert result.best.rerank.objective == 53.0
    assert sum(t.rerank is not None for t in result.trials) == 3


@pytest.mark.parametrize("multivariate", [False, True])
def test_journal_cut_anywhere_continues_with_the_same_trials(tmp_path, multivariate):
    """Cut the journal after every tenth line, also in mid-line: the rest comes out the same."""
    options = {"trials": 16, "batch": 4, "n_startup_trials": 4, "multivariate": multivariate}
    whole = tmp_path / "whole" / "journal.log"
    reference = plain(search(POOL, hill, journal=whole, **options).trials)
    lines = whole.read_bytes().splitlines(keepends=True)
    for keep in range(1, len(lines), 10):
        cut = tmp_path / f"cut{keep}" / "journal.log"
        cut.parent.mkdir()
        cut.write_bytes(b"".join(lines[:keep]) + lines[keep][: len(lines[keep]) // 2])
        assert plain(search(POOL, hill, journal=cut, **options).trials) == reference, keep


SCRIPT = """
import json, sys, time
from pathlib import Path
from tests.unit.search.test_api import POOL, hill, plain
from optimer.search.api import search

def slow(weights):
    print("scoring", flush=True)
    time.sleep(0.05)
    return hill(weights)

result = search(POOL, slow, journal=Path(sys.argv[1]), trials=24, batch=4, n_startup_trials=8)
print(json.dumps(plain(result.trials)))
"""


def test_kill_minus_nine_resumes_with_the_same_trials(tmp_path):
    journal = tmp_path / "journal.log"
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", SCRIPT, str(journal)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    for _ in range(11):  # eight trials are told, the third batch is under way
        assert running.stdout.readline() == "scoring\n"
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    rest = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    *scored, last = rest.stdout.splitlines()
    assert len(scored) == 14  # ten were kept, the one under way is scored again
    straight = search(POOL, hill, trials=24, batch=4, n_startup_trials=8)
    assert json.loads(last) == plain(straight.trials)


LIMITED = """
import resource, sys
from pathlib import Path
from tests.unit.search.test_api import POOL, hill
from optimer.search.api import search
resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
search(POOL, hill, journal=Path(sys.argv[1]), trials=24, batch=4, n_startup_trials=8)
"""


def test_a_journal_that_cannot_grow_fails_and_continues_later(tmp_path):
    journal = tmp_path / "journal.log"
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(journal)],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 1 and "the study could not be written (File too large)" in done.stderr
    assert "it continues" in done.stderr
    assert journal.stat().st_size <= 6000 and journal.read_bytes().endswith(b"\n")
    rest = search(POOL, hill, journal=journal, trials=24, batch=4, n_startup_trials=8)
    straight = search(POOL, hill, trials=24, batch=4, n_startup_trials=8)
    assert plain(rest.trials) == plain(straight.trials)


@pytest.mark.parametrize("first", ["", "import optimer.search.space", "from optimer import search"])
def test_search_is_a_noun_of_the_package_whatever_was_imported(first):
    code = f"{first}\nfrom optimer import search\nprint(len(search(['it', 'a'], lambda w: 1.0, trials=3).trials))"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "3\n"


def test_finished_study_is_not_scored_again(tmp_path):
    journal = tmp_path / "journal.log"
    first = search(POOL, hill, journal=journal, trials=8, batch=4)

    def never(weights):
        raise AssertionError("scored again")

    assert plain(search(POOL, never, journal=journal, trials=8, batch=4).trials) == plain(
        first.trials
    )
    more = search(POOL, hill, journal=journal, trials=16, batch=4)
    assert plain(more.trials)[:8] == plain(first.trials)


def test_changed_settings_start_a_new_study(tmp_path):
    journal = tmp_path / "journal.log"
    search(POOL, hill, journal=journal, trials=4, batch=4, identity={"vectors": "a"})
    said: list[str] = []
    scored: list[dict] = []

    def counted(weights):
        scored.append(weights)
        return hill(weights)

    search(
        POOL, counted, journal=journal, trials=4, batch=4, identity={"vectors": "b"},
        progress=said.append,
    )  # fmt: skip
    assert len(scored) == 4
    assert any("settings changed" in line for line in said)


def test_damaged_journal_is_refused(tmp_path):
    journal = tmp_path / "journal.log"
    search(POOL, hill, journal=journal, trials=4, batch=4)
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join([*lines[:3], "not json\n", *lines[3:]]))
    with pytest.raises(SearchError, match=r"line 4 of the study is not JSON.*delete the file"):
        search(POOL, hill, journal=journal, trials=4, batch=4)


def test_scores_that_are_not_numbers_fail_their_trial_only():
    def score(weights):
        return {"a": float("nan") if weights["cpt_ja"] > 0.5 else 1.0, "b": 2.0}

    found = search(POOL, score, trials=16, batch=8)
    failed = [trial for trial in found.trials if trial.state == "failed"]
    assert 0 < len(failed) < 16 and len(found.trials) == 16
    assert {trial.reason for trial in failed} == {
        "scored a nan: every proxy task must give a finite score"
    }
    assert found.best.weights["cpt_ja"] <= 0.5


def test_a_batch_without_one_score_stops_the_study():
    with pytest.raises(
        SearchError, match=r"all 4 trials of batch 0 failed, trial 0 with: scored score nan.*again"
    ):
        search(POOL, lambda weights: float("nan"), trials=8, batch=4)


def test_unknown_setting_is_refused():
    with pytest.raises(SearchError, match="unknown setting 'trails'; known: sampler, trials"):
        default_settings(trails=3)


def test_ratios_from_weights():
    assert space.ratios({"it": 0.9, "cpt_ja": 0.3, "cpt_math": 0.1}) == (
        {"ja": pytest.approx(0.75), "math": pytest.approx(0.25)},
        [],
    )
    assert space.ratios({"it": 0.9, "cpt_ja": 0.5, "cpt_math": -0.2}) == (
        {"ja": 1.0, "math": 0.0},
        ["math"],
    )
    with pytest.raises(SearchError, match=r"at least one positive dataset weight.*ja -0.1"):
        space.ratios({"it": 0.9, "cpt_ja": -0.1})


def test_bounds_name_the_it_vector():
    assert space.bounds(["it", "cpt_ja"], [0.3, 1.0], [-1, 1]) == {
        "it": (0.3, 1.0),
        "cpt_ja": (-1.0, 1.0),
    }
    with pytest.raises(SearchError, match="distinct names"):
        space.bounds(["it", "it"], [0.3, 1.0], [0, 1])
