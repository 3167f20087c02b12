"""Trained tiny pools as the sampler benchmarks see them: a live engine, and recorded points.

A pool is the working directory of a finished run of scale tiny (`workflow/seeds.py` makes them);
it is only read. Five-dataset and Table 2 combinations are added here, since params name three.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from optimer.evaluation.itemscores import ItemScores
from optimer.search.samplers.points import Bounds, known_points, sobol
from optimer.search.space import bounds

DATASETS = {"ja_zh_math": ("ja", "zh", "math"), "all": ("en", "ja", "zh", "math", "code")}
PROXIES = {
    "ja_zh_math": ("math_sum", "ja_gen", "zh_facts"),
    "all": ("en_know", "ja_gen", "zh_facts", "math_sum", "code_out"),
}
SPLITS = ("search", "rerank", "report")
BOUNDS_IT, BOUNDS_DATASET = (0.3, 1.0), (0.0, 1.0)


def pool_bounds(combination: str) -> Bounds:
    names = ["it", *(f"cpt_{name}" for name in DATASETS[combination])]
    return bounds(names, BOUNDS_IT, BOUNDS_DATASET)


def points(combination: str, n: int, seed: int) -> list[dict[str, float]]:
    """n Sobol points, then the known ones."""
    ranges = pool_bounds(combination)
    return sobol(ranges, n, 1000 + seed) + known_points(ranges)


@contextmanager
def live(root: Path, combination: str, seed: int, params_file: Path):
    """An engine over the pool in `root`, prepared for all three splits; cwd is `root` meanwhile."""
    import torch

    from optimer.evaluation.folder import load_tokenizer
    from optimer.evaluation.harness import Harness
    from optimer.experiment import density, tokenizer_folder
    from optimer.merging.pool import Pool
    from optimer.params import load
    from optimer.paths import Paths
    from optimer.search.engines.huggingface import HuggingFaceEngine

    torch.set_num_threads(1)
    params = load(params_file.resolve(), "tiny", {"seed": seed})
    home = Path.cwd()
    os.chdir(root)
    try:
        paths = Paths("tiny")
        harness = Harness(params, paths, load_tokenizer(tokenizer_folder(params, paths)),
                          PROXIES[combination], SPLITS)  # fmt: skip
        method = params.merge.method
        pool = Pool.open(
            paths.model("base"), {name: paths.vector(name) for name in pool_bounds(combination)},
            method, density(params, method), params.seed, params.merge.exclude,
        )  # fmt: skip
        engine = HuggingFaceEngine(
            pool, harness, paths.model("base"), paths.model("it"), params.model.dtype
        )
        yield engine
        engine.close()
    finally:
        os.chdir(home)


def objective(items: Mapping[str, ItemScores]) -> float:
    """Unweighted mean of the tasks, in percent."""
    return float(np.mean([record.percent for record in items.values()]))
