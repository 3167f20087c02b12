"""Files one training run needs, in miniature: a base model, a packed store and a mixture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from factories import VOCABULARY, make_model, save

from optimer import receipts
from optimer.params import load
from optimer.paths import Paths
from optimer.schema import Params
from optimer.training.checks import parent_vocabulary

ROOT = Path(__file__).resolve().parents[3]
LENGTH = 16
FIRST_WORD = 5  # ids below are special

SETTINGS: dict[str, Any] = {
    "learning_rate": 0.01,
    "batch_size": 8,
    "micro_batch_size": 8,
    "devices": 1,
    "zero_stage": 1,
    "precision": "float32",
    "activation_checkpointing": False,
    "frozen": ["embed_tokens", "lm_head", "rotary"],
    "checkpoints": 2,
    "trajectory": [],
    "resume_steps": 4,
}


def pico_params(dtype: str = "float32", **train: Any) -> Params:
    """Params of scale tiny with pico training settings."""
    params = load(ROOT / "params.yaml", "tiny")
    return params.model_copy(
        update={
            "train": params.train.model_copy(update=SETTINGS | train),
            "model": params.model.model_copy(update={"dtype": dtype}),
        }
    )


def write_base(paths: Paths, family: str, dtype: torch.dtype = torch.float32) -> None:
    """A pico base model with its receipt."""
    folder = save(make_model(family), paths.model("base"), dtype)
    files = [file for file in folder.iterdir() if file.is_file()]
    receipts.write(paths.model_receipt("base"), {"files": receipts.hash_files(files, folder)})


def write_corpus(paths: Paths, model: str, n: int) -> None:
    """`n` packed sequences in which each token is the last plus 3, and the mixture of one model."""
    generator = np.random.Generator(np.random.PCG64(0))
    n_words = VOCABULARY - FIRST_WORD
    start = generator.integers(0, n_words, size=(n, 1))
    rows = (start + 3 * np.arange(LENGTH)) % n_words + FIRST_WORD
    folder = paths.corpus("ja")
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "tokens.npy", rows.astype(np.uint16))
    receipts.write(paths.corpus_receipt("ja"), {"dataset": "ja", "n_sequences": n})
    part = {"dataset": "ja", "ratio": 1.0, "n_sequences": n, "n_available": n, "repeats": 0}
    mixture = {
        "model": model,
        "sequence_length": LENGTH,
        "n_sequences": n,
        "seed": 0,
        "order_seed": 7,
        "vocabulary": parent_vocabulary(paths.model("base")),
        "parts": [part],
    }
    receipts.write(paths.mixture(model), mixture)
