"""Packed tokens on disk and the order in which one training run reads them.

A store is a folder with `tokens.npy`: uint16 or uint32 of shape [N, L], N packed sequences of L
token ids, read memory-mapped. A mixture (JSON) takes the first rows of one or more stores; the
training order is a seeded shuffle of their union. The corpus phase writes both; training reads
them through `MixtureData`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from optimer.errors import ArtifactError
from optimer.paths import Paths
from optimer.receipts import read

TOKENS_FILE = "tokens.npy"


def vocabulary_fingerprint(vocabulary: Mapping[str, int]) -> str:
    """Hex SHA-256 of all (id, token) pairs in id order.

    Equal for tokenizers that map the same strings to the same ids, whatever their chat template
    or file layout; `tokenizer.get_vocab()` of either library gives the argument.
    """
    digest = hashlib.sha256()
    for token, index in sorted(vocabulary.items(), key=lambda item: (item[1], item[0])):
        digest.update(f"{index}\x1f{token}\x1e".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def open_store(folder: Path) -> np.ndarray:
    """Packed sequences of one store, memory-mapped read-only, shape [N, L].

    Raises ArtifactError when the file is missing, shorter than its header says, or not tokens.
    """
    file = folder / TOKENS_FILE
    try:
        tokens = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ArtifactError(
            f"{file}: no packed tokens there. Run `optimer corpus sample {folder.name}`."
        ) from None
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{file}: not a complete token file ({error}). Delete the folder and run "
            f"`optimer corpus sample {folder.name}` again."
        ) from None
    if tokens.ndim != 2 or tokens.dtype not in (np.uint16, np.uint32):
        raise ArtifactError(
            f"{file}: must be uint16 or uint32 of shape [N, L], found {tokens.dtype} "
            f"{list(tokens.shape)}. Delete the folder and run its corpus phase again."
        )
    return tokens


def order(parts: Sequence[Mapping[str, Any]], seed: int) -> np.ndarray:
    """Which row of which part comes when: int64 of shape [n_sequences, 2], columns (part, row).

    A part contributes rows 0 … n_sequences − 1 of its store; past `n_available` it starts over.
    """
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for index, part in enumerate(parts):
        row = np.arange(part["n_sequences"], dtype=np.int64) % max(1, part["n_available"])
        pairs.append(np.stack([np.full_like(row, index), row], axis=1))
    union = np.concatenate(pairs)
    return union[np.random.Generator(np.random.PCG64(seed)).permutation(len(union))]


class MixtureData:
    """The sequences of one training run, in training order; item i is int64 of shape [L].

    Holds the order (16 bytes a sequence) in memory; tokens stay on disk.
    """

    def __init__(self, mixture: Mapping[str, Any], folders: Mapping[str, Path]) -> None:
        self.mixture = mixture
        self.stores = [open_store(folders[part["dataset"]]) for part in mixture["parts"]]
        self.sequence_length = int(mixture["sequence_length"])
        for part, store in zip(mixture["parts"], self.stores, strict=True):
            expected = (part["n_available"], self.sequence_length)
            if store.shape != expected:
                raise ArtifactError(
                    f"{folders[part['dataset']] / TOKENS_FILE}: the mixture of "
                    f"{mixture['model']} was made for shape {list(expected)}, found "
                    f"{list(store.shape)}. Run `optimer corpus mix {mixture['model']}` again."
                )
        self.order = order(mixture["parts"], int(mixture["order_seed"]))

    @classmethod
    def open(cls, paths: Paths, model: str) -> MixtureData:
        """The data of one model by name. Raises ArtifactError for what is missing or stale."""
        mixture = read(paths.mixture(model))
        names = [part["dataset"] for part in mixture["parts"]]
        return cls(mixture, {name: paths.corpus(name) for name in names})

    @property
    def vocabulary(self) -> str:
        """Fingerprint of the tokenizer that packed the tokens (`vocabulary_fingerprint`)."""
        return str(self.mixture["vocabulary"])

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> np.ndarray:
        part, row = self.order[index]
        return self.stores[part][row].astype(np.int64)
