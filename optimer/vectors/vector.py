"""Distribution vectors as values: τ_d = θ_d − θ_0, and their algebra.

    it, ja = DistributionVector.open("it"), DistributionVector.open("ja")
    it.cosine(ja)                    # nearly orthogonal
    tau = 0.8 * it + 0.2 * ja        # lazy: nothing is computed yet
    for name, tensor in tau.added_to(base): ...

Tensors are computed one at a time, in fp32; nothing holds a whole model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch

from optimer.errors import MergeError
from optimer.tensors import TensorStore, chunks, deltas
from optimer.tensors.deltas import DeltaStore


class Vector:
    """A weighted sum of distribution vectors. Made by arithmetic, evaluated tensor by tensor."""

    def __init__(self, terms: list[tuple[float, DistributionVector]]) -> None:
        self.terms = terms

    @property
    def names(self) -> list[str]:
        """Names of the tensors the vector covers."""
        return self.terms[0][1].store.names()

    def delta(self, name: str) -> torch.Tensor:
        """τ of one tensor, fp32, in the tensor's shape."""
        out: torch.Tensor | None = None
        for factor, vector in self.terms:
            part = vector.store.delta(name).dense().mul_(factor)
            out = part if out is None else out.add_(part)
        assert out is not None
        return out

    def dot(self, other: Vector) -> float:
        """Inner product over all tensors, accumulated in fp64."""
        self._check_same_tensors(other)
        total = 0.0
        for name in self.names:
            a, b = self.delta(name).reshape(-1), other.delta(name).reshape(-1)
            total += sum(float(a[i:j].dot(b[i:j])) for i, j in chunks(a.numel()))
        return total

    @property
    def norm(self) -> float:
        """‖τ‖₂ over all tensors."""
        return math.sqrt(self.dot(self))

    def cosine(self, other: Vector) -> float:
        """Cosine of the angle between two vectors; 0 where one of them is zero."""
        lengths = self.norm * other.norm
        return self.dot(other) / lengths if lengths else 0.0

    def added_to(self, base: Path | str) -> Iterator[tuple[str, torch.Tensor]]:
        """(name, θ_0 + τ rounded once to the base's dtype) for every tensor of the base."""
        store = TensorStore.open(Path(base))
        covered = set(self.names)
        for name in store.names():
            theta_0 = store.read(name)
            merged = theta_0.clone()
            if name in covered:
                merged.copy_(theta_0.float() + self.delta(name))
            yield name, merged

    def __add__(self, other: Vector | int) -> Vector:
        if other == 0:  # sum() starts from 0
            return self
        if not isinstance(other, Vector):
            return NotImplemented
        self._check_same_tensors(other)
        return Vector([*self.terms, *other.terms])

    __radd__ = __add__

    def __mul__(self, factor: float) -> Vector:
        return Vector([(factor * own, vector) for own, vector in self.terms])

    __rmul__ = __mul__

    def __neg__(self) -> Vector:
        return self * -1.0

    def __sub__(self, other: Vector) -> Vector:
        return self + -other

    def __truediv__(self, divisor: float) -> Vector:
        return self * (1.0 / divisor)

    def _check_same_tensors(self, other: Vector) -> None:
        mine, theirs = self.terms[0][1], other.terms[0][1]
        if {n: mine.store.shape(n) for n in mine.names} != {
            n: theirs.store.shape(n) for n in theirs.names
        }:
            raise MergeError(
                f"vectors {mine.name} and {theirs.name} cover different tensors: extract both "
                "against the same base model."
            )


class DistributionVector(Vector):
    """One vector in its folder (`optimer vectors extract`), memory-mapped."""

    def __init__(self, store: DeltaStore) -> None:
        self.store = store
        super().__init__([(1.0, self)])

    @classmethod
    def open(cls, folder: Path | str) -> DistributionVector:
        """Raises ArtifactError when the folder is not a complete vector."""
        return cls(DeltaStore.open(Path(folder)))

    @property
    def name(self) -> str:
        return self.store.info["name"]

    @property
    def norm(self) -> float:
        """‖τ‖₂ over all tensors, from the folder."""
        return float(self.store.info["norm"])

    def apply(self, name: str, base_tensor: torch.Tensor) -> torch.Tensor:
        """The checkpoint's tensor, bit for bit, from the base's."""
        dtype = self.store.checkpoint_dtype(name)
        return deltas.decode(base_tensor, self.store.delta(name), dtype)
