"""Section `corpus`: what is sampled, how much, and how it is packed."""

from __future__ import annotations

from pydantic import Field

from optimer.schema.common import Count, Fraction, Name, Section


class DecontaminationParams(Section):
    """Removal of documents that share long n-grams with benchmark items."""

    ngram: int = Field(ge=0)
    """Length of a shared n-gram, in tokens; 0 switches decontamination off."""

    max_removed: Fraction
    """Share of documents above which the run stops: so much overlap is a wrong corpus."""


class CorpusParams(Section):
    """Sampling of the CPT datasets."""

    datasets: dict[Name, str] = Field(min_length=1)
    """Datasets of the pool, in table order: name -> label. Sources: data/sources.tsv."""

    token_budget: Count
    """Tokens of each dataset that one CPT run sees."""

    sequence_length: int = Field(ge=8)
    """Length of a packed sequence, in tokens."""

    reserve: float = Field(ge=1, le=100)
    """Tokens sampled per dataset, as a multiple of the budget, so that a mixture can extend it."""

    max_bad_lines: Fraction
    """Share of unreadable lines above which a source is refused."""

    decontamination: DecontaminationParams
