"""Section `benchmark`: tasks, columns, splits and the engine that scores them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from optimer.schema.common import Count, Fraction, Section


class TaskMetric(Section):
    """One lm-eval task and the metric read from it."""

    task: str = Field(min_length=1)
    """lm-eval task or group name."""

    metric: str = Field(pattern=r"^[^,]+,[^,]+$")
    """lm-eval result key, `metric,filter`."""

    scale: float = Field(default=100.0, gt=0)
    """Factor to percent."""


class Column(Section):
    """One column of Table 1: the unweighted mean of its tasks."""

    name: str = Field(min_length=1)
    """Heading of the column."""

    tasks: list[TaskMetric] = Field(min_length=1)
    """Tasks averaged in the column."""


class SplitParams(Section):
    """Disjoint, seeded shares of every task's items (design §6.1)."""

    search: Fraction
    """Share of a task's items that trials are scored on."""

    rerank: Fraction
    """Share that the best trials are re-ranked on."""

    report: Fraction
    """Share that tables report."""

    @model_validator(mode="after")
    def _sum(self) -> SplitParams:
        total = self.search + self.rerank + self.report
        if total > 1 + 1e-9:
            raise ValueError(
                f"search + rerank + report must not exceed 1, got {total:g}: the three "
                "splits are disjoint; lower one of them"
            )
        return self


class BenchmarkParams(Section):
    """Scoring with lm-eval."""

    protocol: Literal["split", "paper"]
    """`split`: disjoint seeded splits. `paper`: first items of the test set, which Table 1 reports
    again in full (the paper's overlap)."""

    split: SplitParams
    """Shares of a task's items under protocol `split`."""

    report_items: Count | None
    """Items per task in tables; null takes the whole report split."""

    backend: Literal["hf", "vllm"]
    """lm-eval engine of the reported scores."""

    engine: dict[str, str | int | float | bool]
    """Arguments passed through to the engine."""

    n_shots: int = Field(ge=0)
    """Shots asked for; tasks that fix their own number keep it, and the effective one is shown."""

    bos: bool
    """Whether every prompt starts with the BOS token, explicitly."""

    batch_size: Count
    """Sequences per forward pass of the Hugging Face engine."""

    unsafe_code: bool
    """Allow tasks that run model-written code (HumanEval, MBPP). Refused without a sandbox."""

    columns: list[Column] = Field(min_length=1)
    """Columns of Table 1, in order."""

    jobs_per: Literal["row", "combination"]
    """One scoring job per table row, or per combination (saves start-up where models are tiny)."""
