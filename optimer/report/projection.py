"""Figure 4: the vectors in the plane of their principal components, and OptiMer's weights.

The plane is fitted on the pool (IT, CPT, DataMix, DataMix at OptiMer's ratio); the base (no shift)
and OptiMer's vectors are projected into it. Paper §5.2, Fig. 4; `optimer/report/pca.py` says where
the paper's reduction differs.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from optimer.paths import Paths
from optimer.report import style
from optimer.report.files import write_csv
from optimer.report.geometry import Array, Geometry, read_geometry
from optimer.report.labels import place_labels
from optimer.report.pca import Pca, fit
from optimer.report.weights import Best, read_best
from optimer.schema import Params

NAME = "fig4_pca"


def pool_plane(params: Params, geometry: Geometry) -> tuple[Pca, dict[str, Array]]:
    """The projection fitted on the pool, and the coordinates (K,) of the base and the pool."""
    pca = fit(geometry.gram_NN, params.report.pca_components)
    points = dict(zip(geometry.names, pca.project(geometry.gram_NN), strict=True))
    base = pca.project(np.zeros((1, len(geometry.names))))[0]
    return pca, {"base": base, **points}


def draw_projection(params: Params, paths: Paths) -> list[Path]:
    """Write fig4_pca.{csv,svg}; raises ArtifactError where an input is missing."""
    geometry = read_geometry(paths.geometry)
    best = read_best(params, paths)
    pca, points = pool_plane(params, geometry)
    for name, item in best.items():
        products = geometry.combine(item.weights)[None] @ geometry.gram_NN
        points[f"optimer_{name}"] = pca.project(products)[0]
    n_components = len(pca.explained_K)
    weights = ["it", *(f"cpt_{name}" for name in params.corpus.datasets)]
    table = write_csv(
        paths.figure(NAME, "csv"),
        ["vector", *(f"pc{k + 1}" for k in range(n_components)), *(f"w_{v}" for v in weights)],
        [
            [name, *(f"{x:.6g}" for x in point), *_weights(best, name, weights)]
            for name, point in points.items()
        ]
        + [["explained", *(f"{x:.6g}" for x in pca.explained_K), *([None] * len(weights))]],
    )
    n_bars = len(best)
    with style.canvas(5.2 * (n_components - 1) + 2.6, max(4.6, 1.6 * n_bars)) as figure:
        ratios = [5.2 * (n_components - 1), 2.6]
        left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=ratios).ravel()
        planes = np.atleast_1d(left.subplots(1, n_components - 1))
        for second, axes in enumerate(planes, start=1):
            scatter(axes, params, pca, points, second)
        planes[0].set_title("(a) distribution vectors")
        bars = np.atleast_1d(right.subplots(n_bars, 1))
        for axes, item in zip(bars, best.values(), strict=True):
            _bars(axes, params, item)
        bars[0].set_title("(b) merge weights\n" + next(iter(best.values())).label)
        return [table, style.save(figure, paths.figure(NAME))]


def _weights(best: dict[str, Best], name: str, vectors: list[str]) -> list[str | None]:
    item = best.get(name.removeprefix("optimer_")) if name.startswith("optimer_") else None
    if item is None:
        return [None] * len(vectors)
    return [f"{item.weights[v]:.4f}" if v in item.weights else None for v in vectors]


def scatter(
    axes: Axes,
    params: Params,
    pca: Pca,
    points: dict[str, Array],
    second: int = 1,
    others: Iterable[Array] = (),
) -> None:
    """Points by name in the plane of component 1 and component `second` (counted from 0).

    Labels keep off these points and off `others`, coordinates (K,) of what is drawn besides.
    """
    for name, point in points.items():
        sort = style.kind(name)
        axes.scatter(
            point[0], point[second], s=150 if sort == "it" else 45, marker=style.MARKERS[sort],
            color=style.color(params, name), zorder=3,
        )  # fmt: skip
    axes.margins(0.12)
    axes.set_xlabel(f"PC 1 ({100 * pca.explained_K[0]:.0f} % of variance)")
    axes.set_ylabel(f"PC {second + 1} ({100 * pca.explained_K[second]:.0f} %)")
    place_labels(
        axes,
        [(point[0], point[second], style.label(params, name)) for name, point in points.items()],
        [(point[0], point[second]) for point in others],
    )


def _bars(axes: Axes, params: Params, item: Best) -> None:
    names = list(item.weights)
    values = [item.weights[name] for name in names]
    axes.bar(range(len(names)), values, color=[style.color(params, name) for name in names])
    for i, value in enumerate(values):
        axes.text(i, max(value, 0), f"{value:.2f}", ha="center", va="bottom", fontsize=7)
    labels = [style.label(params, name).removeprefix("CPT ") for name in names]
    axes.set_xticks(range(len(names)), labels=labels)
    low, high = params.search.bounds_dataset[0], params.search.bounds_it[1]
    axes.set_ylim(min(0.0, low), 1.15 * max(high, params.search.bounds_dataset[1]))
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_title(item.label)
