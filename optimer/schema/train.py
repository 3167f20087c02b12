"""Section `train`: continual pre-training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from optimer.schema.common import Count, Fraction, PositiveFloat, Section


class TrainParams(Section):
    """Full-parameter continual pre-training with DeepSpeed ZeRO and AdamW."""

    learning_rate: PositiveFloat
    """Peak learning rate (no unit)."""

    final_lr_ratio: Fraction
    """Learning rate at the end of the cosine, as a share of the peak."""

    warmup_ratio: Fraction
    """Share of the steps spent on linear warm-up."""

    beta1: Fraction
    """AdamW's decay of the first moment."""

    beta2: Fraction
    """AdamW's decay of the second moment."""

    weight_decay: float = Field(ge=0)
    """Decoupled weight decay (AdamW)."""

    clip: PositiveFloat
    """Gradient clipping, global L2 norm."""

    batch_size: Count
    """Effective batch, in sequences per optimizer step, over all devices."""

    micro_batch_size: Count
    """Sequences per device and forward pass; accumulation makes up the rest of the batch."""

    devices: Count
    """Processes of one run (GPUs; CPU processes where there is no GPU)."""

    zero_stage: Literal[0, 1, 2, 3]
    """DeepSpeed ZeRO stage."""

    precision: Literal["float32", "bfloat16"]
    """Compute type of forward and backward; the optimizer keeps fp32 master weights."""

    activation_checkpointing: bool
    """Recompute activations in the backward pass."""

    frozen: list[str]
    """Substrings of tensor names that are not trained (embeddings and positions)."""

    checkpoints: int = Field(ge=0)
    """Intermediate models kept per run, evenly spaced, for the trajectory figure."""

    trajectory: list[str]
    """Models whose intermediate checkpoints are kept (names as in `optimer plan`)."""

    resume_steps: Count
    """Steps between two resumable checkpoints."""

    @model_validator(mode="after")
    def _batch_divides(self) -> TrainParams:
        per_step = self.micro_batch_size * self.devices
        if self.batch_size % per_step:
            raise ValueError(
                f"batch_size must be a multiple of micro_batch_size x devices = {per_step}, "
                f"got {self.batch_size}; change one of the three"
            )
        return self

    @model_validator(mode="after")
    def _bfloat16_has_masters(self) -> TrainParams:
        if self.precision == "bfloat16" and self.zero_stage == 0:
            raise ValueError(
                "zero_stage 0 keeps no fp32 master weights for bfloat16, so small updates "
                "would be rounded away; use zero_stage 1, 2 or 3, or precision float32"
            )
        return self

    @property
    def accumulation(self) -> int:
        """Forward passes per device and optimizer step."""
        return self.batch_size // (self.micro_batch_size * self.devices)
