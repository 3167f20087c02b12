"""What lies in a model folder: config, shards named by the index, safetensors headers.

Format: https://huggingface.co/docs/safetensors/index#format. A shard is an 8-byte little-endian
header length, a JSON header {name: {dtype, shape, data_offsets}}, then the data.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from optimer.errors import ArtifactError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
DTYPE_CODES = {dtype: code for code, dtype in DTYPES.items()}

_TIED_BY_DEFAULT = {"gemma", "gemma2", "gemma3", "gemma3_text"}  # their configs omit the key


@dataclass(frozen=True)
class Entry:
    shard: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int  # bytes from the beginning of the file
    n_bytes: int


def read_config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    if not file.exists():
        return {}
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise ArtifactError(f"{file}: not valid JSON ({error}). Save the model again.") from None


def is_tied(config: dict[str, Any]) -> bool:
    text = config.get("text_config") or {}
    for section in (config, text):
        if "tie_word_embeddings" in section:
            return bool(section["tie_word_embeddings"])
    return config.get("model_type") in _TIED_BY_DEFAULT


def list_shards(folder: Path) -> dict[str, list[str]]:
    """{shard file: tensors the index promises}; an empty list means all that are in it."""
    index = folder / INDEX
    if index.exists():
        try:
            weight_map: dict[str, str] = json.loads(index.read_text())["weight_map"]
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{index}: not a safetensors index ({error!r}).") from None
        shards: dict[str, list[str]] = {}
        for name, shard in weight_map.items():
            shards.setdefault(shard, []).append(name)
        missing = [shard for shard in shards if not (folder / shard).exists()]
        if missing:
            raise ArtifactError(
                f"{folder}: {len(missing)} of {len(shards)} shards named by {INDEX} missing: "
                f"{', '.join(sorted(missing))}. Fetch or save this checkpoint again."
            )
        return shards
    if (folder / SINGLE).exists():
        return {SINGLE: []}
    pickled = sorted(path.name for path in folder.glob("pytorch_model*.bin"))
    if pickled:
        raise ArtifactError(
            f"{folder / pickled[0]}: a pickle; only safetensors are read. Convert it with "
            "`AutoModelForCausalLM.from_pretrained(folder).save_pretrained(new_folder)`."
        )
    raise ArtifactError(f"{folder}: neither {SINGLE} nor {INDEX} in this folder; not a model.")


def read_header(path: Path) -> dict[str, Entry]:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        raw = file.read(length) if 8 + length <= size else b""
    try:
        content: dict[str, Any] = json.loads(raw)
        entries = {}
        for name, item in content.items():
            if name == "__metadata__":
                continue
            first, last = item["data_offsets"]
            dtype, shape = DTYPES[item["dtype"]], tuple(item["shape"])
            if last - first != math.prod(shape) * dtype.itemsize:
                raise ValueError(f"tensor {name}: {last - first} bytes do not fit shape {shape}")
            entries[name] = Entry(path.name, dtype, shape, 8 + length + first, last - first)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"{path}: not a safetensors file or its header is damaged ({error}). "
            "Fetch or save this checkpoint again."
        ) from None
    expected = max((e.start + e.n_bytes for e in entries.values()), default=8 + length)
    if size < expected:
        raise ArtifactError(
            f"{path}: truncated, {size} of {expected} bytes are there. "
            "Fetch or save this checkpoint again."
        )
    return entries
