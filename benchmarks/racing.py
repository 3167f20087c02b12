"""What racing saves, what it costs, and how often it stops a trial that was not behind.

    OMP_NUM_THREADS=1 python benchmarks/racing.py [ROOT ...]

Studies of the paper's settings (TPE, 100 trials, batches of 8) run through the real study code on
recorded pools (`benchmarks/record_pool.py`): a trial is answered, item by item, by the nearest
record not used before, so the whole score of a stopped trial is known too. Each study runs once as
it is and once raced. ROOTs are working directories of finished runs of scale tiny; what is not
recorded of them yet is recorded first, and the winners are scored live on their report split.
Without ROOT:
the records in work/bench, else the run in this checkout, whose vectors are made if they are not
there.

With 256 records a pool both kinds of study mostly end at the best record: a difference of 0 says
that racing lost nothing there, not that it never will.

score_difference: winner of the raced study minus winner of the other, in points on the report
split (without ROOT on the search split). false_stop_rate: of the trials that were at least as good
as their incumbent on all items, the share that was stopped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
from pools import live, objective, pool_bounds
from record_pool import record, seed_of
from replay import World

from optimer.evaluation.itemscores import ItemScores
from optimer.search.api import search
from optimer.search.racing import deal, race
from optimer.search.samplers.points import to_unit
from optimer.search.trial import Incumbent, Outcome, Stopped

COMBINATION = "ja_zh_math"
POINTS, UNTIL = 512, 256  # of these points, so many are recorded


@dataclass
class Tally:
    """What the raced studies of one setting did."""

    seen: list[float] = field(default_factory=list)
    """Share of its items that each study scored."""
    pairs: list[tuple[World, int, int]] = field(default_factory=list)
    """(world, winner as it is, winner raced) as places in the record."""
    not_behind: int = 0
    lost: int = 0
    stopped: int = 0
    trials: int = 0


class Nearest:
    """Answers of one study: the record nearest to the weights asked, each at most once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.places: list[int] = []

    def __call__(self, weights: dict[str, float]) -> int:
        at = to_unit(pool_bounds(self.world.combination), weights)
        distance = ((self.world.unit - at) ** 2).sum(1)
        distance[self.places] = np.inf
        self.places.append(int(distance.argmin()))
        return self.places[-1]


def part(whole: dict[str, ItemScores], block) -> dict[str, ItemScores]:
    """Records of a block, as an engine would answer it."""
    found = {}
    for task, names in block.items():
        record = whole[task]
        places = [at for at, name in enumerate(record.ids) if name in names]
        found[task] = ItemScores(
            0.0, [record.ids[at] for at in places], record.values[places],
            scale=record.scale, pooled=record.pooled,
        )  # fmt: skip
    return found


def outcome(items: dict[str, ItemScores], stopped: Stopped | None = None) -> Outcome:
    return Outcome({task: r.percent for task, r in items.items()}, stopped=stopped, items=items)


def study(world: World, seed: int, n_trials: int, blocks: int, false_stop: float, tally: Tally):
    """One study as it is and one raced; adds to the tally."""
    names = list(pool_bounds(world.combination))
    options = {"trials": n_trials, "seed": seed, "name": f"race{world.seed}"}

    plain_at, quick_at = Nearest(world), Nearest(world)
    plain = search(names, lambda w: outcome(world.items[plain_at(w)]), **options)
    dealt = deal({task: r.ids for task, r in world.items[0].items()}, blocks, seed)
    n_items = sum(len(record.ids) for record in world.items[0].values())
    seen = []

    def raced(weights, best: Incumbent | None):
        place = quick_at(weights)
        items = world.items[place]
        if best is None:
            seen.append(n_items)
            return outcome(items)
        found = race(
            lambda block: part(items, block), best.items, best.objective, dealt, false_stop
        )
        seen.append(found.n_seen)
        tally.stopped += found.stopped
        if world.scores[place] >= best.objective - 1e-9:
            tally.not_behind += 1
            tally.lost += found.stopped
        stop = Stopped(found.n_seen, n_items, best.number, found.estimate)
        return outcome(found.records, stop if found.stopped else None)

    with tempfile.TemporaryDirectory() as folder:
        quick = search(
            names, plain_at, race=raced, journal=Path(folder) / "journal.log",
            racing={"enabled": True, "blocks": blocks, "false_stop": false_stop}, **options,
        )  # fmt: skip
    tally.trials += n_trials
    tally.seen.append(sum(seen) / (n_trials * n_items))
    # one worker asks in the order of the trials
    winners = plain_at.places[plain.best.number], quick_at.places[quick.best.number]
    tally.pairs.append((world, *winners))


