"""The training loop of one process: resume, train to the end, write the model.

The batch of optimizer step k is rows k·B … (k+1)·B − 1 of the mixture's order, dealt to micro
batches and processes in that order, so the position in the data is the step alone.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from optimer.errors import TrainingError
from optimer.seeding import stream_seed
from optimer.training import engine as deepspeed_engine
from optimer.training import state
from optimer.training.build import build_model
from optimer.training.checks import check_ids
from optimer.training.job import Job
from optimer.training.log import LogRow, TrainingLog
from optimer.training.schedule import learning_rate, saves_state, trajectory_steps
from optimer.training.weights import save_model

LOG = "log.csv"
TRAJECTORY = "trajectory"
_REPORT_SECONDS = 5.0

Report = Callable[[str], None]


def run(job: Job, rank: int, world: int, report: Report, started: float) -> dict[str, Any]:
    """Train one job on this process of `world`; returns facts for the receipt.

    Leaves the model at Paths.model, log and trajectory in `job.state`. Collective: every process
    of the group must call it. `started` is time.monotonic() when the job began, for the start-up
    time. Raises TrainingError when the loss is not finite.
    """
    with deepspeed_engine.process_group(rank, world) as device:
        torch.manual_seed(job.seed)
        model = build_model(job.parent, job.settings, device)
        counts = _counts(model)
        engine, optimizer = deepspeed_engine.initialize(model, job.settings)
        done = _resume(job, engine, rank, report)
        log = TrainingLog(job.state / LOG, done) if rank == 0 else None
        report(
            f"{job.model.name}: {job.n_steps} steps of {job.tokens_per_step:,} tokens on "
            f"{world} x {device.type}, ZeRO-{job.settings.zero_stage}, start-up "
            f"{time.monotonic() - started:.1f} s" + (f", resumed after step {done}" if done else "")
        )
        startup = time.monotonic() - started
        _steps(job, engine, device, rank, world, done, log, report)
        files = save_model(
            engine, job.parent, job.paths.model(job.model.name), job.settings,
            job.params.model.dtype,
        )  # fmt: skip
        torch.distributed.barrier()
        if log is not None:
            log.close()
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
        engine.destroy()
    last = log.last if log is not None else None
    seconds = last.seconds if last else 0.0
    return {
        "files": files,
        "device": name,
        "optimizer": optimizer,
        "resumed_after_step": done,
        "startup_seconds": round(startup, 3),
        "seconds": round(seconds, 3),
        "tokens_per_second": round(last.tokens / seconds, 1) if last and seconds else None,
        "final_loss": last.loss if last else None,
        "memory_mb": round(last.memory_mb, 1) if last else None,
        **counts,
    }


def _counts(model: Any) -> dict[str, int]:
    sizes = [(getattr(p, "ds_numel", p.numel()), p.requires_grad) for p in model.parameters()]
    return {
        "n_parameters": sum(size for size, _ in sizes),
        "n_trained_parameters": sum(size for size, trained in sizes if trained),
    }


def _resume(job: Job, engine: Any, rank: int, report: Report) -> int:
    """Load the newest complete checkpoint; returns its step, 0 for a fresh start."""
    if rank == 0:
        state.drop_incomplete(job.state)
    torch.distributed.barrier()
    steps = state.complete_steps(job.state)
    if not steps:
        return 0
    state.load(engine, job.state, steps[-1])
    return steps[-1]


def _steps(
    job: Job, engine: Any, device: torch.device, rank: int, world: int, done: int,
    log: TrainingLog | None, report: Report,
) -> None:  # fmt: skip
    settings, n_steps = job.settings, job.n_steps
    kept = set(trajectory_steps(n_steps, settings.checkpoints)) if job.keeps_trajectory else set()
    seconds = log.seconds if log is not None else 0.0
    reported = clock = time.monotonic()
    for step in range(done, n_steps):
        rate = learning_rate(
            step, n_steps, settings.learning_rate, settings.final_lr_ratio, settings.warmup_ratio
        )
        for group in engine.optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(stream_seed(job.seed, step, rank))  # dropout, where a model has any
        loss = _optimizer_step(job, engine, device, rank, world, step)
        if not math.isfinite(loss):
            raise TrainingError(
                f"{job.paths.mixture(job.model.name)}: the loss of {job.model.name} is {loss} at "
                f"step {step + 1} of {n_steps}. The last complete checkpoint is kept in "
                f"{job.state}. Lower train.learning_rate (now {settings.learning_rate:g}) or "
                "raise train.warmup_ratio, then run the same command again."
            )
        now = time.monotonic()
        seconds, took, clock = seconds + now - clock, now - clock, now
        if log is not None:
            row = LogRow(
                step + 1, (step + 1) * job.tokens_per_step, loss, rate,
                job.tokens_per_step / took, _peak_memory_mb(device), seconds,
            )  # fmt: skip
            log.append(row)
            if now - reported >= _REPORT_SECONDS or step + 1 == n_steps:
                reported = now
                report(_progress(job, row, seconds, done))
        if step + 1 in kept:
            folder = job.state / TRAJECTORY / state.step_name(step + 1)
            save_model(engine, job.parent, folder, settings, job.params.model.dtype)
        if saves_state(step + 1, n_steps, settings.resume_steps):
            state.save(engine, job.state, step + 1)


def _optimizer_step(
    job: Job, engine: Any, device: torch.device, rank: int, world: int, step: int
) -> float:
    """Forward and backward over the step's micro batches, then the update; the batch's loss."""
    micro = job.settings.micro_batch_size
    total = torch.zeros((), device=device)
    for index in range(job.settings.accumulation):
        first = step * job.settings.batch_size + (index * world + rank) * micro
        rows = np.stack([job.data[row] for row in range(first, first + micro)])
        check_ids(job, first, rows, engine.module.config.get_text_config().vocab_size)
        ids = torch.from_numpy(rows).to(device)
        # Documents of one packed row see each other, as in plain packing (the paper is silent).
        loss = engine(input_ids=ids, labels=ids, use_cache=False).loss
        engine.backward(loss)
        engine.step()
        total += loss.detach().float()
    total /= job.settings.accumulation
    if world > 1:
        torch.distributed.all_reduce(total)
        total /= world
    return float(total)


def _progress(job: Job, row: LogRow, seconds: float, done: int) -> str:
    left = (job.n_steps - row.step) * seconds / max(1, row.step)
    return (
        f"{job.model.name}  step {row.step}/{job.n_steps}  loss {row.loss:.3f}  "
        f"lr {row.learning_rate:.2e}  {row.tokens_per_second:,.0f} tokens/s  "
        f"{row.memory_mb:,.0f} MB  {left / 60:.1f} min left"
    )


def _peak_memory_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6  # Linux: KiB
