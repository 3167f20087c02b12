"""What a scale will need before anything is spent: jobs, tokens, device-hours, disk, memory.

Cost model, stated so that it can be argued with:

* training: 6·N FLOP per parameter and token (Kaplan et al. 2020, arXiv 2001.08361, §2.1) at the
  achieved speed `plan.tflops` per device;
* search: `plan.trial_device_minutes` per trial; benchmark: `plan.row_device_hours` per row;
* disk: N parameters in `model.dtype` per model, vector, trajectory checkpoint and merged row, and
  4 bytes per sampled token; resumable training state: 12 bytes per parameter (fp32 weights and
  two AdamW moments), two kept while a run is alive;
* memory of a training run: 16 bytes per parameter over all devices (bf16 weights and gradients,
  fp32 weights and two moments; Rajbhandari et al. 2020, arXiv 1910.02054, §3.1), activations on
  top; of a search: live model, base and one vector per dataset and IT.
"""

from __future__ import annotations

from dataclasses import dataclass

from optimer import experiment
from optimer.schema import Params

_GB = 1e9


@dataclass(frozen=True)
class Plan:
    """Totals of one scale. Tokens and jobs are counts; disk and memory in GB; time in hours."""

    jobs: dict[str, int]
    tokens_sampled: int
    tokens_trained: int
    train_device_hours: float
    search_device_hours: float
    benchmark_device_hours: float
    tokenise_core_hours: float
    disk_gb: dict[str, float]
    training_memory_gb: float
    search_memory_gb: float

    @property
    def n_jobs(self) -> int:
        return sum(self.jobs.values())

    @property
    def device_hours(self) -> float:
        return self.train_device_hours + self.search_device_hours + self.benchmark_device_hours


def budget(params: Params, model: experiment.Model) -> int:
    """Tokens one model of the pool is trained on."""
    if model.kind == "pretrain" and params.world:
        return params.world.pretrain.token_budget
    if model.kind == "instruct" and params.world:
        return params.world.instruct.token_budget
    return params.corpus.token_budget * len(model.datasets) if model.trained else 0


def count_jobs(params: Params) -> dict[str, int]:
    """Jobs of the target `main`, by phase; a test holds this against Snakemake's dry run."""
    models = experiment.models(params).values()
    rows = experiment.rows(params)
    trained = [model for model in models if model.trained]
    if params.benchmark.jobs_per == "row":
        n_merge, n_score = sum(row.merge_method is not None for row in rows), len(rows)
    else:
        blocks = experiment.blocks(params).values()
        n_merge = sum(any(row.merge_method for row in block) for block in blocks)
        n_score = len(blocks)
    return {
        "corpus": 2 + bool(params.world) + len(experiment.sampled_datasets(params)) + len(trained),
        "train": len(models),
        "vectors": len(models) - 1 + 1,  # one per model but the base, and their geometry
        "search": len(params.combinations),
        "benchmark": n_merge + n_score + 1,
        "report": 7,
    }


def plan(params: Params) -> Plan:
    """Costs of one scale from params alone."""
    pool = experiment.models(params)
    n = params.model.parameters
    model_gb = n * (2 if params.model.dtype == "bfloat16" else 4) / _GB
    trained = sum(budget(params, model) for model in pool.values())
    sampled = sum(_sampled(params, name) for name in experiment.sampled_datasets(params))
    rows = experiment.rows(params)
    trajectory = len(params.train.trajectory) * params.train.checkpoints
    largest = max(len(item.datasets) for item in params.combinations.values())
    cost = params.plan
    return Plan(
        jobs=count_jobs(params),
        tokens_sampled=sampled,
        tokens_trained=trained,
        train_device_hours=6 * n * trained / (cost.tflops * 1e12) / 3600,
        search_device_hours=len(params.combinations)
        * params.search.trials
        * cost.trial_device_minutes
        / 60,
        benchmark_device_hours=len(rows) * cost.row_device_hours,
        tokenise_core_hours=sampled / cost.tokenise_tokens_per_second / 3600,
        disk_gb={
            "models": len(pool) * model_gb,
            "trajectory": trajectory * model_gb,
            "vectors": (len(pool) - 1) * model_gb,
            "merged models": sum(row.merge_method is not None for row in rows) * model_gb,
            "tokens": sampled * 4 / _GB,
            "resumable state": 2 * n * 12 / _GB,
        },
        training_memory_gb=16 * n / _GB / params.train.devices,
        search_memory_gb=(3 + largest) * model_gb,
    )


def _sampled(params: Params, dataset: str) -> int:
    for model in experiment.models(params).values():
        if model.kind in ("pretrain", "instruct") and dataset in model.datasets:
            return budget(params, model)
    return int(params.corpus.token_budget * params.corpus.reserve)


def render(params: Params, result: Plan) -> str:
    """The plan as text for a terminal."""
    lines = [
        f"Plan of scale {params.scale}: {params.model.name}, {params.model.parameters:,} weights",
        f"Cost model: {params.plan.device}, {params.plan.tflops:g} TFLOP/s achieved per device,"
        f" {params.plan.trial_device_minutes:g} device-minutes a trial,"
        f" {params.plan.row_device_hours:g} device-hours a table row (docs: optimer/planning.py)",
        "",
        f"{'jobs':<28}{result.n_jobs:>12,}",
        *(f"  {phase:<26}{count:>12,}" for phase, count in result.jobs.items()),
        f"{'tokens sampled':<28}{result.tokens_sampled:>12,.4g}",
        f"{'tokens trained':<28}{result.tokens_trained:>12,.4g}",
        f"{'device-hours':<28}{result.device_hours:>12,.4g}",
        f"  {'train':<26}{result.train_device_hours:>12,.4g}",
        f"  {'search':<26}{result.search_device_hours:>12,.4g}",
        f"  {'benchmark':<26}{result.benchmark_device_hours:>12,.4g}",
        f"{'tokenising, core-hours':<28}{result.tokenise_core_hours:>12,.4g}",
        f"{'disk, GB':<28}{sum(result.disk_gb.values()):>12,.4g}",
        *(f"  {kind:<26}{size:>12,.4g}" for kind, size in result.disk_gb.items()),
        f"{'training memory, GB/device':<28}{result.training_memory_gb:>12,.4g}  + activations",
        f"{'search memory, GB':<28}{result.search_memory_gb:>12,.4g}  + KV cache",
    ]
    return "\n".join(lines)
