"""`optimer search` as a command: workers in processes of their own, deaths, stops, the export."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml

from optimer.search.job import search_combination
from optimer.search.trial import Trial
from tests.unit.search.test_job import world  # noqa: F401 (a fixture)

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, "-P", "-c", "from optimer.cli.app import main; main()", "search"]


@pytest.fixture(scope="module")
def setting(world, tmp_path_factory):  # noqa: F811
    """(params, paths) in another working directory per name, with one search as reference."""
    params, paths = world
    document = params.model_dump()
    document["search"]["trials"] = 24
    params = type(params).model_validate(document)
    file = tmp_path_factory.mktemp("params") / "params.yaml"
    file.write_text(yaml.safe_dump({**document, "scales": {params.scale: {}}}))
    reference = search_combination(params, paths, "ja_math", lambda line: None)
    return params, paths, file, reference


def fresh(paths):
    """Forget the study and what it wrote."""
    import shutil

    shutil.rmtree(paths.study("ja_math").parent, ignore_errors=True)
    for path in (paths.trials("ja_math"), paths.best("ja_math"), paths.recipe("ja_math")):
        path.unlink(missing_ok=True)


def start(file, *options):
    return subprocess.Popen(
        [*COMMAND, "ja_math", "--params", str(file), *options],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def until(process, pattern):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if re.search(pattern, line):
            return lines
    raise AssertionError("".join(lines))


def check(paths, reference):
    lines = list(csv.DictReader(paths.trials("ja_math").open()))
    expected: list[Trial] = reference.trials
    assert [float(line["w_it"]) for line in lines] == [t.weights["it"] for t in expected]
    assert [line["checksum"] for line in lines] == [t.outcome.checksum for t in expected]
    assert [float(line["score"]) for line in lines] == [
        pytest.approx(t.outcome.objective, abs=1e-4) for t in expected
    ]
    best = yaml.safe_load(paths.best("ja_math").read_text())
    assert best["trial"] == reference.best.number
    return best


def test_two_workers_and_an_export(setting, tmp_path):
    _, paths, file, reference = setting
    fresh(paths)
    folder = tmp_path / "winner"
    running = start(file, "--workers", "2", "--export", str(folder))
    text = running.communicate(timeout=300)[0]
    assert running.returncode == 0, text
    best = check(paths, reference)
    assert len(re.findall(r"^trial \d+/24: ", text, re.M)) == 24
    assert len(re.findall(r"^re-ranking \d/2: ", text, re.M)) == 2
    assert "ja_math: best is trial" in text and "data mixture it implies" in text
    report = best["report"]
    assert report["low"] < report["score"] < report["high"] and report["n"] == 48
    assert best["optimism"]["expected"] > 0 and best["optimism"]["observed"] is not None
    card = (folder / "README.md").read_text()
    assert f"{report['score']:.2f} [{report['low']:.2f}, {report['high']:.2f}]" in card
    from transformers import AutoModelForCausalLM

    assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() > 0
    (paths.best("ja_math")).unlink()
    again = subprocess.run(
        [*COMMAND, "ja_math", "--params", str(file), "--export", str(folder)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert yaml.safe_load(paths.best("ja_math").read_text()) == best
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    refused = subprocess.run(
        [*COMMAND, "ja_math", "--params", str(file), "--export", str(other)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert refused.returncode == 2 and "there is something else at this place" in refused.stderr
    assert "Traceback" not in refused.stderr + refused.stdout
    assert (other / "thesis.tex").exists()


def test_a_worker_that_is_killed_is_replaced(setting):
    _, paths, file, reference = setting
    fresh(paths)
    running = start(file)
    said = until(running, r"^trial 3/24")
    [worker] = psutil.Process(running.pid).children()
    worker.kill()
    said += running.stdout.readlines()
    assert running.wait(120) == 0, "".join(said)
    assert any("worker 1 died (its process ended with signal 9" in line for line in said)
    check(paths, reference)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_search_that_is_stopped_leaves_no_worker_and_continues(setting, number):
    _, paths, file, reference = setting
    fresh(paths)
    running = start(file, "--workers", "2")
    until(running, r"^trial \d+/24")
    workers = psutil.Process(running.pid).children()
    assert len(workers) == 2
    running.send_signal(number)
    text = running.communicate(timeout=60)[0]
    assert running.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    assert "Traceback" not in text and "error" not in text
    until_gone = time.monotonic() + 20
    while any(worker.is_running() and worker.status() != "zombie" for worker in workers):
        assert time.monotonic() < until_gone
        time.sleep(0.1)
    rest = start(file)
    text = rest.communicate(timeout=300)[0]
    assert rest.returncode == 0, text
    assert "continuing study" in text
    assert len(re.findall(r"^trial \d+/24: ", text, re.M)) < 24
    check(paths, reference)
