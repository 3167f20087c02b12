"""Stored differences τ = θ − θ_0: exact in fp32, and exactly invertible.

τ is fl32(θ − θ_0), the value mergekit computes in float32. Half-precision models keep it in their
own dtype plus `refined` = (flat index, fp32 value) where that dtype cannot hold it (a few percent
at most), or in fp32 where that is smaller. `exact` = (flat index, checkpoint value) holds the
elements where fl(θ_0 + τ), rounded to the checkpoint's dtype, would not be θ bit for bit. Tensors
that did not change are listed, not stored. A vector folder: safetensors `<tensor>`,
`<tensor>.refined.{index,value}`, `<tensor>.exact.{index,value}`, and VECTOR (JSON) about them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from optimer.errors import ArtifactError
from optimer.tensors.store import TensorStore, chunks

VECTOR = "vector.json"
FORMAT = 1

_BITS = {torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float16: torch.int16}
FLOATS = tuple(_BITS)
"""Dtypes a distribution vector can be taken of."""

Pairs = tuple[torch.Tensor, torch.Tensor]
"""(flat indices [n], increasing; values [n])."""


@dataclass(frozen=True)
class Delta:
    """One tensor's τ. `stored` is flat [P], in a half dtype or fp32; None if all zero."""

    shape: tuple[int, ...]
    stored: torch.Tensor | None
    refined: Pairs | None = None
    exact: Pairs | None = None
    sum_of_squares: float = 0.0

    @property
    def n_elements(self) -> int:
        return torch.Size(self.shape).numel()

    def fill(self, out: torch.Tensor, start: int, stop: int) -> None:
        """Write τ[start:stop] into `out` (fp32 [stop − start])."""
        if self.stored is None:
            out.zero_()
            return
        out.copy_(self.stored[start:stop])
        if self.refined is not None:
            index, values = self.refined
            first, last = span(self.refined, start, stop)
            if last > first:
                out[(index[first:last] - start).long()] = values[first:last]

    def dense(self) -> torch.Tensor:
        """τ as an fp32 tensor of the tensor's shape."""
        out = torch.empty(self.n_elements)
        for start, stop in chunks(self.n_elements):
            self.fill(out[start:stop], start, stop)
        return out.reshape(self.shape)


def span(pairs: Pairs, start: int, stop: int) -> tuple[int, int]:
    """First and last + 1 of the pairs with a flat index in start..stop."""
    index = pairs[0].numpy()  # half the time of torch's, which counts once a chunk
    first, last = index.searchsorted((index.dtype.type(start), index.dtype.type(stop)))
    return int(first), int(last)


def encode(base: torch.Tensor, checkpoint: torch.Tensor) -> Delta:
    """τ of one tensor; both of the same shape and of a dtype in FLOATS.

    Where either holds NaN or infinite values, `sum_of_squares` is not finite.
    """
    half = base.dtype == checkpoint.dtype != torch.float32
    delta = _encode(base, checkpoint, base.dtype if half else torch.float32)
    if delta.refined is not None and len(delta.refined[0]) * 8 > delta.n_elements * 2:
        delta = _encode(base, checkpoint, torch.float32)
    return delta


def _encode(base: torch.Tensor, checkpoint: torch.Tensor, dtype: torch.dtype) -> Delta:
    b_P, c_P = base.reshape(-1), checkpoint.reshape(-1)
    n = b_P.numel()
    bits = _BITS[checkpoint.dtype]
    stored = torch.empty(n, dtype=dtype)
    refined, exact = [], []
    total = 0.0
    for start, stop in chunks(n):
        b, c = b_P[start:stop].float(), c_P[start:stop]
        tau = c.float() - b
        kept = stored[start:stop].copy_(tau)
        total += float(tau.dot(tau))
        if dtype != torch.float32:
            refined.append(_differing(kept.float(), tau, start, tau))
        back = torch.add(b, tau).to(c.dtype)  # not in place: b may be the base itself
        exact.append(_differing(back.view(bits), c.view(bits), start, c))  # -0.0 is not 0.0
    shape = tuple(base.shape)
    exact_pairs = _pairs(exact, n)
    if total == 0.0 and not stored.any():
        return Delta(shape, None, None, exact_pairs, 0.0)
    return Delta(shape, stored, _pairs(refined, n), exact_pairs, total)


