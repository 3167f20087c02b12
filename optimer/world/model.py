"""The toy model of the generated world: a random Qwen3, small enough to train in minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optimer.errors import ArtifactError


def build_toy_model(tokenizer_dir: Path, out_dir: Path, seed: int, **architecture: int) -> int:
    """Write a randomly initialised Qwen3 with tied embeddings as a Hugging Face folder (fp32).

    `architecture` are fields of Qwen3Config (`ArchitectureParams.model_dump()`); vocabulary and
    special tokens come from the tokenizer, which is saved along. Returns the number of parameters.
    Raises ArtifactError when the tokenizer folder cannot be read.
    """
    import torch
    from transformers import AutoTokenizer, GenerationConfig, Qwen3Config, Qwen3ForCausalLM

    try:
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_dir, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{tokenizer_dir}: no readable tokenizer ({error}). Run the corpus phase, which "
            "generates the world."
        ) from error
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    shape: dict[str, Any] = {**ids, **architecture}
    config = Qwen3Config(
        vocab_size=len(tokenizer), tie_word_embeddings=True, dtype="float32", **shape
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(do_sample=False, **ids)
    model.save_pretrained(out_dir)
    tokenizer.save_pretrained(out_dir)
    return model.num_parameters()
