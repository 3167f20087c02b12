"""Composition in place against a plain copy: bytes moved per second, both in one run.

Run from the repository root (8 GB of disk in --folder, 8 GB of memory):

    OMP_NUM_THREADS=2 python benchmarks/compose.py

A random-weight Qwen3 of 0.6B in bf16 and three vectors are made on the fly. A composition reads the
base and three sources and writes the live parameters; the copy reads the base and writes them,
tensor by tensor too. Rounds alternate, the best of each counts. Every element of every composition
is compared with the chunked reference. Last line: {"fraction_of_copy": linear}.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from random_model import VECTORS, WEIGHTS, make_apart

from optimer.merging.checksum import checksum
from optimer.merging.compose import compose
from optimer.merging.pool import Pool
from optimer.merging.resident import Resident

MERGE_METHODS = (
    ("task_arithmetic", 1.0), ("dare_linear", 0.9), ("ties", 1.0), ("dare_ties", 0.9),
)  # fmt: skip


def seconds(work: Callable[[], object], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def merged_only(resident: Resident) -> Resident:
    """Without the tensors that composition merely copies: these would flatter it."""
    return Resident(
        resident.pool, [part for part in resident.parts if part.sources], resident.compiled
    )


def copy(resident: Resident) -> None:
    for part in resident.parts:
        part.out_P.copy_(part.base_P)


def is_reference(pool: Pool, live: dict[str, torch.Tensor]) -> bool:
    """Every element, bit for bit."""
    for name, tensor in compose(pool, WEIGHTS):
        ours = live[name].cpu().view(torch.int16)
        if not torch.equal(ours.view(-1), tensor.view(torch.int16).view(-1)):
            return False
        pool.release(name)
    return True


def peak_beside(work: Callable[[], object], device: str) -> float:
    """MB a composition takes beside what is resident (on a CPU: Linux's VmHWM over VmRSS)."""
    work()
    if device != "cuda":
        before = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        work()
        return status("VmHWM") - before
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith(key))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=None, help="scratch space")
    parser.add_argument("--made", type=Path, help="a folder filled by random_model.py")
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--methods", nargs="*", default=[name for name, _ in MERGE_METHODS])
    options = parser.parse_args()
    if options.made is not None:
        print(json.dumps({"fraction_of_copy": run(options.made, options)}))
        return
    folder = Path(tempfile.mkdtemp(prefix="optimer-benchmark-", dir=options.folder))
    try:
        print(make_apart(folder / "models", options.layers))
        print(json.dumps({"fraction_of_copy": run(folder / "models", options)}))
    finally:
        shutil.rmtree(folder)


def run(folder: Path, options: argparse.Namespace) -> float:
    device = options.device
    vectors = {name: folder / "vectors" / name for name in VECTORS}
    fractions: dict[str, float] = {}
    print(
        f"{'method':16}{'compose':>9}{'copy':>7}  GB/s{'of copy':>9}{'trial':>10}{'checksum':>10}"
        f"{'prepare':>9}{'compile':>9}{'beside':>9}"
    )
    for method, density in MERGE_METHODS:
        if method not in options.methods:
            continue
        pool = Pool.open(folder / "base", vectors, method, density)
        live = {
            name: torch.zeros(pool.base.shape(name), dtype=pool.base.dtype(name), device=device)
            for name in pool.base.names()
        }
        began = time.perf_counter()
        eager = Resident.of(pool, live, compiled=False)
        prepared = time.perf_counter()
        whole = Resident(pool, eager.parts, compiled=True)
        part = merged_only(whole)
        compile_seconds = time.perf_counter() - prepared
        assert all(kernel.compiled for kernel in part._kernels.values()), "not compiled"
        copy_bytes = sum(2 * p.out_P.numel() * p.out_P.element_size() for p in part.parts)
        beside = peak_beside(lambda whole=whole: whole.compose(WEIGHTS), device)
        times: dict[str, list[float]] = {"compose": [], "copy": [], "trial": [], "checksum": []}
        for _ in range(options.rounds):
            times["copy"].append(seconds(lambda part=part: copy(part), device))
            times["compose"].append(seconds(lambda part=part: part.compose(WEIGHTS), device))
            times["trial"].append(seconds(lambda whole=whole: whole.compose(WEIGHTS), device))
            times["checksum"].append(seconds(lambda live=live: checksum(live), device))
        best = {name: min(values) for name, values in times.items()}
        moved, copied = part.n_bytes / best["compose"] / 1e9, copy_bytes / best["copy"] / 1e9
        fractions[method] = moved / copied
        whole.compose(WEIGHTS)
        assert is_reference(pool, live), f"{method}: not the reference's weights"
        print(
            f"{method:16}{moved:9.1f}{copied:7.1f}      {moved / copied:9.2f}"
            f"{1e3 * best['trial']:7.0f} ms{1e3 * best['checksum']:7.0f} ms"
            f"{prepared - began:7.1f} s{compile_seconds:7.1f} s{beside:6.1f} MB"
        )
        del whole, part, eager, live
        pool.close()
    print(f"{options.device}, {torch.get_num_threads()} threads; every element is the reference's")
    return round(fractions.get("dare_linear", next(iter(fractions.values()))), 3)


if __name__ == "__main__":
    main()
