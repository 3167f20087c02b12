"""The world's tokenizer: one token per word, digit, Han character or punctuation mark.

A word-level vocabulary, since the world is closed: every answer is one token (sums are two), and
no embedding row is spent on fragments. A word carries its leading space, so decoding gives the
text back. Written as a transformers folder without importing transformers.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors

from optimer.errors import ParamsError
from optimer.receipts import write_atomic

SPECIAL = {
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "bos_token": "<bos>",
    "eos_token": "<eos>",
}
_WORD = re.compile(r" ?[A-Za-z]+|[0-9]|[ァ-ヴー]+|[ぁ-ん]+|[\s\S]")

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ ' ' + message['content'] + '\\n' }}"
    "{% else %}{{ 'Q: ' + message['content'] + '\\nA:' }}{% endif %}{% endfor %}"
)
"""The instruction format; a user turn ends with the generation prompt `A:`."""


def count(texts: Iterable[str]) -> Counter[str]:
    """How often each word occurs; the sum is the number of tokens."""
    words: Counter[str] = Counter()
    for text in texts:
        words.update(_WORD.findall(text))
    return words


def train(words: Counter[str], vocab_size: int) -> Tokenizer:
    """Word-level tokenizer that knows all `words`, the frequent ones first.

    Raises ParamsError when there are more words than `vocab_size` holds.
    """
    ranked = sorted(words, key=lambda word: (-words[word], word))
    vocabulary = {word: index for index, word in enumerate([*SPECIAL.values(), *ranked])}
    if len(vocabulary) > vocab_size:
        raise ParamsError(
            f"world.vocab_size is {vocab_size}, but the world has {len(vocabulary)} words; "
            "raise it, or lower n_people, n_places or n_known"
        )
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL["unk_token"]))
    tokenizer.add_special_tokens(list(SPECIAL.values()))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_WORD.pattern), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    bos = SPECIAL["bos_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[(bos, vocabulary[bos])]
    )
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path, max_length: int) -> None:
    """Write tokenizer.json and tokenizer_config.json, loadable with AutoTokenizer."""
    config = {
        **SPECIAL,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    write_atomic(folder / "tokenizer.json", tokenizer.to_str(pretty=True) + "\n")
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False)
    write_atomic(folder / "tokenizer_config.json", text + "\n")
