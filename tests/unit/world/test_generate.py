"""The generated corpora: deterministic, in the LLM-jp layout, with the shares params ask for."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_world import Made, small

from optimer.errors import ParamsError
from optimer.world import generate
from optimer.world.facts import facts
from optimer.world.puzzles import Calculation, Call
from optimer.world.texts import SUBSETS


def _bytes(root: Path) -> dict[str, bytes]:
    files = (file for file in root.rglob("*") if file.is_file())
    return {str(file.relative_to(root)): file.read_bytes() for file in files}


def test_equal_params_give_equal_bytes_wherever_they_are_written(made: Made, tmp_path: Path):
    again = generate(tmp_path / "elsewhere", made.params)
    assert again == made.summary
    assert _bytes(tmp_path / "elsewhere") == _bytes(made.root)


def test_another_seed_gives_other_facts(made: Made):
    one = {(fact.name, fact.attribute.noun): fact.value for fact in facts(made.params, "en")}
    other = {(fact.name, fact.attribute.noun): fact.value for fact in facts(small(seed=4), "en")}
    assert one != other


def test_layout_is_that_of_llm_jp_corpus_v4(made: Made):
    for subset in SUBSETS.values():
        shards = sorted((made.root / "corpora" / subset).iterdir())
        assert [shard.name for shard in shards] == [
            "0000.jsonl.gz", "0001.jsonl.gz", "0002.jsonl.gz",
        ]  # fmt: skip
        with gzip.open(shards[0], "rt", encoding="utf-8") as file:
            first = json.loads(file.readline())
        assert set(first) == {"text", "meta"}
        assert first["meta"] == {"id": f"{Path(subset).name}-0"}


def test_summary_counts_what_is_on_disk(made: Made):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(made.root / "tokenizer" / "tokenizer.json"))
    assert made.summary["vocab_size"] == tokenizer.get_vocab_size()
    for subset, counts in made.summary["corpora"].items():
        texts = made.texts(subset)
        encoded = tokenizer.encode_batch(texts, add_special_tokens=False)
        assert counts == {"documents": len(texts), "tokens": sum(len(item) for item in encoded)}
    assert made.summary["corpora"]["mix/pretrain"]["documents"] == 4000


def test_statements_questions_and_snippets_read_as_written():
    fact = facts(small(seed=0), "en")[0]
    assert fact.statement(0) == f"The {fact.attribute.noun} of {fact.name} is {fact.value}."
    assert fact.question(1) == f"Which {fact.attribute.noun} has {fact.name}?"
    assert fact.value in fact.attribute.values
    assert Calculation("7+5", "12").statement(0) == "7+5=12."
    call = Call("max", (3, 4))
    assert call.snippet(0) == ">>> max([3,4])\n4\n"
    assert call.snippet(2) == "# ([3,4]) to 4\nmax\n"
    assert (call.output_question(1), call.fill_question(0)) == (
        "print(max([3,4]))",
        "# ([3,4]) to 4",
    )


def test_shares_of_the_pretraining_mix(made: Made):
    texts = made.texts("mix/pretrain")
    asked = sum(text.startswith("Q: ") for text in texts) / len(texts)
    assert asked == pytest.approx(0.1, abs=0.02)
    local = {fact.name for fact in facts(made.params, "ja") if fact.group == "local"}
    with_local = sum(any(name in text for name in local) for text in texts) / len(texts)
    # a fifth of the mix is the datasets', a fifth of that Japanese, and some of it only filler
    assert 0.02 < with_local < 0.04


def test_only_a_language_own_dataset_and_the_mix_state_its_local_facts(made: Made):
    local = {fact.name for fact in facts(made.params, "ja") if fact.group == "local"}
    for subset in ("en/en_facts", "zh/zh_facts", "en/en_math", "code/code_python", "mix/instruct"):
        assert not [text for text in made.texts(subset) if any(name in text for name in local)]
    assert any(name in text for text in made.texts("ja/ja_facts") for name in local)


def test_no_benchmark_question_is_asked_in_any_corpus(made: Made):
    entries = "".join("".join(made.texts(subset)) for subset in SUBSETS.values())
    assert entries.count("Q: ") > 1000
    for task in made.summary["tasks"]:
        for item in made.items(task):
            assert f"Q: {item['question']}\n" not in entries


def test_generating_imports_no_torch(tmp_path: Path):
    code = (
        "import sys, json; from pathlib import Path; from optimer.world import generate;"
        "from optimer.schema.world import WorldParams;"
        f"generate(Path({str(tmp_path)!r}), WorldParams.model_validate(json.loads(sys.argv[1])));"
        "assert not {'torch', 'transformers', 'lm_eval'} & set(sys.modules)"
    )
    argument = small(n_pretrain_documents=500).model_dump_json()
    subprocess.run([sys.executable, "-c", code, argument], check=True)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"vocab_size": 100}, "world.vocab_size is 100, but the world has"),
        ({"n_people": 90}, "94 names of the kind 'person' are wanted in 'zh', which has 75"),
        ({"n_items": 61}, "task en_people has only 60 different questions, 61 are wanted"),
    ],
)
def test_impossible_params_say_which_to_change(changes: dict, text: str, tmp_path: Path):
    with pytest.raises(ParamsError) as caught:
        generate(tmp_path, small(**changes))
    assert text in str(caught.value)
    assert "raise" in str(caught.value) or "lower" in str(caught.value)
