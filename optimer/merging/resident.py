"""A pool resident beside live parameters: a trial costs one pass over memory.

Per tensor, base and sources lie flat on the parameters' device. For half-precision models a source
is the masked model itself, θ_i where the mask keeps an element and θ_0 elsewhere: τ = fl32(θ_i −
θ_0) is recomputed in registers, exactly as it was defined (`optimer.tensors.deltas`), from the
bytes a rounded τ would take. Otherwise sources are τ in fp32. On a CPU the base, and fp32 vectors
without masks, are views of the mapped files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from optimer.errors import MergeError
from optimer.merging.compose import Weights, parallel, targets
from optimer.merging.kernels import Kernel, Variant
from optimer.merging.pool import Pool, Source
from optimer.tensors import chunks
from optimer.tensors.deltas import decode

COMPILE_FROM = 50_000_000
"""Merged elements from which compiling (some 10-40 s, once) is worth it over 100 trials."""
_MAX_THREADS = 8  # that apply masks and decode sources when a pool is opened
CHECKED = 1 << 18  # elements of a tensor on which a compiled kernel is compared with eager code


Key = tuple[Variant, torch.dtype, str]


@dataclass(frozen=True)
class Part:
    """A flat stretch of live memory and what it is made of: a parameter, or a piece of a fused one.

    `sources` belong to the vectors at places `vectors`, in merge order; `scales` are their s.
    Without sources it is a copy of the base.
    """

    out_P: torch.Tensor
    base_P: torch.Tensor
    sources: tuple[torch.Tensor, ...] = ()
    vectors: tuple[int, ...] = ()
    scales: tuple[float, ...] = ()
    relative: bool = False
    """Sources are masked models in the base's dtype, not fp32 deltas."""


class Resident:
    """Parts of one study, composed again and again, in place and always from the base."""

    def __init__(self, pool: Pool, parts: Sequence[Part], compiled: bool | None = None) -> None:
        """`compiled`: None decides by size, unless OPTIMER_COMPILE says 0 or 1."""
        self.pool = pool
        self.parts = list(parts)
        n_merged = sum(part.out_P.numel() for part in self.parts if part.sources)
        self.compiled = _wanted(compiled, n_merged)
        self._scales_TK, self._places_TK = _table(self.parts)
        merged = sorted((p for p in self.parts if p.sources), key=lambda p: -p.out_P.numel())
        self._kernels: dict[Key, Kernel] = {}
        for part in merged:  # the largest tensor of a variant is the sample it is checked on
            if self._key(part) not in self._kernels:
                self._kernels[self._key(part)] = self._checked(part)
        self._plan = [
            (part, self._kernels[self._key(part)] if part.sources else None) for part in self.parts
        ]

    @classmethod
    def of(
        cls, pool: Pool, parameters: Mapping[str, torch.Tensor], compiled: bool | None = None
    ) -> Resident:
        """For live parameters under the names of a model folder; tied ones count once.

        Raises MergeError when names, shapes or dtypes do not fit the pool's base, or base and
        sources do not fit the device beside the model.
        """
        live = targets(pool, parameters)

        def part(name: str) -> Part:
            made = prepare(pool, name, live[name].detach().view(-1))
            pool.release(name)
            return made

        try:
            parts = list(parallel(part, live, min(_MAX_THREADS, torch.get_num_threads())))
        except torch.OutOfMemoryError as error:
            n = 1 + len(pool.names)
            raise MergeError(
                f"base and {n - 1} vectors take {n} times the model's memory beside it, more than "
                f"the device has ({str(error).splitlines()[0]}). Search fewer vectors, or on "
                "several GPUs with vLLM."
            ) from error
        return cls(pool, parts, compiled)

    @property
    def n_bytes(self) -> int:
        """Bytes one composition moves: what it reads and writes."""
        return sum(
            tensor.numel() * tensor.element_size()
            for part in self.parts
            for tensor in (part.out_P, part.base_P, *part.sources)
        )

    def compose(self, weights: Weights) -> None:
        """Write θ(w) into the live memory. Raises MergeError when weights do not fit the pool."""
        weights_K = torch.tensor(self.pool.weights(weights), dtype=torch.float32)
        # in fp64 and rounded once: the product the reference passes to its multiplication
        factors_TK = (weights_K.double()[self._places_TK] * self._scales_TK).float()
        chosen_TK = weights_K[self._places_TK]
        moved: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = {}
        with torch.no_grad():
            for row, (part, kernel) in enumerate(self._plan):
                if kernel is None:
                    part.out_P.copy_(part.base_P)
                    continue
                device = part.out_P.device
                if device not in moved:
                    moved[device] = factors_TK.to(device), chosen_TK.to(device)
                factors, chosen = moved[device]
                n = len(part.sources)
                kernel(part.out_P, part.base_P, part.sources, factors[row, :n], chosen[row, :n])

    def _key(self, part: Part) -> Key:
        method = self.pool.method
        variant = Variant(len(part.sources), part.relative, method.elect_sign, method.normalize)
        return variant, part.base_P.dtype, str(part.out_P.device)

    def _checked(self, part: Part) -> Kernel:
        kernel = Kernel(self._key(part)[0], self.compiled)
        with torch.no_grad():
            kernel.check(part.base_P[:CHECKED], [each[:CHECKED] for each in part.sources])
        return kernel


