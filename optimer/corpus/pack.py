"""Documents to packed sequences: the model's own tokenizer, explicit BOS and EOS, fixed length.

The stream BOS d_1 EOS BOS d_2 EOS … is cut every L tokens, so row i depends only on the documents
before its end. Rows go to disk as they fill; memory holds less than one batch and one row.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from optimer.errors import ArtifactError, CorpusError
from optimer.tokens import TOKENS_FILE, vocabulary_fingerprint


class DocumentTokenizer:
    """A model's fast tokenizer. Raises CorpusError when it cannot pack for that model."""

    def __init__(self, folder: Path) -> None:
        # The tokenizer's threads are Rust's; let them obey what the rule gave this process.
        if "OMP_NUM_THREADS" in os.environ:
            os.environ.setdefault("RAYON_NUM_THREADS", os.environ["OMP_NUM_THREADS"])
        if not folder.is_dir():
            raise CorpusError(
                f"{folder}: no tokenizer there. Make the world or fetch the base model first."
            )
        try:
            tokenizer: Any = _tokenizer_class(folder).from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError) as error:
            first = str(error).strip().splitlines()[0]
            raise CorpusError(
                f"{folder}: the tokenizer does not load ({first}). Fetch the base model again."
            ) from error
        if not tokenizer.is_fast:
            raise CorpusError(
                f"{folder}: not a fast tokenizer (no tokenizer.json). Convert it with "
                "transformers before use; slow ones are not supported."
            )
        if tokenizer.eos_token_id is None:
            raise CorpusError(
                f"{folder}: the tokenizer declares no EOS token, so packed documents would run "
                "into each other. Set eos_token in its tokenizer_config.json."
            )
        self.bos: int | None = tokenizer.bos_token_id
        self.eos: int = tokenizer.eos_token_id
        vocabulary = tokenizer.get_vocab()
        self.n_ids = max(vocabulary.values()) + 1
        self.fingerprint = vocabulary_fingerprint(vocabulary)
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        self._check_model(folder)

    def _check_model(self, folder: Path) -> None:
        """Token ids must fit the model that shares the folder (none yet in the toy world)."""
        try:
            config = json.loads((folder / "config.json").read_text())
        except (FileNotFoundError, ValueError):
            return
        n_rows = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size")
        if n_rows is not None and self.n_ids > n_rows:
            raise CorpusError(
                f"{folder}: the tokenizer gives ids up to {self.n_ids - 1}, but the model has "
                f"{n_rows} embeddings (vocab_size). They do not belong together: fetch the base "
                "model again, or correct model.base."
            )

    @property
    def dtype(self) -> type[np.unsignedinteger]:
        """Smallest type that holds every id."""
        return np.uint16 if self.n_ids < 65536 else np.uint32

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Token ids of each text, no BOS or EOS added; int64 of shape [n_tokens]."""
        encoded = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.asarray(item.ids, dtype=np.int64) for item in encoded]

    def decode(self, ids: np.ndarray) -> str:
        return self._backend.decode(ids.tolist(), skip_special_tokens=False)

    def wrap(self, ids: np.ndarray) -> np.ndarray:
        """One document's ids between BOS (where the model has one) and EOS."""
        start = [] if self.bos is None else [self.bos]
        return np.concatenate([start, ids, [self.eos]]).astype(self.dtype)


def _tokenizer_class(folder: Path) -> Any:
    """The generic fast class where the folder declares it, else what AutoTokenizer finds.

    AutoTokenizer would pick the same class, but importing it imports torch (3 s a job).
    """
    try:
        declared = json.loads((folder / "tokenizer_config.json").read_text())["tokenizer_class"]
    except (FileNotFoundError, ValueError, KeyError):
        declared = None
    if declared in ("PreTrainedTokenizerFast", "TokenizersBackend"):
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast
    from transformers import AutoTokenizer

    return AutoTokenizer


class StoreWriter:
    """Writes `tokens.npy` of shape [n_rows, length] row by row; `n_rows` is known at the end."""

    def __init__(self, folder: Path, length: int, dtype: type[np.unsignedinteger]) -> None:
        self.length = length
        self.n_rows = 0
        self._dtype = np.dtype(dtype)
        self._rest = np.empty(0, dtype=dtype)
        self._path = folder / TOKENS_FILE
        self._file = self._path.open("wb")
        self._header()

    def _header(self) -> int:
        """NumPy pads headers for growth along axis 0, so the final one fits over the first."""
        self._file.seek(0)
        shape = {"descr": self._dtype.str, "fortran_order": False}
        np.lib.format.write_array_header_1_0(
            self._file, {**shape, "shape": (self.n_rows, self.length)}
        )
        return self._file.tell()

    def append(self, tokens: Sequence[np.ndarray], limit: int) -> None:
        """Add tokens to the stream; write the rows they fill, up to `limit` rows in all."""
        stream = np.concatenate([self._rest, *tokens])
        n_new = min(len(stream) // self.length, limit - self.n_rows)
        self._file.write(stream[: n_new * self.length].tobytes())
        self.n_rows += n_new
        self._rest = stream[n_new * self.length :].copy()

    def close(self) -> None:
        """Write the final header and flush to disk."""
        self._header()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def abandon(self) -> None:
        self._file.close()


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` that takes its place when the block ends without an error.

    What a killed run left there is removed first. Raises ArtifactError when the disk refuses.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except OSError as error:
        raise ArtifactError(
            f"{folder}: could not be written ({error.strerror or error}); nothing was left "
            "half-written. Free disk space or fix permissions, then run the same command again."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
