"""Does the toy behave like the real thing? Measured over runs of several seeds, not assumed.

    python benchmarks/tiny_world.py work/tiny/seeds/* .

Arguments are working directories of finished runs of scale tiny (`workflow/seeds.py` makes them).
Prints, as mean ± standard deviation over the runs: cosines and relative norms of the vectors; each
dataset's own benchmark for the IT model, for CPT alone and for IT + CPT (Table 1's single rows);
on all other benchmarks, what CPT alone costs; on the benchmarks that a combination is after, the
searched merge beside the uniform ones and DataMix (Avg of Table 1 also counts the others).
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from pathlib import Path

from optimer import experiment
from optimer.params import load
from optimer.paths import Paths
from optimer.schema import Params

OWN = {
    "en": ["EN-People", "EN-Places", "EN-Gen"],
    "ja": ["JA Avg"],
    "zh": ["ZH-Facts"],
    "math": ["Math-Sum"],
    "code": ["Code-Out", "Code-Fill"],
}


def measure(folder: Path) -> dict[str, float]:
    """{what: number} of one run."""
    import transformers

    from optimer.evaluation.harness import Harness

    home = Path.cwd()
    os.chdir(folder)
    try:
        paths = Paths("tiny")
        seed = json.loads(paths.scores("base_pt").read_text())["seed"]
        params = load(scale="tiny", overrides={"seed": seed})
        tokenizer = transformers.AutoTokenizer.from_pretrained(paths.model("base"))
        harness = Harness(params, paths, tokenizer)
        scores = {}
        for name in ("base", "it", *(f"cpt_{dataset}" for dataset in OWN)):
            model = transformers.AutoModelForCausalLM.from_pretrained(paths.model(name))
            tasks = harness.score(model)
            scores[name] = {
                column.name: statistics.fmean(tasks[item.task].percent for item in column.tasks)
                for column in params.benchmark.columns
            }
        for dataset in OWN:
            row = json.loads(paths.scores(f"single_{dataset}").read_text())
            scores[f"it+cpt_{dataset}"] = {k: v["score"] for k, v in row["columns"].items()}
        return {**geometry(paths), **compare(scores), **targets(params, paths)}
    finally:
        os.chdir(home)


def geometry(paths: Paths) -> dict[str, float]:
    """Cosines and norms, from the inner products."""
    content = json.loads(paths.geometry.read_text())
    names, gram = content["names"], content["gram"]
    at = {name: index for index, name in enumerate(names)}
    norm = {name: gram[at[name]][at[name]] ** 0.5 for name in names}

    def cosine(a: str, b: str) -> float:
        return gram[at[a]][at[b]] / norm[a] / norm[b]

    cpt = [f"cpt_{dataset}" for dataset in OWN]
    pairs = [cosine(a, b) for i, a in enumerate(cpt) for b in cpt[i + 1 :]]
    to_it = [cosine("it", name) for name in cpt]
    return {
        "cos(IT, CPT), mean of 5": statistics.fmean(to_it),
        "cos(IT, CPT), largest |.|": max(map(abs, to_it)),
        "cos(CPT, CPT), mean of 10": statistics.fmean(pairs),
        "cos(CPT, CPT), largest |.|": max(map(abs, pairs)),
        "norm of IT vector, % of base": 100 * norm["it"] / content["base_norm"],
        "norm of CPT vectors, % of base": statistics.fmean(
            100 * norm[name] / content["base_norm"] for name in cpt
        ),
    }


def compare(scores: dict[str, dict[str, float]]) -> dict[str, float]:
    """Own benchmarks, and the others, of base, IT, CPT alone and IT + CPT; in percent."""

    def mean(model: str, columns: list[str]) -> float:
        return statistics.fmean(scores[model][name] for name in columns)

    found = {}
    for dataset, own in OWN.items():
        for model in ("base", "it", f"cpt_{dataset}", f"it+cpt_{dataset}"):
            label = model.replace(f"_{dataset}", "").upper()
            found[f"{dataset}: own benchmarks, {label}"] = mean(model, own)
    for label in ("base", "it", "cpt", "it+cpt"):
        found[f"all other benchmarks, {label.upper()}"] = statistics.fmean(
            mean(
                label if label in ("base", "it") else f"{label}_{dataset}",
                [name for name in scores["base"] if name not in own],
            )
            for dataset, own in OWN.items()
        )
    return found


def targets(params: Params, paths: Paths) -> dict[str, float]:
    """Mean over the own benchmarks of a combination's datasets, in percent, by row."""
    found = {}
    for name, combination in params.combinations.items():
        columns = [column for dataset in combination.datasets for column in OWN[dataset]]
        for row in experiment.blocks(params)[name]:
            scores = json.loads(paths.scores(row.id).read_text())["columns"]
            label = row.method.split(" (")[0]
            found[f"{combination.label}, its own benchmarks: {label}"] = statistics.fmean(
                scores[column]["score"] for column in columns
            )
    return found


def main() -> None:
    runs = [measure(Path(folder)) for folder in sys.argv[1:]]
    print(f"| quantity, {len(runs)} seed(s) | mean | sd |\n| --- | --: | --: |")
    for key in runs[0]:
        values = [run[key] for run in runs]
        spread = statistics.stdev(values) if len(values) > 1 else float("nan")
        digits = 3 if key.startswith("cos") else 1
        print(f"| {key} | {statistics.fmean(values):.{digits}f} | {spread:.{digits}f} |")


if __name__ == "__main__":
    main()
