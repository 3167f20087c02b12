"""Our Table 1 beside the paper's (arXiv 2603.28858, Table 1), the latter labelled "paper".

The two are comparable cell by cell only where the column names coincide. Elsewhere (another model,
other benchmarks) what can be compared is the order of the methods: Avg, rank in the block, and the
sign of the differences the paper's claims rest on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from optimer.paths import Paths
from optimer.receipts import write_atomic
from optimer.report.files import markdown_table, percent, read_csv, signed, write_csv
from optimer.report.scores import AVERAGE, ScoredRow, by_block, read_scores
from optimer.report.table1 import KEYS, difference, protocol_note, scale_note
from optimer.schema import Params

PAPER_TABLE1 = Path(__file__).with_name("paper_table1.csv")

Key = tuple[str, str]
PaperTable = dict[Key, dict[str, float]]


@dataclass(frozen=True)
class Claim:
    """A difference of average scores within one combination: ours and the paper's, in points."""

    combination: str
    text: str
    ours: float
    half_width: float
    paper: float | None

    @property
    def verdict(self) -> str:
        """Whether the sign is the paper's; "within noise" when our interval spans zero."""
        if abs(self.ours) <= self.half_width:
            return "within noise"
        if self.paper is None:
            return ""
        return "same sign" if (self.ours > 0) == (self.paper > 0) else "opposite sign"


def row_key(combination: str, method: str) -> Key:
    """Names without model name and remarks in brackets, so that rows of two tables meet."""
    short = [re.sub(r"\s*\(.*?\)", "", text).strip() for text in (combination, method)]
    if short[0] == "Base":
        short[1] = short[1].split()[-1]  # "Gemma 3 27B PT" and "Toy PT" are the same row
    return short[0], short[1]


def read_paper() -> tuple[list[str], PaperTable]:
    """Column names and scores of the paper's Table 1 by row key."""
    header, lines = read_csv(PAPER_TABLE1)
    names = [name for name in header if name not in KEYS]
    table = {
        row_key(line["combination"], line["method"]): {name: float(line[name]) for name in names}
        for line in lines
    }
    return names, table


def ranks(averages: dict[str, float]) -> dict[str, int]:
    """Rank of every row by its average, 1 = best; equal averages share the better rank."""
    return {key: 1 + sum(x > own for x in averages.values()) for key, own in averages.items()}


def claims(params: Params, scored: list[ScoredRow], paper: PaperTable) -> list[Claim]:
    """The differences the paper's claims rest on, for every combination."""
    pairs = [
        ("OptiMer - DataMix", "optimer", "datamix"),
        ("DataMix at OptiMer's ratio - DataMix", "ratio", "datamix"),
    ]
    uniform = params.merge.method
    if uniform in params.merge.baselines:
        pairs.append((f"OptiMer - uniform {uniform}", "optimer", uniform))
    found = []
    keys = {item.row.id: row_key(item.row.combination, item.row.method) for item in scored}
    for name, combination in params.combinations.items():
        for text, first, second in pairs:
            ids = f"{name}_{first}", f"{name}_{second}"
            ours, half_width = difference(scored, *ids)
            theirs = None
            if keys[ids[0]] in paper and keys[ids[1]] in paper:
                theirs = paper[keys[ids[0]]][AVERAGE] - paper[keys[ids[1]]][AVERAGE]
            found.append(Claim(combination.label, text, ours, half_width, theirs))
    return found


def write_table1_vs_paper(params: Params, paths: Paths) -> list[Path]:
    """Write table1_vs_paper.{csv,md} and table1_differences.csv; return their paths."""
    scored = read_scores(params, paths)
    paper_names, paper = read_paper()
    shared = [name for name in scored[0].cells if name in paper_names]
    header = [*KEYS, "Avg", "Avg (paper)", "rank", "rank (paper)"]
    header += [text for name in shared for text in (name, f"{name} (paper)")]
    lines: list[list[object]] = []
    for items in by_block(scored).values():
        keys = {item.row.id: row_key(item.row.combination, item.row.method) for item in items}
        rank = ranks({item.row.id: round(item.average.score, 2) for item in items})
        theirs = ranks({i: paper[key][AVERAGE] for i, key in keys.items() if key in paper})
        for item in items:
            printed = paper.get(keys[item.row.id], {})
            values = [_paper(printed, name) for name in (AVERAGE, *shared)]
            line: list[object] = [item.row.combination, item.row.method]
            line += [percent(item.average.score), values[0]]
            line += [rank[item.row.id], theirs.get(item.row.id)]
            for name, value in zip(shared, values[1:], strict=True):
                line += [percent(item.cells[name].score), value]
            lines.append(line)
    differences = claims(params, scored, paper)
    path = paths.table("table1_vs_paper")
    write_atomic(path.with_suffix(".md"), _page(params, header, lines, differences, bool(shared)))
    return [
        write_csv(path, header, lines),
        path.with_suffix(".md"),
        write_csv(
            paths.table("table1_differences"),
            ["combination", "difference", "ours", "half_width", "paper", "verdict"],
            (
                [c.combination, c.text, percent(c.ours), percent(c.half_width),
                 None if c.paper is None else percent(c.paper), c.verdict]
                for c in differences
            ),
        ),
    ]  # fmt: skip


def _paper(printed: dict[str, float], name: str) -> str | None:
    return percent(printed[name]) if name in printed else None


def _page(
    params: Params,
    header: list[str],
    lines: list[list[object]],
    differences: list[Claim],
    same_columns: bool,
) -> str:
    comparable = (
        "Columns with the same name are the same benchmark."
        if same_columns
        else "The benchmarks are not the paper's, so levels do not compare: read ranks and signs."
    )
    claim_lines = [
        [c.combination, c.text, f"{signed(c.ours)} ±{c.half_width:.1f}",
         "" if c.paper is None else signed(c.paper), c.verdict]
        for c in differences
    ]  # fmt: skip
    parts = [
        f"# Table 1 at scale {params.scale} beside the paper's",
        "Columns marked (paper) are the numbers printed in arXiv 2603.28858, Table 1, for Gemma 3 "
        f"27B; the others were measured here. {scale_note(params)} {protocol_note(params)} "
        f"{comparable} Rank: by Avg within the block, 1 = best.",
        markdown_table(header, lines, n_text=2),
        "## The differences the paper's claims rest on",
        "Differences of Avg in points. ± treats the two rows as independent, which is wider than a "
        'paired interval; "within noise": it spans zero.',
        markdown_table(["combination", "difference", "ours", "paper", "sign"], claim_lines, 2),
    ]
    return "\n\n".join(parts) + "\n"
