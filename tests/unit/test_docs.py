"""Generated documents are in step with what they are generated from."""

from pathlib import Path

from optimer.schema.document import markdown

ROOT = Path(__file__).parents[2]


def test_params_docs_are_generated_from_the_schema():
    message = "docs/params.md is stale: run `optimer params --docs > docs/params.md`"
    assert (ROOT / "docs" / "params.md").read_text() == markdown(), message
