"""Section `world`: the generated world of scale tiny."""

from __future__ import annotations

from pydantic import Field

from optimer.schema.common import Section


class WorldParams(Section):
    """What the generator makes."""

    seed: int = Field(ge=0)
    """Seed of the world: facts, texts and questions. Frozen while `seed` varies."""
