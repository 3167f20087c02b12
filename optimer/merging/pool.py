"""A pool: the base model and distribution vectors, masked once and ready to be merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from optimer.errors import MergeError
from optimer.merging import masks
from optimer.merging.methods import Method, method
from optimer.tensors import CHUNK, TensorStore, chunks
from optimer.tensors.deltas import Delta, DeltaStore, Pairs, span
from optimer.tensors.names import excluded

EXCLUDE = ("embed_tokens", "lm_head", "rotary")
"""Tensors the paper leaves out of every merge (§4.2)."""

Source = tuple[Delta, float]
"""One vector's part in one tensor: m ⊙ τ, and the factor s that restores its L1 norm."""


class Pool:
    """Base model and vectors under one merge method, density and mask seed.

    Opening reads headers only. Vectors are memory-mapped; with density < 1 the masked tensors are
    made on first use and stay in memory once `keep` was asked for (one dtype's worth of the
    model per vector), so that a search pays for masks once.
    """

    def __init__(
        self,
        base: TensorStore,
        vectors: dict[str, DeltaStore],
        merge_method: Method,
        density: float,
        seed: int,
        exclude: tuple[str, ...],
    ) -> None:
        self.base = base
        self.vectors = vectors
        self.method = merge_method
        self.density = density
        self.seed = seed
        self.exclude = exclude
        self._kept: dict[str, list[Source | None]] = {}

    @classmethod
    def open(
        cls,
        base: Path | str,
        vectors: Mapping[str, Path | str],
        method: str = "dare_linear",
        density: float = 1.0,
        seed: int = 0,
        exclude: Sequence[str] = EXCLUDE,
    ) -> Pool:
        """Open the base model's folder and vector folders by name, in merge order.

        `density` in (0, 1] is the share of elements that masks keep (unused by task_arithmetic);
        masks depend on (seed, vector name, tensor name) only. `exclude` are substrings of tensor
        names that always come from the base. Raises MergeError when the vectors do not belong to
        this base, ArtifactError when a folder is not complete.
        """
        chosen = _method(method)
        if not 0 < density <= 1:
            raise MergeError(f"density must be in (0, 1], got {density}")
        if not vectors:
            raise MergeError("a pool needs at least one vector, got none")
        store = TensorStore.open(Path(base))
        opened = {name: DeltaStore.open(Path(folder)) for name, folder in vectors.items()}
        for name, vector in opened.items():
            _check_fit(store, name, vector)
        if chosen.mask == "none":
            density = 1.0
        return cls(store, opened, chosen, float(density), seed, tuple(exclude))

    @property
    def base_dir(self) -> Path:
        return self.base.folder

    @property
    def names(self) -> list[str]:
        """Vector names, in merge order."""
        return list(self.vectors)

    def weights(self, weights: Mapping[str, float] | Sequence[float]) -> list[float]:
        """Merge weights as a list in vector order. Raises MergeError when they do not fit."""
        if isinstance(weights, Mapping):
            if set(weights) != set(self.names):
                raise MergeError(
                    f"merge weights are needed for exactly {', '.join(self.names)}; "
                    f"got {', '.join(weights) or 'none'}"
                )
            values = [float(weights[name]) for name in self.names]
        else:
            values = [float(weight) for weight in weights]
        if len(values) != len(self.names):
            raise MergeError(
                f"{len(self.names)} merge weights are needed ({', '.join(self.names)}), "
                f"got {len(values)}"
            )
        if not all(abs(value) < float("inf") for value in values):
            raise MergeError(f"merge weights must be finite numbers, got {values}")
        return values

    def is_merged(self, name: str) -> bool:
        """Whether merge weights can change a tensor; the others are the base's."""
        if excluded(name, self.exclude):
            return False
        return any(not vector.is_zero(name) for vector in self.vectors.values())

    def sources(self, name: str, keep: bool = False) -> list[Source | None]:
        """What each vector adds to a tensor, in vector order; None where it adds nothing."""
        if name in self._kept:
            return self._kept[name]
        found = [self._source(key, vector, name) for key, vector in self.vectors.items()]
        if keep:
            self._kept[name] = found
        return found

    def _source(self, key: str, vector: DeltaStore, name: str) -> Source | None:
        if vector.is_zero(name):
            return None
        delta = vector.delta(name)
        if self.density == 1.0:
            return delta, 1.0
        if self.method.mask == "random":
            mask = masks.random_mask(self.seed, key, name, self.density)
        else:
            mask = masks.magnitude_mask(delta, self.density)
        return apply_mask(delta, mask, self.method.rescale)

    def release(self, name: str) -> None:
        """Give the pages of a tensor back, in the base and in every vector."""
        self.base.release(name)
        for vector in self.vectors.values():
            vector.release(name)

    def close(self) -> None:
        self._kept.clear()
        self.base.close()
        for vector in self.vectors.values():
            vector.close()


