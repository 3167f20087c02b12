"""The schema of params.yaml: one section per file, and the checks that span sections."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from optimer.schema.benchmark import BenchmarkParams, Column, TaskMetric
from optimer.schema.common import Name, Section
from optimer.schema.corpus import CorpusParams
from optimer.schema.flexibility import FlexibilityParams
from optimer.schema.merge import METHODS, MergeMethod, MergeParams
from optimer.schema.model import ModelParams
from optimer.schema.plan import PlanParams
from optimer.schema.report import ReportParams
from optimer.schema.search import CombinationParams, SearchParams
from optimer.schema.train import TrainParams
from optimer.schema.world import WorldParams

__all__ = [
    "METHODS",
    "BenchmarkParams",
    "Column",
    "CombinationParams",
    "MergeMethod",
    "Params",
    "TaskMetric",
]


class Params(Section):
    """All params of one scale, resolved."""

    scale: Name
    """Scale that is run: one of the keys of `scales`."""

    stored: list[Literal["corpus", "train", "vectors", "search", "ratio", "benchmark"]]
    """Phases whose artifacts go into DVC's cache, for push and pull. DVC reads this key at the top
    of params.yaml, whatever the scale; artifacts of other phases are known by their receipts."""

    seed: int = Field(ge=0)
    """Seed of data order, initialisation, splits, masks and samplers."""

    model: ModelParams
    corpus: CorpusParams
    train: TrainParams
    merge: MergeParams
    combinations: dict[Name, CombinationParams] = Field(min_length=1)
    """Experiments of Table 1: name -> subset of the datasets and its proxy tasks."""

    flexibility: FlexibilityParams
    """One pool re-optimised for several objectives (Table 2)."""

    search: SearchParams
    benchmark: BenchmarkParams
    report: ReportParams
    plan: PlanParams
    world: WorldParams | None
    """The generated world; null where real models and corpora are used."""

    @model_validator(mode="after")
    def _sections_agree(self) -> Params:
        tasks = {metric.task for column in self.benchmark.columns for metric in column.tasks}
        for name, combination in self.combinations.items():
            for dataset in combination.datasets:
                if dataset not in self.corpus.datasets:
                    raise ValueError(
                        f"combinations.{name}.datasets: {dataset!r} is not in corpus.datasets "
                        f"({', '.join(self.corpus.datasets)}); add it there or remove it here"
                    )
            for task in combination.proxies:
                if task not in tasks:
                    raise ValueError(
                        f"combinations.{name}.proxies: {task!r} is in no column of "
                        "benchmark.columns, so its metric is unknown; add it to a column"
                    )
        uses_world = [side for side in ("base", "instruct") if getattr(self.model, side) == "world"]
        if uses_world and self.world is None:
            raise ValueError(
                f"model.{uses_world[0]} is `world`, but this scale has no `world` section; "
                "name a model or add the section"
            )
        for method in {self.merge.method, *self.merge.baselines}:
            if method == "task_arithmetic":  # it has no masks
                continue
            density = dict(self.merge.density).get(method)  # pyright: ignore[reportArgumentType]
            if density is None or not 0 < density <= 1:
                raise ValueError(f"merge.density.{method} must be in (0, 1], got {density}; set it")
        for dataset in self.flexibility.datasets:
            if dataset not in self.corpus.datasets:
                raise ValueError(
                    f"flexibility.datasets: {dataset!r} is not in corpus.datasets "
                    f"({', '.join(self.corpus.datasets)}); add it there or remove it here"
                )
        for task in self.flexibility.proxies:
            if task not in tasks:
                raise ValueError(
                    f"flexibility.objectives: {task!r} is in no column of benchmark.columns, so "
                    "its metric is unknown; name a task of a column"
                )
        if self.report.figures_combination not in self.combinations:
            raise ValueError(
                f"report.figures_combination: {self.report.figures_combination!r} is not one of "
                f"the combinations ({', '.join(self.combinations)})"
            )
        return self
