"""The world's tokenizer, loaded the way the other phases load it."""

from __future__ import annotations

from collections import Counter

import pytest
from small_world import Made

from optimer.errors import ParamsError
from optimer.world import tokenizer as words
from optimer.world.tasks import TASKS
from optimer.world.texts import SUBSETS


@pytest.fixture(scope="module")
def loaded(made: Made):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(made.root / "tokenizer", local_files_only=True)


def test_special_tokens_are_explicit(loaded):
    assert (loaded.unk_token_id, loaded.pad_token_id) == (0, 1)
    assert (loaded.bos_token_id, loaded.eos_token_id) == (2, 3)
    with_bos = loaded("Q: ")["input_ids"]
    assert with_bos[0] == 2
    assert loaded("Q: ", add_special_tokens=False)["input_ids"] == with_bos[1:]


def test_every_document_comes_back_and_is_known(loaded, made: Made):
    for subset in SUBSETS.values():
        for text in made.texts(subset)[:200]:
            ids = loaded(text, add_special_tokens=False)["input_ids"]
            assert loaded.unk_token_id not in ids
            assert loaded.decode(ids) == text
            assert len(ids) == sum(words.count([text]).values())


def test_answers_are_one_token_and_sums_at_most_two(loaded, made: Made):
    for task in TASKS:
        for item in made.items(task.name):
            prompt = f"Q: {item['question']}\nA:"
            before = loaded(prompt)["input_ids"]
            assert loaded.unk_token_id not in before
            for answer in item.get("choices", [item["answer"]]):
                after = loaded(prompt + task.space + answer)["input_ids"]
                assert after[: len(before)] == before
                extra = after[len(before) :]
                assert 1 <= len(extra) <= (2 if task.topic == "sum" else 1)
                assert loaded.unk_token_id not in extra


def test_chat_template_is_the_instruction_format(loaded):
    turns = [
        {"role": "user", "content": "What is the job of Siku?"},
        {"role": "assistant", "content": "pilot"},
        {"role": "user", "content": "Which land has Kerford?"},
    ]
    assert loaded.apply_chat_template(turns, tokenize=False) == (
        "<bos>Q: What is the job of Siku?\nA: pilot\nQ: Which land has Kerford?\nA:"
    )


def test_ids_follow_frequency_and_then_the_alphabet():
    trained = words.train(Counter({" b": 2, " a": 2, "c": 5}), vocab_size=7)
    assert [trained.id_to_token(index) for index in range(7)] == [
        "<unk>", "<pad>", "<bos>", "<eos>", "c", " a", " b",
    ]  # fmt: skip
    with pytest.raises(ParamsError, match="world.vocab_size is 6, but the world has 7 words"):
        words.train(Counter({" b": 2, " a": 2, "c": 5}), vocab_size=6)
