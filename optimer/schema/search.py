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


class RacingParams(Section):
    """Stopping trials that are behind before all their items are scored."""

    enabled: bool
    """Whether trials are stopped at all; needs proxy tasks with a score for every item."""

    blocks: int = Field(ge=2, le=100)
    """Parts the search items are dealt into, stratified by task; a look after each but the last."""

    false_stop: float = Field(gt=0, lt=0.5)
    """Chance, over all looks together, of stopping a trial as good as the best one on all items."""


class GradientParams(Section):
    """Adam on expected accuracy (mean probability of the right answer), all weights at once."""

    start: bool
    """Whether any other sampler's first trial is where the gradient leads."""

    steps: Count
    """Adam steps of one run."""

    rate: float = Field(gt=0, le=1)
    """Step size of Adam, in units of a weight."""

    share: float = Field(gt=0, le=1)
    """Share of the search items a step looks at; it costs three forward passes over them."""


class SurfaceParams(Section):
    """The item response surface: one Gaussian process kernel over the weights for all items."""

    n_initial: Count
    """Known and Sobol points before the first proposal of the surface, per merge weight."""

    acquisition: Literal["improvement", "optimism", "thompson"]
    """Expected improvement of the summed score, mean + exploration · sd, or a posterior draw."""

    exploration: float = Field(ge=0, le=10)
    """Standard deviations that `optimism` adds to the mean."""


class SearchParams(Section):
    """Bayesian optimisation of merge weights."""

    sampler: Literal[
        "tpe", "tpe_multivariate", "gp", "cmaes", "random", "grid", "qmc", "gradient", "surface",
        "nsga2", "motpe",
    ]  # fmt: skip
    """What proposes merge weights; `nsga2` and `motpe` need an objective per task group."""

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

    backend: Literal["hf", "vllm"]
    """Engine that trials are scored on: transformers in this process, or a live vLLM, which gets
    `benchmark.engine` as its arguments."""

    swap: Literal["auto", "in_place", "reload"]
    """How a trial's weights get into vLLM: `in_place` into the live parameters (CUDA), `reload`
    through its loader; `auto` takes the first that passes the self-check."""

    vectors_on: Literal["device", "host"]
    """Where vLLM's workers keep base and vectors for in-place swaps: GPU or pinned host memory."""

    mode: Literal["synchronous", "asynchronous"]
    """`synchronous`: batch by batch, the same trials whatever the number of workers.
    `asynchronous`: a free worker asks for a trial at once, and proposals depend on timing."""

    known_points: bool
    """Begin with IT alone, each dataset at 0.6, uniform weights and the last study's winner."""

    racing: RacingParams
    """Early stopping of trials that are behind."""

    tpe: TpeParams
    """Settings of the TPE sampler."""

    gradient: GradientParams
    """Settings of the gradient; linear merge methods on the Hugging Face engine only."""

    surface: SurfaceParams
    """Settings of the item response surface."""

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
