"""The study: Optuna's, asked batch by batch, and read back as trials.

Batch-synchronous (design §6.6): ask k, score k, tell k, with k from params and not from the
number of workers. A batch is asked as a whole, under a lock and before anything of it is scored,
so proposals depend on finished batches alone; one that a kill left half asked is completed from
the same state (`samplers` says why draws agree). A failure is noted on its trial at once and told
when its batch is settled, so that a batch that failed as a whole can be tried again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from optimer.errors import SearchError
from optimer.schema.search import SearchParams
from optimer.search.locks import Locks
from optimer.search.storage import Storage
from optimer.search.trial import Outcome, Progress, Score, Trial, Weights

__all__ = ["Outcome", "Progress", "Score", "Study", "Trial", "Weights", "open_study"]

OUTCOME = "outcome"
FAILURE = "failure"
ATTEMPT = "attempt."
SCORE = "score."
_FINGERPRINT = "settings"
_KNOWN = "known_points"
_RERANK = "rerank."


def fingerprint(settings: Mapping[str, Any]) -> str:
    """SHA-256 over everything that decides what a trial is and scores."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Study:
    """An Optuna study under our rules. All workers of a study have one of these each."""

    optuna: optuna.Study
    settings: SearchParams
    ranges: Mapping[str, tuple[float, float]]
    locks: Locks
    known: list[Weights]
    """Weights of the first trials, where settings ask for known points."""

    @property
    def name(self) -> str:
        return self.optuna.study_name

    @property
    def space(self) -> dict[str, BaseDistribution]:
        return {name: FloatDistribution(low, high) for name, (low, high) in self.ranges.items()}

    def trials(self) -> list[FrozenTrial]:
        """Everything asked so far, by number."""
        return self.optuna.get_trials(deepcopy=False)[: self.settings.trials]

    def fresh(self, number: int) -> FrozenTrial:
        return self.optuna.get_trials(deepcopy=False)[number]

    def batch(self, number: int) -> range:
        """Numbers of the batch that a trial belongs to."""
        first = number - number % self.settings.batch
        return range(first, min(first + self.settings.batch, self.settings.trials))

    def ask(self, numbers: Sequence[int]) -> None:
        """Make sure that these trials exist with all their weights; needs the `ask` lock."""
        for number in numbers:
            stored = self.trials()
            if number < len(stored):
                self._complete(stored[number])
            elif number < len(self.known):
                self._known(self.known[number])
            else:
                self.optuna.ask(fixed_distributions=self.space)

    def _known(self, weights: Weights) -> None:
        """A trial with given weights, made in one write."""
        made = create_trial(
            state=TrialState.RUNNING, params=weights, distributions=self.space, value=None
        )
        made.datetime_start = datetime.now()
        self.optuna._storage.create_new_trial(self.optuna._study_id, template_trial=made)

    def _complete(self, stored: FrozenTrial) -> None:
        """Draw the weights that a trial cut off while it was asked still lacks."""
        if not self.drawn(stored) and not stored.state.is_finished():
            trial = optuna.Trial(self.optuna, stored._trial_id)
            for name, (low, high) in self.ranges.items():
                trial.suggest_float(name, low, high)

    def drawn(self, trial: FrozenTrial) -> bool:
        """Whether a trial has all its weights."""
        return set(trial.params) == set(self.ranges)

    def note(self, trial: FrozenTrial, key: str, value: Any) -> bool:
        """Set an attribute of a trial; False when another worker has finished it meanwhile."""
        try:
            self.optuna._storage.set_trial_user_attr(trial._trial_id, key, value)
        except optuna.exceptions.UpdateFinishedTrialError:
            return False
        return True

    def tell(self, trial: FrozenTrial, outcome: Outcome | None) -> None:
        """Finish a trial: complete with its outcome, failed without."""
        if outcome is None:
            self.optuna.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
            return
        for task, value in outcome.scores.items():
            self.note(trial, SCORE + task, value)
        self.note(trial, OUTCOME, outcome.stored())
        self.optuna.tell(trial.number, outcome.objective, skip_if_finished=True)

    def rerank(self, number: int) -> Outcome | None:
        """What re-ranking a trial gave, if it was done."""
        stored = self.optuna.user_attrs.get(f"{_RERANK}{number}")
        return Outcome.of_stored(stored) if stored else None

    def keep_rerank(self, number: int, outcome: Outcome) -> None:
        self.optuna.set_user_attr(f"{_RERANK}{number}", outcome.stored())

    def finished(self) -> list[Trial]:
        """All trials as they ended, by number."""
        return [self._trial(item) for item in self.trials() if item.state.is_finished()]

    def _trial(self, item: FrozenTrial) -> Trial:
        stored = item.user_attrs.get(OUTCOME)
        told = item.state == TrialState.COMPLETE
        return Trial(
            number=item.number,
            batch=item.number // self.settings.batch,
            phase=self._phase(item.number),
            weights={name: float(item.params[name]) for name in self.ranges},
            outcome=Outcome.of_stored(stored) if told and stored else None,
            rerank=self.rerank(item.number),
            reason=str(item.user_attrs.get(FAILURE) or ""),
        )

    def _phase(self, number: int) -> str:
        if number < len(self.known):
            return "known"
        sampler = self.settings.sampler
        first = self.batch(number)[0]
        if sampler.startswith("tpe") and first < self.settings.tpe.n_startup_trials:
            return "random"
        return sampler


