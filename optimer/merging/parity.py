"""Ours against mergekit: run the real mergekit on a recipe and compare every element.

mergekit (LGPL-3.0) is run as a library, unchanged. Distance in ulp counts the representable
numbers of the output dtype between two values, through zero.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from optimer.errors import MergeError
from optimer.merging.compose import Weights, compose
from optimer.merging.masked import export_masked
from optimer.merging.pool import Pool
from optimer.merging.recipe import exact_recipe, rebase
from optimer.merging.rewrite import rewrite
from optimer.tensors import TensorStore, chunks
from optimer.tensors.names import is_multimodal


@dataclass
class Parity:
    """How far two merged models are apart."""

    n_elements: int = 0
    share_different: float = 0.0
    """Share of elements whose values differ."""
    max_abs: float = 0.0
    max_ulp: int = 0

    def as_row(self) -> dict[str, Any]:
        return asdict(self)


def run_mergekit(document: dict[str, Any], out: Path) -> Path:
    """Merge by mergekit's Python API into the folder `out`.

    Raises MergeError with mergekit's own words when it refuses the recipe.
    """
    from mergekit.config import MergeConfiguration
    from mergekit.merge import MergeOptions, run_merge

    logging.getLogger("mergekit").setLevel(logging.ERROR)
    options = MergeOptions(write_model_card=False, quiet=True, lazy_unpickle=True)
    try:
        run_merge(MergeConfiguration.model_validate(document), str(out), options)
    except Exception as error:
        raise MergeError(
            f"mergekit refused the recipe of {document['base_model']}: "
            f"{type(error).__name__}: {error}"
        ) from error
    return out


@dataclass
class MergekitInputs:
    """Folders mergekit can read for one pool: the models themselves, or rewritten ones.

    Rewritten where the pool has masks, and where mergekit does not know the layout (multimodal
    folders saved by transformers 5, text-only checkpoints of a multimodal base).
    """

    pool: Pool
    base: Path
    models: dict[str, Path]

    @classmethod
    def prepare(cls, pool: Pool, scratch: Path) -> MergekitInputs:
        """`scratch` holds what has to be rewritten: at most (1 + K) models, with masks in fp32."""
        base = pool.base_dir
        if not pool.base.hub_layout:
            base = rewrite(pool.base, pool.base, scratch / "base")
        if pool.density < 1:
            return cls(pool, base, export_masked(pool, scratch / "masked"))
        models = {}
        for name, vector in pool.vectors.items():
            store = TensorStore.open(Path(vector.info["checkpoint"]))
            models[name] = store.folder
            if not store.hub_layout or is_multimodal(pool.base.names()) != is_multimodal(
                store.names()
            ):
                models[name] = rewrite(store, pool.base, scratch / "models" / name)
            store.close()
        return cls(pool, base, models)

    def recipe(self, weights: Weights, it_dir: Path | None = None) -> dict[str, Any]:
        """The recipe of θ(w) on these folders."""
        document = exact_recipe(self.pool, weights, self.models, it_dir)
        return rebase(document, str(self.pool.base_dir), str(self.base))


def compare_with_mergekit(
    inputs: MergekitInputs, weights: Weights, ours: Path | None = None
) -> Parity:
    """Distance of θ(w), composed or as written to the folder `ours`, from mergekit's merge."""
    with tempfile.TemporaryDirectory(prefix="optimer-mergekit-") as folder:
        theirs = TensorStore.open(run_mergekit(inputs.recipe(weights), Path(folder) / "merged"))
        if ours is None:
            return compare(compose(inputs.pool, weights), theirs)
        written = TensorStore.open(ours)
        return compare(((name, written.read(name)) for name in written.names()), theirs)


def parity(pool: Pool, weights: Weights) -> Parity:
    """Distance of θ(w) from mergekit's merge of the same pool, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="optimer-parity-") as folder:
        return compare_with_mergekit(MergekitInputs.prepare(pool, Path(folder)), weights)


def compare(ours: Iterable[tuple[str, torch.Tensor]], theirs: TensorStore) -> Parity:
    """Element-wise distance. Raises MergeError when names or shapes differ."""
    found = Parity()
    n_different = 0
    seen = set()
    for name, tensor in ours:
        if name not in theirs or theirs.shape(name) != tuple(tensor.shape):
            raise MergeError(f"mergekit's folder has no {name} of shape {list(tensor.shape)}")
        seen.add(name)
        a_P, b_P = tensor.reshape(-1), theirs.read(name).reshape(-1)
        if a_P.dtype != b_P.dtype:
            raise MergeError(f"{name}: {a_P.dtype} here, {b_P.dtype} in mergekit's folder")
        for start, stop in chunks(a_P.numel()):
            a, b = a_P[start:stop], b_P[start:stop]
            distance = ulp_distance(a, b)
            n_different += int((distance != 0).sum())
            found.max_ulp = max(found.max_ulp, int(distance.max()))
            found.max_abs = max(found.max_abs, float((a.double() - b.double()).abs().max()))
        found.n_elements += a_P.numel()
    unknown = set(theirs.names()) - seen
    if unknown:
        raise MergeError(f"mergekit's folder has {len(unknown)} more tensors: {min(unknown)}")
    found.share_different = n_different / max(1, found.n_elements)
    return found


def ulp_distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """int64: representable numbers between a and b (same dtype; +0 and −0 count as equal)."""
    return (_ordered(a) - _ordered(b)).abs()


def _ordered(values: torch.Tensor) -> torch.Tensor:
    """Integers that order like the numbers: the bit pattern, negated below zero."""
    width = torch.int32 if values.element_size() == 4 else torch.int16
    bits = values.contiguous().view(width).long()
    lowest = -(2 ** (8 * values.element_size() - 1))
    return torch.where(bits < 0, lowest - bits, bits)
