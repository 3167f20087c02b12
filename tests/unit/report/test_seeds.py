"""Several seeds: literal mean and spread, paired differences, refusals."""

import pytest

from optimer.errors import ArtifactError
from optimer.report.files import read_csv
from optimer.report.seeds import bands, paired_differences, read_runs, write_seeds

ROWS = {"DataMix (alpha_it=0.6; baseline)": 0, "TIES": 1, "OptiMer (ours)": 2}


def write_run(folder, averages, rows=ROWS):
    lines = ["combination,method,Facts,Avg"]
    lines += [
        f"Ja + Math,{name},{averages[k] + 1:.2f},{averages[k]:.2f}" for name, k in rows.items()
    ]
    (folder / "tables").mkdir(parents=True)
    (folder / "tables" / "table1.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def runs(tmp_path):
    averages = {0: (40, 30, 44), 1: (42, 31, 41), 2: (41, 35, 47)}
    return [write_run(tmp_path / f"seed_{seed}", values) for seed, values in averages.items()]


def test_mean_and_spread(job, runs):
    params, paths = job
    write_seeds(params, paths, runs)
    header, lines = read_csv(paths.table("table1_seeds"))
    assert header == [
        "combination", "method", "column", "mean", "sd", "min", "max", "n_seeds",
        "seed_0", "seed_1", "seed_2",
    ]  # fmt: skip
    assert len(lines) == 6
    assert list(lines[-1].values()) == [
        "Ja + Math", "OptiMer (ours)", "Avg", "44.00", "3.00", "41.00", "47.00", "3",
        "44.00", "41.00", "47.00",
    ]  # fmt: skip
    _, paired = read_csv(paths.table("table1_seeds_differences"))
    assert list(paired[0].values()) == [
        "Ja + Math", "DataMix (alpha_it=0.6; baseline)", "3.00", "3.61", "2", "3",
        "4.00", "-1.00", "6.00",
    ]  # fmt: skip
    page = paths.table("table1_seeds", "md").read_text()
    assert "Seeds 0, 1, 2" in page
    assert "| Ja + Math | TIES | +12.00 | 2.00 | 3 of 3 |" in page


def test_bands_follow_the_row_that_moves_most(runs):
    read = read_runs(runs)
    values = {cell: [run.scores[cell] for run in read] for cell in read[0].scores}
    assert bands(values)["Avg"] == pytest.approx(3 * 2**0.5 * 3.0)


def test_differences_are_paired_within_a_seed(runs):
    differences = {item.baseline: item for item in paired_differences(read_runs(runs))}
    assert differences["TIES"].values == [14, 10, 12]
    assert differences["TIES"].n_positive == 3


def test_order_of_folders_does_not_matter(runs):
    assert read_runs(runs[::-1]) == read_runs(runs)


def test_a_missing_row_is_an_error(runs, tmp_path):
    short = write_run(tmp_path / "seed_3", (40, 30, 44), {"TIES": 1, "OptiMer (ours)": 2})
    with pytest.raises(ArtifactError, match="run of seed 3 lacks 2 cells .* rows Ja . Math / Data"):
        read_runs([*runs, short])


def test_one_run_has_no_spread(runs):
    with pytest.raises(ArtifactError, match="at least two runs, got 1"):
        read_runs(runs[:1])


def test_a_seed_counts_once(runs, tmp_path):
    again = write_run(tmp_path / "again_1", (1, 2, 3))
    with pytest.raises(ArtifactError, match="two of the folders have seed 1"):
        read_runs([*runs, again])


def test_the_seed_comes_from_scores_then_params_then_the_name(tmp_path):
    folder = write_run(tmp_path / "tiny", (1, 2, 3))
    with pytest.raises(ArtifactError, match="its seed is unknown"):
        read_runs([folder, folder])
    (folder / "params.yaml").write_text("seed: 7\n")
    other = write_run(tmp_path / "run_5", (1, 2, 3))
    assert [run.seed for run in read_runs([folder, other])] == [5, 7]
    (folder / "benchmark").mkdir()
    (folder / "benchmark" / "base_pt.json").write_text('{"seed": 9}')
    assert [run.seed for run in read_runs([folder, other])] == [5, 9]


def test_a_folder_without_a_table_is_named(tmp_path):
    with pytest.raises(ArtifactError, match="no tables/table1.csv in it"):
        read_runs([tmp_path])
