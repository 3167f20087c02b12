"""Figure 3: pairwise cosines and norms of the pool and OptiMer's vectors (paper §5.2, Fig. 3)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from optimer.paths import Paths
from optimer.report import style
from optimer.report.files import write_csv
from optimer.report.geometry import Array, cosines, extended_gram, read_geometry
from optimer.report.weights import read_best
from optimer.schema import Params

NAME = "fig3_cosine"


def draw_cosine(params: Params, paths: Paths) -> list[Path]:
    """Write fig3_cosine.{csv,svg}; raises ArtifactError where an input is missing."""
    geometry = read_geometry(paths.geometry)
    best = read_best(params, paths)
    extra = np.array([geometry.combine(item.weights) for item in best.values()])
    names = [*geometry.names, *(f"optimer_{name}" for name in best)]
    gram = extended_gram(geometry.gram_NN, extra)
    cosine, norm = cosines(gram), np.sqrt(np.diag(gram))
    relative = norm / geometry.base_norm
    table = write_csv(
        paths.figure(NAME, "csv"),
        ["vector", "norm", "norm_over_base", *(f"cos_{name}" for name in names)],
        (
            [name, f"{norm[i]:.6g}", f"{relative[i]:.6g}", *(f"{x:.4f}" for x in cosine[i])]
            for i, name in enumerate(names)
        ),
    )
    size = 0.42 * len(names)
    with style.canvas(size + 5.6, size + 1.7) as figure:
        left, right = figure.subplots(1, 2, width_ratios=[size + 1.6, 2.4])
        labels = [style.label(params, name) for name in names]
        _heat_map(left, cosine, labels)
        right.barh(
            range(len(names)), 100 * relative, color=[style.color(params, name) for name in names]
        )
        for i, value in enumerate(100 * relative):
            right.text(value, i, f" {value:.1f}", va="center", fontsize=7)
        right.set_yticks([])
        right.set_ylim(len(names) - 0.5, -0.5)
        right.set_xlim(0, 115 * relative.max())
        right.set_xlabel("‖τ‖ / ‖θ₀‖ in %")
        right.set_title("(b) norm")
        return [table, style.save(figure, paths.figure(NAME))]


def _heat_map(axes: Axes, cosine: Array, labels: list[str]) -> None:
    image = axes.imshow(cosine, cmap="RdBu_r", vmin=-1, vmax=1)
    for i, line in enumerate(cosine):
        for j, value in enumerate(line):
            ink = "white" if abs(value) > 0.6 else "black"
            text = f"{value + 0.0:.2f}".replace("-0.00", "0.00")
            axes.text(j, i, text, ha="center", va="center", color=ink, fontsize=6.5)
    axes.set_xticks(
        range(len(labels)), labels=labels, rotation=45, ha="right", rotation_mode="anchor"
    )
    axes.set_yticks(range(len(labels)), labels=labels)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("(a) cosine of τ = θ − θ₀")
    axes.figure.colorbar(image, ax=axes, shrink=0.7, pad=0.02)
