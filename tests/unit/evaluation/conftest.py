"""Fixtures shared by the tests of evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimer.paths import Paths
from tests.unit.evaluation.toy import make_model, make_tokenizer, write_tasks


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session")
def model(tokenizer):
    return make_model(tokenizer)


@pytest.fixture(scope="session")
def paths(tmp_path_factory):
    """Paths of scale tiny in an empty folder, with the tasks in place."""
    root = tmp_path_factory.mktemp("root")

    class Here(Paths):
        @property
        def results(self) -> Path:
            return root / "results" / self.scale

        @property
        def work(self) -> Path:
            return root / "work" / self.scale

    here = Here("tiny")
    write_tasks(here.tasks)
    return here
