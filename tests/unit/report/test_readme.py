"""The generated block of the README."""

import pytest

from optimer.errors import ArtifactError
from optimer.report.readme import BEGIN, END, update_readme


@pytest.fixture
def page(job):
    _, paths = job
    table = paths.table("table1", "md")
    table.parent.mkdir(parents=True)
    table.write_text("# Title\n\n| a |\n")
    path = table.parents[2] / "page.md"
    path.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    return path, paths


def test_the_block_is_renewed_and_the_rest_stays(page):
    path, paths = page
    assert update_readme(path, paths, check=True) is False
    assert "old" in path.read_text()
    assert update_readme(path, paths) is False
    text = path.read_text()
    assert text.startswith("before\n") and text.endswith("after\n")
    assert "| a |" in text and "# Title" not in text and "old" not in text
    assert "[results/tiny/tables/table1.csv](results/tiny/tables/table1.csv)" in text
    assert update_readme(path, paths, check=True) is True


def test_a_page_without_markers_is_refused(page):
    path, paths = page
    path.write_text("no markers")
    with pytest.raises(ArtifactError, match="needs the two lines"):
        update_readme(path, paths)


def test_a_missing_table_is_named(page):
    path, paths = page
    paths.table("table1", "md").unlink()
    with pytest.raises(ArtifactError, match=r"table1\.md: no such table"):
        update_readme(path, paths)
