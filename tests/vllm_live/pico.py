"""A pico Qwen3 that vLLM's CPU build accepts (head_dim 64), its relatives and toy tasks."""

from __future__ import annotations

import torch

from optimer import receipts
from optimer.merging.pool import Pool
from optimer.paths import Paths
from optimer.schema import Params
from optimer.vectors.extract import extract
from tests.unit.evaluation.toy import make_params, make_tokenizer, write_tasks

ENGINE = {"max_model_len": 512, "gpu_memory_utilization": 0.1, "enforce_eager": True}
VECTORS = ("it", "cpt_ja", "cpt_math")


def make_model(tokenizer, tied: bool, seed: int = 0):
    """Random pico Qwen3 in float32, with weights large enough to have opinions."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=64, max_position_embeddings=512,
        initializer_range=0.2, tie_word_embeddings=tied, bos_token_id=0, eos_token_id=1,
        pad_token_id=2,
    )  # fmt: skip
    return Qwen3ForCausalLM(config).eval()


def save(paths: Paths, name: str, model, tokenizer, dtype: str) -> None:
    folder = paths.model(name)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    files = [file for file in folder.iterdir() if file.is_file()]
    receipts.write(paths.model_receipt(name), {"files": receipts.hash_files(files, folder)})


def make_world(tied: bool, embeddings_too: bool = False, dtype: str = "float32") -> None:
    """Base, IT and two CPT models with vectors and tasks under the working directory."""
    paths = Paths("tiny")
    write_tasks(paths.tasks)
    tokenizer = make_tokenizer(paths.world / "tokenizer")
    save(paths, "base", make_model(tokenizer, tied), tokenizer, dtype)
    for seed, name in enumerate(VECTORS):
        model = make_model(tokenizer, tied)
        draw = torch.Generator().manual_seed(seed)
        for key, parameter in model.named_parameters():
            if embeddings_too or ("embed" not in key and "lm_head" not in key):
                parameter.data += 0.05 * torch.randn(parameter.shape, generator=draw)
        save(paths, name, model, tokenizer, dtype)
        made = extract(paths.model("base"), paths.model(name), paths.vector(name), name)
        receipts.write(paths.vector_receipt(name), made)


def params(**search) -> Params:
    document = make_params(engine=dict(ENGINE)).model_dump()
    document["search"].update(trials=8, batch=4, top_k=2, search_items=8, rerank_items=8)
    document["search"]["tpe"]["n_startup_trials"] = 4
    document["search"].update(search)
    for combination in document["combinations"].values():
        combination["proxies"] = ["capitals", "letters", "echo", "both"]
    return Params.model_validate(document)


def open_pool(paths: Paths, density: float = 0.8, **options) -> Pool:
    folders = {name: paths.vector(name) for name in VECTORS}
    return Pool.open(paths.model("base"), folders, "dare_linear", density, 5, **options)
