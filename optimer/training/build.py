"""A folder's model, live and ready to train, whole or partitioned by ZeRO-3.

The parent is read one tensor at a time, and under ZeRO-3 every parameter is partitioned as it is
made: no process ever holds a whole model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from optimer.errors import ArtifactError, TrainingError
from optimer.schema.train import TrainParams
from optimer.tensors import TensorStore
from optimer.tensors.names import canonical, is_language
from optimer.training.engine import config
from optimer.training.weights import DTYPES, gathered, live_tensors


def build_model(parent: Path, settings: TrainParams, device: torch.device) -> Any:
    """The parent's model in compute precision on `device`, ready to train.

    Tensors whose name contains one of `settings.frozen`, and other towers than the
    language model, have `requires_grad` False.
    Raises ArtifactError when folder and architecture disagree, TrainingError when nothing would
    be trained or when bfloat16 compute would round an fp32 parent.
    """
    import deepspeed
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    if settings.zero_stage == 3:
        # Loaded on first use otherwise, which fails under zero.Init: that replaces Tensor.__new__.
        from torch import _dynamo  # noqa: F401

    dtype = DTYPES[settings.precision]
    shape = AutoConfig.from_pretrained(parent, local_files_only=True)
    # Random numbers are not drawn: they would be overwritten, and drawing them indexes rows of
    # tensors that ZeRO-3 has already partitioned (padding rows of embeddings).
    with (
        no_init_weights(),
        deepspeed.zero.Init(
            config_dict_or_path=config(settings), dtype=dtype, enabled=settings.zero_stage == 3
        ),
    ):
        model = AutoModelForCausalLM.from_config(shape, dtype=dtype)
    model.tie_weights()
    if settings.zero_stage == 3:
        restore_buffers(model, shape, dtype)
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


def restore_buffers(model: Any, shape: Any, dtype: torch.dtype) -> None:
    """Give the model the buffers it has outside zero.Init, which casts whatever is made inside
    to compute precision: rotary frequencies in bfloat16 are off by radians at position 4,096."""
    from accelerate import init_empty_weights
    from transformers import AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    with no_init_weights(), init_empty_weights(include_buffers=False):
        twin = AutoModelForCausalLM.from_config(shape, dtype=dtype)
    right = dict(twin.named_buffers())
    for prefix, module in model.named_modules():
        for leaf, buffer in module.named_buffers(recurse=False):
            name = f"{prefix}.{leaf}" if prefix else leaf
            module._buffers[leaf] = right[name].to(buffer.device)
