"""Gaussian process maths for many outputs that share one kernel. Pure numpy and scipy.

Kernel over unit coordinates: k(u, u') = exp(−½ Σ_d (u_d − u'_d)²/ℓ_d²) + q·((1 + c·c'/D)/2)² with
c = 2u − 1: RBF-ARD for what is local, a quadratic for the bowl that merges of one pool tend to be.
Group t of outputs (a task's items) has k·v_t plus noise v_t·σ_t² of its own; v_t is profiled out.

Shapes: n designs, D weights, M outputs of a group, m new points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize

_EFFECTIVE = 10.0  # outputs a group counts for at most: items of a task move together
_PRIORS = {"scale": (0.0, 0.75), "quadratic": (0.0, 1.5), "noise": (-4.0, 2.0)}  # log mean, log sd
_BOUNDS = {"scale": (-2.3, 2.3), "quadratic": (-5.0, 4.0), "noise": (-9.0, 3.0)}


@dataclass(frozen=True)
class Kernel:
    """Hyperparameters: length scales [D] in unit coordinates, weight of the quadratic."""

    scales: np.ndarray
    quadratic: float

    def __call__(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """k [n, m] between two sets of points."""
        return _rbf(left / self.scales, right / self.scales) + self.quadratic * _bowl(left, right)

    def diagonal(self, points: np.ndarray) -> np.ndarray:
        """k(u, u) [m]."""
        centred = 2 * points - 1
        return 1 + self.quadratic * ((1 + (centred**2).mean(1)) / 2) ** 2


def _rbf(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    squared = (left**2).sum(1)[:, None] + (right**2).sum(1) - 2 * left @ right.T
    return np.exp(-0.5 * np.maximum(squared, 0))


def _bowl(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return ((1 + (2 * left - 1) @ (2 * right - 1).T / left.shape[1]) / 2) ** 2


def fit(
    points: np.ndarray, groups: Sequence[np.ndarray], n_iterations: int = 25
) -> tuple[Kernel, np.ndarray]:
    """Kernel and noise [T], relative to each group's variance, by pooled marginal likelihood.

    `points` [n, D]; `groups`: one [n, M] of centred outputs each. Deterministic: L-BFGS-B from the
    priors' centre. Weak log-normal priors keep few designs from giving extreme length scales.
    """
    n_dims = points.shape[1]
    squared = (points[:, None, :] - points[None]) ** 2
    bowl = _bowl(points, points)
    kinds = ["scale"] * n_dims + ["quadratic"] + ["noise"] * len(groups)
    centre = np.array([_PRIORS[kind][0] for kind in kinds])
    spread = np.array([_PRIORS[kind][1] for kind in kinds])

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        weighted = squared * np.exp(-2 * theta[:n_dims])
        rbf = np.exp(-0.5 * weighted.sum(-1))
        shared = rbf + np.exp(theta[n_dims]) * bowl
        value, towards = 0.0, np.zeros_like(shared)
        slope = (theta - centre) / spread**2
        for place, outputs in enumerate(groups, n_dims + 1):
            noise = np.exp(theta[place])
            likelihood, by_kernel = log_likelihood(shared, noise, outputs)
            weight = min(1.0, _EFFECTIVE / outputs.shape[1])
            value -= weight * likelihood
            towards -= weight * by_kernel
            slope[place] -= weight * noise * np.trace(by_kernel)
        slope[:n_dims] += np.einsum("ij,ijd->d", towards * rbf, weighted)
        slope[n_dims] += np.exp(theta[n_dims]) * (towards * bowl).sum()
        return value + float((((theta - centre) / spread) ** 2).sum() / 2), slope

    found = minimize(
        loss, centre, jac=True, method="L-BFGS-B", bounds=[_BOUNDS[kind] for kind in kinds],
        options={"maxiter": n_iterations},
    ).x  # fmt: skip
    kernel = Kernel(np.exp(found[:n_dims]), float(np.exp(found[n_dims])))
    return kernel, np.exp(found[n_dims + 1 :])


def log_likelihood(
    shared: np.ndarray, noise: float, outputs: np.ndarray
) -> tuple[float, np.ndarray]:
    """Log marginal likelihood of [n, M] outputs with their common variance profiled out, up to a
    constant, and its derivative [n, n] with respect to the kernel matrix."""
    n, n_outputs = outputs.shape
    lower = np.linalg.cholesky(shared + (noise + 1e-8) * np.eye(n))
    alpha = cho_solve((lower, True), outputs)
    variance = max(float((outputs * alpha).sum()) / (n * n_outputs), 1e-300)
    inverse = cho_solve((lower, True), np.eye(n))
    value = -n_outputs * (np.log(np.diag(lower)).sum() + n * np.log(variance) / 2)
    return float(value), (alpha @ alpha.T / variance - n_outputs * inverse) / 2


@dataclass(frozen=True)
class Posterior:
    """One group of outputs conditioned on its designs."""

    kernel: Kernel
    points: np.ndarray
    lower: np.ndarray
    """[n, n] Cholesky factor of K + σ²I: one for all outputs."""
    alpha: np.ndarray
    """[n, M] (K + σ²I)⁻¹ Y."""
    white: np.ndarray
    """[n, M] L⁻¹ Y; white'·white / n estimates how outputs vary together."""
    noise: float
    variance: float
    """Variance v of one output, pooled."""

    @classmethod
    def of(cls, kernel: Kernel, points: np.ndarray, outputs: np.ndarray, noise: float) -> Posterior:
        n = len(points)
        lower = np.linalg.cholesky(kernel(points, points) + (noise + 1e-8) * np.eye(n))
        white = solve_triangular(lower, outputs, lower=True)
        alpha = solve_triangular(lower, white, lower=True, trans=1)
        variance = max(float((white**2).sum()) / white.size, 1e-12)
        return cls(kernel, points, lower, alpha, white, noise, variance)

    def mean(self, points: np.ndarray) -> np.ndarray:
        """[m, M] posterior means."""
        return self.kernel(points, self.points) @ self.alpha

    def spread(self, points: np.ndarray, pending: np.ndarray | None = None) -> np.ndarray:
        """[m] posterior variance of the function as a share of v, pending designs counted."""
        designs, lower = self.points, self.lower
        if pending is not None and len(pending):
            designs = np.vstack([designs, pending])
            matrix = self.kernel(designs, designs) + (self.noise + 1e-8) * np.eye(len(designs))
            lower = np.linalg.cholesky(matrix)
        solved = solve_triangular(lower, self.kernel(designs, points), lower=True)
        return np.maximum(self.kernel.diagonal(points) - (solved**2).sum(0), 1e-12)
