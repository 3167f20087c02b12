"""Texts for decontamination, and overlap of proxies with reported items."""

from __future__ import annotations

import json

import pytest

from optimer.errors import EvaluationError
from optimer.evaluation.items import benchmark_texts, check_untouched
from optimer.paths import Paths
from tests.unit.evaluation.toy import N_ITEMS, make_params, write_tasks


def test_texts_hold_question_and_answers_of_every_item(paths):
    texts = benchmark_texts(make_params(), paths)
    assert len(texts) == 5 * N_ITEMS  # three tasks, and the group of two of them
    assert texts[0] == (
        "Question: What is the capital of land 0?\nAnswer:\nOslo in the north\n"
        "Rome in the northnorth\nLima in the northnorthnorth\nCairo in the northnorthnorthnorth"
    )
    assert "say Oslo 0:\nOslo" in texts


def test_a_proxy_that_shares_items_with_a_reported_task_is_refused(tmp_path):
    class Here(Paths):
        @property
        def world(self):
            return tmp_path

    paths = Here("tiny")
    write_tasks(paths.tasks)
    metric = {"capitals": "acc,none", "echo": "exact_match,none", "letters": "acc,none"}
    columns = [{"name": name, "tasks": [{"task": name, "metric": key}]}
               for name, key in metric.items()]  # fmt: skip
    params = make_params(columns=columns)
    check_untouched(params, paths, ["capitals", "echo"])  # tasks of different content
    copied = (paths.tasks / "echo_test.jsonl").read_text()
    (paths.tasks / "twin_test.jsonl").write_text(copied)
    (paths.tasks / "twin_train.jsonl").write_text(copied)
    twin = (paths.tasks / "echo.yaml").read_text().replace("echo", "twin")
    (paths.tasks / "twin.yaml").write_text(twin)
    columns.append({"name": "Twin", "tasks": [{"task": "twin", "metric": "exact_match,none"}]})
    shared = make_params(columns=columns)
    with pytest.raises(EvaluationError, match=r"of twin are also searched on in proxy task echo: "):
        check_untouched(shared, paths, ["capitals", "echo"])
    check_untouched(make_params(columns=columns, protocol="paper"), paths, ["capitals", "echo"])
    assert json.loads(copied.splitlines()[0])["answer"] == "Oslo"


def test_missing_tasks_folder_names_the_phase(tmp_path):
    class Here(Paths):
        @property
        def world(self):
            return tmp_path / "none"

    with pytest.raises(EvaluationError, match="no generated tasks; run the corpus phase"):
        benchmark_texts(make_params(), Here("tiny"))