def settled(trial: FrozenTrial) -> bool:
    """Whether nobody needs to score this trial any more."""
    return trial.state.is_finished() or bool(trial.user_attrs.get(FAILURE))


def incumbent(trials: Sequence[FrozenTrial]) -> tuple[int, float] | None:
    """Number and objective of the best trial scored on every item, the first among equals."""
    best: tuple[int, float] | None = None
    for trial in trials:
        stored = trial.user_attrs.get(OUTCOME)
        if trial.state == TrialState.COMPLETE and stored and trial.values:
            whole = stored.get("stopped") is None
            if whole and (best is None or trial.values[0] > best[1]):
                best = trial.number, trial.values[0]
    return best


def open_study(
    storage: Storage,
    name: str,
    described: Mapping[str, Any],
    settings: SearchParams,
    ranges: Mapping[str, tuple[float, float]],
    sampler: Callable[[str], BaseSampler],
    known: Callable[[Weights | None], list[Weights]],
    progress: Progress,
) -> Study:
    """The study of exactly these settings: continued where it exists, new otherwise.

    Its name carries the fingerprint of `described`; a storage may hold studies of earlier
    settings, which stay untouched. `sampler(full name)` proposes; `known(winner of the last study
    of these vectors)` gives the first trials of a new study. Raises SearchError when a study of
    that name was made with other settings.
    """
    full_name = f"{name}-{fingerprint(described)[:12]}"
    locks = storage.locks(full_name)
    with locks.wait("ask"):  # two workers that start together agree on what is new
        earlier = [
            item for item in storage.optuna.get_all_studies()
            if item.study_name.rpartition("-")[0] == name
        ]  # fmt: skip
        if full_name in (item.study_name for item in earlier):
            progress(f"continuing study {full_name}")
        else:
            old = f"settings changed since {earlier[-1].study_name}: " if earlier else ""
            progress(f"{old}starting study {full_name}")
        opened = optuna.create_study(
            storage=storage.optuna, sampler=sampler(full_name), study_name=full_name,
            direction="maximize", load_if_exists=True,
        )  # fmt: skip
        if _KNOWN not in opened.user_attrs:
            previous = [item for item in earlier if item.study_name != full_name]
            points = known(_winner(storage, previous, ranges))[: settings.trials]
            opened.set_user_attr(_KNOWN, points)
        if _FINGERPRINT not in opened.user_attrs:
            opened.set_user_attr(_FINGERPRINT, dict(described))
    stored = opened.user_attrs
    if fingerprint(stored[_FINGERPRINT]) != fingerprint(described):
        raise SearchError(
            f"{storage.where}: study {full_name} was made with other settings than its name says; "
            "delete the study and run the search again"
        )
    return Study(opened, settings, ranges, locks, stored[_KNOWN])


def _winner(
    storage: Storage, earlier: Sequence[Any], ranges: Mapping[str, tuple[float, float]]
) -> Weights | None:
    """Best weights of the newest finished study of the same vectors."""
    for item in reversed(earlier):
        trials = storage.optuna.get_all_trials(
            item._study_id, deepcopy=False, states=(TrialState.COMPLETE,)
        )
        same = [trial for trial in trials if set(trial.params) == set(ranges) and trial.values]
        if same:
            best = max(same, key=lambda trial: (trial.values[0], -trial.number))
            return {name: float(best.params[name]) for name in ranges}
    return None
