"""Own task files: where data comes from, what prompts look like, how items are judged.

The Hub is out of reach of these tests, so `load_dataset` hands over records of the real columns;
everything else is the real task object on lm-eval's real file.
"""

from __future__ import annotations

import shutil

import datasets
import pytest

from optimer.errors import EvaluationError
from optimer.evaluation.requests import Encoder, build
from optimer.evaluation.stock import own_names, own_task
from optimer.evaluation.tasks import BenchmarkTask, Leaf, load_tasks
from optimer.paths import Paths
from tests.unit.evaluation.toy import make_params

needs_bwrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is absent")
PARQUET = {"revision": "refs/convert/parquet"}

ADD = {
    "prompt": "def add(a, b):\n", "entry_point": "add", "task_id": "HumanEval/0",
    "test": "def check(candidate):\n    assert candidate(2, 3) == 5\n",
    "canonical_solution": "    return a + b\n",
}  # fmt: skip
DOUBLE = {
    "task_id": 11, "text": "Write a function to double a number.",
    "code": "def double(x):\n    return 2 * x",
    "test_list": ["assert double(1) == 2", "assert double(0) == 0", "assert double(4) == 8"],
}  # fmt: skip
COMMON = {"q_id": 0, "question": "空の色は？", "label": 2} | {
    f"choice{n}": color for n, color in enumerate(["赤", "黒", "青", "白", "緑"])
}
SQUAD = {
    "title": "富士山", "context": "富士山 [SEP] 富士山は日本一高い山である。",
    "question": "一番高い山は？",
    "answers": {"text": ["富士山"], "answer_start": [0]},
}  # fmt: skip
JAQKET = {
    "qid": "1", "question": "首都は？", "answers": {"text": ["東京"], "answer_start": [0]},
    "ctxs": {"id": ["1"], "title": ["日本"], "text": ["日本の首都は東京。"], "score": ["1"],
             "has_answer": [True]},
}  # fmt: skip
NLI = {"sentence1": "猫がいる。", "sentence2": "動物がいる。", "label": 0}
MARC = {"sentence": "とても良い。", "label": 0}
XLSUM = {"text": "長い記事。", "summary": "記事。"}
WINOGRAD = {"sentence1": "太郎は勝った。", "sentence2": "次郎は勝った。", "answer": 1}

DATA = {
    "humaneval": ("openai/openai_humaneval", None, {"test": ADD}, {}),
    "mbpp": ("google-research-datasets/mbpp", "full", {"test": DOUBLE}, {}),
    "ja_leaderboard_jcommonsenseqa": ("shunk031/JGLUE", "JCommonsenseQA", {"validation": COMMON},
                                      PARQUET),
    "ja_leaderboard_jnli": ("shunk031/JGLUE", "JNLI", {"validation": NLI}, PARQUET),
    "ja_leaderboard_jsquad": ("shunk031/JGLUE", "JSQuAD", {"validation": SQUAD}, PARQUET),
    "ja_leaderboard_marc_ja": ("shunk031/JGLUE", "MARC-ja", {"validation": MARC}, PARQUET),
    "ja_leaderboard_jaqket_v2": ("kumapo/JAQKET", "v2.0", {"validation": JAQKET}, PARQUET),
    "ja_leaderboard_xlsum": ("mkshing/xlsum_ja", None, {"test": XLSUM}, PARQUET),
    "ja_leaderboard_xwinograd": ("polm-stability/xwinograd-ja", None, {"test": WINOGRAD}, {}),
}  # fmt: skip


@pytest.fixture
def hub(monkeypatch):
    """Calls of load_dataset, answered with two records per split."""
    calls = []

    def load(path, name=None, **options):
        calls.append((path, name, options))
        _, _, splits, _ = next(
            entry for entry in DATA.values() if entry[:2] == (path, name)
        )  # fmt: skip
        ((split, record),) = splits.items()
        rows = [dict(record), dict(record)]
        for key, value in record.items():
            if isinstance(value, str) and key != "entry_point":
                rows[1][key] = value + " "  # another item
        tables = {split: datasets.Dataset.from_list(rows),
                  "train": datasets.Dataset.from_list(rows[1:])}  # fmt: skip
        if path.endswith("mbpp"):
            prompts = [dict(record, task_id=n, text=f"Example {n}.") for n in (1, 4, 2, 3, 5)]
            tables["prompt"] = datasets.Dataset.from_list(prompts)
        tables["validation"] = tables.get("validation", tables[split])
        return datasets.DatasetDict(tables)

    monkeypatch.setattr(datasets, "load_dataset", load)
    return calls


def prompt(name: str, tokenizer, n_shots: int = 1):
    task = own_task(name)
    shots = 0 if task.config.num_fewshot == 0 else n_shots
    docs = list(task.eval_docs)
    leaf = Leaf(name, task, shots)
    return [item.instance for item in build(leaf, docs, [0], Encoder(tokenizer, True))], task


def test_every_file_is_covered():
    assert own_names() == sorted(DATA)


@pytest.mark.parametrize("name", sorted(DATA))
def test_data_comes_from_where_the_file_says(name, hub, tokenizer):
    instances, _ = prompt(name, tokenizer)
    path, config, _, options = DATA[name]
    assert hub == [(path, config, options)]
    assert instances[0].args[0] if name != "ja_leaderboard_xwinograd" else True


