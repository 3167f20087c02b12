"""Section `search`: the study that finds merge weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from optimer.schema.common import Count, Section

Interval = Annotated[list[float], Field(min_length=2, max_length=2)]


class TpeParams(Section):
    """Optuna's TPE sampler, every setting written out (defaults changed between releases)."""

    n_startup_trials: Count
    """Random trials before the first model-based proposal, N0."""

    n_ei_candidates: Count
    """Candidates drawn from ℓ(x) per proposal."""

    gamma: float = Field(gt=0, lt=1)
    """Share of trials that count as good: min(ceil(gamma · n), 25), Optuna's rule."""

    multivariate: bool
    """Model the weights jointly."""

    constant_liar: bool
    """Treat running trials as bad, so that one batch spreads out."""


class SearchParams(Section):
    """Bayesian optimisation of merge weights."""

    sampler: Literal["tpe", "random"]
    """Optuna sampler that proposes merge weights."""

    trials: Count
    """Trials per study, T."""

    batch: Count
    """Trials asked, scored and told together; fixed by params, not by the workers at hand."""

    top_k: Count
    """Best trials re-ranked on the rerank split, K."""

    bounds_it: Interval
    """Range of the IT weight."""

    bounds_dataset: Interval
    """Range of every dataset's weight."""

    search_items: Count
    """Items per proxy task that score a trial (at most what the split holds)."""

    rerank_items: Count
    """Items per proxy task that re-rank the top K (at most what the split holds)."""

    tpe: TpeParams
    """Settings of the TPE sampler."""

    @model_validator(mode="after")
    def _consistent(self) -> SearchParams:
        for key in ("bounds_it", "bounds_dataset"):
            low, high = getattr(self, key)
            if not -2 <= low < high <= 2:
                raise ValueError(f"{key} must satisfy -2 <= low < high <= 2, got [{low}, {high}]")
        if self.top_k > self.trials:
            raise ValueError(
                f"top_k must not exceed trials ({self.trials}), got {self.top_k}; lower top_k"
            )
        return self


class CombinationParams(Section):
    """One experiment: a subset of the datasets, and the tasks its search looks at."""

    label: str = Field(min_length=1)
    """Label in tables, e.g. "Ja + Math"."""

    datasets: list[str] = Field(min_length=1)
    """Datasets merged, in table order."""

    proxies: list[str] = Field(min_length=1)
    """Proxy tasks whose mean score is the objective."""
