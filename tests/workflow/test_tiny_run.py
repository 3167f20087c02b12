"""The whole graph on a cut-down world: killed, continued, repeated, extended."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from optimer import experiment
from optimer.params import load

from .conftest import run

pytestmark = pytest.mark.slow


def files(folder):
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in (folder / "results").rglob("*")
        if path.is_file()
    }


def stop_after(folder, seconds, number):
    """Start the graph, send its runner a signal, and give its exit status.

    SIGKILL hits the runner only, so its jobs become orphans; the others are passed on.
    """
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        [sys.executable, "workflow/run.py", "main"],
        cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    time.sleep(seconds)
    os.kill(process.pid, number)
    return process.wait(timeout=60)


@pytest.fixture(scope="module")
def finished(checkout):
    """A run that was stopped four times and then continued to its end."""
    for seconds, number in (
        (25, signal.SIGKILL), (20, signal.SIGTERM), (40, signal.SIGKILL), (30, signal.SIGINT),
    ):  # fmt: skip
        assert stop_after(checkout, seconds, number) != 0
    done = run(checkout, "main")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return checkout, done.stdout


def test_a_stopped_run_continues_to_table_1(finished):
    folder, output = finished
    with (folder / "results/tiny/tables/table1.csv").open() as table:
        rows = list(csv.DictReader(table))
    params = load(folder / "params.yaml")
    assert [row["method"] for row in rows] == [row.method for row in experiment.rows(params)]
    assert len(rows) == 28
    assert all(0 <= float(row["Avg"]) <= 100 for row in rows)
    assert "results/tiny/tables/table1.csv" in output
    assert "results/tiny/search/ja_math/recipe.yaml" in output


def test_figures_have_the_csv_behind_them(finished):
    folder, _ = finished
    drawn = {path.stem for path in (folder / "results/tiny/figures").glob("*.svg")}
    assert drawn == {"fig3_cosine", "fig4_pca", "fig5_trajectory", "fig6_search", "fig8_layers"}
    assert drawn <= {path.stem for path in (folder / "results/tiny/figures").glob("*.csv")}


def test_mergekit_agrees_with_every_merged_row(finished):
    folder, _ = finished
    with (folder / "results/tiny/benchmark/mergekit_parity.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == 26
    # One fp32 rounding at most: where masks matter mergekit merges exported masked models.
    assert max(float(row["max_abs"]) for row in rows) < 1e-6


def test_scored_and_shipped_winner_are_the_same_weights(finished):
    folder, _ = finished
    for name in ("ja_math", "ja_code", "ja_zh_math"):
        best = yaml.safe_load((folder / f"results/tiny/search/{name}/best.yaml").read_text())
        with (folder / f"results/tiny/search/{name}/trials.csv").open() as table:
            trial = next(r for r in csv.DictReader(table) if int(r["number"]) == best["trial"])
        merged = folder / f"results/tiny/benchmark/merged/{name}_optimer.json"
        assert trial["checksum"] in merged.read_text()


def test_a_second_run_has_nothing_to_do(finished):
    folder, _ = finished
    before = files(folder)
    done = run(folder, "main")
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout + done.stderr
    assert files(folder) == before


def test_another_run_in_the_same_checkout_is_refused(finished):
    folder, _ = finished
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    holder = subprocess.Popen(
        [sys.executable, "workflow/run.py", "main"],
        cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(1.5)
    refused = run(folder, "main")
    holder.wait()
    assert refused.returncode == 2
    assert f"one run per checkout; process {holder.pid} is running" in refused.stderr


def test_artifacts_go_through_dvc_into_a_clone(finished, tmp_path):
    """repro, push to a local remote, clone, pull: nothing is run again."""
    folder, _ = finished
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        **{
            f"GIT_{who}_{what}": "t"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }

    def call(*command, cwd=folder):
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    before = files(folder)
    call("git", "init", "-q")
    call("dvc", "init", "-q")
    call("dvc", "repro")
    assert files(folder) == before  # recorded, not run again
    assert "didn't change, skipping" in call("dvc", "repro")
    call("dvc", "remote", "add", "-d", "local", str(tmp_path / "remote"))
    call("dvc", "push")
    call("git", "add", "-A")
    call("git", "commit", "-qm", "run")
    clone = tmp_path / "clone"
    call("git", "clone", "-q", str(folder), str(clone), cwd=tmp_path)
    call("dvc", "pull", cwd=clone)
    done = run(clone, "main")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "marking what was pulled as up to date" in done.stdout
    assert "Nothing to be done" in done.stdout + done.stderr
