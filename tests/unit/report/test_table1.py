"""Table 1, its intervals, the paper beside it, metrics: literal values from literal score files."""

import json

import pytest

from optimer import experiment
from optimer.errors import ArtifactError
from optimer.report.files import latex, percent, read_csv, signed
from optimer.report.metrics import write_metrics
from optimer.report.paper import ranks, read_paper, row_key, write_table1_vs_paper
from optimer.report.table1 import write_table1


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_table_has_the_papers_rows_and_rounds_to_two_decimals(scores):
    params, paths = scores
    write_table1(params, paths)
    lines = paths.table("table1").read_text().splitlines()
    assert lines[0] == "combination,method,Facts,Maths,Avg"
    assert len(lines) == 1 + 28
    assert lines[1] == "Base,Toy PT,20.00,60.00,40.00"
    assert lines[3] == "Single CPT + IT (alpha_it=0.6),CPT_En,22.00,59.00,40.50"
    assert lines[8] == "Ja + Math,DataMix (alpha_it=0.6; baseline),27.00,56.50,41.75"
    assert lines[28] == "Ja + Zh + Math,OptiMer (ours),47.00,46.50,46.75"


def test_rows_are_named_as_in_the_paper(scores):
    params, _ = scores
    _, paper = read_paper()
    assert len(paper) == 28
    ours = {row_key(row.combination, row.method) for row in experiment.rows(params)}
    assert ours == set(paper)


def test_intervals_hold_every_cell(scores):
    params, paths = scores
    write_table1(params, paths)
    header, lines = read_csv(paths.table("table1_intervals"))
    assert header == ["combination", "method", "column", "score", "low", "high", "n"]
    assert len(lines) == 28 * 3
    assert list(lines[0].values()) == ["Base", "Toy PT", "Facts", "20.00", "16.00", "24.00", "100"]
    assert list(lines[2].values()) == ["Base", "Toy PT", "Avg", "40.00", "37.00", "43.00", "200"]


def test_markdown_says_scale_protocol_items_seed_and_marks_the_best_of_each_block(scores):
    params, paths = scores
    write_table1(params, paths)
    page = paths.table("table1", "md").read_text()
    assert "| Base | Toy PT | 20.00 ±4.0 | **60.00** ±4.0 | 40.00 ±3.0 |" in page
    assert "|  | Toy IT | **21.00** ±4.0 | 59.50 ±4.0 | **40.25** ±3.0 |" in page
    for text in (
        "Scale **tiny**: toy models",
        "Nothing here is a score of a real language model.",
        "Protocol `split`",
        "Items: Facts 100, Maths 100.",
        "Seed 0.",
        "95 % interval",
    ):
        assert text in page


def test_latex_is_escaped_and_complete(scores):
    params, paths = scores
    write_table1(params, paths)
    text = paths.table("table1", "tex").read_text()
    assert r"\begin{tabular}{lrrr}" in text
    assert r"\multicolumn{4}{l}{Single CPT + IT ($\alpha_{\mathrm{it}}$=0.6)} \\" in text
    assert r"\quad CPT\_En & 22.00 & \textbf{59.00} & 40.50 \\" in text
    assert text.count(r"\midrule") == 5
    assert latex("50 % & a_b #1") == r"50 \% \& a\_b \#1"


def test_missing_rows_are_named_all_at_once(scores):
    params, paths = scores
    paths.scores("base_it").unlink()
    paths.scores("ja_math_ties").unlink()
    with pytest.raises(ArtifactError, match="2 of 28 rows .* no scores: base_it, ja_math_ties"):
        write_table1(params, paths)
    assert not paths.table("table1").exists()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"seed": 3}, "seed must be 0, found 3"),
        ({"protocol": "paper"}, "protocol must be 'split', found 'paper'"),
        ({"row": "base_pt"}, "row must be 'base_it', found 'base_pt'"),
        ({"columns": {"Facts": {}}}, "benchmark.columns are Facts, Maths"),
        ({"avg": 41.0}, "avg is 41.0000, but the mean of its columns is 40.2500"),
        ({"avg": float("nan")}, "avg is nan"),
        ({"avg_low": None}, "not a complete score file"),
    ],
)
def test_scores_of_another_experiment_are_refused(scores, changes, text):
    params, paths = scores
    edit(paths.scores("base_it"), **changes)
    with pytest.raises(ArtifactError) as error:
        write_table1(params, paths)
    assert text in str(error.value)
    assert "base_it.json" in str(error.value)
    assert "Run `optimer benchmark base_it`" in str(error.value) or "Delete" in str(error.value)


