"""A checkout to run in: a copy of this one, with params cut down to seconds a job."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]

MINI = {
    "corpus": {"token_budget": 20_000},
    "train": {"checkpoints": 3, "resume_steps": 2},
    "search": {"trials": 8, "search_items": 20, "rerank_items": 20},
    "benchmark": {"report_items": 20},
    "world": {
        "n_items": 120,
        "n_documents": 4000,
        "n_pretrain_documents": 4000,
        "n_instruct_documents": 2000,
        "pretrain": {"token_budget": 40_000},
        "instruct": {"token_budget": 20_000},
    },
}


def merge(base, change):
    for key, value in change.items():
        if isinstance(value, dict):
            merge(base.setdefault(key, {}), value)
        else:
            base[key] = value


def make_checkout(folder):
    """Everything the graph reads; params with MINI on top."""
    for name in ("workflow", "optimer", "data", "profiles", "slurm"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "dvc.yaml", ".gitignore", ".dvcignore"):
        shutil.copy2(ROOT / name, folder / name)
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    merge(document["scales"]["tiny"], MINI)
    (folder / "params.yaml").write_text(yaml.safe_dump(document, allow_unicode=True))
    return folder


def run(folder, *arguments, **options):
    """The runner in `folder`, as `make run` calls it."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(
        [sys.executable, "workflow/run.py", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, **options,
    )  # fmt: skip


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    return make_checkout(tmp_path_factory.mktemp("checkout"))
