"""Section `merge`: merge methods, exclusions, and the baselines of Table 1."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from optimer.schema.common import Fraction, Section

MergeMethod = Literal["task_arithmetic", "ties", "dare_linear", "dare_ties"]
"""Merge methods, by mergekit's names."""

METHODS: tuple[MergeMethod, ...] = ("task_arithmetic", "ties", "dare_linear", "dare_ties")


class MergeParams(Section):
    """How vectors are merged."""

    method: MergeMethod
    """Merge method of the search, of single-CPT rows and of DataMix rows."""

    density: dict[MergeMethod, float]
    """Share of each vector's elements that are kept, per method, in (0, 1]."""

    exclude: list[str]
    """Substrings of tensor names that always come from the base model."""

    alpha_it: Fraction
    """Merge weight of the IT vector in single-CPT and DataMix rows."""

    baselines: list[MergeMethod] = Field(min_length=1)
    """Uniform baselines of every combination, in row order."""
