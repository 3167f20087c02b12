"""The mergekit recipe of a merged model: YAML that `mergekit-yaml` accepts.

`dtype: float32` because mergekit casts merge weights to the dtype it computes in; `out_dtype` is
the model's. Excluded tensors get weight 0 by filters (first match wins). A recipe with density
below 1 makes mergekit draw its own masks; `exact_recipe` refers to exported masked models instead
(`optimer.merging.masked`) and gives our weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optimer.merging.compose import Weights
from optimer.merging.pool import Pool
from optimer.tensors.names import EMBEDDING, is_multimodal

_TEXT_MODULE = "text_decoder"
_OTHER_MODULES = ("multi_modal_projector", "vision_tower")  # mergekit's names for Gemma 3


def recipe(
    pool: Pool,
    weights: Weights,
    checkpoints: Mapping[str, Path | str] | None = None,
    it_dir: Path | None = None,
) -> dict[str, Any]:
    """The recipe of θ(w) on the checkpoints the vectors were extracted from.

    `checkpoints` overrides where they lie; with `it_dir` its tokenizer (or, where embedding rows
    are padded beyond the vocabulary, its chat template) goes into the result.
    """
    found = {name: vector.info["checkpoint"] for name, vector in pool.vectors.items()}
    found |= {name: str(path) for name, path in (checkpoints or {}).items()}
    values = dict(zip(pool.names, pool.weights(weights), strict=True))
    return _document(pool, pool.method.name, values, found, pool.density, it_dir)


def exact_recipe(
    pool: Pool, weights: Weights, masked: Mapping[str, Path], it_dir: Path | None = None
) -> dict[str, Any]:
    """The recipe of θ(w) on masked models θ_0 + s·(m ⊙ τ): no mask is left for mergekit to draw."""
    values = dict(zip(pool.names, pool.weights(weights), strict=True))
    found = {name: str(path) for name, path in masked.items()}
    return _document(pool, pool.method.name, values, found, 1.0, it_dir)


def rebase(document: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    """The recipe with another folder of the same base model."""
    found = {**document, "base_model": new}
    if "modules" in document:
        found["modules"] = {
            module: {
                "models": [
                    {**model, "model": new} if model["model"] == old else model
                    for model in content["models"]
                ]
            }
            for module, content in document["modules"].items()
        }
    return found


def _document(
    pool: Pool,
    method: str,
    weights: Mapping[str, float],
    checkpoints: Mapping[str, str],
    density: float,
    it_dir: Path | None,
) -> dict[str, Any]:
    models = []
    for name, weight in weights.items():
        filters = [{"filter": part, "value": 0.0} for part in pool.exclude]
        parameters: dict[str, Any] = {"weight": [*filters, {"value": weight}]}
        if pool.method.mask != "none":
            parameters["density"] = density
        models.append({"model": checkpoints[name], "parameters": parameters})
    base = str(pool.base_dir)
    document: dict[str, Any] = {
        "merge_method": method,
        "base_model": base,
        "dtype": "float32",
        "out_dtype": str(pool.base.dtype(EMBEDDING)).removeprefix("torch."),
        "parameters": {"normalize": pool.method.normalize, "rescale": pool.method.rescale},
    }
    if is_multimodal(pool.base.names()):
        document["modules"] = {_TEXT_MODULE: {"models": models}} | {
            module: {"models": [{"model": base, "parameters": {"weight": 0.0}}]}
            for module in _OTHER_MODULES
        }
    else:
        document["models"] = models
    if it_dir is not None:
        document |= _tokenizer(pool, it_dir)
    return document


def _tokenizer(pool: Pool, it_dir: Path) -> dict[str, Any]:
    """mergekit rebuilds embeddings to the tokenizer's length: only where that changes nothing."""
    from tokenizers import Tokenizer

    file = it_dir / "tokenizer.json"
    if file.exists():
        n_tokens = Tokenizer.from_file(str(file)).get_vocab_size(with_added_tokens=True)
        if n_tokens == pool.base.shape(EMBEDDING)[0]:
            return {"tokenizer": {"source": str(it_dir)}}
    template = it_dir / "chat_template.jinja"
    return {"chat_template": template.read_text()} if template.exists() else {}
