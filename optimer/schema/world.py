"""Section `world`: the generated world of scale tiny."""

from __future__ import annotations

from pydantic import Field

from optimer.schema.common import Count, Fraction, PositiveFloat, Section


class ArchitectureParams(Section):
    """Shape of the toy model (Qwen3 text architecture, tied embeddings)."""

    hidden_size: Count
    """Width of the residual stream."""

    intermediate_size: Count
    """Width of the MLP."""

    num_hidden_layers: Count
    """Transformer layers."""

    num_attention_heads: Count
    """Query heads."""

    num_key_value_heads: Count
    """Key and value heads; divides the query heads."""

    head_dim: Count
    """Width of one head."""

    max_position_embeddings: Count
    """Longest sequence, in tokens."""


class RecipeParams(Section):
    """How one of the two toy models is trained; everything else as in section `train`."""

    token_budget: Count
    """Tokens seen."""

    learning_rate: PositiveFloat
    """Peak learning rate (no unit)."""

    batch_size: Count
    """Effective batch, in sequences per optimizer step."""

    warmup_ratio: Fraction
    """Share of the steps spent on linear warm-up."""


class WorldParams(Section):
    """What the generator makes."""

    seed: int = Field(ge=0)
    """Seed of the world: facts, texts and questions. Frozen while `seed` varies."""

    n_people: Count
    """People per language whose facts only that language's dataset teaches; five facts each."""

    n_places: Count
    """Places per language whose facts only that language's dataset teaches; five facts each."""

    n_known: Count
    """Known people, and as many known places, per language: general knowledge; five facts each."""

    n_items: Count
    """Items per benchmark task."""

    n_choices: int = Field(ge=2, le=8)
    """Choices of a multiple-choice item."""

    n_documents: Count
    """Documents of each dataset's corpus."""

    n_pretrain_documents: Count
    """Documents of the pre-training mix."""

    n_instruct_documents: Count
    """Documents of the instruction data."""

    n_shards: Count
    """Files per corpus."""

    instruct_share: Fraction
    """Share of the pre-training mix's documents that are in the instruction format."""

    dataset_share: Fraction
    """Share of the pre-training mix's documents that come from the datasets, equal parts each."""

    vocab_size: int = Field(ge=64)
    """Largest vocabulary, in tokens; generation stops if the world has more words."""

    architecture: ArchitectureParams
    pretrain: RecipeParams
    """Training of the toy base model, from random weights."""

    instruct: RecipeParams
    """Training of the toy IT model, from the toy base model."""
