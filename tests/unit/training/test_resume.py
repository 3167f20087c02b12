"""Stopped at any moment, continued from the last complete checkpoint, equal bit for bit."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from optimer import receipts
from optimer.errors import TrainingError
from optimer.paths import Paths
from optimer.training import state, train
from optimer.training.log import read_log

SCRIPT = """
from pathlib import Path
from optimer.paths import Paths
from optimer.schema import Params
from optimer.training import train
train(Params.model_validate_json(Path("params.json").read_text()), Paths("tiny"), "cpt_ja")
"""


def weights(paths: Paths) -> str:
    return receipts.sha256(paths.model("cpt_ja") / "model.safetensors")


def losses(paths: Paths) -> list[float]:
    return [row.loss for row in read_log(paths.training_log("cpt_ja"))]


def silent(_line: str) -> None:
    return None


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Callable[[str], None]]:
    """A report function that presses Ctrl-C after a step."""
    monkeypatch.setattr("optimer.training.loop._REPORT_SECONDS", 0.0)

    def make(step: int) -> Callable[[str], None]:
        def report(line: str) -> None:
            if f"step {step}/" in line:
                raise KeyboardInterrupt

        return report

    return make


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_interrupted_run_ends_bit_equal(world: Callable, stop_at: Callable, stage: int) -> None:
    params, paths = world(zero_stage=stage, trajectory=["cpt_ja"], micro_batch_size=4)
    train(params, paths, "cpt_ja", report=silent)
    expected, expected_losses = weights(paths), losses(paths)
    trajectory = sorted(path.name for path in paths.trajectory("cpt_ja").iterdir())
    assert trajectory == ["step_000004", "step_000008"]

    with pytest.raises(KeyboardInterrupt):
        train(params, paths, "cpt_ja", report=stop_at(10))
    assert not paths.model_receipt("cpt_ja").exists()
    receipt = train(params, paths, "cpt_ja", report=silent)

    assert receipt["resumed_after_step"] == 8
    assert weights(paths) == expected
    assert losses(paths) == expected_losses
    assert sorted(path.name for path in paths.trajectory("cpt_ja").iterdir()) == trajectory


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_process_resumes_bit_equal(
    world: Callable, tmp_path: Path, number: signal.Signals
) -> None:
    params, paths = world(n=4000, resume_steps=10)
    train(params, paths, "cpt_ja", report=silent)
    expected, expected_losses = weights(paths), losses(paths)
    paths.model_receipt("cpt_ja").unlink()

    (tmp_path / "params.json").write_text(params.model_dump_json())
    extensions = tmp_path / "extensions"
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(_root()),
        "TORCH_EXTENSIONS_DIR": str(extensions),  # empty: a run-time build would show here
        "PATH": str(tmp_path),  # and no compiler to do it with
    }
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], env=environment)
    try:
        deadline = time.monotonic() + 120
        while len(_live_log(paths)) < 45 and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
    finally:
        process.wait(60)
    assert process.returncode == -number
    assert not extensions.exists()
    assert not paths.model_receipt("cpt_ja").exists()

    receipt = train(params, paths, "cpt_ja", report=silent)
    assert 40 <= receipt["resumed_after_step"] < 500
    assert weights(paths) == expected
    assert losses(paths) == expected_losses


def _root() -> Path:
    return Path(__file__).resolve().parents[3]


def _live_log(paths: Paths) -> list[object]:
    logs = list(paths.training_state("cpt_ja").glob("*/log.csv"))
    return list(read_log(logs[0])) if logs else []


def test_changed_params_start_anew(world: Callable, stop_at: Callable) -> None:
    params, paths = world()
    with pytest.raises(KeyboardInterrupt):
        train(params, paths, "cpt_ja", report=stop_at(6))
    faster = params.train.model_copy(update={"learning_rate": 0.02})
    lines: list[str] = []
    receipt = train(
        params.model_copy(update={"train": faster}), paths, "cpt_ja", report=lines.append
    )
    assert receipt["resumed_after_step"] == 0
    assert "cpt_ja: params, data or parent changed, so training starts anew" in lines


def test_half_written_checkpoint_is_not_used(world: Callable, stop_at: Callable) -> None:
    params, paths = world()
    with pytest.raises(KeyboardInterrupt):
        train(params, paths, "cpt_ja", report=stop_at(10))
    (folder,) = (item for item in paths.training_state("cpt_ja").iterdir() if item.is_dir())
    assert state.complete_steps(folder) == [4, 8]
    newest = max((folder / "step_000008").glob("*.pt"), key=lambda file: file.stat().st_size)
    newest.write_bytes(newest.read_bytes()[:-1])
    assert train(params, paths, "cpt_ja", report=silent)["resumed_after_step"] == 4


def test_two_runs_of_one_model_are_refused(world: Callable) -> None:
    params, paths = world()
    with (
        state.exclusive(paths.training_state("cpt_ja")),
        pytest.raises(TrainingError, match="another process is training cpt_ja right now"),
    ):
        train(params, paths, "cpt_ja", report=silent)


def test_kill_between_model_and_receipt_loses_nothing(
    world: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, paths = world(trajectory=["cpt_ja"])
    train(params, paths, "cpt_ja", report=silent)
    expected, trajectory = (
        weights(paths),
        receipts.read(paths.model_receipt("cpt_ja"))["trajectory"],
    )
    assert sorted(trajectory) == [
        "step_000004/model.safetensors", "step_000008/model.safetensors",
    ]  # fmt: skip

    write = receipts.write

    def stop(path: Path, content: dict) -> None:
        if path == paths.model_receipt("cpt_ja"):
            raise KeyboardInterrupt
        write(path, content)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("optimer.training.run.receipts.write", stop)
        train(params, paths, "cpt_ja", report=silent)
    shutil.rmtree(paths.trajectory("cpt_ja"))  # what Snakemake does to declared outputs
    shutil.rmtree(paths.model("cpt_ja"))
    receipt = train(params, paths, "cpt_ja", report=silent)
    assert receipt["resumed_after_step"] == receipt["steps"] == 12
    assert weights(paths) == expected
    assert receipt["trajectory"] == trajectory


def test_disk_full_while_a_checkpoint_is_written(world: Callable) -> None:
    """A file-size limit stands in for the full disk: the write fails in the same calls."""
    params, paths = world()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(TrainingError, match="step_000004: the resumable checkpoint could not"):
            train(params, paths, "cpt_ja", report=silent)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not paths.model("cpt_ja").exists()
    receipt = train(params, paths, "cpt_ja", report=silent)
    assert receipt["resumed_after_step"] == 0


@pytest.mark.slow
def test_workers_die_with_the_command_and_resume(world: Callable, tmp_path: Path) -> None:
    params, paths = world(n=480, devices=2, micro_batch_size=4, zero_stage=3, resume_steps=5)
    train(params, paths, "cpt_ja", report=silent)
    expected, expected_losses = weights(paths), losses(paths)
    paths.model_receipt("cpt_ja").unlink()
    (tmp_path / "params.json").write_text(params.model_dump_json())
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(_root())}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], env=environment)
    try:
        deadline = time.monotonic() + 180
        while len(_live_log(paths)) < 13 and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) >= 3  # the launcher and two workers
    finally:
        process.kill()
        process.wait(60)
    _gone, alive = psutil.wait_procs(started, timeout=20)
    assert alive == []
    receipt = train(params, paths, "cpt_ja", report=silent)
    assert 10 <= receipt["resumed_after_step"] < 60
    assert weights(paths) == expected
    assert losses(paths) == expected_losses


@pytest.mark.slow
def test_error_of_a_worker_is_the_error_of_the_command(world: Callable) -> None:
    params, paths = world(devices=2, micro_batch_size=4, learning_rate=1e20, clip=1e20)
    with pytest.raises(TrainingError, match="the loss of cpt_ja is nan at step"):
        train(params, paths, "cpt_ja", report=silent)
