"""Write a merged model as a Hugging Face folder, bit-equal to the composed weights.

Weights are streamed: every thread composes a tensor, another hashes and writes what is ready, and
no shard is held in memory. Around them: the base's config,
the instruction-tuned model's tokenizer, chat template and generation config, a model card and
the mergekit recipe. The folder appears only when it is complete.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from optimer import receipts
from optimer.errors import ArtifactError
from optimer.merging.card import model_card
from optimer.merging.checksum import combine, fingerprint
from optimer.merging.compose import Weights, maker, parallel
from optimer.merging.pool import Pool
from optimer.merging.recipe import recipe
from optimer.tensors.names import hub_name, is_multimodal
from optimer.tensors.stream import StreamWriter
from optimer.tensors.writer import MAX_SHARD_BYTES, atomic_folder

RECIPE = "recipe.yaml"

_FROM_IT = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json",
    "generation_config.json",
)  # fmt: skip
_FROM_BASE = ("config.json", "preprocessor_config.json", "processor_config.json")
_MAX_THREADS = 8


def write_merged(
    pool: Pool,
    weights: Weights,
    out: Path,
    it_dir: Path,
    card: Mapping[str, Any] | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> dict[str, Any]:
    """Write θ(w) to the folder `out`; returns its receipt.

    `it_dir` gives tokenizer, chat template and generation config; `card` goes into README.md
    (see `optimer.merging.card`). Tensor names are the Hub's. Raises MergeError when weights do
    not fit, ArtifactError when a file is missing or the disk refuses; `out` is then untouched.
    """
    started = time.monotonic()
    out, it_dir = Path(out), Path(it_dir)
    if not any((it_dir / name).exists() for name in _FROM_IT):
        raise ArtifactError(f"{it_dir}: no tokenizer in this folder; name the IT model's folder.")
    values = dict(zip(pool.names, pool.weights(weights), strict=True))
    multimodal = is_multimodal(pool.base.names())
    names = {hub_name(name, multimodal): name for name in pool.base.names()}
    plan = {key: (pool.base.dtype(name), pool.base.shape(name)) for key, name in names.items()}
    fingerprints: dict[str, str] = {}
    n_elements = 0
    with atomic_folder(out) as folder:
        with StreamWriter(folder, plan, max_shard_bytes) as writer:
            ordered = [names[key] for key in writer.order]
            for name, tensor, fingerprints[name] in _tensors(pool, values, ordered):
                n_elements += tensor.numel()
                writer.add(hub_name(name, multimodal), tensor)
        for source, files in ((pool.base_dir, _FROM_BASE), (it_dir, _FROM_IT)):
            for name in files:
                if (source / name).exists():
                    shutil.copyfile(source / name, folder / name)
        receipt: dict[str, Any] = {
            "method": pool.method.name,
            "density": pool.density,
            "seed": pool.seed,
            "exclude": list(pool.exclude),
            "weights": values,
            "n_elements": n_elements,
            "checksum": combine(fingerprints),
            "sha256": writer.sha256,
            "versions": receipts.versions("optimer", "torch"),
        }
        document = recipe(pool, values, it_dir=it_dir)
        text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        receipts.write_atomic(folder / RECIPE, text)
        receipts.write_atomic(folder / "README.md", model_card(card or {}, receipt))
    return {**receipt, "seconds": round(time.monotonic() - started, 3)}


def _tensors(
    pool: Pool, weights: Mapping[str, float], names: Sequence[str]
) -> Iterator[tuple[str, torch.Tensor, str]]:
    """(name, tensor of θ(w), fingerprint) in the order of `names`, each from a thread of its own.

    What no weight can change is a view of the base's file.
    """
    make = maker(pool, weights)

    def one(name: str) -> tuple[str, torch.Tensor, str]:
        tensor = make(name) if pool.is_merged(name) else pool.base.read(name)
        return name, tensor, fingerprint(tensor)

    return parallel(one, names, min(_MAX_THREADS, torch.get_num_threads()))
