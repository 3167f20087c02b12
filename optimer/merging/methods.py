"""Merge methods as pure functions of chunks: θ(w) = round(θ_0 + merge(w, τ)).

Own implementation of the methods under mergekit's names and defaults (mergekit 0.1.5):

* task_arithmetic  Σ w_i τ_i                          https://arxiv.org/abs/2212.04089
* dare_linear      Σ w_i s_i (m_i ⊙ τ_i), m_i random  https://arxiv.org/abs/2311.03099
* ties             m_i keeps the largest |τ_i|; per element only the vectors that agree with the
                   sign of the weighted sum count, divided by the sum of their weights
                   https://arxiv.org/abs/2306.01708
* dare_ties        random masks, the sign rule of ties, no division

s_i = ‖τ_i‖₁ / ‖m_i ⊙ τ_i‖₁ per tensor (mergekit's rescale, not 1/density); 1 at density 1.

Shapes: K vectors, P elements of a chunk. All in fp32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from optimer.errors import MergeError


@dataclass(frozen=True)
class Method:
    """What distinguishes the merge methods."""

    name: str
    mask: Literal["none", "random", "magnitude"]
    elect_sign: bool
    """Only vectors that agree with the sign of the weighted sum count."""
    normalize: bool
    """Divide by the sum of the weights that count."""
    rescale: bool
    """Restore each tensor's L1 norm after masking."""


METHODS = {
    method.name: method
    for method in (
        Method("task_arithmetic", "none", elect_sign=False, normalize=False, rescale=False),
        Method("ties", "magnitude", elect_sign=True, normalize=True, rescale=False),
        Method("dare_linear", "random", elect_sign=False, normalize=False, rescale=True),
        Method("dare_ties", "random", elect_sign=True, normalize=False, rescale=True),
    )
}


def method(name: str) -> Method:
    """A merge method by mergekit's name. Raises MergeError listing the known ones."""
    if name not in METHODS:
        raise MergeError(f"merge method must be one of {', '.join(METHODS)}; got {name!r}")
    return METHODS[name]


def elect(scaled_KP: torch.Tensor, weights_K: torch.Tensor, normalize: bool) -> torch.Tensor:
    """Merge by sign election: fp32 [P] from w_i s_i τ_i (fp32 [K, P], overwritten).

    The elected sign is that of the sum, + where the sum is 0. A vector counts where its own sign
    is the elected one; zeros never count. With `normalize` the sum is divided by the weights that
    count, or by 1 where these add up to 0.
    """
    sign_P = scaled_KP[0].clone()
    for row_P in scaled_KP[1:]:
        sign_P.add_(row_P)
    sign_P.ge_(0).mul_(2.0).sub_(1.0)
    merged_P = torch.zeros_like(sign_P)
    divisor_P = torch.zeros_like(sign_P) if normalize else None
    # row by row, in place and in floats: on a CPU four times as fast as masks over [K, P] of
    # truth values, and the same bits
    for row_P, weight in zip(scaled_KP, weights_K.tolist(), strict=True):
        row_P.mul_(sign_P).clamp_(min=0.0)  # its size where it counts, else 0
        merged_P.add_(row_P)
        if divisor_P is not None:
            divisor_P.add_(row_P.sign_().mul_(weight))
    merged_P.mul_(sign_P)
    if divisor_P is not None:
        none_P = torch.eq(divisor_P, 0, out=sign_P)
        merged_P.div_(divisor_P.add_(none_P))
    return merged_P
