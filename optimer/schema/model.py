"""Section `model`: the pair of models a pool starts from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from optimer.schema.common import Section


class ModelParams(Section):
    """Base model θ_0 and its instruction-tuned sibling."""

    name: str = Field(min_length=1)
    """Name of the family in table rows, e.g. "Gemma 3 27B". A toy never carries a real name."""

    base: str = Field(min_length=1)
    """Base model θ_0: Hub id, or `world` for the toy that the scale trains itself."""

    base_revision: str | None
    """Commit of the base model on the Hub; null takes the newest and records it."""

    instruct: str = Field(min_length=1)
    """Instruction-tuned (IT) model: Hub id, or `world`."""

    instruct_revision: str | None
    """Commit of the IT model on the Hub; null takes the newest and records it."""

    dtype: Literal["float32", "bfloat16"]
    """Data type of checkpoints and merged models on disk."""

    trust_remote_code: bool
    """Run code that ships with the model. Off unless you have read that code."""

    parameters: int = Field(ge=1)
    """Parameters of the model (a count), for `optimer plan` only."""
