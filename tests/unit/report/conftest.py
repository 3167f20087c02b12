"""A small experiment with literal result files, written into a temporary working directory."""

import json
from itertools import count

import numpy as np
import pytest
import yaml

from optimer import experiment
from optimer.params import load, read
from optimer.paths import PARAMS, Paths

COLUMNS = ["Facts", "Maths"]


def score_file(row, values, n=100, seed=0, protocol="split", width=4.0):
    """A benchmark JSON as the benchmark phase writes it; `values` in %."""
    columns = {
        name: {"score": value, "low": value - width, "high": value + width, "n": n}
        for name, value in zip(COLUMNS, values, strict=True)
    }
    mean = sum(values) / len(values)
    return {
        "row": row,
        "seed": seed,
        "protocol": protocol,
        "columns": columns,
        "avg": mean,
        "avg_low": mean - 3.0,
        "avg_high": mean + 3.0,
    }


def geometry_file(names, base_norm=10.0):
    """Inner products of fixed random vectors (dimension 40), two layers and an `other` part."""
    draw = np.random.default_rng(7)
    shared = draw.normal(size=30)
    vectors = np.array([draw.normal(size=30) + 0.6 * shared * (name != "it") for name in names])
    parts = {"0": vectors[:, :10], "1": vectors[:, 10:20], "other": vectors[:, 20:]}
    end = vectors[names.index("cpt_ja")]
    path = [share * end + 0.1 * draw.normal(size=30) for share in (0.3, 0.7, 1.0)]
    path[-1] = end
    return {
        "names": names,
        "gram": (vectors @ vectors.T).tolist(),
        "layers": [{"layer": k, "gram": (part @ part.T).tolist()} for k, part in parts.items()],
        "base_norm": base_norm,
        "trajectory": {
            "cpt_ja": [
                {"step": s, "tokens": 1000 * s, "gram_row": (vectors @ x).tolist(),
                 "norm2": float(x @ x)}
                for s, x in zip((10, 20, 30), path, strict=True)
            ]
        },
        "excluded": ["embed_tokens"],
    }  # fmt: skip


@pytest.fixture
def job(tmp_path, monkeypatch):
    """(params, paths) of scale tiny with two columns; the working directory is temporary."""
    document = read(PARAMS)
    document["scales"]["tiny"]["benchmark"]["columns"] = [
        {"name": name, "tasks": [{"task": name.lower(), "metric": "acc,none"}]} for name in COLUMNS
    ]
    document["scales"]["tiny"]["combinations"] = {
        "ja_math": {"label": "Ja + Math", "datasets": ["ja", "math"], "proxies": ["facts"]},
        "ja_code": {"label": "Ja + Code", "datasets": ["ja", "code"], "proxies": ["facts"]},
        "ja_zh_math": {
            "label": "Ja + Zh + Math", "datasets": ["ja", "zh", "math"], "proxies": ["facts"],
        },
    }  # fmt: skip
    document["scales"]["tiny"]["flexibility"] = {
        "objectives": {"Facts": ["facts"], "Maths": ["maths"]}
    }
    document["scales"]["tiny"]["report"] = {"figures_model": "ja", "figures_combination": "ja_math"}
    monkeypatch.chdir(tmp_path)
    PARAMS.write_text(yaml.safe_dump(document, sort_keys=False))
    return load(PARAMS, "tiny"), Paths("tiny")


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def scores(job):
    """Score files of all 28 rows: row k has Facts 20 + k and Maths 60 - k / 2."""
    params, paths = job
    for k, row in enumerate(experiment.rows(params)):
        write_json(paths.scores(row.id), score_file(row.id, [20.0 + k, 60.0 - k / 2]))
    return job


@pytest.fixture
def searched(job):
    """best.yaml and trials.csv of every combination."""
    params, paths = job
    for key, combination in params.combinations.items():
        weights = {"it": 0.8} | {
            f"cpt_{name}": weight
            for name, weight in zip(combination.datasets, (0.3, 0.1, 0.2), strict=False)
        }
        total = sum(weights.values()) - 0.8
        best = {
            "combination": key, "method": "dare_linear", "density": 0.9, "weights": weights,
            "search_score": 48.5, "rerank_score": 44.25, "trial": 5,
            "ratios": {n: weights[f"cpt_{n}"] / total for n in combination.datasets},
        }  # fmt: skip
        paths.best(key).parent.mkdir(parents=True, exist_ok=True)
        paths.best(key).write_text(yaml.safe_dump(best, sort_keys=False))
        header = ["number", "batch", "phase", *(f"w_{v}" for v in weights), "score"]
        lines = [",".join([*header, "rerank_score"])]
        numbers = count()
        for batch in range(3):
            for place in range(4):
                number = next(numbers)
                line = [number, batch, "random" if batch == 0 else "tpe"]
                line += [round(w * (1 - 0.05 * place), 4) for w in weights.values()]
                rerank = 44.25 if number == 5 else ""
                lines.append(",".join(map(str, [*line, 30.0 + 2.5 * batch + place, rerank])))
        paths.trials(key).write_text("\n".join(lines) + "\n")
    return job


@pytest.fixture
def geometry(job):
    """geometry.json of the tiny pool."""
    params, paths = job
    write_json(paths.geometry, geometry_file(experiment.vectors(params)))
    return job
