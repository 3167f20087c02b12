"""One dataset from its sources to a store of packed tokens and a receipt."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from optimer import receipts
from optimer.corpus.decontaminate import Overlap
from optimer.corpus.hub import resolve_revision
from optimer.corpus.pack import DocumentTokenizer, StoreWriter, staged
from optimer.corpus.sample import (
    BUFFER_CHARACTERS,
    BUFFER_DOCUMENTS,
    OPEN_SHARDS,
    interleave,
    shuffle,
)
from optimer.corpus.shards import Tally
from optimer.corpus.sources import shards_of, sources_of
from optimer.errors import CorpusError
from optimer.experiment import sampled_datasets, tokenizer_folder
from optimer.paths import SOURCES, Paths
from optimer.schema import Params
from optimer.seeding import stream_seed
from optimer.tokens import TOKENS_FILE

_BATCH_DOCUMENTS = 1024
_BATCH_CHARACTERS = 2_000_000
_N_QUOTES = 5
_PATIENCE = 10_000  # documents before too much overlap stops the run early

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Budget:
    """What one dataset's store must and may hold, in packed sequences."""

    n_required: int
    n_wanted: int
    tokens: int


def budget_of(params: Params, dataset: str) -> Budget:
    """Sequences of one dataset: `token_budget` at least, `reserve` times that at most.

    The toy family's own datasets (`pretrain`, `instruct`) have their budgets in `world`.
    """
    length = params.corpus.sequence_length
    tokens, reserve = params.corpus.token_budget, params.corpus.reserve
    known = sampled_datasets(params)
    if dataset not in known:
        raise CorpusError(
            f"{dataset!r} is not a dataset of scale {params.scale}; known: {', '.join(known)}. "
            "Add it to corpus.datasets in params.yaml and a row to data/sources.tsv."
        )
    if dataset not in params.corpus.datasets:
        tokens, reserve = getattr(params.world, dataset).token_budget, 1.0
    if tokens < length:
        raise CorpusError(
            f"token budget of {dataset}: {tokens} tokens do not fill one sequence of {length}; "
            "raise the budget or lower corpus.sequence_length."
        )
    return Budget(tokens // length, int(tokens * reserve) // length, tokens)


@dataclass
class _Count:
    documents: int = 0
    removed: int = 0
    bytes: int = 0
    tokens: int = 0
    quotes: list[str] = field(default_factory=list)

    def check_overlap(self, limit: float, dataset: str) -> None:
        if self.removed > limit * self.documents:
            quoted = "\n  ".join(self.quotes)
            raise CorpusError(
                f"{dataset}: {self.removed} of {self.documents} documents share an n-gram with a "
                f"benchmark item; corpus.decontamination.max_removed allows a share of {limit:g}. "
                "Take another corpus (this one may hold the benchmarks), or lengthen "
                f"corpus.decontamination.ngram. First n-grams found:\n  {quoted}"
            )


def sample(
    params: Params, paths: Paths, dataset: str, progress: Progress = lambda _: None
) -> dict[str, Any]:
    """Sample, decontaminate and pack one dataset into `paths.corpus(dataset)`; receipt last.

    Raises CorpusError (source missing, too small, too many bad lines, too much overlap) and
    ArtifactError (disk); nothing incomplete is left behind.
    """
    begun = time.perf_counter()
    budget = budget_of(params, dataset)
    rows = sources_of(SOURCES, params.scale, dataset)
    revisions = [
        resolve_revision(row.location, row.revision or None) if row.reader == "hub" else None
        for row in rows
    ]
    shards = list(chain.from_iterable(shards_of(row, paths.corpus_root) for row in rows))
    tokenizer = DocumentTokenizer(tokenizer_folder(params, paths))
    n = 0 if dataset == "instruct" else params.corpus.decontamination.ngram
    overlap = Overlap.open(paths, n, tokenizer.fingerprint) if n else None

    seed = stream_seed(params.seed, "corpus", dataset)
    tally = Tally(params.corpus.max_bad_lines)
    texts = shuffle(interleave(shards, tally, seed), stream_seed(params.seed, "buffer", dataset))
    count = _Count()
    folder = paths.corpus(dataset)
    paths.corpus_receipt(dataset).unlink(missing_ok=True)
    with staged(folder) as partial:
        writer = StoreWriter(partial, params.corpus.sequence_length, tokenizer.dtype)
        try:
            for batch in batches(texts):
                _pack(batch, tokenizer, overlap, writer, budget.n_wanted, count)
                if count.documents >= _PATIENCE:
                    count.check_overlap(params.corpus.decontamination.max_removed, dataset)
                progress(f"{dataset}: {writer.n_rows}/{budget.n_wanted} sequences")
                if writer.n_rows >= budget.n_wanted:
                    break
            tally.check()
            count.check_overlap(params.corpus.decontamination.max_removed, dataset)
            if writer.n_rows < budget.n_required:
                raise CorpusError(
                    f"{dataset}: its sources hold {count.tokens} tokens, but {budget.tokens} "
                    f"are asked for ({len(shards)} shards, {count.documents} documents read). "
                    "Add rows to data/sources.tsv or lower the token budget in params.yaml."
                )
            writer.close()
        finally:
            writer.abandon()
            texts.close()
    receipt = {
        "dataset": dataset,
        "n_sequences": writer.n_rows,
        "n_sequences_wanted": budget.n_wanted,
        "n_tokens": writer.n_rows * writer.length,
        "sequence_length": writer.length,
        "dtype": np.dtype(tokenizer.dtype).name,
        "bos": tokenizer.bos,
        "eos": tokenizer.eos,
        "vocabulary": tokenizer.fingerprint,
        "documents": {
            "read": count.documents,
            "kept": count.documents - count.removed,
            "removed": count.removed,
            "removed_quotes": count.quotes,
            "text_bytes": count.bytes,
        },
        "lines": {"read": tally.n_lines, "bad": tally.n_bad, "examples": tally.examples},
        "decontamination": {
            "ngram": n,
            "overlap_sha256": receipts.sha256(paths.overlap) if n else None,
        },
        "sources": [
            {
                "reader": row.reader,
                "location": row.location,
                "revision": revision,
                "licence": row.licence,
            }
            for row, revision in zip(rows, revisions, strict=True)
        ],
        "n_shards": len(shards),
        "shuffle": {
            "open_shards": OPEN_SHARDS,
            "documents": BUFFER_DOCUMENTS,
            "characters": BUFFER_CHARACTERS,
        },
        "seed": params.seed,
        "seconds": round(time.perf_counter() - begun, 2),
        "sha256": {TOKENS_FILE: receipts.sha256(folder / TOKENS_FILE)},
        "versions": receipts.versions("numpy", "tokenizers", "transformers", "datasets"),
    }
    receipts.write(paths.corpus_receipt(dataset), receipt)
    return receipt


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Lists of at most 1,024 texts and, single long texts apart, 2M characters."""
    batch: list[str] = []
    size = 0
    for text in texts:
        if batch and (len(batch) == _BATCH_DOCUMENTS or size + len(text) > _BATCH_CHARACTERS):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    if batch:
        yield batch


def _pack(
    batch: list[str],
    tokenizer: DocumentTokenizer,
    overlap: Overlap | None,
    writer: StoreWriter,
    n_wanted: int,
    count: _Count,
) -> None:
    """Add a batch to the store, counting only documents that reach into it."""
    documents = tokenizer.encode(batch)
    shared = overlap.first_shared(documents) if overlap else np.full(len(documents), -1)
    room = n_wanted * writer.length - count.tokens
    kept = []
    for text, ids, position in zip(batch, documents, shared, strict=True):
        if room <= 0:
            break
        count.documents += 1
        count.bytes += len(text.encode())
        if position >= 0:
            count.removed += 1
            if overlap and len(count.quotes) < _N_QUOTES:
                count.quotes.append(tokenizer.decode(ids[position : position + overlap.n]))
            continue
        wrapped = tokenizer.wrap(ids)
        kept.append(wrapped)
        count.tokens += len(wrapped)
        room -= len(wrapped)
    writer.append(kept, n_wanted)
