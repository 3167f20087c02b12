"""Section `report`: tables and figures."""

from __future__ import annotations

from pydantic import Field

from optimer.schema.common import Section


class ReportParams(Section):
    """What the report shows."""

    pca_components: int = Field(ge=2, le=3)
    """Axes of the PCA figures."""

    confidence: float = Field(gt=0.5, lt=1)
    """Coverage of the intervals printed beside scores."""

    figures_model: str
    """Dataset whose CPT trajectory is drawn (Figure 5)."""

    figures_combination: str
    """Combination whose search dynamics are drawn (Figure 6)."""
