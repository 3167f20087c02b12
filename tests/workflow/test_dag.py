"""The graph: every scale resolves, and holds exactly the jobs that the planner announces."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from optimer import experiment, planning
from optimer.params import load

ROOT = Path(__file__).parents[2]


def snakemake(*arguments, cwd=ROOT):
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *arguments],
        cwd=cwd, capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def bare(tmp_path):
    """A working directory in which nothing has run yet."""
    (tmp_path / "data").mkdir()
    (tmp_path / "params.yaml").symlink_to(ROOT / "params.yaml")
    (tmp_path / "data" / "sources.tsv").symlink_to(ROOT / "data" / "sources.tsv")
    return tmp_path


def job_counts(output):
    table = output.split("Job stats:")[1].split("total")[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+)\s+(\d+)\s*$", table, re.M)}


@pytest.mark.parametrize("scale", ["tiny", "small", "paper"])
def test_dry_run_holds_the_planned_jobs(bare, scale):
    status, output = snakemake("-n", "--cores", "2", "--config", f"scale={scale}", cwd=bare)
    assert status == 0, output
    counts = job_counts(output)
    assert counts.pop("main") == 1
    assert sum(counts.values()) == planning.plan(load(ROOT / "params.yaml", scale)).n_jobs


def test_a_clone_with_committed_results_runs_everything(bare):
    """Git brings receipts and tables, newer than the code, without the artifacts beside them."""
    light = (path for path in (ROOT / "results/tiny").rglob("*") if path.is_file())
    for path in light:
        if "artifacts" not in path.parts:
            copy = bare / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    status, output = snakemake("-n", "--cores", "2", cwd=bare)
    assert status == 0, output
    counts = job_counts(output)
    params = load(ROOT / "params.yaml", "tiny")
    assert counts["world"] == 1
    # `main`, and all that is planned but the resolved params, which git has brought
    assert sum(counts.values()) == planning.plan(params).n_jobs


def test_the_paper_has_every_job_of_table_1(bare):
    _, output = snakemake("-n", "--cores", "2", "--config", "scale=paper", cwd=bare)
    counts = job_counts(output)
    params = load(ROOT / "params.yaml", "paper")
    assert counts["fetch"] == 2
    assert counts["train_model"] + counts["train_trajectory"] == 5 + 3
    assert counts["train_ratio"] == 3
    assert counts["extract"] + counts["extract_ratio"] == 12
    assert counts["study"] == 3
    scored = {name for name in counts if name.startswith("benchmark_")}
    assert scored == {f"benchmark_{row.id}" for row in experiment.rows(params)}
    assert len(scored) == 28


def test_wrong_params_end_in_a_message_without_traceback(bare):
    (bare / "params.yaml").unlink()
    text = (ROOT / "params.yaml").read_text().replace("top_k:", "topk:", 1)
    (bare / "params.yaml").write_text(text)
    status, output = snakemake("-n", "--cores", "2", cwd=bare)
    assert status != 0
    assert 'search.topk  unknown key; did you mean "top_k"?' in output
    assert "Traceback" not in output


def test_an_added_corpus_trains_one_model(bare):
    """Only the new dataset's own jobs and what gathers all of them are added."""
    _, before = snakemake("-n", "--cores", "2", cwd=bare)
    (bare / "params.yaml").unlink()
    text = (ROOT / "params.yaml").read_text()
    text = text.replace("code: Code}", "code: Code, ko: Ko}", 1)
    (bare / "params.yaml").write_text(text)
    _, after = snakemake("-n", "--cores", "2", cwd=bare)
    old, new = job_counts(before), job_counts(after)
    grown = {name: new[name] - old.get(name, 0) for name in new if new[name] != old.get(name, 0)}
    assert grown == {"sample": 1, "mix": 1, "train_model": 1, "extract": 1}


def test_the_slurm_profile_is_found_from_the_root():
    status, output = snakemake(
        "--cores", "all", "--profile", "slurm", "-n", "--config", "scale=paper"
    )
    assert status == 0, output
    assert re.search(r"Using profiles? slurm", output)


@pytest.mark.slow
def test_lint_is_clean():
    status, output = snakemake("--lint")
    assert status == 0, output
