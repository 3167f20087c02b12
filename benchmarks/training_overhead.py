"""Tokens per second of training through DeepSpeed against the same loop in plain PyTorch.

    OMP_NUM_THREADS=1 python benchmarks/training_overhead.py [--rounds 6] [--steps 10]

Model, batch and optimizer settings are those of scale `tiny` (random weights, random tokens).
Loops take turns in one process, `--steps` steps at a time, so that a machine that slows down slows
all of them. Figures are medians over rounds; ratios are DeepSpeed's speed over plain's in the same
round, by wall clock and by CPU time (which other jobs on the machine disturb less).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from optimer.params import load
from optimer.schema.train import TrainParams
from optimer.training import engine as deepspeed_engine
from optimer.training.build import build_model

VOCABULARY = 1024


def write_model(folder: Path) -> None:
    """The toy architecture of scale tiny with random weights."""
    world = load(scale="tiny").world
    assert world is not None
    shape = Qwen3Config(
        vocab_size=VOCABULARY, tie_word_embeddings=True, **world.architecture.model_dump()
    )
    torch.manual_seed(0)
    Qwen3ForCausalLM(shape).save_pretrained(folder)


def plain_loop(folder: Path, settings: TrainParams) -> Callable[[torch.Tensor], float]:
    """One optimizer step in plain PyTorch: forward, backward, clip, AdamW."""
    model = build_model(folder, settings, torch.device("cpu"))
    optimizer = torch.optim.AdamW(
        deepspeed_engine.parameter_groups(model, settings),
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
    )
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def step(ids: torch.Tensor) -> float:
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, settings.clip)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step


def deepspeed_loop(folder: Path, settings: TrainParams) -> Callable[[torch.Tensor], float]:
    """One optimizer step through DeepSpeed, as `optimer.training.loop` does it."""
    model = build_model(folder, settings, torch.device("cpu"))
    engine: Any = deepspeed_engine.initialize(model, settings)[0]

    def step(ids: torch.Tensor) -> float:
        loss = engine(input_ids=ids, labels=ids, use_cache=False).loss
        engine.backward(loss)
        engine.step()
        return float(loss.detach())

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=10, help="steps per loop and round")
    options = parser.parse_args()
    params = load(scale="tiny")
    settings = params.train.model_copy(
        update={"batch_size": params.train.micro_batch_size, "devices": 1}
    )
    length = params.corpus.sequence_length
    ids = torch.randint(0, VOCABULARY, (settings.micro_batch_size, length))
    with tempfile.TemporaryDirectory() as name, deepspeed_engine.process_group(0, 1):
        folder = Path(name)
        write_model(folder)
        loops = {"plain PyTorch": plain_loop(folder, settings.model_copy(update={"zero_stage": 0}))}
        for stage in (0, 1, 2, 3):
            staged = settings.model_copy(update={"zero_stage": stage})
            loops[f"DeepSpeed ZeRO-{stage}"] = deepspeed_loop(folder, staged)
        wall: dict[str, list[float]] = {label: [] for label in loops}
        cpu: dict[str, list[float]] = {label: [] for label in loops}
        for step in loops.values():
            step(ids)  # warm-up
        for _ in range(options.rounds):
            for label, step in loops.items():
                clocks = time.perf_counter(), time.process_time()
                for _ in range(options.steps):
                    step(ids)
                wall[label].append((time.perf_counter() - clocks[0]) / options.steps)
                cpu[label].append((time.process_time() - clocks[1]) / options.steps)
    print(f"{ids.numel()} tokens a step, {torch.get_num_threads()} thread(s)")
    for label in loops:
        middle, used = statistics.median(wall[label]), statistics.median(cpu[label])
        print(
            f"{label:<18} {middle * 1e3:7.1f} ms a step ({used * 1e3:6.1f} ms of CPU)  "
            f"{ids.numel() / middle:9,.0f} tokens/s  ratio to plain: wall "
            f"{ratio(wall['plain PyTorch'], wall[label]):.2f}, "
            f"CPU {ratio(cpu['plain PyTorch'], cpu[label]):.2f}"
        )


def ratio(plain: list[float], own: list[float]) -> float:
    """Median over rounds of the speed relative to plain PyTorch in the same round."""
    return statistics.median(a / b for a, b in zip(plain, own, strict=True))


if __name__ == "__main__":
    main()