def prepare(pool: Pool, name: str, out_P: torch.Tensor) -> Part:
    """The part of one whole tensor: masks applied, sources on the device of `out_P`."""
    base_P = pool.base.read(name).reshape(-1)
    device = out_P.device
    if not pool.is_merged(name):
        return Part(out_P, base_P.to(device))
    found = [(place, each) for place, each in enumerate(pool.sources(name)) if each is not None]
    sources = _models(pool, name, base_P, found)
    relative = sources is not None
    if sources is None:
        sources = [_tau(source) for _, source in found]
    return Part(
        out_P,
        base_P.to(device),
        tuple(source.to(device) for source in sources),
        tuple(place for place, _ in found),
        tuple(scale for _, (_, scale) in found),
        relative,
    )


def _models(
    pool: Pool, name: str, base_P: torch.Tensor, found: Sequence[tuple[int, Source]]
) -> list[torch.Tensor] | None:
    """The masked models in the base's dtype; None where their τ would not be the pool's."""
    if base_P.dtype == torch.float32:
        return None
    vectors = list(pool.vectors.values())
    sources = []
    for place, (delta, _) in found:
        if vectors[place].checkpoint_dtype(name) != base_P.dtype:
            return None
        source_P = decode(base_P, delta, base_P.dtype)
        for start, stop in chunks(delta.n_elements):
            tau = torch.empty(stop - start)
            delta.fill(tau, start, stop)
            again = source_P[start:stop].float() - base_P[start:stop].float()
            if not torch.equal(again.view(torch.int32), tau.view(torch.int32)):
                return None
        sources.append(source_P)
    return sources


def _tau(source: Source) -> torch.Tensor:
    delta = source[0]
    assert delta.stored is not None
    if delta.stored.dtype == torch.float32 and delta.refined is None:
        return delta.stored
    return delta.dense().reshape(-1)


def _table(parts: Sequence[Part]) -> tuple[torch.Tensor, torch.Tensor]:
    """s (fp64) and the vectors' places of every part [T, K], rows padded to 16 bytes of fp32."""
    width = max((len(part.sources) for part in parts), default=0)
    width = max(4, (width + 3) // 4 * 4)
    scales_TK = torch.zeros(len(parts), width, dtype=torch.float64)
    places_TK = torch.zeros(len(parts), width, dtype=torch.int64)
    for row, part in enumerate(parts):
        n = len(part.sources)
        scales_TK[row, :n] = torch.tensor(part.scales, dtype=torch.float64)
        places_TK[row, :n] = torch.tensor(part.vectors, dtype=torch.int64)
    return scales_TK, places_TK


def _wanted(compiled: bool | None, n_merged: int) -> bool:
    if compiled is not None:
        return compiled
    said = os.environ.get("OPTIMER_COMPILE", "")
    if said not in ("", "0", "1"):
        raise MergeError(f"OPTIMER_COMPILE must be 0 or 1, got {said!r}")
    return said == "1" if said else n_merged >= COMPILE_FROM
