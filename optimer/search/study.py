"""A study that survives a kill: Optuna ask/tell over a journal file, batch by batch.

Batch-synchronous (design §6.6): ask k, score k, tell k, with k from params. The journal is the
only state. A study that was cut off anywhere continues with the trials an uninterrupted one has:
unfinished trials keep their weights and are scored again (`sampler` says why draws agree).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from optimer.errors import SearchError
from optimer.evaluation.itemscores import ItemScores
from optimer.schema.search import SearchParams
from optimer.search.sampler import CountedSampler

Weights = dict[str, float]
Progress = Callable[[str], None]
_OUTCOME = "outcome"
_FINGERPRINT = "settings"


@dataclass(frozen=True)
class Outcome:
    """What scoring one composition gave; scores in percent, times in seconds."""

    scores: dict[str, float]
    seconds_compose: float = 0.0
    seconds_score: float = 0.0
    checksum: str = ""
    """Checksum of the composed weights, so that the shipped model can be compared with it."""
    items: Mapping[str, ItemScores] | None = field(default=None, compare=False, repr=False)
    """Record of every item by task; kept beside the study, not in it."""

    @property
    def objective(self) -> float:
        """Unweighted mean over the proxy tasks, in percent."""
        return sum(self.scores.values()) / len(self.scores)

    def stored(self) -> dict[str, Any]:
        """What the study itself keeps: everything but the items."""
        return {
            item.name: getattr(self, item.name) for item in fields(self) if item.name != "items"
        }


@dataclass(frozen=True)
class Trial:
    """One finished trial."""

    number: int
    batch: int
    phase: str
    """`random` before TPE has its startup trials, then `tpe`."""
    weights: Weights
    outcome: Outcome
    rerank: Outcome | None = field(default=None)


Score = Callable[[Weights], Outcome]


def fingerprint(settings: Mapping[str, Any]) -> str:
    """SHA-256 over everything that decides what a trial is and scores."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _repair(journal: Path) -> None:
    """Cut off a line that a kill left half-written; drop a lock nobody holds any more.

    Raises SearchError when the journal is damaged anywhere else.
    """
    raw = journal.read_bytes() if journal.exists() else b""
    end = raw.rfind(b"\n") + 1
    lines = raw[:end].splitlines()
    for number, line in enumerate(lines, 1):
        try:
            json.loads(line)
        except ValueError:
            raise SearchError(
                f"{journal}: line {number} of the study is not JSON, so its trials cannot be "
                "trusted; delete the file and run the search again"
            ) from None
    if end < len(raw):
        with journal.open("r+b") as file:
            file.truncate(end)
    journal.with_name(journal.name + ".lock").unlink(missing_ok=True)


@contextmanager
def exclusive(journal: Path) -> Iterator[None]:
    """Hold the study for this process; the kernel lets go of it when the process dies."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.with_name("process").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SearchError(
                f"{journal}: another process is running this search; wait for it or end it"
            ) from None
        _repair(journal)
        yield


def open_study(
    journal: Path | None,
    name: str,
    settings: Mapping[str, Any],
    sampler: CountedSampler,
    progress: Progress,
) -> optuna.Study:
    """The study of exactly these settings: continued where it exists, new otherwise.

    Its name carries the settings' fingerprint; a journal may hold studies of earlier settings,
    which stay untouched. `journal=None` keeps the study in memory.
    """
    storage = (
        InMemoryStorage() if journal is None else JournalStorage(JournalFileBackend(str(journal)))
    )
    known = [item.study_name for item in storage.get_all_studies()]
    full_name = f"{name}-{fingerprint(settings)[:12]}"
    if full_name in known:
        progress(f"continuing study {full_name}")
    elif known:
        progress(f"settings changed since {known[-1]}: starting study {full_name}")
    study = optuna.create_study(
        storage=storage, sampler=sampler, study_name=full_name,
        direction="maximize", load_if_exists=True,
    )  # fmt: skip
    stored = study.user_attrs.get(_FINGERPRINT)
    if stored is None:
        study.set_user_attr(_FINGERPRINT, dict(settings))
    elif fingerprint(stored) != fingerprint(settings):
        raise SearchError(
            f"{journal}: study {full_name} was made with other settings than its name says; "
            "delete the file and run the search again"
        )
    return study


def run(
    study: optuna.Study,
    settings: SearchParams,
    ranges: Mapping[str, tuple[float, float]],
    score: Score,
    progress: Progress,
) -> list[Trial]:
    """Run the study to `settings.trials` trials and return them all, in order.

    Raises SearchError when a score is not a finite number.
    """
    space: dict[str, BaseDistribution] = {
        name: FloatDistribution(low, high) for name, (low, high) in ranges.items()
    }
    for first in range(0, settings.trials, settings.batch):
        stored = study.get_trials(deepcopy=False)[first : first + settings.batch]
        numbers = range(first, min(first + settings.batch, settings.trials))
        for number in numbers:  # ask the whole batch before anything is told
            if number - first >= len(stored):
                study.ask(fixed_distributions=space)
            elif not _finished(stored[number - first]):
                _complete(study, stored[number - first], space)
        asked = study.get_trials(deepcopy=False)
        outcomes = {
            number: _scored(asked[number], score, settings, progress)
            for number in numbers
            if not _finished(asked[number])
        }
        for number, outcome in outcomes.items():
            study._storage.set_trial_user_attr(asked[number]._trial_id, _OUTCOME, outcome.stored())
            study.tell(number, outcome.objective)
    done = study.get_trials(deepcopy=False)[: settings.trials]
    return [_trial(item, settings, ranges) for item in done]


def _finished(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.COMPLETE


def _complete(study: optuna.Study, stored: FrozenTrial, space: dict[str, BaseDistribution]) -> None:
    """Draw the weights that a trial cut off while it was asked still lacks."""
    if set(stored.params) != set(space):
        trial = optuna.Trial(study, stored._trial_id)
        for name, distribution in space.items():
            assert isinstance(distribution, FloatDistribution)
            trial.suggest_float(name, distribution.low, distribution.high)


def _scored(trial: FrozenTrial, score: Score, settings: SearchParams, report: Progress) -> Outcome:
    outcome = score(dict(trial.params))
    if not outcome.scores or not abs(outcome.objective) < float("inf"):
        raise SearchError(
            f"trial {trial.number} scored {outcome.scores}: every proxy task must give a finite "
            "score; check the vectors for NaN and the proxy tasks"
        )
    weights = " ".join(f"{name} {value:.2f}" for name, value in trial.params.items())
    parts = " ".join(f"{name} {value:.1f}" for name, value in outcome.scores.items())
    report(
        f"trial {trial.number + 1}/{settings.trials}: {outcome.objective:.2f}  ({parts}; {weights})"
    )
    return outcome


def _trial(
    item: FrozenTrial, settings: SearchParams, ranges: Mapping[str, tuple[float, float]]
) -> Trial:
    batch = item.number // settings.batch
    random = settings.sampler == "random" or batch * settings.batch < settings.tpe.n_startup_trials
    return Trial(
        number=item.number,
        batch=batch,
        phase="random" if random else "tpe",
        weights={name: float(item.params[name]) for name in ranges},
        outcome=Outcome(**item.user_attrs[_OUTCOME]),
    )
