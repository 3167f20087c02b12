"""The merges of a scale: rows of Table 1 written as models, and checked against mergekit."""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from optimer import receipts
from optimer.errors import ArtifactError, ParamsError
from optimer.experiment import Row, density, row, rows
from optimer.merging.masked import export_masked
from optimer.merging.parity import MergekitInputs, compare_with_mergekit
from optimer.merging.pool import Pool
from optimer.merging.recipe import exact_recipe
from optimer.merging.write import RECIPE, write_merged
from optimer.paths import Paths
from optimer.schema import Params

Progress = Callable[[str], None]

COLUMNS = ("row", "method", "n_elements", "share_different", "max_abs", "max_ulp")


def merge_rows(params: Params, paths: Paths, ids: Sequence[str], progress: Progress) -> None:
    """Write the merged model and the receipt of each row.

    Rows with the same method and vectors share a pool. Raises ParamsError for a row that is not a
    merge, ArtifactError when its vectors or its search are not complete.
    """
    chosen = [_merged_row(params, item) for item in ids]
    for pool, members in _by_pool(params, paths, chosen):
        for item in members:
            paths.merged_receipt(item.id).unlink(missing_ok=True)
            weights = row_weights(paths, item)
            receipt = write_merged(
                pool, weights, paths.merged(item.id), paths.model("it"), _card(params, item)
            )
            receipts.write(paths.merged_receipt(item.id), {"row": item.id, **receipt})
            shown = ", ".join(f"{name} {value:g}" for name, value in weights.items())
            progress(f"{item.id}: {pool.method.name} of {shown}")


def parity_rows(params: Params, paths: Paths, progress: Progress) -> None:
    """Merge every row's recipe with mergekit, compare with the written model, write the CSV."""
    merged = [item for item in rows(params) if item.merge_method]
    found: dict[str, dict[str, Any]] = {}
    for pool, members in _by_pool(params, paths, merged):
        with tempfile.TemporaryDirectory(prefix="optimer-parity-") as scratch:
            inputs = MergekitInputs.prepare(pool, Path(scratch))
            for item in members:
                distance = compare_with_mergekit(
                    inputs, row_weights(paths, item), paths.merged(item.id)
                )
                found[item.id] = {"row": item.id, "method": pool.method.name, **distance.as_row()}
                progress(
                    f"{item.id}: {distance.share_different:.2%} of elements differ from mergekit, "
                    f"by at most {distance.max_abs:.2g}"
                )
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([found[item.id][column] for column in COLUMNS] for item in merged)
    receipts.write_atomic(paths.mergekit_parity, table.getvalue())


def export_row(params: Params, paths: Paths, row_id: str, out: Path) -> Path:
    """Write the masked models of a row and a recipe on them that gives the row's weights.

    Returns the recipe's path. Meant for people who want to merge with mergekit themselves.
    """
    item = _merged_row(params, row_id)
    [(pool, _)] = _by_pool(params, paths, [item])
    masked = export_masked(pool, out)
    document = exact_recipe(pool, row_weights(paths, item), masked, paths.model("it"))
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    receipts.write_atomic(out / RECIPE, text)
    shutil.copyfile(paths.merged_receipt(row_id), out / "receipt.json")
    return out / RECIPE


def row_weights(paths: Paths, item: Row) -> dict[str, float]:
    """Merge weights of a row by vector: its own, or those its combination's search found.

    Raises ArtifactError when the search is not complete or searched other vectors.
    """
    if item.weights is not None:
        return dict(zip(item.vectors, item.weights, strict=True))
    file = paths.best(item.block)
    if not file.exists():
        raise ArtifactError(
            f"{file}: not there, so the weights of row {item.id} are not known yet. "
            f"Run `optimer search {item.block}`."
        )
    found = (yaml.safe_load(file.read_text()) or {}).get("weights")
    if not isinstance(found, dict) or set(found) != set(item.vectors):
        raise ArtifactError(
            f"{file}: has weights of {', '.join(found or {}) or 'nothing'}, row {item.id} needs "
            f"{', '.join(item.vectors)}. Run `optimer search {item.block}` again."
        )
    return {name: float(found[name]) for name in item.vectors}


def _merged_row(params: Params, row_id: str) -> Row:
    item = row(params, row_id)
    if item.merge_method is None:
        raise ParamsError(
            f"row {row_id} is the model {item.model} as it is, nothing to merge; merged rows: "
            f"{', '.join(other.id for other in rows(params) if other.merge_method)}"
        )
    return item


def _by_pool(
    params: Params, paths: Paths, chosen: Sequence[Row]
) -> Iterator[tuple[Pool, list[Row]]]:
    """Pools and the rows that share them, one pool open at a time."""
    groups: dict[tuple[str, tuple[str, ...]], list[Row]] = {}
    for item in chosen:
        assert item.merge_method is not None
        groups.setdefault((item.merge_method, item.vectors), []).append(item)
    for members in groups.values():
        first = members[0]
        assert first.merge_method is not None
        for name in first.vectors:
            receipts.read(paths.vector_receipt(name))  # without it the vector is not complete
        pool = Pool.open(
            paths.model("base"), {name: paths.vector(name) for name in first.vectors},
            first.merge_method, density(params, first.merge_method), params.seed,
            params.merge.exclude,
        )  # fmt: skip
        try:
            yield pool, members
        finally:
            pool.close()


def _card(params: Params, item: Row) -> dict[str, Any]:
    toy = params.model.base == "world"
    return {
        "title": f"{item.combination}: {item.method}",
        "base_model": None if toy else [params.model.base, params.model.instruct],
        "facts": {
            "Row": item.id,
            "Scale": params.scale,
            "Model family": params.model.name,
            "Weights found by": "search" if item.weights is None else "fixed",
        },
    }
