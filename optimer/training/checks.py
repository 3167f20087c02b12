"""What is refused before the first step, each with the file, the rule and the way out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from optimer.errors import ArtifactError, TrainingError
from optimer.tokens import vocabulary_fingerprint
from optimer.training.job import Job

_SCANNED = 1 << 23
"""Tokens whose ids are looked at before the first step; later ones when their batch comes."""


def check(job: Job, report: Callable[[str], None]) -> None:
    """Run every check; reports what will not be seen. Raises ArtifactError or TrainingError."""
    config = read_config(job.parent)
    check_tokenizer(job)
    check_length(job, config)
    n_scanned = min(len(job.data), max(1, _SCANNED // job.data.sequence_length))
    for index in range(n_scanned):
        check_ids(job, index, job.data[index], int(config["vocab_size"]))
    check_disk(job)
    if job.n_dropped:
        report(
            f"{job.model.name}: the last {job.n_dropped} of {len(job.data)} sequences do not "
            f"fill a batch of {job.settings.batch_size} and are not trained on"
        )


def read_config(folder: Path) -> dict[str, Any]:
    """Text part of a model's config.json."""
    try:
        content = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{folder / 'config.json'}: no readable model config ({error}). "
            "Train or fetch this model again."
        ) from None
    return content | content.get("text_config", {})


def parent_vocabulary(folder: Path) -> str:
    """Fingerprint of a model folder's tokenizer, from its tokenizer.json."""
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if not file.exists():
        raise ArtifactError(
            f"{file}: the parent has no fast tokenizer, so its ids cannot be compared with the "
            "data's. Save one with `AutoTokenizer.from_pretrained(folder).save_pretrained(folder)`."
        )
    return vocabulary_fingerprint(Tokenizer.from_file(str(file)).get_vocab(with_added_tokens=True))


def check_tokenizer(job: Job) -> None:
    found = parent_vocabulary(job.parent)
    if found != job.data.vocabulary:
        raise TrainingError(
            f"{job.paths.mixture(job.model.name)}: packed with another tokenizer (fingerprint "
            f"{job.data.vocabulary[:12]}) than the one in {job.parent} ({found[:12]}): its ids "
            "mean other tokens. Run the corpus phase again with this base model."
        )


def check_length(job: Job, config: dict[str, Any]) -> None:
    longest = config.get("max_position_embeddings")
    if longest is not None and job.data.sequence_length > longest:
        raise TrainingError(
            f"{job.paths.mixture(job.model.name)}: sequences of {job.data.sequence_length} tokens, "
            f"but {job.parent} has {longest} positions. Lower corpus.sequence_length."
        )


def check_ids(job: Job, index: int, ids: np.ndarray, n_embeddings: int) -> None:
    """Refuse sequences (from number `index` on) with ids the embedding does not have."""
    if int(ids.max()) >= n_embeddings:
        raise TrainingError(
            f"{job.paths.mixture(job.model.name)}: sequence {index} or the batch that starts there "
            f"holds token id {int(ids.max())}, but {job.parent} has {n_embeddings} embeddings. Run "
            "the corpus phase again with this base model's tokenizer."
        )


def check_disk(job: Job) -> None:
    """Refuse when state and model cannot fit: two checkpoints of fp32 weights and two moments
    plus compute weights (16 bytes a parameter at most), and each model that is written."""
    weights = sum(file.stat().st_size for file in job.parent.glob("*.safetensors"))
    n_models = 1 + (job.settings.checkpoints if job.keeps_trajectory else 0)
    per_parameter = 2 if job.params.model.dtype == "bfloat16" else 4
    needed = weights * n_models + 2 * 16 * weights // per_parameter - _size(job.state)
    free = shutil.disk_usage(_existing(job.state)).free
    if free < needed:
        raise TrainingError(
            f"{job.state}: {_bytes(free)} free, but training {job.model.name} needs "
            f"{_bytes(needed)} (two resumable checkpoints and {n_models} model"
            f"{'s' if n_models > 1 else ''}). Free disk space, or lower train.checkpoints."
        )


def _bytes(n: float) -> str:
    return f"{n / 1e9:.1f} GB" if n >= 1e9 else f"{n / 1e6:.1f} MB"


def _size(folder: Path) -> int:
    """Bytes a run that is resumed has already written."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)
