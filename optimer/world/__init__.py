"""The generated world of scale tiny: corpora, tokenizer, benchmarks, and the toy model's shape.

A small, deterministic stand-in for the real setting: five datasets that teach facts or skills in
their own style, a broad pre-training mix, instruction data, and benchmarks that need both the
instruction format and a dataset's knowledge. Nothing here imports torch.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

from optimer.receipts import write_atomic
from optimer.schema.world import WorldParams
from optimer.world import tasks, tokenizer
from optimer.world.facts import LANGUAGES
from optimer.world.texts import SUBSETS, World, documents

__all__ = ["generate"]


def generate(out_dir: Path, world: WorldParams) -> dict[str, Any]:
    """Write the whole world below `out_dir`: corpora/, tokenizer/, tasks/.

    Equal params give equal bytes. Returns a summary for the receipt: documents and tokens per
    corpus, vocabulary size, items per task. Raises ParamsError where the params ask for more than
    the word lists hold, ArtifactError where the disk refuses.
    """
    built = World(world)
    wanted = dict.fromkeys(SUBSETS, world.n_documents)
    wanted |= {"pretrain": world.n_pretrain_documents, "instruct": world.n_instruct_documents}
    texts = {name: list(islice(documents(built, name), wanted[name])) for name in SUBSETS}
    words = {name: tokenizer.count(texts[name]) for name in SUBSETS}
    values = (
        language.space + value for language in LANGUAGES.values() for value in language.values
    )
    total = sum(words.values(), Counter(values))  # a choice may be nobody's value
    trained = tokenizer.train(total, world.vocab_size)
    summary: dict[str, Any] = {"vocab_size": trained.get_vocab_size(), "corpora": {}}
    for name, subset in SUBSETS.items():
        _write_shards(out_dir / "corpora" / subset, texts[name], world.n_shards)
        n_tokens = sum(words[name].values())
        summary["corpora"][subset] = {"documents": len(texts[name]), "tokens": n_tokens}
    tokenizer.save(trained, out_dir / "tokenizer", world.architecture.max_position_embeddings)
    summary["tasks"] = tasks.write(built, out_dir / "tasks")
    return summary


def _write_shards(folder: Path, texts: list[str], n_shards: int) -> None:
    """Documents in the layout of LLM-jp Corpus v4: NNNN.jsonl.gz, {"text", "meta"} per line."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    lines = [
        encode({"text": text, "meta": {"id": f"{folder.name}-{index}"}}) + "\n"
        for index, text in enumerate(texts)
    ]
    size = -(-len(lines) // n_shards)
    for shard in range(n_shards):
        raw = "".join(lines[shard * size : (shard + 1) * size]).encode()
        write_atomic(folder / f"{shard:04d}.jsonl.gz", gzip.compress(raw, 3, mtime=0))
