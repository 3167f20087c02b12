"""Section `plan`: the stated cost model behind `optimer plan`. Nothing else reads it."""

from __future__ import annotations

from pydantic import Field

from optimer.schema.common import PositiveFloat, Section


class PlanParams(Section):
    """Achieved speeds of the machine a scale is meant for."""

    device: str = Field(min_length=1)
    """What the figures below were taken on."""

    tflops: PositiveFloat
    """Achieved training speed of one device, in 1e12 FLOP/s at 6·N FLOP per token."""

    trial_device_minutes: PositiveFloat
    """Device-minutes of one search trial."""

    row_device_hours: PositiveFloat
    """Device-hours to score one table row on every benchmark."""

    tokenise_tokens_per_second: PositiveFloat
    """Tokens sampled, tokenised and packed per second and core."""
