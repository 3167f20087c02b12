"""Composition of one flat tensor in one pass over memory: read base and sources, write θ(w).

Two ways to the same bits. `eager` works chunk by chunk with the operations of
`optimer.merging.compose`, the reference. `fused` is compiled by `torch.compile` into one loop per
tensor (C++ on a CPU, Triton on CUDA), with sizes and merge weights as run-time values, so that
nothing is compiled again from trial to trial. Products are rounded before they are added (no fused
multiply-add), sums run in fp32 in the order of the vectors, and the result is rounded once.
`Kernel` compares the two before it trusts a compiler.

Shapes: P elements of a tensor, K vectors that change it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch

from optimer.merging.methods import elect

CHUNK = {"cpu": 1 << 18, "cuda": 1 << 22}
"""Elements an eager composition handles at once, by device type (scratch below 256 MB)."""
_MIN_COMPILED = 2  # compilers specialise on sizes 0 and 1


@dataclass(frozen=True)
class Variant:
    """What a kernel is compiled for; sizes and merge weights are not among it."""

    n_sources: int
    relative: bool
    """Sources are masked models in the base's dtype, τ = fl32(source − base); else they are τ."""
    elect_sign: bool
    normalize: bool


def fused(
    out_P: torch.Tensor,
    base_P: torch.Tensor,
    sources: Sequence[torch.Tensor],
    factors_K: torch.Tensor,
    weights_K: torch.Tensor,
    variant: Variant,
) -> None:
    """θ(w) of one flat tensor, written into `out_P`.

    `factors_K` (fp32) are w_i s_i, `weights_K` (fp32) the merge weights that `normalize` divides
    by. See `optimer.merging.methods` for the formulas.
    """
    base = base_P.float()
    rows = []
    for k, source_P in enumerate(sources):
        tau = source_P.float() - base if variant.relative else source_P
        rows.append(tau * factors_K[k])
    total = rows[0]
    for row in rows[1:]:
        total = total + row
    if variant.elect_sign:
        sign = torch.where(total >= 0, 1.0, -1.0)
        zero = torch.zeros_like(total)
        total, divisor = zero, zero
        for k, row in enumerate(rows):
            size = row * sign
            counts = size > 0
            total = total + torch.where(counts, size, zero)
            if variant.normalize:
                divisor = divisor + torch.where(counts, weights_K[k], zero)
        total = total * sign
        if variant.normalize:
            total = total / torch.where(divisor == 0, 1.0, divisor)
    out_P.copy_(total + base)


def eager(
    out_P: torch.Tensor,
    base_P: torch.Tensor,
    sources: Sequence[torch.Tensor],
    factors_K: torch.Tensor,
    weights_K: torch.Tensor,
    variant: Variant,
) -> None:
    """What `fused` computes, without a compiler: in chunks that stay in the cache, in place."""
    size = min(CHUNK.get(out_P.device.type, CHUNK["cpu"]), out_P.numel())
    n_rows = len(sources) if variant.elect_sign else 2
    scratch = torch.empty(n_rows + 1, size, dtype=torch.float32, device=out_P.device)
    for start in range(0, out_P.numel(), size):
        stop = min(start + size, out_P.numel())
        *rows_KP, base = scratch[:, : stop - start]
        base.copy_(base_P[start:stop])
        for k, source_P in enumerate(sources):
            row = rows_KP[min(k, n_rows - 1)].copy_(source_P[start:stop])
            if variant.relative:
                row.sub_(base)
            row.mul_(factors_K[k])
            if k and not variant.elect_sign:
                rows_KP[0].add_(row)
        total = rows_KP[0]
        if variant.elect_sign:
            total = elect(scratch[:n_rows, : stop - start], weights_K, variant.normalize)
        out_P[start:stop].copy_(total.add_(base))


class Kernel:
    """One variant on one device: compiled and checked, or eager with a warning why not."""

    def __init__(self, variant: Variant, compiled: bool) -> None:
        self.variant = variant
        self._compiled = _compile(variant) if compiled else None

    @property
    def compiled(self) -> bool:
        return self._compiled is not None

    def __call__(
        self,
        out_P: torch.Tensor,
        base_P: torch.Tensor,
        sources: Sequence[torch.Tensor],
        factors_K: torch.Tensor,
        weights_K: torch.Tensor,
    ) -> None:
        if self._compiled is None or out_P.numel() < _MIN_COMPILED:
            eager(out_P, base_P, sources, factors_K, weights_K, self.variant)
        else:
            self._compiled(out_P, base_P, list(sources), factors_K, weights_K)

    def check(self, base_P: torch.Tensor, sources: Sequence[torch.Tensor]) -> None:
        """Compile, and compare bit for bit with the eager way on these elements.

        Where the compiler fails or its result differs, warns and composes eagerly from now on.
        """
        if self._compiled is None:
            return
        draw = torch.Generator().manual_seed(len(sources))
        drawn = torch.rand(3, 4 * ((len(sources) + 3) // 4), generator=draw).to(base_P.device)
        drawn = drawn * 2 - 0.5
        a, b = torch.empty_like(base_P), torch.empty_like(base_P)
        try:
            for row in drawn:
                weights_K = row[: len(sources)]
                self._compiled(a, base_P, list(sources), weights_K, weights_K)
                eager(b, base_P, sources, weights_K, weights_K, self.variant)
                n_different = int((_bits(a) != _bits(b)).sum())
                if n_different:
                    self._give_up(
                        f"its result differs from the eager one in {n_different} of {a.numel()} "
                        "elements (are multiplications and additions contracted?)"
                    )
                    return
        except Exception as error:  # whatever a missing or broken compiler raises
            lines = str(error).strip().splitlines() or [""]
            self._give_up(f"the compiler failed ({type(error).__name__}: {lines[0]})")

    def _give_up(self, reason: str) -> None:
        self._compiled = None
        warnings.warn(
            f"composition is not compiled on this machine: {reason}. It runs eagerly, with the "
            "same bits but slower; set OPTIMER_COMPILE=0 to skip the attempt.",
            RuntimeWarning,
            stacklevel=3,
        )


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.view(torch.int32 if tensor.element_size() == 4 else torch.int16)


def _compile(variant: Variant) -> Callable[..., Any]:
    def kernel(out_P: Any, base_P: Any, sources: Any, factors_K: Any, weights_K: Any) -> None:
        fused(out_P, base_P, sources, factors_K, weights_K, variant)

    # Dynamo keeps what it compiled by code object: a variant gets its own
    code = kernel.__code__.replace(co_name=f"compose_{variant.n_sources}")
    own = FunctionType(code, kernel.__globals__, code.co_name, None, kernel.__closure__)
    return torch.compile(own, dynamic=True, fullgraph=True, options=_options())


def _options() -> dict[str, Any]:
    """Inductor settings without which compiled code may round differently from eager code."""
    from torch._inductor import config

    wanted = {
        "cpp.enable_floating_point_contract_flag": "off",  # no FMA on a CPU
        "emulate_precision_casts": True,  # Triton's enable_fp_fusion=False: no FMA on CUDA
        "eager_numerics.division_rounding": True,  # Triton's div_rn
    }
    known = config.get_config_copy() if hasattr(config, "get_config_copy") else wanted
    return {key: value for key, value in wanted.items() if key in known}
