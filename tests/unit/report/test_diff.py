"""`optimer diff`: agreement, drift, missing rows and tables, bad usage; the comparer can fail."""

import json
import shutil
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from optimer.cli.diff import diff
from optimer.errors import ArtifactError, ParamsError
from optimer.report.diff import compare_folders, render
from optimer.report.metrics import write_metrics
from optimer.report.paper import write_table1_vs_paper
from optimer.report.table1 import write_table1
from optimer.report.tolerances import Rule, read_rules, rule_for
from optimer.report.weights import write_weights

TOLERANCES = Path(__file__).parents[3] / "results" / "tolerances.yaml"


@pytest.fixture
def folders(scores, searched):
    """Two equal result folders with every kind of file."""
    params, paths = scores
    for write in (write_table1, write_table1_vs_paper, write_weights, write_metrics):
        write(params, paths)
    receipt = {"dataset": "ja", "n_tokens": 6400, "documents": {"read": 90, "kept": 88}}
    receipt |= {"seconds": 3.5, "versions": {"python": "3.11"}, "splits": [[1, 2], [3]]}
    (paths.results / "corpus").mkdir()
    (paths.results / "corpus" / "ja.json").write_text(json.dumps(receipt))
    other = paths.results.parent / "other"
    shutil.copytree(paths.results, other)
    return paths.results, other


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def compare(folders, exact=False):
    return compare_folders(*folders, read_rules(TOLERANCES), exact)


def test_equal_folders_agree(folders):
    for exact in (False, True):
        found = compare(folders, exact)
        assert found.same
        assert len(found.files) > 35  # 6 tables and metrics, 3 searches of 2 files, 28 rows, corpus
        assert "**No drift**" in render(found)


def test_a_broken_table_is_found(folders):
    edit(
        folders[1] / "tables" / "table1.csv", "Toy PT,20.00,60.00,40.00", "Toy PT,20.00,60.00,48.50"
    )
    found = compare(folders)
    assert not found.same
    assert "| Base / Toy PT | Avg | 40.00 | 48.50 | 8.5 | 8 |" in render(found)


def test_scores_within_the_band_agree_across_machines_only(folders):
    edit(
        folders[1] / "tables" / "table1.csv", "Toy PT,20.00,60.00,40.00", "Toy PT,20.00,61.00,40.50"
    )
    assert compare(folders).same
    found = compare(folders, exact=True)
    assert [drift.column for file in found.files for drift in file.drifts] == ["Maths", "Avg"]


def test_largest_drift_first(folders):
    table = folders[1] / "tables" / "table1.csv"
    edit(table, "Toy PT,20.00,60.00,40.00", "Toy PT,20.00,60.00,49.00")
    edit(table, "Toy IT,21.00,59.50,40.25", "Toy IT,91.00,59.50,40.25")
    drifts = next(f for f in compare(folders).files if f.file == "tables/table1.csv").drifts
    assert [drift.row for drift in drifts] == ["Base / Toy IT", "Base / Toy PT"]


def test_a_missing_and_an_extra_row_are_found(folders):
    edit(folders[1] / "tables" / "table1.csv", "Base,Toy IT,", "Base,Toy XX,")
    page = render(compare(folders))
    assert "- 1 missing rows: Base / Toy IT" in page
    assert "- 1 extra rows: Base / Toy XX" in page


def test_a_missing_table_and_an_extra_one_are_found(folders):
    (folders[1] / "tables" / "weights.csv").rename(folders[1] / "tables" / "more.csv")
    found = compare(folders)
    assert (found.missing, found.extra) == (["tables/weights.csv"], ["tables/more.csv"])
    assert "1 missing files, 1 extra files" in render(found)


def test_a_missing_column_is_found(folders):
    table = folders[1] / "tables" / "table1.csv"
    text = "\n".join(line.rsplit(",", 1)[0] for line in table.read_text().splitlines())
    table.write_text(text)
    assert "- 1 missing columns: Avg" in render(compare(folders))


