"""Inner products of vectors: enough for every figure of the pool's geometry, without weights.

G_ij = ⟨τ_i, τ_j⟩ in total and per layer, for all vectors; for intermediate checkpoints of a run
their row of inner products with the vectors; and ‖θ_0‖. Cosines, norms and principal components
follow from these. Tensors are streamed: products of fp32 chunks, added up in fp64.

Shapes: N vectors, T checkpoints, P elements of a chunk.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from optimer.errors import ArtifactError
from optimer.tensors import CHUNK, DeltaStore, TensorStore, chunks
from optimer.tensors.names import excluded, language_tensors, layer_of

OTHER = "other"
"""Key of the tensors outside the layers (final norm, an untied head that is not excluded)."""

_STEP = re.compile(r"step_(\d+)")


def geometry(
    base: Path,
    vectors: Mapping[str, Path],
    trajectories: Mapping[str, Path],
    exclude: Sequence[str],
    tokens_per_step: int,
) -> dict[str, Any]:
    """Inner products of the vector folders `vectors` and of the checkpoints in `trajectories`.

    `trajectories` maps a model to its folder of `step_<n>` model folders, taken as θ − θ_0.
    Tensors whose name contains one of `exclude` are left out of every product, since no merge
    uses them. Returns JSON-ready content: names, gram [N][N], layers [{layer, gram}], norms,
    base_norm, trajectory {model: [{step, tokens, norm2, gram_row [N]}]}, excluded, n_elements.
    Raises ArtifactError when a folder is incomplete or does not fit the base.
    """
    origin = TensorStore.open(Path(base))
    pool = {name: DeltaStore.open(Path(folder)) for name, folder in vectors.items()}
    points = [point for model, folder in trajectories.items() for point in _points(model, folder)]
    language = language_tensors(origin.names())
    for owner, names in [
        *((f"vector {name}", vector.names()) for name, vector in pool.items()),
        *((str(store.folder), store.names()) for _, _, store in points),
    ]:
        missing = set(language) - set(names)
        if missing:
            raise ArtifactError(
                f"{owner} lacks {len(missing)} tensors of the base model {base}, first "
                f"{min(missing)}. Make it again from this base."
            )
    counted = [name for name in language if not excluded(name, exclude)]
    n, t = len(pool), len(points)
    layers: dict[str, torch.Tensor] = {}
    rows_TN = torch.zeros(t, n, dtype=torch.float64)
    norm2_T = torch.zeros(t, dtype=torch.float64)
    base_norm2 = 0.0
    for name in counted:
        layer = layer_of(name)
        gram_NN = layers.setdefault(
            OTHER if layer is None else str(layer), torch.zeros(n, n, dtype=torch.float64)
        )
        for theta_P, tau_NP, point_TP in _chunks(origin, pool, points, name):
            base_norm2 += float(theta_P.dot(theta_P))
            gram_NN += tau_NP @ tau_NP.T
            if t:
                rows_TN += point_TP @ tau_NP.T
                norm2_T += point_TP.square().sum(dim=1, dtype=torch.float64)
        for store in (origin, *pool.values(), *(store for _, _, store in points)):
            store.release(name)
    total_NN = sum(layers.values(), torch.zeros(n, n, dtype=torch.float64))
    trajectory: dict[str, list[dict[str, Any]]] = {model: [] for model in trajectories}
    for (model, step, _), row, norm2 in zip(points, rows_TN, norm2_T, strict=True):
        trajectory[model].append(
            {
                "step": step,
                "tokens": step * tokens_per_step,
                "norm2": float(norm2),
                "gram_row": row.tolist(),
            }
        )
    order = sorted(layers, key=lambda key: (key == OTHER, int(key) if key != OTHER else 0))
    return {
        "names": list(pool),
        "gram": total_NN.tolist(),
        "norms": total_NN.diagonal().sqrt().tolist(),
        "layers": [{"layer": key, "gram": layers[key].tolist()} for key in order],
        "base_norm": math.sqrt(base_norm2),
        "trajectory": trajectory,
        "excluded": [name for name in language if excluded(name, exclude)],
        "n_elements": sum(origin.n_elements(name) for name in counted),
    }


def _points(model: str, folder: Path) -> list[tuple[str, int, TensorStore]]:
    """(model, step, folder) of every intermediate checkpoint, in order of steps."""
    found = []
    for path in Path(folder).iterdir() if Path(folder).is_dir() else ():
        step = _STEP.fullmatch(path.name)
        if step:
            found.append((model, int(step.group(1)), TensorStore.open(path)))
    if not found:
        raise ArtifactError(
            f"{folder}: no intermediate checkpoints step_<n>/ of {model}. Train it with {model} "
            "in train.trajectory, or take it out of that list."
        )
    return sorted(found, key=lambda point: point[1])


def _chunks(
    origin: TensorStore,
    pool: Mapping[str, DeltaStore],
    points: Sequence[tuple[str, int, TensorStore]],
    name: str,
):
    """(θ_0 [P], τ [N, P], checkpoint − θ_0 [T, P]) chunk by chunk, all fp32."""
    theta = origin.read(name).reshape(-1)
    deltas = [vector.delta(name) for vector in pool.values()]
    others = [store.read(name).reshape(-1) for _, _, store in points]
    tau_NP, point_TP = torch.empty(len(deltas), CHUNK), torch.empty(len(others), CHUNK)
    for start, stop in chunks(theta.numel()):
        theta_P = theta[start:stop].float()
        for row, delta in zip(tau_NP, deltas, strict=True):
            delta.fill(row[: stop - start], start, stop)
        for row, other in zip(point_TP, others, strict=True):
            torch.sub(other[start:stop].float(), theta_P, out=row[: stop - start])
        yield theta_P, tau_NP[:, : stop - start], point_TP[:, : stop - start]
