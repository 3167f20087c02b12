"""Weights between safetensors folders and a live, possibly ZeRO-3-partitioned, model.

One tensor is in flight at a time: a parent is read, and a model written, without a second copy of
it in memory. Whatever was not trained (frozen tensors, a vision tower) is copied from the parent's
files, so it stays equal to the base bit for bit.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from optimer.errors import ArtifactError, TrainingError
from optimer.receipts import write_atomic
from optimer.schema.train import TrainParams
from optimer.tensors import INDEX, TensorStore
from optimer.tensors.names import canonical, hub_name, is_language, is_multimodal
from optimer.tensors.writer import ShardWriter, atomic_folder
from optimer.training.engine import config

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_COPIED = ("*.json", "*.model", "*.txt", "*.jinja")


def build_model(parent: Path, settings: TrainParams, device: torch.device) -> Any:
    """The parent's model in compute precision on `device`, ready to train.

    Under ZeRO-3 every parameter is partitioned as it is made, so that no process ever holds a
    whole model. Tensors whose name contains one of `settings.frozen`, and other towers than the
    language model, have `requires_grad` False.
    Raises ArtifactError when folder and architecture disagree, TrainingError when nothing would
    be trained or when bfloat16 compute would round an fp32 parent.
    """
    import deepspeed
    from transformers import AutoConfig, AutoModelForCausalLM

    if settings.zero_stage == 3:
        # Loaded on first use otherwise, which fails under zero.Init: that replaces Tensor.__new__.
        from torch import _dynamo  # noqa: F401

    dtype = DTYPES[settings.precision]
    shape = AutoConfig.from_pretrained(parent, local_files_only=True)
    with deepspeed.zero.Init(
        config_dict_or_path=config(settings), dtype=dtype, enabled=settings.zero_stage == 3
    ):
        model = AutoModelForCausalLM.from_config(shape, dtype=dtype)
    load_weights(model, parent, dtype)
    if settings.zero_stage < 3:
        model.to(device)
    if settings.activation_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    for name, parameter in model.named_parameters():
        frozen = any(part in name for part in settings.frozen)
        parameter.requires_grad = not frozen and is_language(canonical(name))
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TrainingError(
            f"train.frozen: {settings.frozen} freezes every tensor of {parent}. Remove an entry."
        )
    return model.train()


def live_tensors(model: Any) -> dict[str, torch.Tensor]:
    """Parameters of a live model by canonical name, tied ones once."""
    return {canonical(name): parameter for name, parameter in model.named_parameters()}


def load_weights(model: Any, parent: Path, dtype: torch.dtype) -> None:
    """Copy the parent's tensors into the model, one at a time."""
    store, live = TensorStore.open(parent), live_tensors(model)
    missing = [name for name in live if name not in store]
    if missing:
        raise ArtifactError(
            f"{parent}: {len(missing)} tensors of the architecture in config.json are missing, "
            f"first {missing[0]}. Fetch or save this model again."
        )
    with torch.no_grad():
        for name, parameter in live.items():
            source = store.read(name)
            shape = tuple(getattr(parameter, "ds_shape", parameter.shape))
            if shape != tuple(source.shape):
                raise ArtifactError(
                    f"{store.file(name)}: {name} has shape {list(source.shape)}, config.json "
                    f"asks for {list(shape)}. Fetch or save this model again."
                )
            if source.dtype == torch.float32 and dtype == torch.bfloat16:
                raise TrainingError(
                    f"{store.file(name)}: {name} is float32, and train.precision bfloat16 would "
                    "round it before training starts. Set train.precision: float32, or save the "
                    "base model in bfloat16."
                )
            with gathered(parameter, writes=True) as whole:
                if whole is not None:
                    whole.copy_(source)
            store.release(name)
    store.close()


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


def save_model(engine: Any, parent: Path, out: Path, settings: TrainParams, dtype: str) -> None:
    """Write the engine's model as a Hugging Face folder, atomically; all processes must call it.

    Trained tensors come from the engine (from the fp32 master weights where compute is bfloat16
    and `dtype` float32), all others from the parent. Names are the Hub's.
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
        return
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
        copy_side_files(parent, folder, dtype)
    store.close()


def _whole(parameter: Any, master: bool) -> Any:
    """A whole trained parameter on the CPU of rank 0 (None on others under ZeRO-3)."""
    if master:
        from deepspeed.utils import safe_get_full_fp32_param

        value = safe_get_full_fp32_param(parameter)
        return None if value is None else value.cpu()
    with gathered(parameter) as whole:
        return None if whole is None else whole.to("cpu", copy=True)


def copy_side_files(parent: Path, folder: Path, dtype: str) -> None:
    """Tokenizer, generation config and chat template as they are; config.json with its dtype."""
    for pattern in _COPIED:
        for file in sorted(parent.glob(pattern)):
            if file.name not in (INDEX, "config.json"):
                shutil.copyfile(file, folder / file.name)
    content = json.loads((parent / "config.json").read_text())
    content.pop("torch_dtype", None)
    content["dtype"] = dtype
    write_atomic(folder / "config.json", json.dumps(content, indent=2, sort_keys=True) + "\n")
