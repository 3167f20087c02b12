"""Record what a pool answers at many quasi-random merge weights, for replaying samplers offline.

    OMP_NUM_THREADS=1 python benchmarks/record_pool.py . work/tiny/seeds/* --combination ja_zh_math

Each argument is the working directory of a finished run of scale tiny (only read). At 512
scrambled Sobol points and the known points it composes θ(w), scores the search, rerank and report
splits item by item, and keeps each point as it is made: a killed run continues. The result,
`<out>/<combination>_<seed>.parquet`, holds values and choice log-likelihoods of every item, and
the weights. Pools are taken in turn, some points each, so that an early stop leaves equal ones.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from pools import DATASETS, SPLITS, live, objective, points

from optimer.search.itemstore import ItemStore


def seed_of(root: Path) -> int:
    """The seed a working directory was run with, from a search it finished."""
    import yaml

    best = next(iter(sorted((root / "results/tiny/search").glob("*/best.yaml"))))
    return int(yaml.safe_load(best.read_text())["seed"])


def record(
    root: Path, combination: str, out: Path, n_points: int, until: int, params: Path,
    splits: Sequence[str] = SPLITS,
) -> int:  # fmt: skip
    """Record points up to number `until`; returns how many were made now."""
    seed = seed_of(root)
    file = (out / f"{combination}_{seed}.parquet").resolve()
    store = ItemStore((out / f"{combination}_{seed}").resolve())
    wanted = points(combination, n_points, seed)
    # the known points first: few, and every sampler may start from them
    order = [*range(n_points, len(wanted)), *range(n_points)][:until]
    todo = [n for n in order if not all(store.path(n, split).exists() for split in splits)]
    if todo:
        started, cpu = time.perf_counter(), time.process_time()
        with live(root, combination, seed, params) as engine:
            for number in todo:
                engine.compose(wanted[number])
                for split in splits:
                    store.write(number, split, engine.score(split))
        items = store.read(todo[-1], splits[-1])
        print(f"{file.stem}: {len(todo)} points, {time.perf_counter() - started:.0f} s "
              f"({time.process_time() - cpu:.0f} CPU s), last {splits[-1]} {objective(items):.1f}",
              flush=True)  # fmt: skip
    store.compact(file, dict(enumerate(wanted)))  # also of points that an earlier call recorded
    return len(todo)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("roots", nargs="+", type=Path)
    parser.add_argument("--combination", choices=list(DATASETS), default="ja_zh_math")
    parser.add_argument("--points", type=int, default=512)
    parser.add_argument("--block", type=int, default=64, help="points of one pool at a time")
    parser.add_argument("--until", type=int, help="stop after this many points of each pool")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=SPLITS)
    parser.add_argument("--out", type=Path, default=Path("work/bench"))
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    given = parser.parse_args()
    made = 0
    last = given.until or given.points + 16
    for until in [*range(given.block, last, given.block), last]:
        for root in given.roots:
            made += record(root, given.combination, given.out, given.points, until,
                           given.params, given.splits)  # fmt: skip
    print(json.dumps({"points_recorded": made}))


if __name__ == "__main__":
    main()
