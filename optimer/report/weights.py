"""Merge weights the searches found, and the data ratios they imply (paper §5.1, §5.5).

r_d = α_d / Σ α over the dataset vectors, IT left out; a negative α counts as 0 and is flagged.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from optimer.errors import ArtifactError
from optimer.experiment import search_pool
from optimer.paths import Paths
from optimer.receipts import write_atomic
from optimer.report.files import markdown_table, percent, read_yaml, write_csv
from optimer.report.table1 import protocol_note, scale_note
from optimer.schema import Params


@dataclass(frozen=True)
class Best:
    """The winner of one search: weights by vector (IT first), ratios by dataset, scores in %."""

    combination: str
    label: str
    method: str
    density: float
    weights: dict[str, float]
    ratios: dict[str, float]
    search_score: float
    rerank_score: float | None
    trial: int

    @property
    def negative(self) -> list[str]:
        return [name for name, weight in self.weights.items() if name != "it" and weight < 0]


def read_best(params: Params, paths: Paths) -> dict[str, Best]:
    """Winner of every combination's search.

    Raises ArtifactError for a missing or incomplete best.yaml, or one of other vectors.
    """
    found = {}
    for name, combination in params.combinations.items():
        path = paths.best(name)
        content = read_yaml(path)
        pool = search_pool(params, name)
        weights = content.get("weights") or {}
        if set(weights) != set(pool):
            raise ArtifactError(
                f"{path}: weights must be of {', '.join(pool)}; found "
                f"{', '.join(weights) or 'none'}. Run `optimer search {name}` again."
            )
        try:
            rerank = content.get("rerank_score")
            found[name] = Best(
                name,
                combination.label,
                str(content["method"]),
                float(content["density"]),
                {vector: float(weights[vector]) for vector in pool},
                {dataset: float(content["ratios"][dataset]) for dataset in combination.datasets},
                float(content["search_score"]),
                None if rerank is None else float(rerank),
                int(content["trial"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"{path}: not a complete search result ({type(error).__name__}: {error}). "
                f"Run `optimer search {name}` again."
            ) from None
    return found


def write_weights(params: Params, paths: Paths) -> list[Path]:
    """Write weights.{csv,md}; return their paths. Raises ArtifactError as `read_best`."""
    best = read_best(params, paths)
    vectors = ["it", *(f"cpt_{name}" for name in params.corpus.datasets)]
    header = ["combination", "label", "method", "density", "trial"]
    header += [f"w_{name}" for name in vectors] + [f"r_{name}" for name in params.corpus.datasets]
    header += ["search_score", "rerank_score", "negative"]
    table = write_csv(
        paths.table("weights"),
        header,
        (
            [item.combination, item.label, item.method, f"{item.density:g}", item.trial]
            + [_number(item.weights.get(name)) for name in vectors]
            + [_number(item.ratios.get(name)) for name in params.corpus.datasets]
            + [percent(item.search_score)]
            + [None if item.rerank_score is None else percent(item.rerank_score)]
            + [" ".join(item.negative)]
            for item in best.values()
        ),
    )
    page = table.with_suffix(".md")
    write_atomic(page, _page(params, best, vectors))
    return [table, page]


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"


def _page(params: Params, best: dict[str, Best], vectors: list[str]) -> str:
    labels = {"it": "IT"} | {f"cpt_{key}": text for key, text in params.corpus.datasets.items()}
    used = [name for name in vectors if any(name in item.weights for item in best.values())]
    lines = []
    for item in best.values():
        shares = " : ".join(
            f"{params.corpus.datasets[name]} {ratio:.2f}" for name, ratio in item.ratios.items()
        )
        rerank = "" if item.rerank_score is None else percent(item.rerank_score)
        numbers = [f"{item.weights[v]:.3f}" if v in item.weights else "" for v in used]
        flag = f" (negative: {', '.join(item.negative)})" if item.negative else ""
        lines.append(
            [item.label, *numbers, shares + flag, percent(item.search_score), rerank, item.trial]
        )
    header = ["combination", *(f"α {labels[name]}" for name in used)]
    header += ["implied data ratio", "search score", "rerank score", "trial"]
    parts = [
        f"# Merge weights found at scale {params.scale}",
        markdown_table(header, lines),
        f"{scale_note(params)} {protocol_note(params)}\nSearch and rerank scores are means of the "
        f"proxy tasks in %, of the best of {params.search.trials} trials and of the winner among "
        f"the top {params.search.top_k}: both are selected, hence optimistic; the unbiased score "
        "is in Table 1.\n"
        f"Seed {params.seed}. Ratio: each dataset's weight over the sum of the dataset weights.",
    ]
    return "\n\n".join(parts) + "\n"