_method = method  # `open` has an argument of that name


def apply_mask(delta: Delta, mask: masks.Mask, rescale: bool) -> Source:
    """(m ⊙ τ, s) with s = ‖τ‖₁ / ‖m ⊙ τ‖₁ under `rescale`; s = 1 where either norm is < 1e-7."""
    assert delta.stored is not None
    stored = torch.empty_like(delta.stored)
    scratch, size = torch.empty(2, min(CHUNK, delta.n_elements))
    before = after = 0.0
    kept_refined: list[torch.Tensor] = []
    kept_exact: list[torch.Tensor] = []
    for start, stop in chunks(delta.n_elements):
        tau = scratch[: stop - start]
        delta.fill(tau, start, stop)
        kept = mask(tau, start, stop)
        before += l1_norm(tau, size[: stop - start])
        # all bits or none: +0 where it is dropped, and several times faster than masked_fill_
        tau.view(torch.int32).bitwise_and_(kept.to(torch.int32).neg_())
        stored[start:stop] = tau  # rounds as the unmasked τ was rounded
        after += l1_norm(tau, size[: stop - start])
        for pairs, among in ((delta.refined, kept_refined), (delta.exact, kept_exact)):
            if pairs is not None:
                first, last = span(pairs, start, stop)
                among.append(kept[(pairs[0][first:last] - start).long()])
    refined, exact = _among(delta.refined, kept_refined), _among(delta.exact, kept_exact)
    scale = before / after if rescale and before >= 1e-7 and after >= 1e-7 else 1.0
    return Delta(delta.shape, stored, refined, exact), scale


def l1_norm(tau_P: torch.Tensor, size_P: torch.Tensor) -> float:
    """Σ|τ| of a chunk, the same for any number of threads: one row, one thread.

    `size_P` is scratch space of the same length.
    """
    torch.abs(tau_P, out=size_P)
    n_rows, n_rest = divmod(len(tau_P), 512)
    total = size_P[: n_rows * 512].view(n_rows, 512).sum(1).double().sum()
    return float(total) + float(size_P[len(tau_P) - n_rest :].sum())


def _among(pairs: Pairs | None, kept: list[torch.Tensor]) -> Pairs | None:
    if pairs is None:
        return None
    chosen = torch.cat(kept)
    return pairs[0][chosen], pairs[1][chosen]


def _check_fit(base: TensorStore, name: str, vector: DeltaStore) -> None:
    missing = [key for key in vector.names() if key not in base]
    if missing:
        raise MergeError(
            f"vector {name} ({vector.folder}) has {len(missing)} tensors that the base model "
            f"{base.folder} lacks, first {missing[0]}. Extract it against this base."
        )
    for key in vector.names():
        if vector.shape(key) != base.shape(key):
            raise MergeError(
                f"vector {name} ({vector.folder}): {key} has shape {list(vector.shape(key))}, the "
                f"base model {base.folder} has {list(base.shape(key))}. Extract it against this "
                "base."
            )
