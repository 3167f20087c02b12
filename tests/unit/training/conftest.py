"""A pico world for training: tokenizer, random model, packed store and mixture, all real files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optimer import receipts
from optimer.params import load
from optimer.paths import Paths
from optimer.schema import Params
from optimer.tokens import vocabulary_fingerprint

ROOT = Path(__file__).resolve().parents[3]
VOCAB = 64
LENGTH = 16


def write_tokenizer(folder: Path, size: int = VOCAB) -> str:
    """A word-level tokenizer of `size` words; returns its vocabulary fingerprint."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {"<pad>": 0, "<bos>": 1, "<eos>": 2, "<unk>": 3}
    words |= {f"w{index}": index for index in range(4, size)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<bos>", "eos_token": "<eos>"}'
    )
    return vocabulary_fingerprint(tokenizer.get_vocab())


def write_model(folder: Path, architecture: str = "qwen3", seed: int = 0, **changes: Any) -> None:
    """A pico model with random weights, saved by transformers."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    values: dict[str, Any] = {
        "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
        "max_position_embeddings": 32, "tie_word_embeddings": True,
    }  # fmt: skip
    if architecture == "gemma3_text":
        values |= {"sliding_window": 8, "query_pre_attn_scalar": 16}
    config = AutoConfig.for_model(architecture, **(values | changes))
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)


def write_corpus(paths: Paths, model: str, vocabulary: str, n: int = 96, seed: int = 0) -> None:
    """`n` packed sequences with a pattern that can be learnt, and the mixture of one model."""
    generator = np.random.Generator(np.random.PCG64(seed))
    start = generator.integers(4, VOCAB, size=(n, 1))
    rows = (start - 4 + 3 * np.arange(LENGTH)) % (VOCAB - 4) + 4  # each token is the last + 3
    folder = paths.corpus("ja")
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "tokens.npy", rows.astype(np.uint16))
    receipts.write(paths.corpus_receipt("ja"), {"dataset": "ja", "n_sequences": n})
    mixture = {
        "model": model, "sequence_length": LENGTH, "n_sequences": n, "seed": 0, "order_seed": 7,
        "vocabulary": vocabulary,
        "parts": [
            {"dataset": "ja", "ratio": 1.0, "n_sequences": n, "n_available": n, "repeats": 0}
        ],
    }  # fmt: skip
    receipts.write(paths.mixture(model), mixture)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Params, Paths]]:
    """Builds a working directory with a base model and cpt_ja's data; returns params and paths."""
    monkeypatch.chdir(tmp_path)

    def build(architecture: str = "qwen3", n: int = 96, **train: Any) -> tuple[Params, Paths]:
        params = load(ROOT / "params.yaml", "tiny")
        settings = {
            "learning_rate": 0.01, "batch_size": 8, "micro_batch_size": 8, "devices": 1,
            "zero_stage": 1, "precision": "float32", "activation_checkpointing": False,
            "frozen": ["embed_tokens", "lm_head", "rotary"], "checkpoints": 2, "trajectory": [],
            "resume_steps": 4,
        }  # fmt: skip
        params = params.model_copy(
            update={"train": params.train.model_copy(update=settings | train)}
        )
        paths = Paths("tiny")
        folder = paths.model("base")
        vocabulary = write_tokenizer(folder)
        write_model(folder, architecture)
        files = list(folder.iterdir())
        receipts.write(paths.model_receipt("base"), {"files": receipts.hash_files(files, folder)})
        write_corpus(paths, "cpt_ja", vocabulary, n)
        return params, paths

    return build
