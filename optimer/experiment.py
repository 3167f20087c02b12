"""What one scale consists of: models to train, vectors, and the rows of Table 1.

Pure functions of params. The Snakemake graph, the planner, the jobs and the tables all read the
same lists from here, so that a job the graph runs is a row the table shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from optimer.errors import ParamsError
from optimer.paths import Paths
from optimer.schema import METHODS, CombinationParams, MergeMethod, Params

Kind = Literal["given", "pretrain", "instruct", "cpt", "datamix", "ratio"]

FLEXIBILITY = "flexibility"
"""Name of the study behind Table 2."""

METHOD_LABELS: dict[str, str] = {
    "task_arithmetic": "Task Arithmetic",
    "ties": "TIES",
    "dare_linear": "DARE-Linear",
    "dare_ties": "DARE-TIES",
}


@dataclass(frozen=True)
class Model:
    """One model of the pool and where its weights come from."""

    name: str
    kind: Kind
    datasets: tuple[str, ...] = ()
    """Datasets it is trained on, in table order; empty for models that are given."""
    combination: str | None = None
    """Combination a DataMix model belongs to; for `ratio`, whose search gives the ratios."""

    @property
    def trained(self) -> bool:
        return self.kind != "given"

    @property
    def parent(self) -> str | None:
        """Model that training starts from; None starts from random weights."""
        return None if self.kind in ("given", "pretrain") else "base"


@dataclass(frozen=True)
class Row:
    """One row of Table 1."""

    id: str
    block: str
    """Key of the group of rows that are scored together (`base`, `single`, a combination)."""
    combination: str
    """First column: the paper's label of the group."""
    method: str
    """Second column: the paper's label of the row."""
    model: str | None = None
    """Model scored as it is; None for merged rows."""
    merge_method: MergeMethod | None = None
    vectors: tuple[str, ...] = ()
    """Vectors of the merge, IT first."""
    weights: tuple[float, ...] | None = None
    """Merge weights, in the order of `vectors`; None: from the search of `block`."""


def models(params: Params) -> dict[str, Model]:
    """All models of the pool by name, parents before children."""
    toy = params.model.base == "world"
    toy_it = params.model.instruct == "world"
    pool = [
        Model("base", "pretrain" if toy else "given", ("pretrain",) if toy else ()),
        Model("it", "instruct" if toy_it else "given", ("instruct",) if toy_it else ()),
    ]
    pool += [Model(f"cpt_{name}", "cpt", (name,)) for name in params.corpus.datasets]
    for key, combination in params.combinations.items():
        chosen = tuple(combination.datasets)
        pool.append(Model(f"datamix_{key}", "datamix", chosen, key))
        pool.append(Model(f"ratio_{key}", "ratio", chosen, key))
    return {model.name: model for model in pool}


def model(params: Params, name: str) -> Model:
    """One model by name. Raises ParamsError listing the known names."""
    known = models(params)
    if name not in known:
        raise ParamsError(
            f"{name!r} is not a model of scale {params.scale}; known: {', '.join(known)}"
        )
    return known[name]


def sampled_datasets(params: Params) -> list[str]:
    """Datasets the corpus phase samples: the pool's, and the toy family's own."""
    needed = [name for item in models(params).values() for name in item.datasets]
    return list(dict.fromkeys(needed))


def ratio_models(params: Params) -> list[str]:
    """DataMix models retrained at OptiMer's ratios; they exist only after the search."""
    return [name for name, item in models(params).items() if item.kind == "ratio"]


def vectors(params: Params) -> list[str]:
    """Distribution vectors that exist before the search: all but the base and the ratio models."""
    return [
        name for name, item in models(params).items() if name != "base" and item.kind != "ratio"
    ]


def combination(params: Params, name: str) -> CombinationParams:
    """One combination, or `flexibility`: the study behind Table 2, over all its objectives' tasks.

    Raises ParamsError for any other name.
    """
    if name == FLEXIBILITY:
        found = params.flexibility
        return CombinationParams(
            label="Flexibility", datasets=found.datasets, proxies=found.proxies
        )
    if name not in params.combinations:
        raise ParamsError(
            f"{name!r} is not a combination of scale {params.scale}; "
            f"known: {', '.join([*params.combinations, FLEXIBILITY])}"
        )
    return params.combinations[name]


def search_pool(params: Params, name: str) -> tuple[str, ...]:
    """Vectors a combination's search merges, IT first."""
    return ("it", *(f"cpt_{dataset}" for dataset in combination(params, name).datasets))


def rows(params: Params) -> list[Row]:
    """The rows of Table 1 in the paper's order (28 with five datasets, three combinations)."""
    return list(_rows(params))


def row(params: Params, row_id: str) -> Row:
    """One row by id. Raises ParamsError listing the known ids."""
    for item in _rows(params):
        if item.id == row_id:
            return item
    known = ", ".join(item.id for item in _rows(params))
    raise ParamsError(f"{row_id!r} is not a row of Table 1; known: {known}")


def _rows(params: Params) -> Iterator[Row]:
    alpha = params.merge.alpha_it
    method = params.merge.method
    name = params.model.name
    yield Row("base_pt", "base", "Base", f"{name} PT", model="base")
    yield Row("base_it", "base", "Base", f"{name} IT", model="it")
    single = f"Single CPT + IT (alpha_it={alpha:g})"
    for dataset, label in params.corpus.datasets.items():
        pair = ("it", f"cpt_{dataset}")
        yield Row(
            f"single_{dataset}", "single", single, f"CPT_{label}",
            merge_method=method, vectors=pair, weights=(alpha, 1.0),
        )  # fmt: skip
    for key, combination in params.combinations.items():
        for kind, label in (
            ("datamix", f"DataMix (alpha_it={alpha:g}; baseline)"),
            ("ratio", "DataMix OptiMer ratio (ours)"),
        ):
            yield Row(
                f"{key}_{kind}", key, combination.label, label,
                merge_method=method, vectors=("it", f"{kind}_{key}"), weights=(alpha, 1.0),
            )  # fmt: skip
        pool = search_pool(params, key)
        uniform = tuple(1.0 / len(pool) for _ in pool)  # 1/(n+1): all models, the IT one too
        for baseline in params.merge.baselines:
            yield Row(
                f"{key}_{baseline}", key, combination.label, METHOD_LABELS[baseline],
                merge_method=baseline, vectors=pool, weights=uniform,
            )  # fmt: skip
        yield Row(
            f"{key}_optimer", key, combination.label, "OptiMer (ours)",
            merge_method=method, vectors=pool,
        )  # fmt: skip


def blocks(params: Params) -> dict[str, list[Row]]:
    """Rows by block, in table order."""
    grouped: dict[str, list[Row]] = {}
    for item in _rows(params):
        grouped.setdefault(item.block, []).append(item)
    return grouped


def density(params: Params, method: MergeMethod) -> float:
    """Share of elements kept by a merge method; 1 where it is not declared."""
    if method not in METHODS:
        raise ParamsError(f"merge method must be one of {', '.join(METHODS)}; got {method!r}")
    return float(params.merge.density.get(method, 1.0))


def tokenizer_folder(params: Params, paths: Paths) -> Path:
    """Folder of the tokenizer that counts and packs: the world's, else the base model's."""
    return paths.world / "tokenizer" if params.model.base == "world" else paths.model("base")
