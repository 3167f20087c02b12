"""A transformers model in this process, re-composed in place trial after trial.

The model is loaded once from the base folder. Nothing is written to disk and nothing is
remembered between trials.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from optimer.evaluation.folder import load_model
from optimer.evaluation.harness import Harness
from optimer.evaluation.itemscores import ItemScores, item_scores
from optimer.evaluation.live import LiveModel
from optimer.evaluation.splits import Block, Split
from optimer.merging.checksum import checksum
from optimer.merging.pool import Pool
from optimer.merging.resident import Resident


class HuggingFaceEngine:
    """The default engine, on CPU or CUDA; the only one that can differentiate."""

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
        self.resident = Resident.of(pool, self._parameters)

    def compose(self, weights: Mapping[str, float]) -> str:
        """Write θ(w) into the live parameters. Raises MergeError when they do not fit the pool."""
        self.resident.compose(weights)
        return checksum(self._parameters)

    def score(self, split: Split, block: Block | None = None) -> dict[str, ItemScores]:
        """Records of the harness's tasks on one split, or on a block of it."""
        found = self.harness.score(self.backend, split, block)
        return {name: item_scores(score) for name, score in found.items()}

    def close(self) -> None:
        self.pool.close()
