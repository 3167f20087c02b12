"""The trials of a finished study, read back: weights, per-task scores, item records."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from optimer.errors import SearchError
from optimer.evaluation.itemscores import ItemScores
from optimer.search.itemstore import ItemStore, load
from optimer.search.samplers.points import to_unit
from optimer.search.surface import TaskData, task_data

Bounds = Mapping[str, tuple[float, float]]
Weights = dict[str, float]


@dataclass(frozen=True)
class Recorded:
    """The complete trials of one study."""

    bounds: dict[str, tuple[float, float]]
    numbers: list[int]
    weights: list[Weights]
    scores: list[dict[str, float]]
    """Per-task scores in percent."""
    items: list[Mapping[str, ItemScores]] | None = None
    """Item records; None where the study kept none."""

    @property
    def tasks(self) -> list[str]:
        return list(self.scores[0])

    @property
    def unit(self) -> np.ndarray:
        return np.stack([to_unit(self.bounds, point) for point in self.weights])

    def data(self, tasks: Sequence[str]) -> dict[str, TaskData]:
        """What the surface models of each task: items where there are some, else the score."""
        found = {}
        for task in tasks:
            if self.items is not None:
                found[task] = task_data([record[task] for record in self.items])
            else:
                values = np.array([[scores[task]] for scores in self.scores])
                found[task] = TaskData("total", values, np.ones(1), 0.0)
        return found

    def plus(self, weights: Weights, items: Mapping[str, ItemScores]) -> Recorded:
        """With one more evaluated point."""
        scores = {task: float(record.percent) for task, record in items.items()}
        return Recorded(
            self.bounds, [*self.numbers, max(self.numbers) + 1], [*self.weights, weights],
            [*self.scores, scores], None if self.items is None else [*self.items, items],
        )  # fmt: skip


def recorded(trials: Path, records: Path | None, bounds: Bounds) -> Recorded:
    """Complete trials of a study: `trials` is its trials.csv, `records` the file of item records
    or the folder that holds one folder of them per study. Records of other trials than the table's
    (their scores differ) are left aside.

    Raises SearchError when the table is missing, has fewer than 5 complete trials, or other
    vectors than `bounds`.
    """
    if not trials.exists():
        raise SearchError(f"{trials}: no finished search here; run `optimer search` first")
    with trials.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("state", "complete") == "complete"]
    names = [key[2:] for key in (rows[0] if rows else {}) if key.startswith("w_")]
    if names != list(bounds):
        raise SearchError(
            f"{trials}: holds weights of {', '.join(names) or 'nothing'}, params say "
            f"{', '.join(bounds)}; run the search again"
        )
    if len(rows) < 5:
        raise SearchError(f"{trials}: {len(rows)} complete trials are too few for a surface; 5 do")
    header = list(rows[0])
    tasks = header[header.index("score") + 1 : header.index("seconds_compose")]
    numbers = [int(row["number"]) for row in rows]
    scores = [{task: float(row[task]) for task in tasks} for row in rows]
    weights = [{name: float(row[f"w_{name}"]) for name in names} for row in rows]
    sources = [records] if records is not None and records.exists() else []
    if records is not None and records.is_dir():
        sources = sorted(records.iterdir())
    items = next((f for source in sources if (f := _items(source, numbers, scores))), None)
    return Recorded(dict(bounds), numbers, weights, scores, items)


def _items(
    source: Path, numbers: Sequence[int], scores: Sequence[Mapping[str, float]]
) -> list[Mapping[str, ItemScores]] | None:
    """The records of these trials, if this file or folder holds them."""
    if source.is_dir():
        read = ItemStore(source).read
    else:
        held = load(source)
        read = lambda number: held.get((number, "search"))  # noqa: E731
    found = []
    for number, expected in zip(numbers, scores, strict=True):
        record = read(number)
        if record is None or set(record) != set(expected):
            return None
        if any(abs(record[task].percent - value) > 1e-3 for task, value in expected.items()):
            return None
        found.append(record)
    return found
