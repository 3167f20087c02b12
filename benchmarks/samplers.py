"""All samplers at equal budgets on recorded pools, against the paper's 100 TPE trials.

    OMP_NUM_THREADS=1 python benchmarks/record_pool.py . work/tiny/seeds/*    # once
    OMP_NUM_THREADS=1 python benchmarks/samplers.py work/tiny/seeds/* --live

Arguments are working directories of finished tiny runs that nothing was tuned on; their recorded
points (`record_pool.py`) are read from --records. Each study (pool x seed) is replayed offline by
every sampler (`replay.py` says how); what it recommends after 10, 25, 40 and 100 full-trial
equivalents is scored once on the report split. `tpe` is the paper's: batches of 8, 20 random
trials; the others go one by one. Primary endpoint: report score of the recommended point minus
that of `tpe` after 100, paired by study; a sampler matches where the lower end of the one-sided
95 % interval (bootstrap over pools, then studies) is above -0.5 points. With --live the finalists
run in full on the real engine, re-ranking and gradient steps counted in their budget.
Prints tables, writes CSV and SVG to --out, last line one JSON object.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from finalists import run_live
from pools import DATASETS, live, objective
from record_pool import seed_of
from replay import Variant, World, recommended, replay

from optimer.receipts import write_atomic
from optimer.search.itemstore import ItemStore

BUDGETS = (10, 25, 40, 100)
REFERENCE = ("tpe", 100)
MARGIN = 0.5
VARIANTS = {
    "tpe": Variant("tpe", batch=8),
    "tpe_multivariate": Variant("tpe_multivariate", overrides={"n_startup_trials": 10}),
    "gp": Variant("gp"),
    "cmaes": Variant("cmaes"),
    "random": Variant("random"),
    "grid": Variant("grid"),
    "qmc": Variant("qmc"),
    "surface": Variant("surface", known=True, smooth=True),
}
SLOW = ("gp", "surface")  # tenths of a second to seconds a proposal: up to 40 trials

Key = tuple[int, int]
"""(pool, seed of the study)."""


def replays(
    worlds: Mapping[int, World], n_seeds: int, names: Sequence[str], log: Path
) -> dict[tuple[str, int], dict[Key, int]]:
    """{(sampler, budget): {(pool, seed): place recommended}}; kept line by line in `log`."""
    lines = log.read_text().splitlines() if log.exists() else []
    done = {(r["sampler"], r["pool"], r["seed"], r["n_points"]): r for r in map(json.loads, lines)}
    found: dict[tuple[str, int], dict[Key, int]] = defaultdict(dict)
    for seed in range(n_seeds):  # seeds outside: an early stop leaves equally many of each pool
        for name in names:
            budgets = [b for b in BUDGETS if name not in SLOW or b <= 40]
            for pool, world in worlds.items():
                key = (name, pool, seed, len(world.unit))
                if key not in done:
                    chosen = replay(world, VARIANTS[name], seed, max(budgets))
                    places = {
                        str(b): recommended(world, VARIANTS[name], chosen[:b]) for b in budgets
                    }
                    done[key] = {"sampler": name, "pool": pool, "seed": seed,
                                 "n_points": len(world.unit), "places": places}  # fmt: skip
                    with log.open("a") as file:
                        file.write(json.dumps(done[key]) + "\n")
                for budget, place in done[key]["places"].items():
                    found[name, int(budget)][pool, seed] = int(place)
    return found


def score_reports(
    roots: Mapping[int, Path], worlds: Mapping[int, World], found: dict, out: Path, params: Path
) -> None:
    """Fill in the report score of every recommended point, once each."""
    for pool, world in worlds.items():
        store = ItemStore((out / f"{world.combination}_{pool}_report").resolve())
        needed = {places[key] for places in found.values() for key in places if key[0] == pool}
        numbers = sorted(world.numbers[place] for place in needed)
        todo = [n for n in numbers if n not in world.report and store.read(n, "report") is None]
        if todo:
            with live(roots[pool], world.combination, pool, params) as engine:
                for number in todo:
                    engine.compose(world.weights[world.numbers.index(number)])
                    store.write(number, "report", engine.score("report"))
        for number in numbers:
            if number not in world.report:
                items = store.read(number, "report")
                assert items is not None
                world.report[number] = objective(items)


def interval(differences: Mapping[Key, float], n: int = 10_000) -> tuple[float, float]:
    """One-sided 95 % bounds (low, high) of the mean: bootstrap over pools, then their studies."""
    pools = sorted({pool for pool, _ in differences})
    by_pool = [np.array([v for (p, _), v in differences.items() if p == pool]) for pool in pools]
    rng = np.random.default_rng(0)
    means = np.empty(n)
    for place in range(n):
        drawn = rng.integers(len(pools), size=len(pools))
        means[place] = np.mean([rng.choice(by_pool[p], len(by_pool[p])).mean() for p in drawn])
    return float(np.quantile(means, 0.05)), float(np.quantile(means, 0.95))


def table(scores: Mapping[tuple[str, int], Mapping[Key, float]]) -> list[dict]:
    """One row a sampler and budget: mean report score, difference from the reference, bounds."""
    reference = scores[REFERENCE]
    rows = []
    for (name, budget), by_study in scores.items():
        differences = {key: by_study[key] - reference[key] for key in by_study}
        low, high = interval(differences)
        rows.append({
            "sampler": name, "budget": budget, "n_studies": len(by_study),
            "report": round(float(np.mean(list(by_study.values()))), 3),
            "difference": round(float(np.mean(list(differences.values()))), 3),
            "low": round(low, 3), "high": round(high, 3), "matches": bool(low > -MARGIN),
        })  # fmt: skip
    return rows


def show(title: str, rows: Sequence[Mapping]) -> None:
    print(f"\n{title}\n{'sampler':24}{'budget':>7}{'studies':>8}{'report':>8}{'diff':>8}"
          f"{'low':>8}{'high':>8}  matches")  # fmt: skip
    for row in rows:
        print(f"{row['sampler']:24}{row['budget']:7}{row['n_studies']:8}{row['report']:8.2f}"
              f"{row['difference']:8.2f}{row['low']:8.2f}{row['high']:8.2f}  "
              f"{'yes' if row['matches'] else 'no'}")  # fmt: skip


def write(out: Path, stem: str, rows: Sequence[Mapping]) -> None:
    """CSV of the rows and an SVG of difference against budget."""
    import io

    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "optimer"
    from matplotlib import pyplot as plt

    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(out / f"{stem}.csv", text.getvalue())
    figure, axes = plt.subplots(figsize=(7, 4.2))
    for name in dict.fromkeys(row["sampler"] for row in rows):
        line = [row for row in rows if row["sampler"] == name]
        axes.plot([r["budget"] for r in line], [r["difference"] for r in line], "o-", label=name,
                  linewidth=2.5 if name.startswith("surface") else 1, markersize=4)  # fmt: skip
    axes.axhline(0, color="black", linewidth=0.6)
    axes.axhline(-MARGIN, color="black", linewidth=0.6, linestyle="--")
    axes.set(xscale="log", xlabel="full-trial equivalents",
             ylabel="report score minus tpe after 100 (points)",
             title=f"{stem.removeprefix('samplers_')}: scale tiny, "
                   f"{max(row['n_studies'] for row in rows)} studies")  # fmt: skip
    axes.set_xticks(BUDGETS, [str(budget) for budget in BUDGETS])
    axes.legend(fontsize=7, ncols=2)
    figure.savefig(out / f"{stem}.svg", metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)


def matches(rows: Sequence[Mapping]) -> dict[str, int | None]:
    """{sampler: smallest budget that matches, or None}."""
    found: dict[str, int | None] = {}
    for row in sorted(rows, key=lambda row: row["budget"]):
        found.setdefault(row["sampler"], None)
        if found[row["sampler"]] is None and row["matches"]:
            found[row["sampler"]] = row["budget"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("roots", nargs="+", type=Path)
    parser.add_argument("--combination", choices=list(DATASETS), nargs="+",
                        default=list(DATASETS))  # fmt: skip
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--samplers", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--records", type=Path, default=Path("work/bench"))
    parser.add_argument("--out", type=Path, default=Path("work/bench"))
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    given = parser.parse_args()
    roots = {seed_of(root): root.resolve() for root in given.roots}
    answer: dict[str, dict] = {}
    for combination in given.combination:
        worlds = {s: World.load(given.records / f"{combination}_{s}.parquet") for s in roots}
        log = given.records / f"replays_{combination}.jsonl"
        found = replays(worlds, given.seeds, given.samplers, log)
        score_reports(roots, worlds, found, given.records, given.params.resolve())
        scores = {
            key: {(pool, seed): worlds[pool].report[worlds[pool].numbers[place]]
                  for (pool, seed), place in places.items()}
            for key, places in found.items()
        }  # fmt: skip
        rows = table(scores)
        show(f"{combination}: replayed on {', '.join(str(len(w.unit)) for w in worlds.values())} "
             "recorded points", rows)  # fmt: skip
        write(given.out, f"samplers_{combination}", rows)
        answer[combination] = matches(rows)
        if given.live:
            done = run_live(roots, combination, given.seeds, given.records, given.params.resolve())
            rows = table(done)
            show(f"{combination}: live, re-ranking and gradient counted", rows)
            write(given.out, f"samplers_live_{combination}", rows)
            answer[f"{combination}_live"] = matches(rows)
    first, *others = answer  # four weights, unless asked otherwise
    named = {f"trials_to_match_tpe100_{other}": answer[other] for other in others}
    print(json.dumps({"trials_to_match_tpe100": answer[first], **named}))


if __name__ == "__main__":
    main()
