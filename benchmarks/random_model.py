"""A random-weight Qwen3 and vectors against it, made on the fly for the other benchmarks.

Weights repeat a block of 4 M drawn values, so that half a billion of them cost seconds. Run as a
program it fills a folder: base, one checkpoint a vector (3 % away, embeddings frozen), vectors.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

VECTORS = ("it", "cpt_ja", "cpt_math")
WEIGHTS = (0.6, 0.3, 0.2)
_BLOCK = 1 << 22


def qwen3(n_layers: int, width: int = 1024, vocabulary: int = 151_936):
    """The configuration of Qwen3-0.6B at 28 layers; other widths keep its proportions."""
    from transformers import Qwen3Config

    return Qwen3Config(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=3 * width,
        num_hidden_layers=n_layers, num_attention_heads=width // 64,
        num_key_value_heads=max(1, width // 128), head_dim=128, tie_word_embeddings=True,
        max_position_embeddings=2048, bos_token_id=0, eos_token_id=1, pad_token_id=2,
        dtype="bfloat16", architectures=["Qwen3ForCausalLM"],
    )  # fmt: skip


def make_models(folder: Path, config, save_tokenizer, dtype: torch.dtype = torch.bfloat16) -> int:
    """Base and checkpoints; returns the number of parameters."""
    from transformers import Qwen3ForCausalLM

    from optimer.tensors import ShardWriter

    with torch.device("meta"):
        shapes = {n: tuple(p.shape) for n, p in Qwen3ForCausalLM(config).named_parameters()}
    block = torch.randn(_BLOCK, generator=torch.Generator().manual_seed(0))
    for seed, name in enumerate(("base", *VECTORS)):
        (folder / name).mkdir(parents=True)
        with ShardWriter(folder / name) as writer:
            for index, (tensor, shape) in enumerate(shapes.items()):
                n = torch.Size(shape).numel()
                values = _tiled(block, n, 7919 * index) * 0.02
                if "norm" in tensor:
                    values += 1.0
                values = values.to(dtype)
                if seed and "embed" not in tensor:
                    values = (values + _tiled(block, n, 104_729 * seed + index) * 0.0006).to(dtype)
                writer.add(tensor, values.reshape(shape))
        config.save_pretrained(folder / name)
        save_tokenizer(folder / name)
    return sum(torch.Size(shape).numel() for shape in shapes.values())


def _tiled(block: torch.Tensor, n: int, first: int) -> torch.Tensor:
    first %= len(block)
    n_blocks = (first + n) // len(block) + 1
    return block.repeat(n_blocks)[first : first + n]


def word_tokenizer(folder: Path) -> None:
    """A word-level tokenizer of a thousand words: enough for tools that want one to be there."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = ["<s>", "</s>", "<pad>", "<unk>", *(f"w{i}" for i in range(996))]
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
        unk_token="<unk>",
    ).save_pretrained(folder)  # fmt: skip


def extract_vectors(folder: Path) -> float:
    """Extract the vectors, once for every later merge; returns seconds."""
    from optimer.vectors.extract import extract

    started = time.perf_counter()
    for name in VECTORS:
        extract(folder / "base", folder / name, folder / "vectors" / name, name)
    return time.perf_counter() - started


def make_apart(folder: Path, n_layers: int) -> str:
    """Fill the folder from a process of its own: a child's peak memory starts from its parent's."""
    command = [sys.executable, __file__, str(folder), "--layers", str(n_layers)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip().splitlines()[-1]


@dataclass(frozen=True)
class Cost:
    """What a fresh process took."""

    wall: float
    cpu: float
    peak_gb: float
    output: str


def measure(command: list[str], output: Path, **environment: str) -> Cost:
    """Run a command to its end. Raises SystemExit with its last words when it fails."""
    with output.open("w+") as file:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **environment}
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
    text = output.read_text()
    if status:
        raise SystemExit(f"{' '.join(command[:3])} failed:\n{text[-3000:]}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=28)
    options = parser.parse_args()
    n_parameters = make_models(options.folder, qwen3(options.layers), word_tokenizer)
    seconds = extract_vectors(options.folder)
    print(
        f"{n_parameters / 1e9:.2f}B parameters, bf16, {len(VECTORS)} vectors extracted once in "
        f"{seconds:.1f} s, {torch.get_num_threads()} threads"
    )


if __name__ == "__main__":
    main()
