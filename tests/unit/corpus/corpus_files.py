"""Tiny hand-made corpora and a word-level tokenizer whose ids can be read off the text.

Word `w7` has id 10 + 7; BOS is 1, EOS is 2, unknown words are 0.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[3]
N_WORDS = 1000
HEADER = "scale\tdataset\treader\tlocation\trevision\tlicence\tnote\n"


def write_tokenizer(folder: Path, eos: str | None = "<eos>", n_words: int = N_WORDS) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<unk>", "<bos>", "<eos>", *(f"<unused{i}>" for i in range(7))]
    vocabulary = {
        token: i for i, token in enumerate([*special, *(f"w{i}" for i in range(n_words))])
    }
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"bos_token": "<bos>", "unk_token": "<unk>"} | ({"eos_token": eos} if eos else {})
    PreTrainedTokenizerFast(tokenizer_object=backend, **names).save_pretrained(folder)


def write_gzip(file: Path, lines: Iterable[str | bytes]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    raw = b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines)
    file.write_bytes(gzip.compress(raw))


def document(*words: int) -> str:
    """One JSONL line whose text is the given words: `document(3, 4)` -> "w3 w4"."""
    return json.dumps({"text": " ".join(f"w{i}" for i in words), "meta": {}})
