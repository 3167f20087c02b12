"""Model folders, loaded for scoring."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from optimer.errors import ArtifactError


def load_tokenizer(folder: Path) -> Any:
    """Tokenizer of a model folder. Raises ArtifactError when it cannot be read."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{folder}: no readable tokenizer ({error}); run the phase that writes this folder"
        ) from None


def load_model(
    folder: Path, dtype: str, generation_from: Path | None = None, device: str | None = None
) -> Any:
    """The folder's own architecture with its weights, on the GPU where there is one, in eval mode.

    `generation_from` names the folder whose generation settings (end tokens) count; default: its
    own. `device` overrides the choice. Raises ArtifactError when the folder cannot be read.
    """
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        config = json.loads((folder / "config.json").read_text())
        architecture = getattr(transformers, config["architectures"][0])
        model = architecture.from_pretrained(
            folder, dtype=getattr(torch, dtype), local_files_only=True
        )
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ArtifactError(
            f"{folder}: not a readable model folder ({type(error).__name__}: {error}); run the "
            "phase that writes it"
        ) from None
    source = generation_from or folder
    if (source / "generation_config.json").exists():
        model.generation_config = transformers.GenerationConfig.from_pretrained(source)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return model.to(device).eval()
