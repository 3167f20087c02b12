"""One worker of a study: takes trials that nobody holds, scores them, tells them.

Any number of workers on any number of nodes run this same loop. A trial is held by a lock that
goes away with its holder. Each attempt is noted on the trial, so that one which keeps killing its
worker fails instead of killing them all (`failures`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial

from optimer.search import failures
from optimer.search.failures import EngineDied
from optimer.search.study import ATTEMPT, FAILURE, Study, incumbent, settled
from optimer.search.trial import Incumbent, Outcome, Progress, Scorer, Trial

if TYPE_CHECKING:
    from optimer.search.itemstore import ItemStore

_LONGEST_SLEEP = 0.25  # seconds between two looks at trials that others hold


class Worker:
    """The loop of one process."""

    def __init__(
        self, study: Study, score: Scorer, store: ItemStore | None, progress: Progress
    ) -> None:
        self._study = study
        self._score = score
        self._store = store
        self._progress = progress
        self._best: Incumbent | None = None
        self._n_failed = 0  # failures of this worker in a row

    def run(self) -> list[Trial]:
        """Work until the study has all its trials; returns them.

        Raises SearchError when a whole batch failed, or the disk or database refuses; EngineDied
        when this worker cannot go on.
        """
        total = self._study.settings.trials
        if self._study.settings.mode == "asynchronous":
            self._asynchronously(total)
            return self._study.finished()
        self._forgive()
        first = 0
        while first < total:
            numbers = self._study.batch(first)
            asked = self._study.trials()[first : numbers.stop]
            if len(asked) < len(numbers) or not all(map(settled, asked)):
                with self._study.locks.wait("ask"):
                    self._study.ask(numbers)
                self._settle(numbers)
            if self._close(numbers):
                first = numbers.stop
        return self._study.finished()

    def _settle(self, numbers: Sequence[int]) -> None:
        """Score what is left of a batch, or wait for those who do."""
        pause = _LONGEST_SLEEP / 16
        while left := self._unsettled(numbers):
            if any(self._attempt(trial) for trial in left):
                pause = _LONGEST_SLEEP / 16
                continue
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_SLEEP)

    def _asynchronously(self, total: int) -> None:
        """Ask one trial at a time: no waiting for others, and proposals that depend on timing."""
        while True:
            n_asked = len(self._study.trials())
            left = self._unsettled(range(n_asked))
            if any(self._attempt(trial) for trial in left if self._study.drawn(trial)):
                continue
            cut_off = [trial.number for trial in left if not self._study.drawn(trial)]
            if cut_off or n_asked < total:  # cut off, or another worker is just at it
                new = [n_asked] if n_asked < total else []
                with self._study.locks.wait("ask"):
                    self._study.ask(cut_off + new)
            elif left:
                time.sleep(_LONGEST_SLEEP)
            else:
                break
        self._close(range(total))

    def _unsettled(self, numbers: Sequence[int]) -> list[FrozenTrial]:
        """Trials without a result; those that nobody died of come first."""
        trials = self._study.trials()
        left = [trials[number] for number in numbers if not settled(trials[number])]
        return sorted(left, key=lambda trial: (len(failures.deaths(trial)), trial.number))

    def _attempt(self, trial: FrozenTrial) -> bool:
        """Score a trial unless another worker holds it; whether something came of it."""
        with self._study.locks.attempt(f"trial-{trial.number}") as mine:
            if not mine:
                return False
            trial = self._study.fresh(trial.number)
            if settled(trial):
                return True
            if reason := failures.deadly(trial):
                self._failed(trial, reason)
                return True
            key = ATTEMPT + failures.token()
            if not self._study.note(trial, key, "begun"):
                return True
            try:
                self._take(trial)
            except EngineDied as error:
                self._study.note(trial, key, f"died: {error}")
                raise
            except BaseException:  # stopped on purpose: no attempt that counts
                with contextlib.suppress(Exception):
                    self._study.note(trial, key, "ended")
                raise
        return True

    def _take(self, trial: FrozenTrial) -> None:
        best = self._incumbent(trial.number)
        try:
            outcome = self._score(dict(trial.params), best)
        except EngineDied:
            raise
        except Exception as error:
            if full := failures.no_space(error, f"trial {trial.number}"):
                raise full from error
            self._failed(trial, failures.described(error))
            return
        if reason := failures.not_finite(outcome.scores):
            self._failed(trial, reason)
            return
        if self._store is not None and outcome.items:
            self._store.write(trial.number, "search", outcome.items)
        self._study.tell(trial, outcome)
        self._n_failed = 0
        self._progress(f"trial {trial.number + 1}/{self._study.settings.trials}: "
                       f"{_shown(trial, outcome)}")  # fmt: skip

    def _failed(self, trial: FrozenTrial, reason: str) -> None:
        """Note a failure; it is told when the batch is closed."""
        self._study.note(trial, FAILURE, reason)
        settings = self._study.settings
        self._progress(f"trial {trial.number + 1}/{settings.trials} failed: {reason}")
        self._n_failed += 1
        if settings.mode == "asynchronous":
            self._study.tell(trial, None)
            if self._n_failed >= settings.batch:
                raise failures.all_failed(f"the last {settings.batch} trials", trial.number, reason)

    def _close(self, numbers: Sequence[int]) -> bool:
        """Tell the failures of a settled batch; False when part of it is to be scored again.

        Raises SearchError when all of it failed.
        """
        trials = [self._study.trials()[number] for number in numbers]
        if all(trial.state.is_finished() for trial in trials):
            return True
        with self._study.locks.wait("ask"):
            trials = [self._study.fresh(number) for number in numbers]
            if not all(map(settled, trials)):
                return False
            failed = [trial for trial in trials if trial.user_attrs.get(FAILURE)]
            if len(failed) == len(trials):
                first = failed[0]
                raise failures.all_failed(
                    f"all {len(failed)} trials of batch {first.number // len(failed)}",
                    first.number, first.user_attrs[FAILURE],
                )  # fmt: skip
            for trial in failed:
                self._study.tell(trial, None)
        return True

    def _forgive(self) -> None:
        """Try a batch again that failed as a whole, now that its user has been told why."""
        with self._study.locks.wait("ask"):
            trials = self._study.trials()
            numbers = self._study.batch(trials[-1].number) if trials else range(0)
            group = trials[numbers.start : numbers.stop]
            if len(group) < len(numbers) or not all(
                trial.user_attrs.get(FAILURE) and not trial.state.is_finished() for trial in group
            ):
                return
            for trial in group:
                for key in trial.user_attrs:
                    if key.startswith(ATTEMPT):
                        self._study.note(trial, key, "ended")
                self._study.note(trial, FAILURE, None)

    def _incumbent(self, number: int) -> Incumbent | None:
        """The best trial of the batches before this trial's, scored on every item."""
        if not self._study.settings.racing.enabled:
            return None
        synchronous = self._study.settings.mode == "synchronous"
        before = self._study.batch(number).start if synchronous else number
        best = incumbent(self._study.trials()[:before])
        if best is None or (self._best and self._best.number == best[0]):
            return self._best if best else None
        items = self._store.read(best[0]) if self._store else None
        if items is None:
            raise failures.no_records(self._store, best[0])
        self._best = Incumbent(*best, items)
        return self._best


def _shown(trial: FrozenTrial, outcome: Outcome) -> str:
    weights = " ".join(f"{name} {value:.2f}" for name, value in trial.params.items())
    parts = " ".join(f"{name} {value:.1f}" for name, value in outcome.scores.items())
    stop = outcome.stopped
    note = f" stopped after {stop.n_items} of {stop.of} items" if stop else ""
    return f"{outcome.objective:.2f}{note}  ({parts}; {weights})"
