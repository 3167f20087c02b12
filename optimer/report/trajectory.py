"""Figure 5: how a CPT vector grows during training (paper §5.3, Fig. 5).

(a) The checkpoints of one CPT run, alone and merged with the IT vector, in the plane of Figure 4.
(b) How straight the path is: cos(τ(t), τ(end)) and ‖τ(t)‖ / ‖τ(end)‖ against tokens. On a straight
path from the base the cosine is 1 throughout, and a smaller merge weight is a shorter training.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from optimer.errors import ArtifactError
from optimer.paths import Paths
from optimer.report import style
from optimer.report.files import write_csv
from optimer.report.geometry import Array, Geometry, Trajectory, read_geometry
from optimer.report.projection import pool_plane, scatter
from optimer.schema import Params

NAME = "fig5_trajectory"


def straightness(geometry: Geometry, model: str, path: Trajectory) -> tuple[Array, Array]:
    """(cos(τ(t), τ(end)), ‖τ(t)‖ / ‖τ(end)‖) for every checkpoint t, both (T,)."""
    end = geometry.names.index(model)
    norm = np.sqrt(path.norm2_T)
    norm_end = np.sqrt(geometry.gram_NN[end, end])
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = path.gram_TN[:, end] / (norm * norm_end)
    return np.clip(cosine, -1, 1), norm / norm_end


def draw_trajectory(params: Params, paths: Paths) -> list[Path]:
    """Write fig5_trajectory.{csv,svg}; raises ArtifactError where checkpoints are missing."""
    geometry = read_geometry(paths.geometry)
    model = f"cpt_{params.report.figures_model}"
    path = geometry.trajectories.get(model)
    if path is None or not path.steps:
        raise ArtifactError(
            f"{paths.geometry}: no checkpoints of {model} in it. Name {model} in train.trajectory, "
            "or another dataset in report.figures_model, and run `optimer vectors geometry`."
        )
    pca, points = pool_plane(params, geometry)
    alpha = params.merge.alpha_it
    it = geometry.gram_NN[geometry.names.index("it")]
    lines = {
        model: pca.project(path.gram_TN),
        f"{model} + {alpha:g} it": pca.project(path.gram_TN + alpha * it),
    }
    cosine, share = straightness(geometry, model, path)
    components = [f"pc{k + 1}" for k in range(len(pca.explained_K))]
    table = write_csv(
        paths.figure(NAME, "csv"),
        ["path", "step", "tokens", *components, "cos_to_end", "norm_over_end"],
        (
            [name, path.steps[t], path.tokens[t], *(f"{x:.6g}" for x in line[t])]
            + ([f"{cosine[t]:.5f}", f"{share[t]:.5f}"] if name == model else [None, None])
            for name, line in lines.items()
            for t in range(len(path.steps))
        ),
    )
    starts = {model: points["base"], f"{model} + {alpha:g} it": pca.project((alpha * it)[None])[0]}
    color = style.color(params, model)
    text = style.label(params, model)
    with style.canvas(9.4, 4.4) as figure:
        plane, straight = figure.subplots(1, 2, width_ratios=[1.5, 1])
        shown = {n: p for n, p in points.items() if style.kind(n) in ("base", "it", "cpt")}
        for (name, line), dashes in zip(lines.items(), ("-", "--"), strict=True):
            whole = np.vstack([starts[name], line])
            merged = name != model
            plane.plot(
                whole[:, 0], whole[:, 1], dashes, color=color, linewidth=1, marker="o",
                markersize=3.5, markerfacecolor="white" if merged else color,
                label=f"{text} + {alpha:g}·IT" if merged else text,
            )  # fmt: skip
        # Along the whole segments, not only at the checkpoints.
        drawn = [
            a + (b - a) * share
            for name, line in lines.items()
            for a, b in pairwise([starts[name], *line])
            for share in np.linspace(0, 1, 9)
        ]
        scatter(plane, params, pca, shown, others=drawn)
        plane.legend(loc="best")
        plane.set_title(f"(a) {text} during training")
        unit, word = (1e6, "millions") if path.tokens[-1] >= 1e6 else (1e3, "thousands")
        tokens = np.array(path.tokens) / unit
        straight.plot(tokens, cosine, color=color, marker="o", label="cos(τ(t), τ(end))")
        straight.plot(
            tokens, share, color=style.IT, marker="s", markersize=4, label="‖τ(t)‖ / ‖τ(end)‖"
        )
        straight.set_ylim(0, 1.05)
        straight.set_xlim(left=0)
        straight.set_xlabel(f"training tokens in {word}")
        straight.legend(loc="lower right")
        straight.set_title("(b) how straight the path is")
        return [table, style.save(figure, paths.figure(NAME))]
