"""metrics.json: the few numbers `dvc metrics show` and `dvc metrics diff` print."""

from __future__ import annotations

from pathlib import Path

from optimer import receipts
from optimer.paths import Paths
from optimer.report.scores import read_scores
from optimer.report.table1 import difference
from optimer.schema import Params


def write_metrics(params: Params, paths: Paths) -> Path:
    """Average score of every row in %, and OptiMer minus its baselines per combination, in points.

    Raises ArtifactError as `read_scores`.
    """
    scored = read_scores(params, paths)
    baselines = ["datamix", "ratio", *params.merge.baselines]
    content = {
        "avg": {item.row.id: round(item.average.score, 2) for item in scored},
        **{
            f"optimer_minus_{baseline}": {
                name: round(difference(scored, f"{name}_optimer", f"{name}_{baseline}")[0], 2)
                for name in params.combinations
            }
            for baseline in baselines
        },
    }
    path = paths.table("metrics", "json")
    receipts.write(path, content)
    return path
