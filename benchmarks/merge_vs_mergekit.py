"""One merged model to disk: mergekit-yaml against optimer, on a random-weight Qwen3 of 0.6B.

Run from the repository root (needs about 16 GB of disk in --folder):

    OMP_NUM_THREADS=2 python benchmarks/merge_vs_mergekit.py

Base and three checkpoints are made on the fly in bf16. Each merge runs in a fresh process; wall
and CPU seconds (imports, listed apart, taken off), their ratios and peak resident memory are
printed. In-memory composition, which is what a search trial pays, is printed beside them. On a
machine that others use, CPU seconds are the ones to compare.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

MERGE_METHODS = (("task_arithmetic", 1.0), ("dare_linear", 0.9), ("ties", 1.0))
VECTORS = ("it", "cpt_ja", "cpt_math")
WEIGHTS = (0.6, 0.3, 0.2)

OURS = """
import sys, time
from pathlib import Path
from optimer.merging.pool import Pool
from optimer.merging.write import write_merged
folder, method, density = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
vectors = {n: folder / "vectors" / n for n in sys.argv[4].split(",")}
pool = Pool.open(folder / "base", vectors, method, density)
write_merged(pool, [float(w) for w in sys.argv[5].split(",")], folder / "ours", folder / "base")
"""

IN_MEMORY = """
import sys, time
from pathlib import Path
import torch
from optimer.merging.compose import compose_into
from optimer.merging.pool import Pool
folder, method, density = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
vectors = {n: folder / "vectors" / n for n in sys.argv[4].split(",")}
pool = Pool.open(folder / "base", vectors, method, density)
live = {n: torch.empty(pool.base.shape(n), dtype=pool.base.dtype(n)) for n in pool.base.names()}
for _ in range(3):
    started = time.perf_counter()
    compose_into(pool, [float(w) for w in sys.argv[5].split(",")], live)
    print(time.perf_counter() - started)
"""


def make_models(folder: Path, n_layers: int) -> int:
    """Base and checkpoints of a Qwen3 shape; returns the number of parameters."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from optimer.tensors import ShardWriter

    config = Qwen3Config(
        vocab_size=151_936, hidden_size=1024, intermediate_size=3072, num_hidden_layers=n_layers,
        num_attention_heads=16, num_key_value_heads=8, head_dim=128, tie_word_embeddings=True,
        dtype="bfloat16", architectures=["Qwen3ForCausalLM"],
    )  # fmt: skip
    with torch.device("meta"):
        shapes = {n: tuple(p.shape) for n, p in Qwen3ForCausalLM(config).named_parameters()}
    for seed, name in enumerate(("base", *VECTORS)):
        (folder / name).mkdir(parents=True)
        with ShardWriter(folder / name) as writer:
            for index, (tensor, shape) in enumerate(shapes.items()):
                values = torch.randn(shape, generator=torch.Generator().manual_seed(index)) * 0.02
                if seed and "embed" not in tensor:  # 3 % away from the base, embeddings frozen
                    noise = torch.Generator().manual_seed(1000 * seed + index)
                    values = values.bfloat16() + torch.randn(shape, generator=noise) * 0.0006
                writer.add(tensor, values.bfloat16())
        config.save_pretrained(folder / name)
        _save_tokenizer(folder / name)
    return sum(torch.Size(shape).numel() for shape in shapes.values())


def _save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models

    vocabulary = {"<unk>": 0} | {f"w{i}": i for i in range(1, 1000)}
    Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>")).save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


@dataclass(frozen=True)
class Cost:
    """What a fresh process took."""

    wall: float
    cpu: float
    peak_gb: float
    output: str

    def without(self, imports: Cost) -> tuple[float, float]:
        return self.wall - imports.wall, self.cpu - imports.cpu


