"""What a search trial costs beside its forward passes, and what others pay for one.

Run from the repository root (14 GB of disk in --folder, 10 GB of memory):

    OMP_NUM_THREADS=2 python benchmarks/trial_overhead.py

* vs_resident: trials (compose, checksum, score) against scoring one resident model as often, the
  two in turns: 100 of each on a small model, fewer on a random-weight Qwen3 of 0.6B in bf16, whose
  ratio is the one reported. Same items, four letter choices each, so both score equal work.
* vs_disk: `mergekit-yaml` to disk, then `lm_eval` in a new process on the same items, for one trial
  of ours. Imports of both are listed apart and taken off.
* vs_mergekit_evolve: mergekit-evolve in memory, or null and what it broke on.

Last line: one JSON object with these names, `reason` beside a null.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from evolve import run_evolve
from final_merge import recipe
from random_model import VECTORS, extract_vectors, make_models, measure, qwen3

ROOT = Path(__file__).resolve().parents[1]
SMALL = {"n_layers": 4, "width": 256, "vocabulary": 2048}
TASK = "letters"
WORDS = ("the", "of", "a", "river", "city", "north", "south", "old", "stone", "bridge", "harbour",
         "road", "market", "light", "rain", "hill")  # fmt: skip


def save_tokenizer(folder: Path) -> None:
    """Byte-level, without merges: every checkout makes the same one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["<s>", "</s>", "<pad>", *letters]
    inner = Tokenizer(models.BPE({word: place for place, word in enumerate(words)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    ).save_pretrained(folder)


def write_task(folder: Path, n_items: int, n_words: int) -> None:
    """A multiple-choice task of `n_items` questions that differ from their first word on."""
    folder.mkdir(parents=True)
    items = []
    for n in range(n_items):
        text = " ".join(WORDS[(n * 7 + i * i + i * n) % len(WORDS)] for i in range(n_words))
        items.append({"question": f"{n} {text}", "answer": n % 4})
    data = folder / f"{TASK}.jsonl"
    data.write_text("".join(json.dumps(item) + "\n" for item in items))
    document = {
        "task": TASK, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test", "output_type": "multiple_choice", "num_fewshot": 0,
        "doc_to_text": "Question: {{question}}?\nA. yes\nB. no\nC. both\nD. neither\nAnswer:",
        "doc_to_target": "answer", "doc_to_choice": ["A", "B", "C", "D"],
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }  # fmt: skip
    (folder / f"{TASK}.yaml").write_text(yaml.safe_dump(document))


def open_engine(folder: Path, n_items: int, n_words: int) -> Any:
    """The engine a search uses, on the models in `folder`; the task lies in folder/run."""
    from transformers import AutoTokenizer

    from optimer.evaluation.harness import Harness
    from optimer.merging.pool import Pool
    from optimer.params import load
    from optimer.paths import Paths
    from optimer.schema import Params
    from optimer.search.engines.huggingface import HuggingFaceEngine

    document = load(ROOT / "params.yaml", "tiny").model_dump()
    column = {"name": TASK, "tasks": [{"task": TASK, "metric": "acc,none"}]}
    document["benchmark"].update(
        columns=[column], n_shots=0, bos=False, backend="hf", batch_size=8, protocol="paper",
        report_items=None,
    )  # fmt: skip
    for combination in document["combinations"].values():
        combination["proxies"] = [TASK]
    document["search"].update(search_items=n_items, rerank_items=n_items)
    (folder / "run").mkdir()
    os.chdir(folder / "run")
    paths = Paths("tiny")
    write_task(paths.tasks, n_items, n_words)
    tokenizer = AutoTokenizer.from_pretrained(folder / "base")
    harness = Harness(Params.model_validate(document), paths, tokenizer, [TASK], ("search",))
    vectors = {name: folder / "vectors" / name for name in VECTORS}
    pool = Pool.open(folder / "base", vectors, "dare_linear", 0.9)
    return HuggingFaceEngine(pool, harness, folder / "base", folder / "base", "bfloat16")


def loops(engine: Any, n_trials: int) -> dict[str, float]:
    """Seconds of scoring a resident model, and of whole trials, `n_trials` of each in turns."""
    from optimer.search.engines import evaluate

    total = dict.fromkeys(("resident", "compose", "score", "cpu_resident", "cpu_trial"), 0.0)
    for number in range(-1, n_trials):
        weights = {name: 0.1 + 0.01 * ((7 * number + k) % 60) for k, name in enumerate(VECTORS)}
        started, cpu = time.perf_counter(), time.process_time()
        engine.score("search")
        seconds, cpu_resident = time.perf_counter() - started, time.process_time() - cpu
        cpu = time.process_time()
        outcome = evaluate(engine, weights, "search")
        if number < 0:
            continue  # the first of each warms caches
        total["resident"] += seconds
        total["compose"] += outcome.seconds_compose
        total["score"] += outcome.seconds_score
        total["cpu_resident"] += cpu_resident
        total["cpu_trial"] += time.process_time() - cpu
    return total


def trials(folder: Path, label: str, n_trials: int, n_items: int, n_words: int) -> dict[str, float]:
    started = time.perf_counter()
    engine = open_engine(folder, n_items, n_words)
    ready = time.perf_counter() - started
    found = loops(engine, n_trials)
    n_parameters = sum(p.numel() for p in engine.backend.model.parameters())
    kind = "compiled" if engine.resident.compiled else "eager"
    both = found["compose"] + found["score"]
    ratio, cpu = both / found["resident"], found["cpu_trial"] / found["cpu_resident"]
    print(
        f"{label}: {n_parameters / 1e6:.0f}M parameters, {n_items} items of "
        f"{len(engine.harness.first_prompt_ids[TASK])} tokens, {n_trials} trials ({kind}): "
        f"{found['resident'] / n_trials:.3f} s resident, {both / n_trials:.3f} s a trial, of which "
        f"compose and checksum {found['compose'] / n_trials:.3f}; ratio {ratio:.3f} "
        f"(CPU seconds {cpu:.3f}), 1 + compose / score "
        f"{1 + found['compose'] / found['score']:.3f}; engine ready in {ready:.1f} s",
        flush=True,
    )
    engine.close()
    return {"ratio": ratio, "trial": both / n_trials}


def disk(folder: Path, n_items: int, device: str) -> tuple[float, float]:
    """Seconds of the obvious way for one trial: without imports, and as a user waits for it."""
    log = folder / "output.txt"
    folder_bin = Path(sys.executable).parent
    imports = [
        measure([sys.executable, "-c", f"import {module}"], log).wall
        for module in ("mergekit.scripts.run_yaml", "lm_eval.models.huggingface, lm_eval.evaluator")
    ]
    merged = folder / "merged"
    merge = measure([
        str(folder_bin / "mergekit-yaml"), str(recipe(folder, "dare_linear", 0.9)), str(merged),
        "--no-write-model-card", "--quiet", "--random-seed", "0", "--copy-tokenizer",
    ], log).wall  # fmt: skip
    score = measure([
        str(folder_bin / "lm_eval"), "run", "--model", "hf", "--model_args",
        f"pretrained={merged},dtype=bfloat16,add_bos_token=False", "--tasks", TASK,
        "--include_path", str(folder / "run" / "results" / "tiny" / "artifacts"),
        "--limit", str(n_items), "--batch_size", "8", "--device", device,
    ], log, HF_HUB_OFFLINE="1").wall  # fmt: skip
    print(
        f"to disk: mergekit-yaml {merge:.1f} s (imports {imports[0]:.1f}), lm_eval {score:.1f} s "
        f"(imports {imports[1]:.1f})",
        flush=True,
    )
    return merge + score - sum(imports), merge + score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=None, help="scratch space")
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--trials", type=int, default=100, help="on the small model")
    parser.add_argument("--large-trials", type=int, default=3)
    parser.add_argument("--items", type=int, default=32)
    parser.add_argument("--words", type=int, default=24, help="of a question, five bytes each")
    parser.add_argument("--device", choices=["cpu", "cuda"])
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"  # what the engine takes
    if options.device not in (None, device):
        raise SystemExit(f"the engine runs on {device} here, not on {options.device}")
    folder = Path(tempfile.mkdtemp(prefix="optimer-benchmark-", dir=options.folder)).resolve()
    try:
        print(json.dumps(run(folder, options, device)))
    finally:
        os.chdir(ROOT)
        shutil.rmtree(folder)


def run(folder: Path, options: argparse.Namespace, device: str) -> dict[str, Any]:
    print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}", flush=True)
    small, large = folder / "small", folder / "large"
    make_models(small, qwen3(**SMALL), save_tokenizer)
    extract_vectors(small)
    trials(small, "small", options.trials, options.items, options.words)
    make_models(large, qwen3(options.layers), save_tokenizer)
    extract_vectors(large)
    ours = trials(large, "large", options.large_trials, options.items, options.words)
    without, waited = disk(large, options.items, device)
    print(f"to disk / ours: {waited / ours['trial']:.1f} with imports, "
          f"{without / ours['trial']:.1f} without")  # fmt: skip
    found: dict[str, Any] = {
        "vs_resident": round(ours["ratio"], 3),
        "vs_disk": round(without / ours["trial"], 1),
    }
    seconds, reason = run_evolve(large, VECTORS, TASK, options.items)
    found["vs_mergekit_evolve"] = seconds and round(seconds / ours["trial"], 1)
    if seconds is None:
        print(f"mergekit-evolve in memory: {reason}")
        found["reason"] = reason
    return found


if __name__ == "__main__":
    main()
