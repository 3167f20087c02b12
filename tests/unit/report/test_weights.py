"""Merge weights and the data ratios they imply."""

import pytest
import yaml

from optimer.errors import ArtifactError
from optimer.report.files import read_csv
from optimer.report.weights import write_weights


def test_weights_table(searched):
    params, paths = searched
    write_weights(params, paths)
    _, lines = read_csv(paths.table("weights"))
    assert [line["combination"] for line in lines] == ["ja_math", "ja_code", "ja_zh_math"]
    first = lines[0]
    assert (first["w_it"], first["w_cpt_ja"], first["w_cpt_math"]) == ("0.8000", "0.3000", "0.1000")
    assert (first["w_cpt_zh"], first["r_ja"], first["r_math"]) == ("", "0.7500", "0.2500")
    assert (first["search_score"], first["rerank_score"], first["trial"]) == ("48.50", "44.25", "5")
    page = paths.table("weights", "md").read_text()
    assert "| Ja + Math | 0.800 | 0.300 |  | 0.100 |  | Ja 0.75 : Math 0.25 |" in page
    assert "both are selected, hence optimistic" in page


def test_negative_weights_are_flagged(searched):
    params, paths = searched
    best = yaml.safe_load(paths.best("ja_math").read_text())
    best["weights"]["cpt_math"] = -0.25
    best["ratios"] = {"ja": 1.0, "math": 0.0}
    paths.best("ja_math").write_text(yaml.safe_dump(best))
    write_weights(params, paths)
    _, lines = read_csv(paths.table("weights"))
    assert lines[0]["negative"] == "cpt_math"
    assert "(negative: cpt_math)" in paths.table("weights", "md").read_text()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda b: b["weights"].pop("cpt_ja"), "weights must be of it, cpt_ja, cpt_math"),
        (lambda b: b.pop("trial"), "KeyError: 'trial'"),
        (lambda b: b["ratios"].pop("ja"), "KeyError: 'ja'"),
    ],
)
def test_an_incomplete_search_is_refused(searched, change, text):
    params, paths = searched
    best = yaml.safe_load(paths.best("ja_math").read_text())
    change(best)
    paths.best("ja_math").write_text(yaml.safe_dump(best))
    with pytest.raises(ArtifactError) as error:
        write_weights(params, paths)
    assert text in str(error.value)
    assert "Run `optimer search ja_math` again" in str(error.value)
