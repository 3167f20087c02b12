"""A small generated world, as tests read it."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimer.schema.world import WorldParams

SMALL: dict[str, Any] = {
    "seed": 3,
    "n_people": 4,
    "n_places": 5,
    "n_known": 4,
    "n_items": 50,
    "n_choices": 4,
    "n_documents": 300,
    "n_pretrain_documents": 4000,
    "n_instruct_documents": 900,
    "n_shards": 3,
    "instruct_share": 0.1,
    "dataset_share": 0.2,
    "vocab_size": 700,
    "architecture": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "max_position_embeddings": 64,
    },
    "pretrain": {
        "token_budget": 1000,
        "learning_rate": 1e-3,
        "batch_size": 8,
        "warmup_ratio": 0.1,
    },
    "instruct": {
        "token_budget": 1000,
        "learning_rate": 1e-3,
        "batch_size": 8,
        "warmup_ratio": 0.1,
    },
}


def small(**changes: Any) -> WorldParams:
    """Params of the small world, some of them changed."""
    return WorldParams.model_validate({**SMALL, **changes})


@dataclass(frozen=True)
class Made:
    """A generated world and what `generate` said about it."""

    root: Path
    params: WorldParams
    summary: dict[str, Any]

    def texts(self, subset: str) -> list[str]:
        """All documents of one corpus, in file order."""
        lines = []
        for shard in sorted((self.root / "corpora" / subset).glob("*.jsonl.gz")):
            with gzip.open(shard, "rt", encoding="utf-8") as file:
                lines += [json.loads(line)["text"] for line in file]
        return lines

    def items(self, name: str) -> list[dict[str, Any]]:
        """Rows of one file of the tasks folder, by stem."""
        text = (self.root / "tasks" / f"{name}.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]
