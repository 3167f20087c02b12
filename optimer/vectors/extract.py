"""τ = θ − θ_0, tensor by tensor, from two model folders to a vector folder.

Neither model is loaded: one tensor of each is mapped at a time, and the writer holds one shard.
Only the language model gets a vector; other towers of a multimodal checkpoint must be the base's.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from optimer import receipts
from optimer.errors import ArtifactError
from optimer.tensors import TensorStore, check_finite, deltas
from optimer.tensors.names import language_tensors
from optimer.tensors.writer import ShardWriter, atomic_folder
from optimer.vectors.vocabulary import check_same_vocabulary


def extract(base: Path, checkpoint: Path, out: Path, name: str) -> dict[str, Any]:
    """Write the distribution vector `name` of `checkpoint` against `base` to the folder `out`.

    Returns the receipt: norms per tensor and in total, counts, sha256 of all files read and
    written, seconds. Raises ArtifactError when the two differ in tensor names, shapes or
    vocabulary, hold NaN, or lack a shard; `out` is then untouched.
    """
    started = time.monotonic()
    base, checkpoint = Path(base), Path(checkpoint)
    origin, trained = TensorStore.open(base), TensorStore.open(checkpoint)
    check_fit(origin, trained)
    n_extra_tokens = check_same_vocabulary(base, checkpoint)
    tensors: dict[str, dict[str, Any]] = {}
    total, n_elements, n_exact, n_refined, n_zero = 0.0, 0, 0, 0, 0
    with atomic_folder(out) as folder:
        with ShardWriter(folder) as writer:
            for key in language_tensors(origin.names()):
                theta_0, theta = origin.read(key), trained.read(key)
                delta = deltas.encode(theta_0, theta)
                if not math.isfinite(delta.sum_of_squares):
                    check_finite(theta_0, key, origin.file(key))
                    check_finite(theta, key, trained.file(key))
                for part, tensor in deltas.parts(key, delta).items():
                    writer.add(part, tensor)
                tensors[key] = {
                    "shape": list(delta.shape),
                    "dtype": str(theta.dtype).removeprefix("torch."),
                    "norm": math.sqrt(delta.sum_of_squares),
                }
                total += delta.sum_of_squares
                n_elements += delta.n_elements
                n_zero += delta.stored is None
                n_exact += 0 if delta.exact is None else len(delta.exact[0])
                n_refined += 0 if delta.refined is None else len(delta.refined[0])
                origin.release(key)
                trained.release(key)
        info = {
            "format": deltas.FORMAT,
            "name": name,
            "base": str(base),
            "checkpoint": str(checkpoint),
            "norm": math.sqrt(total),
            "n_elements": n_elements,
            "tensors": tensors,
        }
        receipts.write(folder / deltas.VECTOR, info)
    inputs = {"base": origin.files(), "checkpoint": trained.files()}
    return {
        "name": name,
        "norm": info["norm"],
        "norms": {key: item["norm"] for key, item in tensors.items()},
        "n_elements": n_elements,
        "n_tensors": len(tensors),
        "n_unchanged_tensors": n_zero,
        "n_exact": n_exact,
        "n_refined": n_refined,
        "n_extra_tokens": n_extra_tokens,
        "sha256": writer.sha256 | {deltas.VECTOR: receipts.sha256(out / deltas.VECTOR)},
        "inputs": {
            side: receipts.hash_files(files, files[0].parent) for side, files in inputs.items()
        },
        "versions": receipts.versions("optimer", "torch"),
        "seconds": round(time.monotonic() - started, 3),
    }


def check_fit(base: TensorStore, checkpoint: TensorStore) -> None:
    """Raise ArtifactError unless the checkpoint has the base's language model.

    Towers other than the language model may be absent; where present they must have known names.
    """
    ours, theirs = set(base.names()), set(checkpoint.names())
    needed = set(language_tensors(ours))
    missing, unknown = sorted(needed - theirs), sorted(theirs - ours)
    if missing or unknown:
        raise ArtifactError(
            f"{checkpoint.folder}: tensor names differ from the base model's ({base.folder}): "
            f"{len(missing)} missing{_few(missing)}, {len(unknown)} unknown{_few(unknown)}. "
            "A distribution vector needs a checkpoint trained from this base."
        )
    for name in base.names():
        if name not in needed:
            continue
        if base.shape(name) != checkpoint.shape(name):
            raise ArtifactError(
                f"{checkpoint.file(name)}: {name} has shape {list(checkpoint.shape(name))}, "
                f"the base model's ({base.folder}) has {list(base.shape(name))}. "
                "A distribution vector needs a checkpoint trained from this base."
            )
        for store in (base, checkpoint):
            if store.dtype(name) not in deltas.FLOATS:
                raise ArtifactError(
                    f"{store.file(name)}: {name} has dtype {store.dtype(name)}; vectors are taken "
                    "of float32, bfloat16 and float16. Save the model in one of them."
                )


def _few(names: list[str]) -> str:
    return f" ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})" if names else ""
