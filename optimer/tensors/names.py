"""One name for one tensor, whatever layout a checkpoint was saved in.

Gemma 3 multimodal folders exist in three layouts: the Hub's (`language_model.model.layers.0…`,
`vision_tower.vision_model.…`), the one transformers 5 saves (`vision_tower.…` without
`vision_model`), and the names of the live module (`model.language_model.layers.0…`). Text-only
checkpoints say `model.layers.0…`. Canonical here: the language model as a text-only checkpoint
names it, everything else as the Hub does. So a text-only checkpoint fits a multimodal base.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"

_PREFIXES = (  # first match wins
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    ("model.language_model.", "model."),
    ("model.vision_tower.vision_model.", "vision_tower.vision_model."),
    ("model.vision_tower.", "vision_tower.vision_model."),
    ("vision_tower.vision_model.", "vision_tower.vision_model."),
    ("vision_tower.", "vision_tower.vision_model."),
    ("model.multi_modal_projector.", "multi_modal_projector."),
)
_OTHER_TOWERS = ("vision_tower.", "multi_modal_projector.", "audio_tower.")
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


def canonical(name: str) -> str:
    """Canonical name of a tensor or live parameter; canonical names map to themselves."""
    for prefix, replacement in _PREFIXES:
        if name.startswith(prefix):
            return replacement + name[len(prefix) :]
    return name


def hub_name(name: str, multimodal: bool) -> str:
    """Name a canonical tensor gets in a saved folder (the Hub's layout)."""
    if multimodal and is_language(name):
        return f"language_model.{name}"
    return name


def is_language(name: str) -> bool:
    """Whether a canonical tensor belongs to the language model."""
    return not name.startswith(_OTHER_TOWERS)


def language_tensors(names: Iterable[str]) -> list[str]:
    """The language model's tensors among canonical names, in order."""
    return [name for name in names if is_language(name)]


def is_multimodal(names: Iterable[str]) -> bool:
    """Whether canonical names include another tower than the language model."""
    return any(not is_language(name) for name in names)


def layer_of(name: str) -> int | None:
    """Index of the transformer layer a language tensor belongs to; None outside the layers."""
    found = _LAYER.search(name) if is_language(name) else None
    return int(found.group(1)) if found else None


def excluded(name: str, exclude: Iterable[str]) -> bool:
    """Whether a canonical name contains one of the substrings (mergekit's `filter` rule)."""
    return any(part in name for part in exclude)
