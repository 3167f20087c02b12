"""Every path of the project. Nothing else builds one.

Light files (receipts, tables, figures) lie in `results/{scale}/{phase}/` and are in git. Heavy
artifacts lie in `results/{scale}/artifacts/{phase}/`, ignored by git and tracked by DVC. What a
killed job needs to resume, and live study storage, lie in `work/`, outside every declared output.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PARAMS = Path("params.yaml")
SOURCES = Path("data/sources.tsv")

CORPUS_ROOT_VARIABLE = "OPTIMER_CORPUS_ROOT"
"""Environment variable: folder that relative locations in data/sources.tsv start from."""


def _is_ratio(name: str) -> bool:
    """Whether a file belongs to a model retrained at OptiMer's ratios.

    Those depend on the search, so they lie in folders of their own: a DVC stage may not write
    into the outputs of a stage that comes before it.
    """
    return name.startswith("ratio_")


@dataclass(frozen=True)
class Paths:
    """Paths of one scale, relative to the working directory. `Paths("tiny").table("table1")`."""

    scale: str

    @property
    def results(self) -> Path:
        return Path("results") / self.scale

    @property
    def artifacts(self) -> Path:
        return self.results / "artifacts"

    @property
    def work(self) -> Path:
        return Path("work") / self.scale

    @property
    def resolved_params(self) -> Path:
        return self.results / "params.yaml"

    def _heavy(self, phase: str, name: str) -> Path:
        return (self.artifacts / "ratio" if _is_ratio(name) else self.artifacts) / phase / name

    def _light(self, phase: str, name: str) -> Path:
        return (self.results / "ratio" if _is_ratio(name) else self.results) / phase / name

    # corpus
    @property
    def world(self) -> Path:
        """The generated world of scale tiny: corpora/, tokenizer/, tasks/."""
        return self.artifacts / "corpus" / "world"

    @property
    def world_receipt(self) -> Path:
        return self.results / "corpus" / "world.json"

    @property
    def tasks(self) -> Path:
        """Folder of generated lm-eval task files."""
        return self.world / "tasks"

    @property
    def corpus_root(self) -> Path:
        """Where relative source locations start: the environment's root, else the world's."""
        return Path(os.environ.get(CORPUS_ROOT_VARIABLE) or self.world / "corpora")

    def corpus(self, dataset: str) -> Path:
        """Packed tokens of one dataset (folder)."""
        return self.artifacts / "corpus" / "tokens" / dataset

    def corpus_receipt(self, dataset: str) -> Path:
        return self.results / "corpus" / f"{dataset}.json"

    def mixture(self, model: str) -> Path:
        """Which packed sequences, in which order, one training run sees (small JSON)."""
        return self._light("corpus", f"{model}.json").with_name(f"mixture_{model}.json")

    @property
    def overlap(self) -> Path:
        """n-grams of all benchmark items, for decontamination."""
        return self.artifacts / "corpus" / "overlap" / "ngrams.npy"

    @property
    def overlap_receipt(self) -> Path:
        return self.results / "corpus" / "overlap.json"

    # train
    def model(self, model: str) -> Path:
        """Hugging Face folder of one model (`base`, `it`, `cpt_ja`, …)."""
        return self._heavy("train", model)

    def model_receipt(self, model: str) -> Path:
        return self._light("train", f"{model}.json")

    def training_log(self, model: str) -> Path:
        return self._light("train", f"{model}.csv")

    def trajectory(self, model: str) -> Path:
        """Intermediate models `step_000100/` of one run (folder)."""
        return self._heavy("train", f"{model}_trajectory")

    def training_state(self, model: str) -> Path:
        """Resumable DeepSpeed checkpoints, outside the rule's outputs."""
        return self.work / "train" / model

    # vectors
    def vector(self, name: str) -> Path:
        """Distribution vector (folder of safetensors)."""
        return self._heavy("vectors", name)

    def vector_receipt(self, name: str) -> Path:
        return self._light("vectors", f"{name}.json")

    @property
    def geometry(self) -> Path:
        """Inner products of all vectors, total and per layer (JSON)."""
        return self.results / "vectors" / "geometry.json"

    # search
    def study(self, combination: str) -> Path:
        """Live Optuna journal, outside every declared output."""
        return self.work / "search" / combination / "journal.log"

    def trials(self, combination: str) -> Path:
        return self.results / "search" / combination / "trials.csv"

    def best(self, combination: str) -> Path:
        return self.results / "search" / combination / "best.yaml"

    def recipe(self, combination: str) -> Path:
        return self.results / "search" / combination / "recipe.yaml"

    def items(self, combination: str) -> Path:
        """Every trial's record of every item, one Parquet file."""
        return self.artifacts / "search" / f"{combination}.parquet"

    # benchmark
    def merged(self, row: str) -> Path:
        """Merged model of one table row (Hugging Face folder)."""
        return self.artifacts / "benchmark" / "merged" / row

    def merged_receipt(self, row: str) -> Path:
        return self.results / "benchmark" / "merged" / f"{row}.json"

    def scores(self, row: str) -> Path:
        return self.results / "benchmark" / f"{row}.json"

    def samples(self, row: str) -> Path:
        """Per-item logs of one row (folder)."""
        return self.artifacts / "benchmark" / "samples" / row

    @property
    def mergekit_parity(self) -> Path:
        return self.results / "benchmark" / "mergekit_parity.csv"

    # report
    def table(self, name: str, suffix: str = "csv") -> Path:
        return self.results / "tables" / f"{name}.{suffix}"

    def figure(self, name: str, suffix: str = "svg") -> Path:
        return self.results / "figures" / f"{name}.{suffix}"
