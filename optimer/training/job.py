"""One training run, resolved: parent, data, settings, number of steps and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimer import experiment, receipts
from optimer.errors import TrainingError
from optimer.paths import Paths
from optimer.schema import Params
from optimer.schema.train import TrainParams
from optimer.tokens import MixtureData
from optimer.training.settings import settings, training_seed

VERSIONED = ("torch", "transformers", "deepspeed", "safetensors")
"""Distributions that take part in training; their versions are in receipt and fingerprint."""


@dataclass(frozen=True)
class Job:
    """Everything one run depends on. Two runs with equal fingerprints are the same run."""

    params: Params
    paths: Paths
    model: experiment.Model
    settings: TrainParams
    parent: Path
    """Hugging Face folder the run starts from."""
    parent_sha: str
    """SHA-256 of the parent's receipt; of its weight files for an initial model without one."""
    data: MixtureData
    seed: int
    fingerprint: str

    @property
    def n_steps(self) -> int:
        """Optimizer steps of the one epoch."""
        return len(self.data) // self.settings.batch_size

    @property
    def n_dropped(self) -> int:
        """Sequences at the end of the order that do not fill a batch, and are not seen."""
        return len(self.data) % self.settings.batch_size

    @property
    def tokens_per_step(self) -> int:
        return self.settings.batch_size * self.data.sequence_length

    @property
    def state(self) -> Path:
        """Folder of what this very run needs to resume."""
        return self.paths.training_state(self.model.name) / self.fingerprint[:16]

    @property
    def keeps_trajectory(self) -> bool:
        return self.model.name in self.settings.trajectory and self.settings.checkpoints > 0


def prepare(params: Params, paths: Paths, name: str, initial: Path | None = None) -> Job:
    """Resolve one run. `initial` is the random model that kind `pretrain` starts from.

    Raises ArtifactError for a missing parent, mixture or store; TrainingError when the mixture
    does not fill one batch; ParamsError for an unknown name.
    """
    model = experiment.model(params, name)
    chosen = settings(params, model)
    if model.parent is None:
        if initial is None:
            raise TrainingError(
                f"{name}: pre-training starts from an initial model, and none was passed. "
                "`optimer train base` builds one; a call from Python passes initial=FOLDER."
            )
        parent, parent_sha = initial, _hash_weights(initial)
    else:
        parent = paths.model(model.parent)
        receipt = paths.model_receipt(model.parent)
        receipts.read(receipt)  # its existence says that the parent is complete
        parent_sha = receipts.sha256(receipt)
    data = MixtureData.open(paths, name)
    stores = {
        part["dataset"]: _sha_if_there(paths.corpus_receipt(part["dataset"]))
        for part in data.mixture["parts"]
    }
    seed = training_seed(params, model)
    identity: dict[str, Any] = {
        "model": name,
        "settings": chosen.model_dump(mode="json"),
        "dtype": params.model.dtype,
        "mixture": data.mixture,
        "stores": stores,
        "parent": parent_sha,
        "seed": seed,
        "versions": receipts.versions(*VERSIONED),
    }
    text = json.dumps(identity, sort_keys=True)
    job = Job(
        params, paths, model, chosen, parent, parent_sha, data, seed,
        hashlib.sha256(text.encode()).hexdigest(),
    )  # fmt: skip
    if job.n_steps < 1:
        raise TrainingError(
            f"{paths.mixture(name)}: {len(data)} sequences do not fill one batch of "
            f"{chosen.batch_size}. Raise the token budget or lower the batch size."
        )
    return job


def _sha_if_there(path: Path) -> str | None:
    return receipts.sha256(path) if path.exists() else None


def _hash_weights(folder: Path) -> str:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise TrainingError(
            f"{folder}: no *.safetensors file, so it is no model to start from. Build it again."
        )
    hashes = receipts.hash_files([*files, folder / "config.json"], folder)
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
