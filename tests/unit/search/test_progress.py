"""What a person sees of a search, and how workers are placed and given up."""

from __future__ import annotations

import io
import sys

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from optimer.errors import SearchError
from optimer.search import devices, failures, progress
from optimer.search.supervise import Supervisor


def trial(number, value=None, state=TrialState.COMPLETE, **attrs):
    if value is not None:
        attrs["outcome"] = {"seconds_compose": 0.5, "seconds_score": 1.5, "stopped": None} | attrs
    made = create_trial(
        state=state, value=value, params={"it": 0.5},
        distributions={"it": FloatDistribution(0, 1)}, user_attrs=attrs,
    )  # fmt: skip
    made.number = number
    return made


TRIALS = [
    trial(0, 40.0),
    trial(1, 50.0),
    trial(2, 49.0, stopped={"n_items": 10}),
    trial(3, state=TrialState.FAIL, failure="scored a nan"),
    trial(4, state=TrialState.RUNNING, **{"attempt.here:1:aa": "begun"}),
    trial(5, state=TrialState.RUNNING),
]


def test_snapshot_and_line():
    now = progress.snapshot(TRIALS, total=16, n_workers=2)
    assert (now.complete, now.stopped, now.failed, now.running, now.done) == (2, 1, 1, 1, 4)
    assert now.best == (1, 50.0) and now.weights == {"it": 0.5}
    assert now.seconds_left == 12 * 2.0 / 2
    assert progress.line(now) == (
        "4/16 done, 1 running, 1 stopped, 1 failed; best 50.00 (trial 2), 2.00 s a trial "
        "(compose 0.50, score 1.50), 12 s left"
    )
    assert progress.snapshot([], 16, 1).seconds_left is None


def test_live_panel():
    from rich.console import Console

    text = io.StringIO()
    now = progress.snapshot(TRIALS, total=16, n_workers=2)
    Console(file=text, width=100).print(progress.panel(now, "ja_math, Toy", 2))
    for words in ("ja_math, Toy", "4/16 done, 1 running", "50.00  trial 2", "compose 0.50 s",
                  "12 s with 2 worker(s)"):  # fmt: skip
        assert words in text.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "?"), (12.4, "12 s"), (200, "3 min 20 s"), (3900, "1 h 05 min")],
)
def test_clock(seconds, text):
    assert progress.clock(seconds) == text


def test_each_worker_has_gpus_of_its_own():
    made = devices.environments(2, 2, ["0", "1", "5", "7"], {"PATH": "/bin"})
    assert [one["CUDA_VISIBLE_DEVICES"] for one in made] == ["0,1", "5,7"]
    assert devices.environments(1, 1, [], {"OMP_NUM_THREADS": "3"})[0]["OMP_NUM_THREADS"] == "3"
    with pytest.raises(SearchError, match=r"each takes 2 GPU\(s\), 3 are visible; start at most 1"):
        devices.environments(2, 2, ["0", "1", "2"], {})
    assert devices.visible({"CUDA_VISIBLE_DEVICES": "3, 4"}) == ["3", "4"]
    assert devices.visible({"CUDA_VISIBLE_DEVICES": "-1"}) == []


def test_deaths_that_somebody_saw_count_more():
    def with_attempts(*texts):
        attempts = {f"attempt.here:1:{n}": text for n, text in enumerate(texts)}
        return trial(0, state=TrialState.RUNNING, **attempts)

    assert failures.deadly(with_attempts("ended", "ended", "ended", "begun", "begun")) == ""
    assert failures.deadly(with_attempts("died: signal 9", "died: signal 9", "begun")) == ""
    assert failures.deadly(with_attempts(*["died: signal 9"] * 3)) == (
        "its worker died 3 times, the last time with: signal 9"
    )
    assert failures.deadly(with_attempts(*["begun"] * 9)) == ""
    assert failures.deadly(with_attempts(*["begun"] * 10)) == "its worker died 10 times"


def supervised(tmp_path, code, said):
    return Supervisor(
        lambda number: [sys.executable, "-c", code], [{}], tmp_path / "journal.log", None, 8,
        said.append,
    )  # fmt: skip


def test_workers_that_die_before_their_first_trial_are_not_started_for_ever(tmp_path):
    said: list[str] = []
    code = "import os; print('loading', flush=True); os.kill(os.getpid(), 9)"
    with pytest.raises(
        SearchError, match=r"3 workers in a row died before they took a trial.*signal 9.*loading"
    ):
        supervised(tmp_path, code, said).run("title", live=False)
    assert sum("another takes its place" in line for line in said) == 2


def test_a_workers_error_is_the_searchs(tmp_path):
    code = "print('error: vectors/cpt_ja.json: no such receipt'); raise SystemExit(2)"
    with pytest.raises(SearchError, match=r"^vectors/cpt_ja.json: no such receipt$"):
        supervised(tmp_path, code, []).run("title", live=False)


optuna.logging.set_verbosity(optuna.logging.WARNING)
