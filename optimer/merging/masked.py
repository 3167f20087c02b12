"""Masked models θ_0 + s·(m ⊙ τ): a pool's own masks, in files that mergekit can merge.

mergekit draws its own random masks, so a recipe with density < 1 cannot give our weights. Merging
these models at density 1 does (`optimer.merging.recipe.exact_recipe`). They are in fp32: rounding
them to a half dtype would move the merged weights by up to half a unit.
"""

from __future__ import annotations

from pathlib import Path

import torch

from optimer.merging.pool import Pool
from optimer.merging.rewrite import copy_config
from optimer.tensors import chunks
from optimer.tensors.names import hub_name, is_multimodal
from optimer.tensors.writer import ShardWriter, atomic_folder


def export_masked(pool: Pool, out: Path) -> dict[str, Path]:
    """Write one model folder per vector under `out`; returns {vector: folder}.

    Each is as large as the base in fp32. Raises ArtifactError when the disk refuses.
    """
    found = {}
    for name in pool.names:
        found[name] = Path(out) / name
        with atomic_folder(found[name]) as folder:
            _export(pool, name, folder)
    return found


def _export(pool: Pool, vector: str, folder: Path) -> None:
    multimodal = is_multimodal(pool.base.names())
    position = pool.names.index(vector)
    with ShardWriter(folder) as writer:
        for name in pool.base.names():
            base = pool.base.read(name).reshape(-1)
            masked = base.float() if base.dtype != torch.float32 else base.clone()
            source = pool.sources(name)[position] if pool.is_merged(name) else None
            if source is not None:
                delta, scale = source
                for start, stop in chunks(masked.numel()):
                    tau = torch.empty(stop - start)
                    delta.fill(tau, start, stop)
                    masked[start:stop] += tau if scale == 1.0 else tau.mul_(scale)
            writer.add(hub_name(name, multimodal), masked.reshape(pool.base.shape(name)))
            pool.release(name)
    copy_config(pool.base_dir, folder)
