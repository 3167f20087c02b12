"""The figures of target `main`, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from optimer.paths import Paths
from optimer.report.cosine import draw_cosine
from optimer.report.dynamics import draw_dynamics
from optimer.report.layers import draw_layers
from optimer.report.projection import draw_projection
from optimer.report.trajectory import draw_trajectory
from optimer.schema import Params

FIGURES: dict[str, Callable[[Params, Paths], list[Path]]] = {
    "fig3_cosine": draw_cosine,
    "fig4_pca": draw_projection,
    "fig5_trajectory": draw_trajectory,
    "fig6_search": draw_dynamics,
    "fig8_layers": draw_layers,
}
"""Each writes the SVG and the CSV behind it (same stem) and returns their paths."""
