"""`optimer reoptimize` end to end on pico models: objectives, fronts, verification, Table 2."""

from __future__ import annotations

import csv

import pytest

from optimer.errors import SearchError
from optimer.experiment import FLEXIBILITY
from optimer.search.flexibility import Row, as_csv, as_markdown, table2
from optimer.search.job import search_combination
from optimer.search.rejob import answer_lines, front_lines, study_of
from tests.unit.search.test_job import world  # noqa: F401


@pytest.fixture(scope="module")
def searched(world):  # noqa: F811
    """(params, paths) with a finished study of the flexibility pool."""
    params, paths = world
    document = params.model_dump()
    document["flexibility"]["datasets"] = ["ja", "math"]
    document["search"].update(sampler="qmc", trials=12, batch=4, top_k=1)
    changed = type(params).model_validate(document)
    search_combination(changed, paths, FLEXIBILITY, lambda line: None)
    return changed, paths


def test_table2_reports_every_objective_on_every_column(searched):
    params, paths = searched
    said: list[str] = []
    rows = table2(params, paths, said.append)
    assert [row.label for row in rows] == ["Capitals", "Echo"]
    assert sum("with 3 more" in line for line in said) == 2
    lines = list(csv.DictReader(paths.table("table2").open()))
    columns = [column.name for column in params.benchmark.columns]
    assert list(lines[0])[: len(columns) + 2] == ["objective", *columns, "Avg"]
    for line, row in zip(lines, rows, strict=True):
        mean = sum(float(line[name]) for name in columns) / len(columns)
        assert float(line["Avg"]) == pytest.approx(mean, abs=1e-3)
        assert float(line["w_it"]) == row.weights["it"]
    recorded = study_of(params, paths, FLEXIBILITY)
    assert recorded.items is not None
    for row, task in zip(rows, ("capitals", "echo"), strict=True):
        assert row.search_score >= max(score[task] for score in recorded.scores) - 20
    assert "12 trials for all of them" in paths.table("table2", "md").read_text()


def test_answers_in_words_and_verified_live(searched):
    params, paths = searched
    said = list(answer_lines(params, paths, FLEXIBILITY, "capitals", [], 0, print))
    assert said[0] == "flexibility: 12 trials, item records"
    assert "expected" in said[1] and said[2].startswith("  weights: it ")
    assert sum("untried, worth a look" in line for line in said) == 3
    live = list(answer_lines(params, paths, FLEXIBILITY, "capitals:2,echo", ["echo>=0"], 2, print))
    assert sum("verified:" in line for line in live) == 2


def test_front_in_words(searched):
    said = list(front_lines(*searched, FLEXIBILITY))
    assert "of 12 trials are on the Pareto front" in said[0]
    assert len(said) == 1 + int(said[0].split()[1])


def test_a_study_that_is_not_there_says_what_to_run(world):  # noqa: F811
    params, paths = world
    with pytest.raises(SearchError, match="no finished search here; run `optimer search` first"):
        study_of(params, paths, "ja_code")


def test_table_literals(searched):
    rows = [
        Row("Ja", {"it": 0.5, "cpt_ja": 0.25}, 40.0, 39.5, {"A": 10.0, "B": 30.0}),
        Row("Math", {"it": 0.75, "cpt_ja": 0.0}, 41.0, 40.5, {"A": 20.0, "B": 5.0}),
    ]
    assert as_csv(rows).splitlines() == [
        "objective,A,B,Avg,search_score,expected,w_it,w_cpt_ja",
        "Ja,10.0000,30.0000,20.0000,40.0000,39.5000,0.5,0.25",
        "Math,20.0000,5.0000,12.5000,41.0000,40.5000,0.75,0.0",
    ]
    assert as_markdown(rows, searched[0], 12).splitlines()[2:] == [
        "| objective | A | B | Avg |",
        "| --- | ---: | ---: | ---: |",
        "| Ja | 10.00 | **30.00** | **20.00** |",
        "| Math | **20.00** | 5.00 | 12.50 |",
    ]
