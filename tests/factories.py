"""Pico models for tests: real architectures, random weights, a tiny tokenizer, HF folders."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    Gemma3Config,
    Gemma3ForCausalLM,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

WORDS = ["<pad>", "<bos>", "<eos>", "<unk>", "<turn>", *(f"w{i}" for i in range(67))]
VOCABULARY = len(WORDS)  # 72
CHAT_TEMPLATE = "{{ bos_token }}{% for m in messages %}<turn> {{ m['content'] }} {% endfor %}"

_SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_VISION = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
    "vision_use_head": False,  # as in the released Gemma 3
}

FAMILIES = ("llama", "qwen3_tied", "qwen3_untied", "gemma3", "gemma3_multimodal")


def make_model(family: str, seed: int = 0) -> PreTrainedModel:
    """A pico model (about 30 thousand parameters, fp32) with random weights."""
    torch.manual_seed(seed)
    if family == "llama":
        return LlamaForCausalLM(LlamaConfig(**_SHAPE, tie_word_embeddings=False))
    if family in ("qwen3_tied", "qwen3_untied"):
        tied = family == "qwen3_tied"
        return Qwen3ForCausalLM(Qwen3Config(**_SHAPE, tie_word_embeddings=tied))
    if family == "gemma3":
        return Gemma3ForCausalLM(Gemma3TextConfig(**_SHAPE, sliding_window=8))
    if family == "gemma3_multimodal":
        text = {**_SHAPE, "sliding_window": 8}
        config = Gemma3Config(text_config=text, vision_config=_VISION, mm_tokens_per_image=4)
        return Gemma3ForConditionalGeneration(config)
    raise ValueError(f"family must be one of {FAMILIES}, got {family!r}")


def make_tokenizer(words: list[str] | None = None) -> PreTrainedTokenizerFast:
    """A word-level tokenizer over 72 words."""
    vocabulary = {word: index for index, word in enumerate(words or WORDS)}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
    )


def save(
    model: PreTrainedModel,
    folder: Path,
    dtype: torch.dtype = torch.float32,
    chat: bool = False,
    max_shard_size: str = "5GB",
    words: list[str] | None = None,
) -> Path:
    """Save a model and the tiny tokenizer as an HF folder; `chat` adds what an IT model has."""
    model.to(dtype).save_pretrained(folder, max_shard_size=max_shard_size)
    tokenizer = make_tokenizer(words)
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
        GenerationConfig(
            bos_token_id=1, eos_token_id=[2, 4], pad_token_id=0, do_sample=False
        ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def trained(model: PreTrainedModel, seed: int, size: float = 0.05) -> PreTrainedModel:
    """The model after a stand-in for training: every language weight but the embedding moves by
    about `size` of its tensor's spread. Changes the model in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(part in name for part in ("embed_tokens", "vision", "multi_modal")):
                continue
            spread = float(parameter.float().std()) or 1.0
            noise = torch.randn(parameter.shape, generator=generator) * spread * size
            parameter.add_(noise.to(parameter.dtype))
    return model


def make_family(folder: Path, family: str, dtype: torch.dtype = torch.float32) -> dict[str, Path]:
    """Folders of one family: base, it, cpt_ja, cpt_math, all from the same base."""
    folders = {"base": save(make_model(family), folder / "base", dtype)}
    for seed, name in enumerate(("it", "cpt_ja", "cpt_math"), start=1):
        model = trained(make_model(family).to(dtype), seed)
        folders[name] = save(model, folder / name, dtype, chat=name == "it")
    return folders


def to_hub_layout(folder: Path) -> Path:
    """Rename a multimodal folder's vision tensors as the Hub's Gemma 3 names them."""
    file = folder / "model.safetensors"
    renamed = {
        name.replace("vision_tower.", "vision_tower.vision_model."): tensor
        for name, tensor in load_file(file).items()
    }
    save_file(renamed, file, metadata={"format": "pt"})
    return folder
