"""A whole search on a live vLLM, and what happens when its engine is killed."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from optimer.merging.checksum import checksum
from optimer.merging.compose import compose
from optimer.paths import Paths
from tests.vllm_live import pico
from tests.vllm_live.children import in_child

pytestmark = pytest.mark.vllm


def searched(backend: str) -> tuple[Any, list[str]]:
    """Search ja_math with one backend: (trials as plain values, what was said)."""
    from optimer.search.job import search_combination

    said: list[str] = []
    paths = Paths("tiny")
    params = pico.params(backend=backend, sampler="random")
    found = search_combination(params, paths, "ja_math", said.append)
    trials = [
        (trial.weights, trial.outcome.checksum, trial.outcome.scores) for trial in found.trials
        if trial.outcome
    ]  # fmt: skip
    lines = list(csv.DictReader(paths.trials("ja_math").open()))
    best = yaml.safe_load(paths.best("ja_math").read_text())
    assert len(lines) == 8 and best["weights"] == found.best.weights
    assert all(float(line["seconds_compose"]) > 0 for line in lines)
    items = found.best.outcome.items if found.best.outcome else None
    assert items is None or set(items) == {"capitals", "letters", "echo", "both"}
    return trials, said


def test_a_study_on_vllm_has_the_trials_of_one_on_transformers(world):
    root = world(False)
    ours, said = in_child(searched, root, "vllm")
    theirs, _ = in_child(searched, root, "hf")
    assert len(ours) == 8
    for (weights, digest, scores), (others, other_digest, other_scores) in zip(
        ours, theirs, strict=True
    ):
        assert weights == others and digest == other_digest
        assert scores == pytest.approx(other_scores, abs=1e-6)
    checks = [line for line in said if line.startswith("self-check (reload)")]
    assert len(checks) == 4
    again, said = in_child(searched, root, "vllm")
    assert again == ours and not any(line.startswith("trial ") for line in said)


def item_records() -> None:
    """Records of every item agree between engines, value by value."""
    from optimer.search.engines.huggingface import HuggingFaceEngine
    from tests.vllm_live.test_swaps import TRIALS, open_engine, open_harness

    engine, paths = open_engine(), Paths("tiny")
    other = HuggingFaceEngine(
        pico.open_pool(paths), open_harness(paths), paths.model("base"), paths.model("it"),
        "float32",
    )  # fmt: skip
    for weights in TRIALS[:2]:
        assert engine.compose(weights) == other.compose(weights)
        ours, theirs = engine.score("search"), other.score("search")
        assert list(ours) == list(theirs)
        for task, record in ours.items():
            assert record.ids == theirs[task].ids and record.percent == theirs[task].percent
            assert np.array_equal(record.values, theirs[task].values)
            if record.choices is not None:
                expected = theirs[task].choices
                assert expected is not None
                assert np.allclose(record.choices, expected, atol=1e-4, rtol=0)
    one = {"letters": frozenset(ours["letters"].ids[:3])}
    assert list(engine.score("search", one)["letters"].ids) == ours["letters"].ids[:3]


def test_item_records_equal_those_of_the_transformers_engine(world):
    in_child(item_records, world())


def digest_of_first_trial() -> str:
    from tests.vllm_live.test_swaps import TRIALS

    return checksum(compose(pico.open_pool(Paths("tiny")), TRIALS[0]))


def test_a_killed_engine_process_is_named(world):
    done = subprocess.run(
        [sys.executable, "-m", "tests.vllm_live.dies", str(world())],
        capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=1800,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert "digest" in done.stdout, done.stderr[-4000:]
    pool = in_child(digest_of_first_trial, world())
    assert f"digest {pool}\n" in done.stdout
    assert "compose: vLLM's engine process died" in done.stdout
    assert "score: vLLM's engine process died" in done.stdout
    assert "Nothing of the study is lost" in done.stdout
