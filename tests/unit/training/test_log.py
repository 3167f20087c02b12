"""The training log: columns, and cutting back to the resumed step."""

from __future__ import annotations

from pathlib import Path

from optimer.training.log import COLUMNS, LogRow, TrainingLog, read_log


def row(step: int) -> LogRow:
    return LogRow(step, step * 128, 2.5, 1e-3, 1000.0, 50.0, step * 0.5)


def test_columns_are_the_declared_ones() -> None:
    assert COLUMNS == (
        "step", "tokens", "loss", "learning_rate", "tokens_per_second", "memory_mb", "seconds",
    )  # fmt: skip


def test_resume_cuts_rows_after_the_step_and_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    log = TrainingLog(path, 0)
    for step in range(1, 6):
        log.append(row(step))
    log.close()
    with path.open("a") as file:
        file.write("6,76")  # what kill -9 may leave
    assert [item.step for item in read_log(path)] == [1, 2, 3, 4, 5]

    resumed = TrainingLog(path, 3)
    assert resumed.seconds == 1.5
    assert resumed.last == row(3)
    resumed.append(row(4))
    resumed.close()
    assert path.read_text() == (
        "step,tokens,loss,learning_rate,tokens_per_second,memory_mb,seconds\n"
        "1,128,2.5,0.001,1000.0,50.0,0.500\n"
        "2,256,2.5,0.001,1000.0,50.0,1.000\n"
        "3,384,2.5,0.001,1000.0,50.0,1.500\n"
        "4,512,2.5,0.001,1000.0,50.0,2.000\n"
    )
