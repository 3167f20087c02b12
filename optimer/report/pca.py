"""Principal components of vectors known only by their inner products (paper Fig. 4, §5.2).

Classical PCA of the N vectors themselves, exact: with H = I − 11ᵀ/N, the centred Gram matrix
H G H = U Λ Uᵀ gives coordinates U √Λ, whose distances are those of the vectors in K dimensions.
The paper first sparsifies each layer by a truncated SVD, which full vectors of 27B parameters make
necessary when they must be held in memory; inner products need no such approximation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimer.errors import ArtifactError
from optimer.report.geometry import Array


@dataclass(frozen=True)
class Pca:
    """A fitted projection."""

    gram_NN: Array
    axes_NK: Array
    """Component k is Σ_i axes_ik (τ_i − mean), of unit length."""
    explained_K: Array
    """Share of the total variance."""

    def project(self, products_MN: Array) -> Array:
        """Coordinates (M, K) of M vectors given by their inner products with the N fitted ones."""
        centred = (
            products_MN
            - products_MN.mean(axis=1, keepdims=True)
            - self.gram_NN.mean(axis=0)
            + self.gram_NN.mean()
        )
        return centred @ self.axes_NK


def fit(gram_NN: Array, n_components: int) -> Pca:
    """Fit on N vectors. Raises ArtifactError for fewer than n_components + 1 of them, or when
    they span fewer dimensions than that.

    The sign of a component is fixed so that its largest coordinate is positive.
    """
    n = len(gram_NN)
    if n < n_components + 1:
        raise ArtifactError(
            f"{n_components} principal components need {n_components + 1} vectors, found {n}; "
            "lower report.pca_components or add datasets"
        )
    centring = np.eye(n) - 1.0 / n
    values, columns = np.linalg.eigh(centring @ gram_NN @ centring)
    values, columns = values[::-1][:n_components], columns[:, ::-1][:, :n_components]
    total = float(np.trace(centring @ gram_NN @ centring))
    if not (values > 1e-12 * max(total, 1e-300)).all():
        raise ArtifactError(
            f"the vectors span fewer than {n_components} dimensions; "
            "lower report.pca_components, or look for two equal vectors"
        )
    largest = np.abs(columns).argmax(axis=0)
    columns = columns * np.sign(columns[largest, np.arange(n_components)])
    return Pca(gram_NN, columns / np.sqrt(values), values / total)