def test_paper_beside_ours(scores):
    params, paths = scores
    write_table1_vs_paper(params, paths)
    header, lines = read_csv(paths.table("table1_vs_paper"))
    assert header == ["combination", "method", "Avg", "Avg (paper)", "rank", "rank (paper)"]
    assert list(lines[0].values()) == ["Base", "Toy PT", "40.00", "25.54", "2", "2"]
    last = ["Ja + Zh + Math", "OptiMer (ours)", "46.75", "70.37", "1", "1"]
    assert list(lines[27].values()) == last
    page = paths.table("table1_vs_paper", "md").read_text()
    assert "The benchmarks are not the paper's" in page


def test_columns_that_coincide_are_shown_beside_the_papers(scores):
    params, paths = scores
    columns = [{"name": n, "tasks": [{"task": "t", "metric": "a,b"}]} for n in ("GSM8K", "Maths")]
    benchmark = params.benchmark.model_copy(
        update={"columns": type(params.benchmark)(**{
            **params.benchmark.model_dump(), "columns": columns}).columns}
    )  # fmt: skip
    params = params.model_copy(update={"benchmark": benchmark})
    for row in experiment.rows(params):
        path = paths.scores(row.id)
        content = json.loads(path.read_text())
        content["columns"]["GSM8K"] = content["columns"].pop("Facts")
        path.write_text(json.dumps(content))
    write_table1_vs_paper(params, paths)
    header, lines = read_csv(paths.table("table1_vs_paper"))
    assert header[-2:] == ["GSM8K", "GSM8K (paper)"]
    assert list(lines[0].values())[-2:] == ["20.00", "0.83"]


def test_differences_come_with_interval_and_verdict(scores):
    params, paths = scores
    path = paths.scores("ja_math_optimer")
    content = json.loads(path.read_text())
    for cell in content["columns"].values():
        cell["score"] = 60.0
    path.write_text(json.dumps({**content, "avg": 60.0, "avg_low": 56.0, "avg_high": 64.0}))
    write_table1_vs_paper(params, paths)
    _, lines = read_csv(paths.table("table1_differences"))
    first = lines[0]
    assert first == {
        "combination": "Ja + Math", "difference": "OptiMer - DataMix",
        "ours": "18.25", "half_width": "5.00",  # sqrt(3^2 + 4^2)
        "paper": "2.12", "verdict": "same sign",
    }  # fmt: skip
    assert lines[1]["verdict"] == "within noise"
    assert [line["paper"] for line in lines] == [
        "2.12", "0.84", "2.33", "2.45", "0.21", "4.10", "6.66", "4.95", "4.89",
    ]  # fmt: skip


def test_opposite_signs_are_said(scores):
    params, paths = scores
    content = json.loads(paths.scores("ja_code_optimer").read_text())
    for cell in content["columns"].values():
        cell["score"] = 10.0
    lower = {**content, "avg": 10.0, "avg_low": 9.0, "avg_high": 11.0}
    paths.scores("ja_code_optimer").write_text(json.dumps(lower))
    write_table1_vs_paper(params, paths)
    _, lines = read_csv(paths.table("table1_differences"))
    by_name = {(line["combination"], line["difference"]): line for line in lines}
    assert by_name["Ja + Code", "OptiMer - DataMix"]["verdict"] == "opposite sign"


def test_metrics(scores):
    params, paths = scores
    write_metrics(params, paths)
    metrics = json.loads(paths.table("metrics", "json").read_text())
    assert len(metrics["avg"]) == 28
    assert metrics["avg"]["base_pt"] == 40.0
    assert metrics["optimer_minus_datamix"] == {"ja_math": 1.5, "ja_code": 1.5, "ja_zh_math": 1.5}
    assert metrics["optimer_minus_dare_ties"]["ja_math"] == 0.25


def test_writing_twice_gives_the_same_bytes(scores):
    params, paths = scores
    first = {path: path.read_bytes() for path in write_table1(params, paths)}
    assert {path: path.read_bytes() for path in write_table1(params, paths)} == first


def test_ranks_share_places():
    assert ranks({"a": 3.0, "b": 5.0, "c": 5.0, "d": 1.0}) == {"a": 3, "b": 1, "c": 1, "d": 4}


def test_numbers_never_print_minus_zero():
    assert percent(-0.001) == "0.00"
    assert signed(-0.001) == "+0.00"
    assert signed(-1.256) == "-1.26"
