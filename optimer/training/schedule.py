"""Learning rate of each optimizer step, and which steps leave something on disk.

Linear warm-up, then a cosine from the peak to `final_ratio` of it (OptiMer §4.1: cosine to 1 %;
warm-up is not mentioned there). With n steps, w = round(warmup_ratio · n) and k = 0 … n − 1:

    lr(k) = peak · (k + 1) / (w + 1)                                             for k < w
    lr(k) = peak · (f + (1 − f) · (1 + cos(π · (k − w) / (n − 1 − w))) / 2)      for k ≥ w

so that the first step is never wasted on a rate of zero and the last step is at the final rate.
"""

from __future__ import annotations

import math


def learning_rate(
    step: int, n_steps: int, peak: float, final_ratio: float, warmup_ratio: float
) -> float:
    """Learning rate of optimizer step `step` (0 … n_steps − 1). Raises ValueError outside."""
    if not 0 <= step < n_steps:
        raise ValueError(f"step must be in 0 … {n_steps - 1}, got {step}")
    warmup = min(round(warmup_ratio * n_steps), n_steps - 1)
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    span = n_steps - 1 - warmup
    progress = (step - warmup) / span if span else 0.0
    return peak * (final_ratio + (1 - final_ratio) * (1 + math.cos(math.pi * progress)) / 2)


def trajectory_steps(n_steps: int, n_checkpoints: int) -> list[int]:
    """Steps after which an intermediate model is kept: `n_checkpoints` of them, evenly spaced
    strictly between the first and the last step, whose models are the parent and the result."""
    steps = {round(n_steps * k / (n_checkpoints + 1)) for k in range(1, n_checkpoints + 1)}
    return sorted(step for step in steps if 0 < step < n_steps)


def saves_state(step: int, n_steps: int, every: int) -> bool:
    """Whether a resumable checkpoint follows step `step` (1 … n_steps): every `every` steps, and
    the last, so that a kill while the model is written costs no training."""
    return step % every == 0 or step == n_steps