def report_scores(worlds: list[World], roots: list[Path], tally: Tally, params: Path) -> None:
    """Score every winner of the tally on the report split of its pool, live."""
    for world, root in zip(worlds, roots, strict=True):
        wanted = {place for w, *both in tally.pairs if w is world for place in both}
        with live(root, world.combination, world.seed, params) as engine:
            for place in sorted(wanted - set(world.report)):
                engine.compose(world.weights[place])
                world.report[place] = objective(engine.score("report"))


def differences(tally: Tally) -> list[float]:
    return [
        world.report.get(quick, world.scores[quick]) - world.report.get(plain, world.scores[plain])
        for world, plain, quick in tally.pairs
    ]


def worlds_of(roots: list[Path], out: Path, params: Path) -> list[World]:
    files = sorted(out.glob(f"{COMBINATION}_*.parquet"))
    if roots:
        for root in roots:
            record(root, COMBINATION, out, POINTS, UNTIL, params, ["search"])
        files = [out / f"{COMBINATION}_{seed_of(root)}.parquet" for root in roots]
    elif not files:
        if not list(Path("results/tiny/search").glob("*/best.yaml")):
            print("no finished run of scale tiny here: making one", flush=True)
        subprocess.run(
            [sys.executable, "-m", "snakemake", "--quiet", "--cores", "all", "vectors", "search",
             "--config", "scale=tiny"], check=True,
        )  # fmt: skip
        return worlds_of([Path()], out, params)
    found = [World.load(file) for file in files]
    for world in found:
        world.report.clear()  # by place in the record, filled live
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("roots", nargs="*", type=Path)
    parser.add_argument("--studies", type=int, default=4, help="of each pool")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("work/bench"))
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    given = parser.parse_args()
    worlds = worlds_of(given.roots, given.out, given.params)
    main_setting = (10, 0.05)  # as in params.yaml
    settings = [main_setting, (10, 0.1), (20, 0.1)]
    tallies: dict[tuple[int, float], Tally] = {}
    print(f"{len(worlds)} pools x {given.studies} studies of {given.trials} trials")
    print("blocks  false_stop  items  stopped  false stops  difference (points, ± s.e.)")
    for setting in settings:
        tally = tallies[setting] = Tally()
        n_studies = given.studies if setting == main_setting else max(1, given.studies // 2)
        for world in worlds:
            for seed in range(n_studies):
                study(world, seed, given.trials, *setting, tally)
        if setting == main_setting and given.roots:
            report_scores(worlds, given.roots, tally, given.params)
        by_search = [float(w.scores[q] - w.scores[p]) for w, p, q in tally.pairs]
        shown = differences(tally) if setting == main_setting else by_search
        error = stdev(shown) / np.sqrt(len(shown)) if len(shown) > 1 else float("nan")
        print(
            f"{setting[0]:6d}  {setting[1]:10.2f}  {fmean(tally.seen):5.2f}  "
            f"{tally.stopped / tally.trials:7.2f}  {tally.lost:4d} / {tally.not_behind:<4d}  "
            f"{fmean(shown):+.2f} ± {error:.2f}  (search split {fmean(by_search):+.2f})",
            flush=True,
        )
    chosen = tallies[main_setting]
    print(json.dumps({
        "items_fraction": round(fmean(chosen.seen), 4),
        "score_difference": round(fmean(differences(chosen)), 4),
        "false_stop_rate": round(chosen.lost / max(chosen.not_behind, 1), 4),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
