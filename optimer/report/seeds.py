"""Table 1 over several seeds: mean, spread, and OptiMer against every baseline, seed by seed.

A seed changes data order, initialisation, splits, masks and samplers at once, so the spread holds
everything that the interval of one run's items does not. Differences are paired: within one seed
all rows share the pool, the splits and the items.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev

from optimer import receipts
from optimer.errors import ArtifactError
from optimer.paths import Paths
from optimer.receipts import write_atomic
from optimer.report.files import markdown_table, percent, read_csv, read_yaml, signed, write_csv
from optimer.report.paper import row_key
from optimer.report.scores import AVERAGE
from optimer.report.table1 import KEYS, scale_note
from optimer.schema import Params

Cell = tuple[str, str, str]  # combination, method, column


@dataclass(frozen=True)
class Run:
    """One run's Table 1: its seed and every score in %."""

    seed: int
    scores: dict[Cell, float]


def read_run(folder: Path) -> Run:
    """A run's table from a result folder (`tables/table1.csv` below it) or a tables folder.

    The seed is that of the score files or the resolved `params.yaml` beside the tables, else the
    number the folder's name ends with. Raises ArtifactError when nothing says it, or no table is
    there.
    """
    places = [folder / "tables" / "table1.csv", folder / "table1.csv"]
    path = next((place for place in places if place.exists()), None)
    if path is None:
        raise ArtifactError(
            f"{folder}: no tables/table1.csv in it. Give result folders of finished runs."
        )
    header, lines = read_csv(path)
    columns = [name for name in header if name not in KEYS]
    try:
        scores = {
            (line["combination"], line["method"], name): float(line[name])
            for line in lines
            for name in columns
        }
    except (KeyError, ValueError) as error:
        raise ArtifactError(f"{path}: not a Table 1 ({error}). Write it again.") from None
    return Run(_seed(folder), scores)