def test_mbpp_prompt_has_the_first_example_and_the_task(hub, tokenizer):
    (instance,), _ = prompt("mbpp", tokenizer)
    text, options = instance.args
    assert text.count("You are an expert Python programmer") == 2
    assert text.index("Example 2.") < text.index("Write a function to double a number.")
    assert "Example 3." not in text and "[DONE]" in text
    assert text.endswith("[BEGIN]\n")
    assert options["until"] == ["[DONE]"]


def test_humaneval_stays_zero_shot_and_has_its_stops(hub, tokenizer):
    (instance,), task = prompt("humaneval", tokenizer)
    assert instance.args[0] == ADD["prompt"]
    assert "\ndef" in instance.args[1]["until"]
    assert task.config.num_fewshot == 0
    assert [item.name for item in task._filters] == ["create_test"]


def test_japanese_prompts_and_choices(hub, tokenizer):
    instances, task = prompt("ja_leaderboard_jcommonsenseqa", tokenizer)
    assert [item.args[1] for item in instances] == ["\n赤", "\n黒", "\n青", "\n白", "\n緑"]
    answers = [(-5.0, False), (-4.0, False), (-1.0, True), (-6.0, False), (-7.0, False)]
    assert task.process_results(instances[0].doc, answers) == {"acc": 1.0}
    (squad,), _ = prompt("ja_leaderboard_jsquad", tokenizer)
    assert "文脈：富士山は日本一高い山である。" in squad.args[0]
    (quiz,), _ = prompt("ja_leaderboard_jaqket_v2", tokenizer)
    assert "日本の首都は東京。" in quiz.args[0]
    nli, _ = prompt("ja_leaderboard_jnli", tokenizer)
    assert [item.args[1] for item in nli] == ["\n含意", "\n矛盾", "\n中立"]


def test_an_item_is_not_its_own_example(hub, tokenizer):
    instances, _ = prompt("ja_leaderboard_xwinograd", tokenizer)
    shots = instances[0].args[0]
    assert shots.count("太郎は勝った。") + shots.count("次郎は勝った。") == 1
    assert len(instances) == 2


@needs_bwrap
def test_code_is_judged_in_the_sandbox(hub):
    task = own_task("humaneval")
    doc = task.eval_docs[0]
    assert task.process_results(doc, ["    return a + b\n"]) == {"pass@1": 1.0}
    assert task.process_results(doc, ["    return a - b\n"]) == {"pass@1": 0.0}
    assert task.process_results(doc, ["    import os; os._exit(0)\n"]) == {"pass@1": 0.0}
    task = own_task("mbpp")
    doc = task.eval_docs[0]
    assert task.process_results(doc, [DOUBLE["code"]]) == {"pass_at_1": 1.0}
    assert task.process_results(doc, ["def double(x): return x"]) == {"pass_at_1": 0.0}


def code_columns():
    return [
        {"name": "HE", "tasks": [{"task": "humaneval", "metric": "pass@1,create_test"}]},
        {"name": "MBPP", "tasks": [{"task": "mbpp", "metric": "pass_at_1,none"}]},
    ]


def stock_params(**benchmark):
    """Params without a generated world."""
    params = make_params()
    document = params.model_dump()
    document["benchmark"].update(columns=code_columns(), **benchmark)
    for combination in document["combinations"].values():
        combination["proxies"] = ["mbpp"]
    document["flexibility"]["objectives"] = {"Code": ["mbpp"]}
    document["world"] = None
    document["model"].update(base="org/base", instruct="org/it")
    return type(params).model_validate(document)


def test_code_tasks_are_refused_without_leave_or_sandbox(hub, monkeypatch):
    paths = Paths("small")
    with pytest.raises(EvaluationError, match="benchmark.unsafe_code: false forbids"):
        load_tasks(stock_params(unsafe_code=False), paths)
    from optimer.evaluation import sandbox

    sandbox.available.cache_clear()
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(EvaluationError, match="`bwrap` is not on PATH"):
        load_tasks(stock_params(unsafe_code=True), paths)
    found = load_tasks(stock_params(unsafe_code=True), paths, run=False)  # reading is harmless
    assert isinstance(found["mbpp"], BenchmarkTask)
    assert {name: task.n_shots for name, task in found.items()} == {"humaneval": 0, "mbpp": 1}


def test_xlsum_names_the_packages_it_needs(hub, monkeypatch):
    import sys

    from optimer.evaluation import japanese

    japanese._scorer.cache_clear()
    monkeypatch.setitem(sys.modules, "neologdn", None)
    monkeypatch.setitem(sys.modules, "emoji", None)
    task = own_task("ja_leaderboard_xlsum")
    with pytest.raises(EvaluationError, match="pip install fugashi unidic-lite neologdn emoji"):
        task.process_results(task.eval_docs[0], ["記事。"])


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["small", "paper"])
def test_lm_eval_knows_every_task_of_the_columns(scale):
    from pathlib import Path

    from lm_eval.tasks import TaskManager

    from optimer.params import load

    params = load(Path(__file__).parents[3] / "params.yaml", scale)
    wanted = {spec.task for column in params.benchmark.columns for spec in column.tasks}
    assert wanted - {*TaskManager().all_tasks} - {*own_names()} == set()
