"""Gradient of expected accuracy with respect to all merge weights at once.

For linear methods θ(w) = θ_0 + Σ_k w_k·s_k·(m_k ⊙ τ_k), so ∂J/∂w_k = ⟨∇_θ J, s_k·(m_k ⊙ τ_k)⟩:
one forward and one backward pass through the composed model give all of them, per group of layers
at no further cost. A pass over a share of the search items counts as three forwards over them:
n steps cost 3 · share · n full trials. TIES and DARE-TIES elect signs, which is no smooth function
of the weights, and engines without autograd cannot take part: both are refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from optimer.errors import SearchError
from optimer.evaluation.splits import Split
from optimer.merging.checksum import by_name
from optimer.merging.pool import Pool
from optimer.schema.search import GradientParams, SearchParams
from optimer.search.answers import (
    Question,
    batches,
    log_likelihoods,
    questions,
    right_probability,
    share_of,
)
from optimer.search.groups import group_of, n_layers
from optimer.search.space import IT
from optimer.tensors import chunks

Bounds = Mapping[str, tuple[float, float]]
ByWeight = dict[str, float]
ByGroup = dict[str, dict[str, float]]
"""{vector: {group of layers: number}}."""

Gradient = Callable[[Mapping[str, float], int], tuple[float, ByWeight]]
"""(weights, step) -> (expected accuracy in percent, its derivative by each weight)."""

START_IT, START_DATASET = 0.6, 0.2
"""Where the first run starts: the paper's α_it, and datasets at a third of it."""


def check_differentiable(pool: Pool, engine: Any = None) -> None:
    """Raises SearchError where the merge method or the engine has no gradient."""
    if pool.method.elect_sign:
        raise SearchError(
            f"merge method {pool.method.name} elects signs, so its result is no smooth function "
            "of the weights and has no gradient; use merge.method dare_linear or "
            "task_arithmetic, or another sampler"
        )
    live = getattr(getattr(engine, "backend", None), "model", None)
    if engine is not None and not isinstance(live, torch.nn.Module):
        raise SearchError(
            f"engine {type(engine).__name__} cannot differentiate its model; run the gradient "
            "with benchmark.backend: hf, or use another sampler"
        )


def by_group(pool: Pool, model: Any, found: Sequence[Question], size: int) -> tuple[float, ByGroup]:
    """(J in percent, ∂J/∂w per vector and layer group) of the model as it stands.

    `model` must hold θ(w) of `pool`; its parameters are left as they were. `size`: sequences a
    batch. J is the mean over tasks of the mean probability of the right answer.
    """
    check_differentiable(pool)
    counts: dict[str, int] = {}
    for question in found:
        counts[question.task] = counts.get(question.task, 0) + 1
    parameters = by_name(dict(model.named_parameters()))
    merged = {name: p for name, p in parameters.items() if pool.is_merged(name)}
    asked = {name: p.requires_grad for name, p in parameters.items()}
    value = 0.0
    model.eval()
    try:
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in merged)
            parameter.grad = None
        with torch.inference_mode(False), torch.enable_grad():
            for batch in batches(found, size):
                parts = [
                    right_probability(question, likelihoods) / counts[question.task]
                    for question, likelihoods in zip(
                        batch, log_likelihoods(model, batch), strict=True
                    )
                ]
                loss = 100 * torch.stack(parts).sum() / len(counts)
                loss.backward()
                value += float(loss.detach())
        return value, _project(pool, merged)
    finally:
        for name, parameter in parameters.items():
            parameter.requires_grad_(asked[name])
            parameter.grad = None


def _project(pool: Pool, merged: Mapping[str, torch.Tensor]) -> ByGroup:
    """⟨∇_θ J, s_k·(m_k ⊙ τ_k)⟩ by vector and group of layers."""
    layers = n_layers(merged)
    sums: ByGroup = {name: {} for name in pool.names}
    for name, parameter in merged.items():
        if parameter.grad is None:
            continue
        gradient = parameter.grad.detach().reshape(-1).float().cpu()
        group = group_of(name, layers)
        for vector, source in zip(pool.names, pool.sources(name, keep=True), strict=True):
            total = 0.0
            if source is not None:
                delta, scale = source
                for start, stop in chunks(gradient.numel()):
                    part = torch.empty(stop - start)
                    delta.fill(part, start, stop)
                    total += scale * float(torch.dot(gradient[start:stop].double(), part.double()))
            sums[vector][group] = sums[vector].get(group, 0.0) + total
    return sums