def measure(command: list[str]) -> Cost:
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        output.seek(0)
        text = output.read()
    if status:
        raise SystemExit(f"{' '.join(command[:2])} failed:\n{text[-3000:]}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20, text)


def extract_vectors(folder: Path) -> float:
    """Extract the vectors, once for every later merge; returns seconds."""
    from optimer.vectors.extract import extract

    started = time.perf_counter()
    for name in VECTORS:
        extract(folder / "base", folder / name, folder / "vectors" / name, name)
    return time.perf_counter() - started


def recipe(folder: Path, method: str, density: float) -> Path:
    """The same merge for mergekit-yaml: fp32 arithmetic, bf16 result, embeddings from the base."""
    models = [
        {
            "model": str(folder / name),
            "parameters": {
                "weight": [{"filter": "embed_tokens", "value": 0.0}, {"value": weight}],
                "density": density,
            },
        }
        for name, weight in zip(VECTORS, WEIGHTS, strict=True)
    ]
    document = {
        "merge_method": method, "base_model": str(folder / "base"), "dtype": "float32",
        "out_dtype": "bfloat16", "models": models,
    }  # fmt: skip
    file = folder / f"{method}.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=None, help="scratch space")
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--methods", nargs="*", default=[], help="only these")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make is not None:
        prepare(options.make, options.layers)
        return
    folder = Path(tempfile.mkdtemp(prefix="optimer-benchmark-", dir=options.folder))
    try:
        run(folder, options.layers, options.methods)
    finally:
        shutil.rmtree(folder)


def prepare(folder: Path, n_layers: int) -> None:
    """Make the models and extract the vectors; says how long the latter took."""
    n_parameters = make_models(folder, n_layers)
    seconds = extract_vectors(folder)
    print(
        f"{n_parameters / 1e9:.2f}B parameters, bf16, {len(VECTORS)} vectors extracted once in "
        f"{seconds:.1f} s, {torch.get_num_threads()} threads"
    )


def run(folder: Path, n_layers: int, methods: list[str]) -> None:
    # In a process of its own: a child's peak memory starts from its parent's.
    command = [sys.executable, __file__, "--make", str(folder), "--layers", str(n_layers)]
    print(measure(command).output.strip().splitlines()[-1])
    mergekit = shutil.which("mergekit-yaml", path=str(Path(sys.executable).parent))
    assert mergekit is not None
    imports = {
        "mergekit": measure([sys.executable, "-c", "import mergekit.scripts.run_yaml"]),
        "optimer": measure([sys.executable, "-c", "import optimer.merging.write"]),
    }
    for name, cost in imports.items():
        print(f"import {name}: {cost.wall:.1f} s, {cost.cpu:.1f} CPU s")
    vectors, weights = ",".join(VECTORS), ",".join(map(str, WEIGHTS))
    for method, density in MERGE_METHODS:
        if methods and method not in methods:
            continue
        out = folder / "theirs"
        theirs = measure([
            mergekit, str(recipe(folder, method, density)), str(out), "--no-write-model-card",
            "--quiet", "--random-seed", "0",
        ])  # fmt: skip
        shutil.rmtree(out)
        arguments = [str(folder), method, str(density), vectors, weights]
        ours = measure([sys.executable, "-c", OURS, *arguments])
        shutil.rmtree(folder / "ours")
        memory = measure([sys.executable, "-c", IN_MEMORY, *arguments])
        first, *later = (float(line) for line in memory.output.split()[-3:])
        (a, a_cpu), (b, b_cpu) = (
            theirs.without(imports["mergekit"]), ours.without(imports["optimer"])
        )  # fmt: skip
        print(
            f"{method}, density {density}: mergekit {a:.1f} s, {a_cpu:.1f} CPU s, "
            f"{theirs.peak_gb:.1f} GB; optimer {b:.1f} s, {b_cpu:.1f} CPU s, "
            f"{ours.peak_gb:.1f} GB; ratio {a / b:.1f} wall, {a_cpu / b_cpu:.1f} CPU; "
            f"in memory {first:.2f} s the first time, {min(later):.2f} s a trial"
        )


if __name__ == "__main__":
    main()
