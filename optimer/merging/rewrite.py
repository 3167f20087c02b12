"""Rewrite a model folder with the Hub's tensor names, tensor by tensor, values untouched."""

from __future__ import annotations

import shutil
from pathlib import Path

from optimer.tensors import ShardWriter, TensorStore, atomic_folder
from optimer.tensors.names import hub_name, is_multimodal

_COPIED = (
    "config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
)


def rewrite(model: TensorStore, base: TensorStore, out: Path) -> Path:
    """Write `model` to `out` as a folder of the base's architecture in the Hub's layout.

    A text-only model of a multimodal base gets the base's other towers. Returns `out`.
    """
    multimodal = is_multimodal(base.names())
    with atomic_folder(out) as folder:
        with ShardWriter(folder) as writer:
            for name in base.names():
                source = model if name in model else base
                writer.add(hub_name(name, multimodal), source.read(name))
        copy_config(base.folder, folder)
    return out


def copy_config(source: Path, folder: Path) -> None:
    """Copy config and tokenizer files that exist."""
    for name in _COPIED:
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)
