"""Geometry of the vector pool from inner products alone (paper §5.2, §5.3, Appendix C).

Everything the figures show (cosines, norms, principal components, any linear combination of the
pool) follows from the Gram matrix G_ij = ⟨τ_i, τ_j⟩, which the vectors phase wrote; no weights
are read here. Shapes: N vectors, C combinations of them, K components, T checkpoints.

A merged model is taken as Σ w_i τ_i without DARE's mask. The mask with its 1/density rescaling is
unbiased, so this is what the merged vector is on average; single tensors of it scatter around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from optimer import receipts
from optimer.errors import ArtifactError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Trajectory:
    """Intermediate checkpoints of one run as vectors from the base."""

    steps: list[int]
    tokens: list[int]
    gram_TN: Array
    """Inner products with every vector of the pool."""
    norm2_T: Array
    """Squared norms."""


@dataclass(frozen=True)
class Geometry:
    """Inner products of the pool."""

    names: list[str]
    gram_NN: Array
    layers: dict[str, Array]
    """Gram matrix (N, N) per layer, keyed by its number or `other`, in the file's order."""
    base_norm: float
    trajectories: dict[str, Trajectory]
    excluded: list[str]
    """Tensors left out of every product."""

    def combine(self, weights: Mapping[str, float]) -> Array:
        """Coefficients (N,) of Σ w_i τ_i. Raises ArtifactError for a vector not in the pool."""
        unknown = [name for name in weights if name not in self.names]
        if unknown:
            raise ArtifactError(
                f"the geometry has no vector {', '.join(unknown)}; it has "
                f"{', '.join(self.names)}. Run `optimer vectors geometry` again."
            )
        return np.array([float(weights.get(name, 0.0)) for name in self.names])


def read_geometry(path: Path) -> Geometry:
    """Read and check geometry.json.

    Raises ArtifactError when it is missing, incomplete, or a matrix is not N by N, symmetric and
    finite.
    """
    content = receipts.read(path)
    try:
        names = [str(name) for name in content["names"]]
        n = len(names)
        layers = {str(item["layer"]): _square(path, item["gram"], n) for item in content["layers"]}
        trajectories = {
            model: Trajectory(
                [int(point["step"]) for point in points],
                [int(point["tokens"]) for point in points],
                np.array([point["gram_row"] for point in points], dtype=float).reshape(-1, n),
                np.array([point["norm2"] for point in points], dtype=float),
            )
            for model, points in content["trajectory"].items()
        }
        return Geometry(
            names,
            _square(path, content["gram"], n),
            layers,
            float(content["base_norm"]),
            trajectories,
            [str(name) for name in content["excluded"]],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path}: not a complete geometry ({type(error).__name__}: {error}). "
            "Run `optimer vectors geometry` again."
        ) from None


def _square(path: Path, rows: Sequence[Sequence[float]], n: int) -> Array:
    gram = np.array(rows, dtype=float)
    if gram.shape != (n, n) or not np.isfinite(gram).all():
        raise ArtifactError(
            f"{path}: a Gram matrix must be {n} x {n} and finite, found {gram.shape}. "
            "Run `optimer vectors geometry` again."
        )
    scale = float(np.abs(gram).max(initial=1e-300))
    if not np.allclose(gram, gram.T, rtol=1e-6, atol=1e-9 * scale):
        raise ArtifactError(f"{path}: a Gram matrix must be symmetric. Run the phase again.")
    return (gram + gram.T) / 2


def extended_gram(gram_NN: Array, extra_CN: Array) -> Array:
    """Gram matrix (N + C, N + C) of the pool followed by C linear combinations of it."""
    rows = np.vstack([np.eye(len(gram_NN)), extra_CN])
    return rows @ gram_NN @ rows.T


def cosines(gram_NN: Array) -> Array:
    """cos(τ_i, τ_j) = G_ij / √(G_ii G_jj); NaN where a vector is zero."""
    norm = np.sqrt(np.diag(gram_NN))
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = gram_NN / np.outer(norm, norm)
    cosine[~np.isfinite(cosine)] = np.nan
    return np.clip(cosine, -1.0, 1.0)
