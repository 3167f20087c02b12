"""The engine of a search: one live model, re-composed and scored trial after trial.

The model is loaded once from the base folder; a trial sends K merge weights, composition happens
in place (optimer.merging.compose), and the harness scores what is then in memory. Nothing is
written to disk and nothing is remembered between trials.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from optimer.evaluation.folder import load_model
from optimer.evaluation.harness import Harness
from optimer.evaluation.live import LiveModel
from optimer.evaluation.splits import Split
from optimer.merging.checksum import checksum
from optimer.merging.compose import compose_into
from optimer.merging.pool import Pool
from optimer.search.study import Outcome, Weights


class Engine(Protocol):
    """What a search needs of an engine; further engines (vLLM) implement the same two methods."""

    def compose(self, weights: Mapping[str, float]) -> str:
        """Make θ(w) the live model; returns the checksum of its weights."""
        ...

    def score(self, split: Split) -> dict[str, float]:
        """Scores of the proxy tasks in percent, of the model that is live now."""
        ...


class HuggingFaceEngine:
    """A transformers model in this process."""

    def __init__(
        self, pool: Pool, harness: Harness, base_dir: Path, it_dir: Path, dtype: str
    ) -> None:
        """`it_dir` gives the generation settings, as it does for exported merges.

        Raises ArtifactError when the base folder cannot be read.
        """
        self.pool = pool
        self.harness = harness
        model = load_model(base_dir, dtype, generation_from=it_dir)
        self.backend = LiveModel(model, harness.tokenizer, harness.params.benchmark.batch_size)
        self._parameters = dict(model.named_parameters())

    def compose(self, weights: Mapping[str, float]) -> str:
        """Write θ(w) into the live parameters. Raises MergeError when they do not fit the pool."""
        compose_into(self.pool, weights, self._parameters)
        return checksum(self._parameters)

    def score(self, split: Split) -> dict[str, float]:
        """Scores of the harness's tasks in percent."""
        return {
            name: score.percent for name, score in self.harness.score(self.backend, split).items()
        }


def evaluate(engine: Engine, weights: Weights, split: Split) -> Outcome:
    """Compose, score, and time both."""
    started = time.perf_counter()
    digest = engine.compose(weights)
    composed = time.perf_counter()
    scores = engine.score(split)
    return Outcome(scores, composed - started, time.perf_counter() - composed, digest)
