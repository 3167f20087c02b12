"""Composition from sources in host memory: chunks travel to the device, θ(w) stays there.

The arithmetic is `optimer.merging.kernels.eager`, so the bits are those of every other path. A
trial moves base and K sources over the bus once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from optimer.merging.kernels import Variant, eager
from optimer.merging.pool import Pool
from optimer.merging.resident import Part

_BYTES = 128 << 20  # staged at once, all sources and the base together


class Streamed:
    """As `Resident`, for parts whose base and sources are not where the live memory is."""

    def __init__(self, pool: Pool, parts: Sequence[Part]) -> None:
        self.pool = pool
        self.parts = list(parts)

    def compose(self, weights: Sequence[float]) -> None:
        """Write θ(w) into the live memory. Raises MergeError when weights do not fit the pool."""
        weights_K = torch.tensor(self.pool.weights(weights), dtype=torch.float32)
        with torch.no_grad():
            for part in self.parts:
                self._part(part, weights_K)

    def _part(self, part: Part, weights_K: torch.Tensor) -> None:
        method, device = self.pool.method, part.out_P.device
        chosen_K = weights_K[list(part.vectors)]
        factors_K = (chosen_K.double() * torch.tensor(part.scales, dtype=torch.float64)).float()
        factors_K, chosen_K = factors_K.to(device), chosen_K.to(device)
        variant = Variant(len(part.sources), part.relative, method.elect_sign, method.normalize)
        step = max(1, _BYTES // ((1 + len(part.sources)) * part.base_P.element_size()))
        for start in range(0, part.out_P.numel(), step):
            at = slice(start, min(start + step, part.out_P.numel()))
            near = [each[at].to(device, non_blocking=True) for each in (part.base_P, *part.sources)]
            eager(part.out_P[at], near[0], near[1:], factors_K, chosen_K, variant)
