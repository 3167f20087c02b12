"""Section `flexibility`: one pool, several objectives (Table 2 of the paper)."""

from __future__ import annotations

from pydantic import Field, model_validator

from optimer.schema.common import Section


class FlexibilityParams(Section):
    """A study whose records answer several objectives, each without a search of its own."""

    datasets: list[str] = Field(min_length=1)
    """Datasets merged, in table order."""

    objectives: dict[str, list[str]] = Field(min_length=1)
    """Label of an objective -> tasks whose mean score it maximises."""

    @model_validator(mode="after")
    def _tasks(self) -> FlexibilityParams:
        for name, tasks in self.objectives.items():
            if not tasks:
                raise ValueError(f"objectives.{name} has no task; name at least one, or remove it")
        return self

    @property
    def proxies(self) -> list[str]:
        """Every task of every objective, once."""
        return list(dict.fromkeys(task for tasks in self.objectives.values() for task in tasks))
