"""How figures look: one colour per dataset everywhere, one marker per kind of vector.

Figures are SVG with outlined text (the same on every screen) on an opaque white ground (readable
on light and dark pages), and byte-identical for identical data.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from optimer.receipts import write_atomic
from optimer.schema import Params

# Okabe and Ito's palette, which colour-blind readers can tell apart (https://jfly.uni-koeln.de/color/)
_KNOWN = {
    "en": "#0072B2",
    "ja": "#D55E00",
    "zh": "#009E73",
    "math": "#CC79A7",
    "code": "#E69F00",
}
_SPARE = ["#56B4E9", "#7B5EA7", "#8C6D31", "#A6A600", "#4D8076"]
IT = "#333333"
MIXED = "#8A8A8A"
OPTIMER = "#000000"

MARKERS = {"it": "*", "cpt": "o", "datamix": "s", "ratio": "D", "optimer": "^", "base": "+"}

_RC: dict[Any, Any] = {
    "svg.hashsalt": "optimer",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "legend.frameon": False,
    "legend.fontsize": 8,
}


def dataset_colors(params: Params) -> dict[str, str]:
    """Colour of every dataset; adding one leaves the others' colours alone."""
    colors, spare = {}, iter(_SPARE * (1 + len(params.corpus.datasets)))
    for name in params.corpus.datasets:
        colors[name] = _KNOWN.get(name) or next(spare)
    return colors


def kind(vector: str) -> str:
    """`cpt` of `cpt_ja`, `datamix` of `datamix_ja_math`, `it` of `it`."""
    return vector.split("_", 1)[0]


def color(params: Params, vector: str) -> str:
    """A CPT vector has its dataset's colour; mixtures are grey, IT and OptiMer dark."""
    if vector.startswith("cpt_"):
        return dataset_colors(params)[vector.removeprefix("cpt_")]
    return {"it": IT, "optimer": OPTIMER}.get(kind(vector), MIXED)


def label(params: Params, vector: str) -> str:
    """What a vector is called in a figure: "CPT Ja", "DataMix Ja + Math", …"""
    sort, _, rest = vector.partition("_")
    if sort == "cpt":
        return f"CPT {params.corpus.datasets.get(rest, rest)}"
    combination = params.combinations.get(rest)
    words = {
        "it": "IT",
        "base": "base",
        "datamix": "DataMix",
        "ratio": "DataMix (OptiMer ratio)",
        "optimer": "OptiMer",
    }
    return f"{words.get(sort, sort)} {combination.label if combination else rest}".strip()


@contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """A figure of the given size in inches under this project's settings, without pyplot state."""
    with matplotlib.rc_context(_RC):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure


def save(figure: Figure, path: Path) -> Path:
    """Write the figure as SVG, atomically, without date or version in it."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(_RC):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "optimer"})
    write_atomic(path, buffer.getvalue())
    return path