def expected_accuracy(
    engine: Any, weights: Mapping[str, float], split: Split = "search", share: float = 1.0,
    turn: int = 0, found: Sequence[Question] | None = None,
) -> tuple[float, ByWeight]:  # fmt: skip
    """(J in percent, ∂J/∂w by vector) at `weights`, on a share of a split's items.

    `engine`: a HuggingFaceEngine. `turn` chooses the share: successive turns go through all items.
    Raises SearchError where method or engine has no gradient.
    """
    check_differentiable(engine.pool, engine)
    engine.compose(weights)
    chosen = share_of(found or questions(engine.harness, split), share, turn)
    value, groups = by_group(engine.pool, engine.backend.model, chosen,
                             engine.harness.params.benchmark.batch_size)  # fmt: skip
    return value, {name: sum(parts.values()) for name, parts in groups.items()}


def of_engine(engine: Any, settings: GradientParams, split: Split = "search") -> Gradient:
    """The gradient of a live engine, as samplers take it; items are prepared on first use."""
    check_differentiable(engine.pool, engine)
    found: list[Question] = []

    def gradient(weights: Mapping[str, float], step: int) -> tuple[float, ByWeight]:
        if not found:
            found.extend(questions(engine.harness, split))
        return expected_accuracy(engine, weights, split, settings.share, step, found)

    return gradient


def where_wanted(engine: Any, search: SearchParams) -> Gradient | None:
    """The gradient of an engine where the settings of a search use one, else None.

    Raises SearchError where they do and method or engine has none.
    """
    wanted = search.sampler == "gradient" or search.gradient.start
    return of_engine(engine, search.gradient) if wanted else None


def cost(settings: GradientParams) -> float:
    """Full-trial equivalents of one run: forward and backward count as three forwards."""
    return 3.0 * settings.share * settings.steps


@dataclass(frozen=True)
class Ascent:
    """One run of Adam."""

    weights: ByWeight
    """Where it ended, inside bounds."""
    path: list[tuple[ByWeight, float]]
    """(weights, J in percent on that step's items) of every step."""


def ascend(
    gradient: Gradient, bounds: Bounds, settings: GradientParams,
    start: Mapping[str, float] | None = None,
) -> Ascent:  # fmt: skip
    """Adam (β 0.9, 0.99) uphill from `start`, clipped into `bounds`; deterministic.

    Default start: IT at 0.6, datasets at 0.2. The step size falls to a third over the run, since
    items change from step to step. Raises SearchError when a derivative is not finite.
    """
    names = list(bounds)
    low, high = np.array([bounds[name] for name in names]).T
    first = start or {name: START_IT if name == IT else START_DATASET for name in names}
    point = np.clip(np.array([first[name] for name in names], float), low, high)
    momentum, square = np.zeros_like(point), np.zeros_like(point)
    path = []
    for step in range(settings.steps):
        here = dict(zip(names, point.tolist(), strict=True))
        value, slope = gradient(here, step)
        path.append((here, value))
        direction = np.array([slope[name] for name in names])
        if not np.isfinite(direction).all() or not math.isfinite(value):
            raise SearchError(
                f"the gradient at {here} is not finite; check the vectors for NaN, or use a "
                "sampler without gradients"
            )
        momentum = 0.9 * momentum + 0.1 * direction
        square = 0.99 * square + 0.01 * direction**2
        unbiased = momentum / (1 - 0.9 ** (step + 1))
        size = np.sqrt(square / (1 - 0.99 ** (step + 1))) + 1e-12
        rate = settings.rate * (1 - 2 / 3 * step / max(settings.steps - 1, 1))
        point = np.clip(point + rate * unbiased / size, low, high)
    return Ascent(dict(zip(names, point.tolist(), strict=True)), path)