def test_the_seeds_table_may_be_on_one_side_only(folders):
    (folders[0] / "tables" / "table1_seeds.csv").write_text("combination,method,column,mean\n")
    found = compare(folders)
    assert found.same
    assert found.skipped == ["tables/table1_seeds.csv"]
    assert "only one side has it" in render(found)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"n_tokens": 6401}, False),
        ({"documents": {"read": 90, "kept": 87}}, False),
        ({"splits": [[1, 2], [4]]}, False),
        ({"seconds": 99.0}, True),
        ({"versions": {"python": "3.12"}}, True),
    ],
)
def test_receipts_are_exact_but_for_times_and_versions(folders, change, same):
    path = folders[1] / "corpus" / "ja.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert compare(folders).same is same
    assert compare(folders, exact=True).same is same


def test_number_of_items_is_exact(folders):
    edit(folders[1] / "benchmark" / "base_pt.json", '"n": 100', '"n": 99')
    page = render(compare(folders))
    assert "| columns.Facts.n | 100 | 99 |" in page


def test_number_of_trials_is_exact(folders):
    path = folders[1] / "search" / "ja_math" / "trials.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    assert "- 1 missing rows: 11" in render(compare(folders))


def test_found_weights_may_differ_across_machines_only(folders):
    path = folders[1] / "search" / "ja_math" / "best.yaml"
    best = yaml.safe_load(path.read_text())
    best["weights"]["it"] = 0.5
    path.write_text(yaml.safe_dump(best))
    assert compare(folders).same
    assert not compare(folders, exact=True).same


def test_text_in_place_of_a_number_is_drift(folders):
    edit(folders[1] / "tables" / "table1.csv", "Toy PT,20.00", "Toy PT,nan")
    assert not compare(folders).same
    edit(folders[1] / "tables" / "table1.csv", "Toy PT,nan", "Toy PT,")
    assert not compare(folders).same


def test_bare_tables_folders_and_folders_of_scales(folders):
    a, b = folders
    assert compare((a / "tables", b / "tables")).same
    for name in ("left", "right"):
        shutil.copytree(a, Path(name) / "tiny")
    assert compare((Path("left"), Path("right"))).same
    edit(Path("right/tiny/tables/table1.csv"), "60.00,40.00", "60.00,50.00")
    found = compare((Path("left"), Path("right")))
    assert [file.file for file in found.files if not file.same] == ["tiny/tables/table1.csv"]


def test_long_lists_are_cut(folders):
    table = folders[1] / "tables" / "table1.csv"
    lines = table.read_text().splitlines()
    table.write_text(
        "\n".join([lines[0], *(line.rsplit(",", 1)[0] + ",99.00" for line in lines[1:])])
    )
    assert "and 18 more of" in render(compare(folders), limit=10)


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(diff)
    return lambda *words: CliRunner().invoke(
        app, [*map(str, words), "--tolerances", str(TOLERANCES)]
    )


def test_exit_codes(folders, run):
    a, b = folders
    assert run(a, b).exit_code == 0
    edit(b / "tables" / "table1.csv", "60.00,40.00", "60.00,50.00")
    result = run(a, b, "--out", "page.md")
    assert result.exit_code == 1
    assert "**Drift**: 1 drifting cells" in result.output
    assert Path("page.md").read_text().strip() == result.output.strip()
    assert isinstance(run(a, "nowhere").exception, ArtifactError)  # `optimer` prints it, code 2
    assert run(a).exit_code == 2


def test_a_folder_without_tables_is_bad_usage(folders):
    Path("empty").mkdir()
    with pytest.raises(ArtifactError, match="empty: no tables in it"):
        compare((folders[0], Path("empty")))


def test_the_shipped_tolerances_name_known_files():
    rules = read_rules(TOLERANCES)
    assert rule_for(rules, "tables/table1.csv").allowance("Avg", exact=False) == 8.0
    assert rule_for(rules, "tables/table1.csv").allowance("Avg", exact=True) == 0.0
    assert rule_for(rules, "search/ja_math/trials.csv").allowance("seconds_score", True) is None
    assert rule_for(rules, "tables/unknown.csv") == Rule("tables/unknown.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing: 1", "needs a list `files:`"),
        ("files: [{keys: [a]}]", "rule 1 must have `file`"),
        ("files: [{file: a.csv, colums: {}}]", "found file, colums"),
        ("files: [{file: a.csv, columns: {x: -1}}]", "the allowance of x must be a number >= 0"),
        ("files: [{file: a.csv, columns: {x: yes}}]", "got True"),
    ],
)
def test_a_wrong_tolerance_file_is_refused(tmp_path, text, message):
    path = tmp_path / "tolerances.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError) as error:
        read_rules(path)
    assert message in str(error.value)