def _seed(folder: Path) -> int:
    root = folder if (folder / "tables").is_dir() else folder.parent
    for scores in sorted((root / "benchmark").glob("*.json"))[:1]:
        return int(receipts.read(scores)["seed"])
    if (root / "params.yaml").exists() and "seed" in (params := read_yaml(root / "params.yaml")):
        return int(params["seed"])
    if match := re.search(r"(\d+)$", folder.resolve().name):
        return int(match.group(1))
    raise ArtifactError(
        f"{folder}: its seed is unknown. Keep the run's params.yaml beside its tables, or end the "
        "folder's name with the seed, as in seed_3."
    )


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Runs by seed. Raises ArtifactError unless there are at least two, with different seeds and
    equal rows and columns."""
    runs = sorted((read_run(folder) for folder in folders), key=lambda run: run.seed)
    if len(runs) < 2:
        raise ArtifactError(f"a spread needs at least two runs, got {len(runs)}; name more folders")
    for first, second in pairwise(runs):
        if first.seed == second.seed:
            raise ArtifactError(
                f"two of the folders have seed {first.seed}; a seed counts once, name it once"
            )
    for run in runs[1:]:
        for one, other, cells in (
            (run.seed, runs[0].seed, runs[0].scores.keys() - run.scores.keys()),
            (runs[0].seed, run.seed, run.scores.keys() - runs[0].scores.keys()),
        ):
            if cells:
                rows = sorted({f"{cell[0]} / {cell[1]}" for cell in cells})
                raise ArtifactError(
                    f"the run of seed {one} lacks {len(cells)} cells that seed {other} has, in "
                    f"rows {'; '.join(rows)}. Finish it, or leave its folder out."
                )
    return runs


@dataclass(frozen=True)
class Paired:
    """OptiMer's average minus a baseline's in one combination, by seed, in points."""

    combination: str
    baseline: str
    values: list[float]

    @property
    def n_positive(self) -> int:
        return sum(value > 0 for value in self.values)


def paired_differences(runs: list[Run]) -> list[Paired]:
    """OptiMer minus every other row of its combination, in table order."""
    rows = list(dict.fromkeys(cell[:2] for cell in runs[0].scores))
    found = []
    for combination, method in rows:
        if row_key(combination, method)[1] != "OptiMer":
            continue
        for _, other in (row for row in rows if row[0] == combination and row[1] != method):
            values = [
                run.scores[combination, method, AVERAGE] - run.scores[combination, other, AVERAGE]
                for run in runs
            ]
            found.append(Paired(combination, other, values))
    return found


def write_seeds(params: Params, paths: Paths, folders: Sequence[Path]) -> list[Path]:
    """Write table1_seeds.{csv,md} and table1_seeds_differences.csv; return their paths.

    Raises ArtifactError as `read_runs`.
    """
    runs = read_runs(folders)
    seeds = [f"seed_{run.seed}" for run in runs]
    values = {cell: [run.scores[cell] for run in runs] for cell in runs[0].scores}
    spread = ["mean", "sd", "min", "max", "n_seeds"]
    table = write_csv(
        paths.table("table1_seeds"),
        [*KEYS, "column", *spread, *seeds],
        (
            [*cell]
            + [percent(x) for x in (fmean(each), stdev(each), min(each), max(each))]
            + [len(each)]
            + [percent(x) for x in each]
            for cell, each in values.items()
        ),
    )
    paired = paired_differences(runs)
    differences = write_csv(
        paths.table("table1_seeds_differences"),
        ["combination", "baseline", "mean", "sd", "n_positive", "n_seeds", *seeds],
        (
            [p.combination, p.baseline, percent(fmean(p.values)), percent(stdev(p.values))]
            + [p.n_positive, len(p.values)]
            + [percent(x) for x in p.values]
            for p in paired
        ),
    )
    page = table.with_suffix(".md")
    write_atomic(page, _page(params, runs, values, paired))
    return [table, differences, page]


def bands(values: dict[Cell, list[float]]) -> dict[str, float]:
    """Per column, 3·√2·sd of the row that moves most between seeds, in points.

    What two runs with different seeds hardly ever exceed: an upper bound for two machines with
    the same seed, from which results/tolerances.yaml is set.
    """
    widest: dict[str, float] = {}
    for (_, _, column), each in values.items():
        widest[column] = max(widest.get(column, 0.0), 3 * 2**0.5 * stdev(each))
    return widest


def _page(
    params: Params, runs: list[Run], values: dict[Cell, list[float]], paired: list[Paired]
) -> str:
    columns = list(dict.fromkeys(cell[2] for cell in values))
    rows = dict.fromkeys(cell[:2] for cell in values)
    body = []
    for combination, method in rows:
        cells = [values[combination, method, name] for name in columns]
        body.append(
            [combination, method, *(f"{fmean(each):.1f} ±{stdev(each):.1f}" for each in cells)]
        )
    summary = [
        [p.combination, p.baseline, signed(fmean(p.values)), percent(stdev(p.values)),
         f"{p.n_positive} of {len(p.values)}"]
        for p in paired
    ]  # fmt: skip
    measured = bands(values)
    parts = [
        f"# Table 1 at scale {params.scale} over {len(runs)} seeds",
        f"{scale_note(params)} Seeds {', '.join(str(run.seed) for run in runs)}: each one changes "
        "data order, initialisation, splits, masks and samplers; the generated world stays. Mean "
        "± standard deviation between seeds, in %.",
        markdown_table(["combination", "method", *columns], body, n_text=2),
        "## OptiMer minus each baseline",
        "Avg in points, paired within a seed: mean, standard deviation, and in how many seeds "
        "OptiMer is ahead.",
        markdown_table(["combination", "baseline", "mean", "sd", "ahead in"], summary, n_text=2),
        "## How far two runs may lie apart",
        "3·√2·sd of the row that moves most, in points; `results/tolerances.yaml` follows it.",
        markdown_table(list(measured), [[f"{width:.1f}" for width in measured.values()]], n_text=0),
    ]
    return "\n\n".join(parts) + "\n"
