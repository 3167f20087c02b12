"""Figure 8: cosine layer by layer, IT against CPT and CPT pairs (paper Appendix C, Fig. 8)."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from matplotlib.axes import Axes

from optimer.errors import ArtifactError
from optimer.paths import Paths
from optimer.report import style
from optimer.report.files import write_csv
from optimer.report.geometry import cosines, read_geometry
from optimer.schema import Params

NAME = "fig8_layers"
Lines = dict[tuple[str, str], dict[str, float]]


def layer_cosines(params: Params, paths: Paths) -> tuple[Lines, Lines]:
    """Cosine by pair of vectors and layer: (a) IT and CPT, (b) CPT and CPT."""
    geometry = read_geometry(paths.geometry)
    place = {name: i for i, name in enumerate(geometry.names)}
    cpt = [f"cpt_{name}" for name in params.corpus.datasets]
    if missing := [name for name in ("it", *cpt) if name not in place]:
        raise ArtifactError(
            f"{paths.geometry}: no vector {', '.join(missing)}. Run `optimer vectors geometry`."
        )
    by_layer = {layer: cosines(gram) for layer, gram in geometry.layers.items()}

    def line(one: str, other: str) -> dict[str, float]:
        return {layer: float(cos[place[one], place[other]]) for layer, cos in by_layer.items()}

    against_it = {("it", name): line("it", name) for name in cpt}
    return against_it, {pair: line(*pair) for pair in combinations(cpt, 2)}


def draw_layers(params: Params, paths: Paths) -> list[Path]:
    """Write fig8_layers.{csv,svg}; raises ArtifactError where the geometry is incomplete."""
    panels = layer_cosines(params, paths)
    table = write_csv(
        paths.figure(NAME, "csv"),
        ["panel", "vector_a", "vector_b", "layer", "cosine"],
        (
            [panel, *pair, layer, f"{value:.5f}" if value == value else None]
            for panel, lines in zip("ab", panels, strict=True)
            for pair, points in lines.items()
            for layer, value in points.items()
        ),
    )
    with style.canvas(8.6, 3.6) as figure:
        axes_a, axes_b = figure.subplots(1, 2, sharey=True)
        for (_, name), points in panels[0].items():
            _line(axes_a, points, style.color(params, name), None, style.label(params, name))
        for (one, other), points in panels[1].items():
            text = f"{style.label(params, one)} · {style.label(params, other)}".replace("CPT ", "")
            colors = style.color(params, one), style.color(params, other)
            _line(axes_b, points, colors[0], colors[1], text)
        axes_a.set_title("(a) IT and CPT vectors")
        axes_b.set_title("(b) pairs of CPT vectors")
        axes_a.set_ylabel("cosine")
        for axes in (axes_a, axes_b):
            axes.axhline(0, color="#BBBBBB", linewidth=0.8, zorder=0)
            axes.set_xlabel("layer")
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
        return [table, style.save(figure, paths.figure(NAME))]


def _line(axes: Axes, points: dict[str, float], color: str, second: str | None, text: str) -> None:
    """One pair, dashed in both vectors' colours. `other` tensors are in the CSV only."""
    numbered = {int(layer): value for layer, value in points.items() if layer.isdigit()}
    axes.plot(
        list(numbered),
        list(numbered.values()),
        color=color,
        marker="o" if len(numbered) <= 16 else None,
        markersize=5,
        markerfacecolor=second or color,
        markeredgecolor=color,
        linestyle="--" if second else "-",
        gapcolor=second,
        linewidth=1.4,
        label=text,
    )
    if len(numbered) <= 16:
        axes.set_xticks(sorted(numbered))
