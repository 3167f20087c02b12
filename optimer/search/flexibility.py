"""The paper's Table 2 from one study: one pool of vectors, one set of trials, any objective.

The paper searches anew, 100 trials, for each of its four objectives. Here one study of the
`flexibility` pool (`optimer search flexibility`) has scored the tasks of all objectives; each
objective is answered from its records (`reoptimize`), verified by three evaluations of its own, and
its winner reported once on the report split of every column.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from optimer.evaluation.folder import load_tokenizer
from optimer.evaluation.harness import Harness
from optimer.experiment import FLEXIBILITY, tokenizer_folder
from optimer.paths import Paths
from optimer.receipts import write_atomic
from optimer.schema import Params
from optimer.search.rejob import live_engine, study_of
from optimer.search.reoptimize import Objective, answer, verify

TABLE = "table2"
N_VERIFIED = 3


@dataclass(frozen=True)
class Row:
    """One objective and the model it leads to."""

    label: str
    weights: dict[str, float]
    search_score: float
    """The objective on the search split, as evaluated, in percent."""
    expected: float
    """The surface's posterior mean there."""
    columns: dict[str, float]
    """Report-split score of every column, in percent."""

    @property
    def average(self) -> float:
        return sum(self.columns.values()) / len(self.columns)


def table2(params: Params, paths: Paths, progress: Callable[[str], None]) -> list[Row]:
    """Answer every objective, verify, report, and write `tables/table2.csv` and `.md`.

    Raises SearchError when the study of `flexibility` is not finished, ArtifactError and
    EvaluationError as a search does.
    """
    found = study_of(params, paths, FLEXIBILITY)
    n_trials = len(found.numbers)
    objectives = {label: Objective(dict.fromkeys(tasks, 1.0))
                  for label, tasks in params.flexibility.objectives.items()}  # fmt: skip
    engine = live_engine(params, paths, FLEXIBILITY, found.tasks, progress)
    try:
        winners = {}
        for label, objective in objectives.items():
            first = answer(found, objective, N_VERIFIED, params.seed)
            best, found = verify(
                found, objective, first.proposals,
                lambda point: (engine.compose(point), engine.score("search"))[1],
            )  # fmt: skip
            winners[label] = best
            progress(f"{label}: {objective.value(first.scores):.2f} from the records, "
                     f"{objective.value(best.scores):.2f} with {N_VERIFIED} more")  # fmt: skip
        tokenizer = load_tokenizer(tokenizer_folder(params, paths))
        engine.harness = Harness(params, paths, tokenizer, None, ("report",))  # type: ignore
        rows = []
        for label, best in winners.items():
            engine.compose(best.weights)
            scored = {task: record.percent for task, record in engine.score("report").items()}
            rows.append(Row(label, best.weights, objectives[label].value(best.scores),
                            best.expected, _columns(params, scored)))  # fmt: skip
    finally:
        engine.close()
    write_atomic(paths.table(TABLE), as_csv(rows))
    write_atomic(paths.table(TABLE, "md"), as_markdown(rows, params, n_trials))
    return rows


def _columns(params: Params, scored: Mapping[str, float]) -> dict[str, float]:
    return {
        column.name: sum(scored[metric.task] for metric in column.tasks) / len(column.tasks)
        for column in params.benchmark.columns
    }


def as_csv(rows: list[Row]) -> str:
    """One line an objective: columns, average, scores on the search split, weights."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(rows[0].columns)
    writer.writerow(["objective", *names, "Avg", "search_score", "expected",
                     *(f"w_{name}" for name in rows[0].weights)])  # fmt: skip
    for row in rows:
        values = [*row.columns.values(), row.average, row.search_score, row.expected]
        writer.writerow([row.label, *(f"{value:.4f}" for value in values),
                         *(repr(weight) for weight in row.weights.values())])  # fmt: skip
    return text.getvalue()


def as_markdown(rows: list[Row], params: Params, n_trials: int) -> str:
    """Table 2: best value of each column in bold."""
    names = [*rows[0].columns, "Avg"]
    table = [[*row.columns.values(), row.average] for row in rows]
    best = [max(row[place] for row in table) for place in range(len(names))]
    lines = [
        f"Table 2. One pool, {len(rows)} objectives (scale {params.scale}, {params.model.name}, "
        f"protocol {params.benchmark.protocol}): {n_trials} trials for all of them, and "
        f"{N_VERIFIED} evaluations to verify each answer; scores of the report split in %, best "
        "of a column in bold. The paper searched anew for every objective, 100 trials each.",
        "",
        "| objective | " + " | ".join(names) + " |",
        "| --- |" + " ---: |" * len(names),
    ]
    for row, values in zip(rows, table, strict=True):
        cells = [f"**{v:.2f}**" if v == top else f"{v:.2f}"
                 for v, top in zip(values, best, strict=True)]  # fmt: skip
        lines.append(f"| {row.label} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
