"""The model card of a merged model: what it is made of, and how to make it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml


def model_card(card: Mapping[str, Any], receipt: Mapping[str, Any]) -> str:
    """Markdown with a YAML head (https://huggingface.co/docs/hub/model-cards).

    `card` may give `title`, `base_model` (one name or a list), `license`, `language`, and
    `facts` {label: text} for more table rows; `receipt` is the merge's receipt.
    """
    head: dict[str, Any] = {"library_name": "transformers", "tags": ["merge", "optimer"]}
    for key in ("base_model", "license", "language"):
        if card.get(key):
            head[key] = card[key]
    weights = "\n".join(f"| {name} | {value!r} |" for name, value in receipt["weights"].items())
    facts = {
        "Merge method": receipt["method"],
        "Density": receipt["density"],
        "Mask seed": receipt["seed"],
        "Always from the base": ", ".join(receipt["exclude"]) or "nothing",
        "Parameters": f"{receipt['n_elements']:,}",
        "Checksum of the weights": receipt["checksum"],
        **(card.get("facts") or {}),
    }
    table = "\n".join(f"| {label} | {value} |" for label, value in facts.items())
    masked = receipt["density"] < 1
    note = (
        " Its masks are optimer's own: mergekit draws others, so that file gives a sibling of this "
        "model, not this model." if masked else ""
    )  # fmt: skip
    return f"""---
{yaml.safe_dump(head, sort_keys=True, allow_unicode=True)}---

# {card.get("title") or "Merged model"}

Base model plus weighted distribution vectors: θ(w) = θ_0 + merge(w, τ). Made by `optimer`, an
implementation of [OptiMer](https://arxiv.org/abs/2603.28858), without further training.

| Vector | Merge weight |
|---|---|
{weights}

| | |
|---|---|
{table}

`recipe.yaml` is the merge as a mergekit recipe.{note}
Chat template, tokenizer and generation settings are those of the instruction-tuned model.
"""
