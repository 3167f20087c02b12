"""Table 1: all rows, all columns, with 95 % intervals (paper Table 1; design §6.1, §6.10).

`table1.csv` holds scores in % with two decimals under the paper's row names, `table1_intervals.csv`
the interval of every cell, `table1.md` and `table1.tex` what a person reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from optimer.paths import Paths
from optimer.receipts import write_atomic
from optimer.report.files import latex, markdown_table, percent, write_csv
from optimer.report.scores import AVERAGE, ScoredRow, by_block, find, read_scores
from optimer.schema import Params

KEYS = ("combination", "method")


def write_table1(params: Params, paths: Paths) -> list[Path]:
    """Write the four files and return their paths. Raises ArtifactError as `read_scores`."""
    scored = read_scores(params, paths)
    names = [*scored[0].cells, AVERAGE]
    markdown, tex = paths.table("table1", "md"), paths.table("table1", "tex")
    write_atomic(markdown, markdown_text(params, scored))
    write_atomic(tex, latex_text(params, scored))
    return [
        write_csv(
            paths.table("table1"),
            [*KEYS, *names],
            (
                [item.row.combination, item.row.method]
                + [percent(item.all_cells[name].score) for name in names]
                for item in scored
            ),
        ),
        write_csv(
            paths.table("table1_intervals"),
            [*KEYS, "column", "score", "low", "high", "n"],
            _intervals(scored),
        ),
        markdown,
        tex,
    ]


def _intervals(scored: list[ScoredRow]) -> Iterator[list[object]]:
    for item in scored:
        for name, cell in item.all_cells.items():
            numbers = [percent(value) for value in (cell.score, cell.low, cell.high)]
            yield [item.row.combination, item.row.method, name, *numbers, cell.n]


def scale_note(params: Params) -> str:
    """One sentence that says what kind of models the numbers belong to."""
    if params.world is not None:
        return (
            f"Scale **{params.scale}**: toy models of {params.model.parameters / 1e6:.2g}M "
            "parameters, trained on the spot on generated corpora and scored on generated "
            "benchmarks. Nothing here is a score of a real language model."
        )
    return f"Scale **{params.scale}**: {params.model.name}."


def protocol_note(params: Params) -> str:
    """One sentence on which items were scored, as design §6.1 asks of every table."""
    if params.benchmark.protocol == "split":
        return (
            "Protocol `split`: scored once on each task's report split, which is disjoint from "
            "the items that search and rerank saw."
        )
    return "Protocol `paper`: scored on the test sets, whose first items search and rerank saw too."


def items_note(scored: list[ScoredRow]) -> str:
    """Items per column, `low-high` where rows differ."""
    parts = []
    for name in scored[0].cells:
        counts = {item.cells[name].n for item in scored}
        span = f"{min(counts)}" if len(counts) == 1 else f"{min(counts)}-{max(counts)}"
        parts.append(f"{name} {span}")
    return "Items: " + ", ".join(parts) + "."


def best_in_block(scored: list[ScoredRow]) -> set[tuple[str, str]]:
    """(row id, column) of the best printed score of every block; ties all count."""
    best = set()
    for items in by_block(scored).values():
        for name in items[0].all_cells:
            top = max(round(item.all_cells[name].score, 2) for item in items)
            best |= {
                (item.row.id, name) for item in items if round(item.all_cells[name].score, 2) == top
            }
    return best


def markdown_text(params: Params, scored: list[ScoredRow]) -> str:
    """The Markdown page of Table 1."""
    best = best_in_block(scored)
    lines: list[list[str]] = []
    for items in by_block(scored).values():
        for position, item in enumerate(items):
            group = item.row.combination if position == 0 else ""
            line = [group.replace("alpha_it", "α_it"), item.row.method.replace("alpha_it", "α_it")]
            for name, cell in item.all_cells.items():
                number = percent(cell.score)
                number = f"**{number}**" if (item.row.id, name) in best else number
                line.append(f"{number} ±{cell.half_width:.1f}")
            lines.append(line)
    level = f"{params.report.confidence * 100:g} %"
    notes = [
        scale_note(params),
        protocol_note(params),
        items_note(scored),
        f"Seed {params.seed}. Scores in %; ± is half of the {level} interval of that cell "
        "(items only: training and search noise is not in it); bold is the best of each block.",
    ]
    table = markdown_table(["combination", "method", *scored[0].all_cells], lines, n_text=2)
    return f"# Table 1 at scale {params.scale}\n\n{table}\n\n" + "\n".join(notes) + "\n"


def latex_text(params: Params, scored: list[ScoredRow]) -> str:
    """Table 1 as a booktabs `table*`."""
    best = best_in_block(scored)
    names = list(scored[0].all_cells)
    body = []
    for items in by_block(scored).values():
        group = latex(items[0].row.combination)
        body.append(f"\\midrule\n\\multicolumn{{{len(names) + 1}}}{{l}}{{{group}}} \\\\")
        for item in items:
            cells = []
            for name in names:
                number = percent(item.all_cells[name].score)
                cells.append(f"\\textbf{{{number}}}" if (item.row.id, name) in best else number)
            body.append(f"\\quad {latex(item.row.method)} & " + " & ".join(cells) + " \\\\")
    caption = " ".join([scale_note(params), protocol_note(params), f"Seed {params.seed}."])
    caption = latex(caption.replace("**", "").replace("`", ""))
    header = " & ".join(["Method", *map(latex, names)])
    return (
        "% needs \\usepackage{booktabs}\n"
        "\\begin{table*}\n\\centering\\small\n"
        f"\\begin{{tabular}}{{l{'r' * len(names)}}}\n\\toprule\n{header} \\\\\n"
        + "\n".join(body)
        + f"\n\\bottomrule\n\\end{{tabular}}\n\\caption{{{caption} Scores in \\%; bold is the best "
        "of each block.}\n\\label{tab:table1}\n\\end{table*}\n"
    )


def difference(scored: list[ScoredRow], first: str, second: str) -> tuple[float, float]:
    """Avg of row `first` minus Avg of row `second`, and half of its interval, in points.

    The interval treats the two scores as independent. Both rows answer the same items, which
    correlates them positively, so the interval is wider than a paired one.
    """
    a, b = find(scored, first).average, find(scored, second).average
    return a.score - b.score, (a.half_width**2 + b.half_width**2) ** 0.5
