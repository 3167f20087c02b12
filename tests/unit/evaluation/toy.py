"""A pico Qwen3, a byte-level tokenizer and four small lm-eval tasks, all made on the spot."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import yaml

from optimer.schema import Params

CITIES = ["Oslo", "Rome", "Lima", "Cairo", "Quito", "Minsk", "Accra", "Seoul"]
N_ITEMS = 40


def make_tokenizer(folder: Path):
    """Byte-level BPE with BOS, EOS and padding; its own default puts BOS in front."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    raw.train_from_iterator([f"{city} Question: Answer: the capital" for city in CITIES], trainer)
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    made.save_pretrained(folder)
    return made


def make_model(tokenizer, seed: int = 0):
    """Random pico Qwen3 in float32, with weights large enough to have opinions."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=512,
        initializer_range=0.3, tie_word_embeddings=True, bos_token_id=0, eos_token_id=1,
        pad_token_id=2,
    )  # fmt: skip
    return Qwen3ForCausalLM(config).eval()


def task_file(folder: Path, name: str, items: list[dict], **settings) -> None:
    """One lm-eval task over local JSONL files."""
    data = {}
    for split, chosen in (("test", items[:N_ITEMS]), ("train", items[N_ITEMS:])):
        path = folder / f"{name}_{split}.jsonl"
        path.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in chosen))
        data[split] = str(path)
    base = {
        "task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": data},
        "test_split": "test", "training_split": "train", "fewshot_split": "train",
    }  # fmt: skip
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({**base, **settings}))


def write_tasks(folder: Path) -> None:
    """Four tasks: long choices, letter choices, generation, and a group of the first two."""
    folder.mkdir(parents=True)
    questions = [
        {"question": f"What is the capital of land {n}?", "answer": n % 4,
         "choices": [f"{CITIES[(n + i) % 8]} in the {'north' * (i + 1)}" for i in range(4)]}
        for n in range(N_ITEMS + 6)
    ]  # fmt: skip
    choice = {
        "output_type": "multiple_choice", "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_target": "answer",
        "metric_list": [
            {"metric": m, "aggregation": "mean", "higher_is_better": True}
            for m in ("acc", "acc_norm")
        ],
    }  # fmt: skip
    task_file(folder, "capitals", questions, **choice, doc_to_choice="choices")
    other = [{**item, "question": item["question"].replace("land", "isle")} for item in questions]
    task_file(folder, "letters", other, **choice, doc_to_choice=["A", "B", "C", "D"])
    texts = [{"question": f"say {CITIES[n % 8]} {n}", "answer": CITIES[n % 8]}
             for n in range(N_ITEMS + 6)]  # fmt: skip
    task_file(
        folder, "echo", texts, output_type="generate_until", doc_to_text="{{question}}:",
        doc_to_target="answer", num_fewshot=0,
        generation_kwargs={"until": ["\n", "a"], "max_gen_toks": 12, "do_sample": False},
        metric_list=[{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    )  # fmt: skip
    group = {
        "group": "both", "task": ["capitals", "letters"],
        "aggregate_metric_list": [{"metric": "acc", "aggregation": "mean", "weight_by_size": True}],
    }  # fmt: skip
    (folder / "both.yaml").write_text(yaml.safe_dump(group))


def make_params(**benchmark) -> Params:
    """Resolved params of scale tiny with these tasks as columns."""
    from optimer.params import load

    found = load(Path(__file__).parents[3] / "params.yaml", "tiny")
    document = found.model_dump()
    metrics = {"capitals": "acc_norm,none", "letters": "acc,none", "echo": "exact_match,none",
               "both": "acc,none"}  # fmt: skip
    document["benchmark"].update(
        columns=[{"name": name, "tasks": [{"task": name, "metric": metric}]}
                 for name, metric in metrics.items()],
        n_shots=1, bos=True, backend="hf", batch_size=7, protocol="split", report_items=None,
        split={"search": 0.2, "rerank": 0.2, "report": 0.6},
    )  # fmt: skip
    document["benchmark"].update(benchmark)
    for combination in document["combinations"].values():
        combination["proxies"] = ["capitals", "echo"]
    document["flexibility"]["objectives"] = {"Capitals": ["capitals"], "Echo": ["echo"]}
    document["search"].update(search_items=6, rerank_items=8)
    return Params.model_validate(document)