def _differing(a: torch.Tensor, b: torch.Tensor, start: int, values: torch.Tensor) -> Pairs:
    """Where a and b differ: (indices counted from −start, `values` there)."""
    where = torch.from_numpy(np.flatnonzero(a.numpy() != b.numpy()))  # torch takes 5 times as long
    return where + start, values[where]


def _pairs(parts: list[Pairs], n_elements: int) -> Pairs | None:
    if not sum(len(index) for index, _ in parts):
        return None
    width = torch.int32 if n_elements < 2**31 else torch.int64
    return torch.cat([i for i, _ in parts]).to(width), torch.cat([v for _, v in parts])


def decode(base: torch.Tensor, delta: Delta, dtype: torch.dtype) -> torch.Tensor:
    """The checkpoint's tensor, bit for bit: fl(θ_0 + τ) in `dtype`, then the exact values."""
    b_P = base.reshape(-1)
    out = torch.empty(b_P.numel(), dtype=dtype)
    if delta.stored is None and base.dtype == dtype:
        out.copy_(b_P)
    else:
        for start, stop in chunks(b_P.numel()):
            tau = torch.empty(stop - start)
            delta.fill(tau, start, stop)
            out[start:stop] = b_P[start:stop].float() + tau
    if delta.exact is not None:
        out[delta.exact[0].long()] = delta.exact[1]
    return out.reshape(base.shape)


def parts(name: str, delta: Delta) -> Mapping[str, torch.Tensor]:
    """What is stored of one tensor, by name in the safetensors file."""
    found: dict[str, torch.Tensor] = {}
    if delta.stored is not None:
        found[name] = delta.stored.reshape(delta.shape)
    for kind, pairs in (("refined", delta.refined), ("exact", delta.exact)):
        if pairs is not None:
            found[f"{name}.{kind}.index"], found[f"{name}.{kind}.value"] = pairs
    return found


class DeltaStore:
    """A vector folder, memory-mapped. `info` is its VECTOR file."""

    def __init__(self, folder: Path, info: dict[str, Any], store: TensorStore) -> None:
        self.folder = folder
        self.info = info
        self._store = store
        self._tensors: dict[str, dict[str, Any]] = info["tensors"]

    @classmethod
    def open(cls, folder: Path) -> DeltaStore:
        """Raises ArtifactError when the folder is not a complete vector."""
        folder = Path(folder)
        file = folder / VECTOR
        if not file.exists():
            raise ArtifactError(
                f"{file}: not there, so {folder} is not a distribution vector. "
                "Make one with `optimer vectors extract` or `optimer vectors import`."
            )
        try:
            info = json.loads(file.read_text())
            version = info["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{file}: damaged ({error!r}). Extract the vector again.") from None
        if version != FORMAT:
            raise ArtifactError(
                f"{file}: format {version}, this version reads {FORMAT}. Extract the vector again."
            )
        return cls(folder, info, TensorStore.open(folder))

    def names(self) -> list[str]:
        """All tensors the vector covers, changed or not."""
        return list(self._tensors)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensors[name]["shape"])

    def norm(self, name: str) -> float:
        """‖τ‖₂ of one tensor."""
        return float(self._tensors[name]["norm"])

    def is_zero(self, name: str) -> bool:
        """Whether a tensor did not change (true also of tensors the vector does not cover)."""
        return name not in self._store

    def checkpoint_dtype(self, name: str) -> torch.dtype:
        return getattr(torch, self._tensors[name]["dtype"])

    def delta(self, name: str) -> Delta:
        """τ of one tensor, as views of the mapped file."""
        stored = None if self.is_zero(name) else self._store.read(name).reshape(-1)
        return Delta(
            self.shape(name), stored, self._pairs(name, "refined"), self._pairs(name, "exact"),
            self.norm(name) ** 2,
        )  # fmt: skip

    def _pairs(self, name: str, kind: str) -> Pairs | None:
        if f"{name}.{kind}.index" not in self._store:
            return None
        index = self._store.read(f"{name}.{kind}.index")
        return index, self._store.read(f"{name}.{kind}.value")

    def release(self, name: str) -> None:
        """Give a tensor's pages back (see TensorStore.release)."""
        if not self.is_zero(name):
            self._store.release(name)

    def close(self) -> None:
        self._store.close()
