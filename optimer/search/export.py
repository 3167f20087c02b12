"""What a search leaves behind: trials.csv, recipe.yaml, and best.yaml last."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from optimer.receipts import write_atomic
from optimer.search.space import ratios
from optimer.search.trial import Outcome, Trial


def trials_csv(trials: Sequence[Trial]) -> str:
    """One line a trial: weights, score and per-task scores in percent, seconds, checksum, end.

    Of a stopped trial the tasks' columns are means over the items seen, and `score` is what its
    sampler was told (`Outcome.objective`). A failed trial has a `reason` and no scores.
    """
    vectors = list(trials[0].weights)
    tasks = next(list(trial.outcome.scores) for trial in trials if trial.outcome)
    header = ["number", "batch", "phase", "rerank_score", *(f"w_{name}" for name in vectors)]
    header += ["score", *tasks, "seconds_compose", "seconds_score", "checksum", "state", "reason"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for trial in trials:
        again = "" if trial.rerank is None else f"{trial.rerank.objective:.4f}"
        writer.writerow(
            [trial.number, trial.batch, trial.phase, again]
            + [repr(trial.weights[name]) for name in vectors]
            + _scored(trial.outcome, tasks)
            + [trial.state, trial.reason]
        )
    return text.getvalue()


def _scored(outcome: Outcome | None, tasks: Sequence[str]) -> list[str]:
    if outcome is None:
        return [""] * (len(tasks) + 4)
    values = [outcome.objective, *(outcome.scores.get(task) for task in tasks)]
    times = [outcome.seconds_compose, outcome.seconds_score]
    return ["" if x is None else f"{x:.4f}" for x in (*values, *times)] + [outcome.checksum]


def best_document(best: Trial, about: Mapping[str, Any]) -> dict[str, Any]:
    """Content of best.yaml: `about`, then the winner's weights, scores and implied ratios.

    Raises SearchError when no dataset weight is positive.
    """
    assert best.outcome is not None
    shares, clipped = ratios(best.weights)
    outcome = best.rerank or best.outcome
    return {
        **about,
        "trial": best.number,
        "weights": dict(best.weights),
        "search_score": round(best.outcome.objective, 4),
        "search_scores": _rounded(best.outcome.scores),
        "rerank_score": None if best.rerank is None else round(best.rerank.objective, 4),
        "rerank_scores": None if best.rerank is None else _rounded(best.rerank.scores),
        "ratios": shares,
        "clipped": clipped,
        "checksum": outcome.checksum,
    }


def write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    """Write one YAML file atomically, keys in the given order."""
    text = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)
    write_atomic(path, text)


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in scores.items()}
