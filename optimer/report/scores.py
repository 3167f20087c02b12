"""Scores of every row of Table 1, gathered from the benchmark phase's JSON files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optimer import receipts
from optimer.errors import ArtifactError
from optimer.experiment import Row, rows
from optimer.paths import Paths
from optimer.schema import Params

AVERAGE = "Avg"
_ROUNDING = 0.011  # points: an average written with two decimals may be this far from the mean


@dataclass(frozen=True)
class Score:
    """One cell: score and interval in %, number of items."""

    score: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class ScoredRow:
    """One row of Table 1 with its cells by column, and their unweighted mean."""

    row: Row
    cells: dict[str, Score]
    average: Score

    @property
    def all_cells(self) -> dict[str, Score]:
        return {**self.cells, AVERAGE: self.average}


def read_scores(params: Params, paths: Paths) -> list[ScoredRow]:
    """All rows of Table 1 in table order.

    Raises ArtifactError naming every row that has no scores yet, and for a file that belongs to
    another row, other columns, another seed or protocol, or whose average is not its mean.
    """
    wanted = rows(params)
    missing = [item.id for item in wanted if not paths.scores(item.id).exists()]
    if missing:
        raise ArtifactError(
            f"{paths.scores('ROW').parent}: {len(missing)} of {len(wanted)} rows of Table 1 have "
            f"no scores: {', '.join(missing)}. Run `optimer benchmark` for them."
        )
    return [_read_row(params, paths, item) for item in wanted]


def _read_row(params: Params, paths: Paths, row: Row) -> ScoredRow:
    path = paths.scores(row.id)
    content = receipts.read(path)
    expected = {"row": row.id, "seed": params.seed, "protocol": params.benchmark.protocol}
    for key, value in expected.items():
        if content.get(key) != value:
            raise ArtifactError(
                f"{path}: {key} must be {value!r}, found {content.get(key)!r}: "
                f"scores of another experiment. Run `optimer benchmark {row.id}` again."
            )
    names = [column.name for column in params.benchmark.columns]
    found = content.get("columns") or {}
    if sorted(found) != sorted(names):
        raise ArtifactError(
            f"{path}: its columns are {', '.join(found) or 'none'}, but benchmark.columns are "
            f"{', '.join(names)}. Run `optimer benchmark {row.id}` again."
        )
    try:
        cells = {name: _score(found[name]) for name in names}
        mean = sum(cell.score for cell in cells.values()) / len(cells)
        average = Score(
            float(content["avg"]),
            float(content["avg_low"]),
            float(content["avg_high"]),
            sum(cell.n for cell in cells.values()),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path}: not a complete score file ({type(error).__name__}: {error}). "
            f"Delete it and run `optimer benchmark {row.id}` again."
        ) from None
    if not abs(average.score - mean) <= _ROUNDING:  # also refuses NaN
        raise ArtifactError(
            f"{path}: avg is {average.score:.4f}, but the mean of its columns is {mean:.4f}. "
            f"Delete it and run `optimer benchmark {row.id}` again."
        )
    return ScoredRow(row, cells, average)


def _score(cell: Mapping[str, Any]) -> Score:
    return Score(float(cell["score"]), float(cell["low"]), float(cell["high"]), int(cell["n"]))


def by_block(scored: list[ScoredRow]) -> dict[str, list[ScoredRow]]:
    """Rows by block, in table order."""
    grouped: dict[str, list[ScoredRow]] = {}
    for item in scored:
        grouped.setdefault(item.row.block, []).append(item)
    return grouped


def find(scored: list[ScoredRow], row_id: str) -> ScoredRow:
    """One row by id. Raises ArtifactError when the table has no such row."""
    for item in scored:
        if item.row.id == row_id:
            return item
    raise ArtifactError(f"{row_id!r} is not a row of this table")
