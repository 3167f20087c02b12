"""From a live, possibly ZeRO-3-partitioned, model to a Hugging Face folder.

One shard is in flight at a time: a model is written without a second copy of it in memory.
Whatever was not trained (frozen tensors, a vision tower) is copied from the parent's files, so it
stays equal to the base bit for bit.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from optimer.errors import TrainingError
from optimer.receipts import sha256, write_atomic
from optimer.schema.train import TrainParams
from optimer.tensors import INDEX, TensorStore
from optimer.tensors.names import canonical, hub_name, is_multimodal
from optimer.tensors.writer import ShardWriter, atomic_folder

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_COPIED = ("*.json", "*.model", "*.txt", "*.jinja")


def live_tensors(model: Any) -> dict[str, torch.Tensor]:
    """Parameters of a live model by canonical name, tied ones once."""
    return {canonical(name): parameter for name, parameter in model.named_parameters()}


@contextmanager
def gathered(parameter: Any, writes: bool = False) -> Iterator[torch.Tensor | None]:
    """A whole parameter, on every process where nothing is partitioned; under ZeRO-3 on rank 0,
    which is the only one that may write, and None elsewhere. All processes must call it."""
    if not hasattr(parameter, "ds_id"):
        yield parameter.data
        return
    import deepspeed

    rank = torch.distributed.get_rank()
    with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0 if writes else None):
        yield parameter.data if rank == 0 else None


def save_model(
    engine: Any, parent: Path, out: Path, settings: TrainParams, dtype: str
) -> dict[str, str]:
    """Write the engine's model as a Hugging Face folder, atomically; all processes must call it.

    Trained tensors come from the engine (from the fp32 master weights where compute is bfloat16
    and `dtype` float32), all others from the parent. Names are the Hub's.
    Returns {file: SHA-256} on rank 0, nothing elsewhere.
    Raises TrainingError when a trained tensor is not finite, ArtifactError when the disk refuses.
    """
    store = TensorStore.open(parent)
    multimodal = is_multimodal(store.names())
    trained = {n: p for n, p in live_tensors(engine.module).items() if p.requires_grad}
    masters = settings.precision == "bfloat16" and dtype == "float32"
    if torch.distributed.get_rank() != 0:
        for name in store.names():
            if name in trained:
                _whole(trained[name], masters)
        return {}
    with atomic_folder(out) as folder:
        with ShardWriter(folder) as writer:
            for name in store.names():
                if name in trained:
                    tensor = _whole(trained[name], masters)
                    if not bool(tensor.isfinite().all()):
                        raise TrainingError(
                            f"{out}: {name} holds NaN or infinite values after training, so the "
                            "model is not written. Lower the learning rate and train again."
                        )
                else:
                    tensor = store.read(name)
                writer.add(hub_name(name, multimodal), tensor.to(DTYPES[dtype], copy=True))
        names = copy_side_files(parent, folder, dtype)
        hashes = writer.sha256 | {name: sha256(folder / name) for name in names}
    store.close()
    return hashes


def _whole(parameter: Any, master: bool) -> Any:
    """A whole trained parameter on the CPU of rank 0 (None on others under ZeRO-3)."""
    if master:
        from deepspeed.utils import safe_get_full_fp32_param

        value = safe_get_full_fp32_param(parameter)
        return None if value is None else value.cpu()
    with gathered(parameter) as whole:
        return None if whole is None else whole.to("cpu", copy=True)


def copy_side_files(parent: Path, folder: Path, dtype: str) -> list[str]:
    """Tokenizer, generation config and chat template as they are; config.json with its dtype.

    Returns the names of the files written.
    """
    names = ["config.json"]
    for pattern in _COPIED:
        for file in sorted(parent.glob(pattern)):
            if file.name not in (INDEX, "config.json"):
                shutil.copyfile(file, folder / file.name)
                names.append(file.name)
    content = json.loads((parent / "config.json").read_text())
    content.pop("torch_dtype", None)
    content["dtype"] = dtype
    if "dtype" in content.get("text_config", {}):
        content["text_config"]["dtype"] = dtype
    write_atomic(folder / "config.json", json.dumps(content, indent=2, sort_keys=True) + "\n")
    names += [INDEX] if (folder / INDEX).exists() else []
    return names
