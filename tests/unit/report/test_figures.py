"""Figures: the CSV behind each, deterministic bytes, colours, refusals."""

import json
from xml.etree import ElementTree

import pytest

from optimer.cli.report import FIGURES as NAMES
from optimer.errors import ArtifactError
from optimer.report import style
from optimer.report.dynamics import best_so_far, read_trials
from optimer.report.figures import FIGURES
from optimer.report.files import read_csv


@pytest.fixture
def complete(searched, geometry):
    return geometry


def test_the_command_line_knows_every_figure():
    assert list(NAMES) == list(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_svg_and_csv_are_written_and_reproducible(complete, name):
    params, paths = complete
    written = FIGURES[name](params, paths)
    assert written == [paths.figure(name, "csv"), paths.figure(name)]
    first = [path.read_bytes() for path in written]
    for path in written:
        path.unlink()
    FIGURES[name](params, paths)
    assert [path.read_bytes() for path in written] == first
    root = ElementTree.fromstring(first[1])
    assert root.tag.endswith("svg")
    assert b"<dc:date>" not in first[1]


def test_cosine_table(complete):
    params, paths = complete
    FIGURES["fig3_cosine"](params, paths)
    header, lines = read_csv(paths.figure("fig3_cosine", "csv"))
    assert header[:4] == ["vector", "norm", "norm_over_base", "cos_it"]
    rows = {line["vector"]: line for line in lines}
    assert len(rows) == 1 + 5 + 3 + 3
    gram = json.loads(paths.geometry.read_text())["gram"]
    assert float(rows["it"]["norm"]) == pytest.approx(gram[0][0] ** 0.5, rel=1e-5)
    assert float(rows["it"]["norm_over_base"]) == pytest.approx(gram[0][0] ** 0.5 / 10, rel=1e-5)
    assert rows["optimer_ja_math"]["cos_optimer_ja_math"] == "1.0000"
    assert rows["cpt_ja"]["cos_cpt_zh"] == rows["cpt_zh"]["cos_cpt_ja"]


def test_projection_table_has_pool_base_and_optimer_with_weights(complete):
    params, paths = complete
    FIGURES["fig4_pca"](params, paths)
    _, lines = read_csv(paths.figure("fig4_pca", "csv"))
    rows = {line["vector"]: line for line in lines}
    assert {"base", "it", "cpt_en", "datamix_ja_math", "optimer_ja_zh_math", "explained"} < set(
        rows
    )
    assert rows["optimer_ja_math"]["w_it"] == "0.8000"
    assert rows["optimer_ja_math"]["w_cpt_zh"] == ""
    assert 0 < float(rows["explained"]["pc2"]) < float(rows["explained"]["pc1"]) < 1
    # linear: OptiMer's point is base + sum of weights times (vector - base)
    for axis in ("pc1", "pc2"):
        base = float(rows["base"][axis])
        weights = {"it": 0.8, "cpt_ja": 0.3, "cpt_math": 0.1}
        merged = base + sum(w * (float(rows[v][axis]) - base) for v, w in weights.items())
        assert float(rows["optimer_ja_math"][axis]) == pytest.approx(merged, abs=1e-4)


def test_three_components(complete):
    params, paths = complete
    report = params.report.model_copy(update={"pca_components": 3})
    FIGURES["fig4_pca"](params.model_copy(update={"report": report}), paths)
    header, _ = read_csv(paths.figure("fig4_pca", "csv"))
    assert header[1:4] == ["pc1", "pc2", "pc3"]


def test_trajectory_ends_at_the_trained_vector(complete):
    params, paths = complete
    FIGURES["fig5_trajectory"](params, paths)
    FIGURES["fig4_pca"](params, paths)
    _, lines = read_csv(paths.figure("fig5_trajectory", "csv"))
    alone = [line for line in lines if line["path"] == "cpt_ja"]
    assert [line["tokens"] for line in alone] == ["10000", "20000", "30000"]
    assert alone[-1]["cos_to_end"] == "1.00000"
    assert alone[-1]["norm_over_end"] == "1.00000"
    assert 0.25 < float(alone[0]["norm_over_end"]) < 0.4
    _, points = read_csv(paths.figure("fig4_pca", "csv"))
    end = next(line for line in points if line["vector"] == "cpt_ja")
    assert (alone[-1]["pc1"], alone[-1]["pc2"]) == (end["pc1"], end["pc2"])


def test_trajectory_of_a_model_without_checkpoints(complete):
    params, paths = complete
    report = params.report.model_copy(update={"figures_model": "en"})
    with pytest.raises(ArtifactError, match=r"no checkpoints of cpt_en .* train\.trajectory"):
        FIGURES["fig5_trajectory"](params.model_copy(update={"report": report}), paths)


def test_layers_table(complete):
    params, paths = complete
    FIGURES["fig8_layers"](params, paths)
    _, lines = read_csv(paths.figure("fig8_layers", "csv"))
    assert len([line for line in lines if line["panel"] == "a"]) == 5 * 3
    assert len([line for line in lines if line["panel"] == "b"]) == 10 * 3
    assert {line["layer"] for line in lines} == {"0", "1", "other"}


def test_search_table(complete):
    params, paths = complete
    FIGURES["fig6_search"](params, paths)
    _, lines = read_csv(paths.figure("fig6_search", "csv"))
    assert [line["trial"] for line in lines] == [str(k) for k in range(12)]
    assert [float(line["best_so_far"]) for line in lines[2:6]] == [32.0, 33.0, 33.0, 33.5]
    assert lines[5]["rerank_score"] == "44.2500"
    assert lines[4]["rerank_score"] == ""


def test_running_maximum():
    assert best_so_far([1.0, 3.0, 2.0, 4.0]) == [1.0, 3.0, 3.0, 4.0]


def test_a_trials_table_without_scores_is_refused(complete):
    params, paths = complete
    text = paths.trials("ja_math").read_text().replace("score", "points")
    paths.trials("ja_math").write_text(text)
    with pytest.raises(ArtifactError, match="not a trials table .* `optimer search ja_math`"):
        read_trials(params, paths, "ja_math")


def test_colours_stay_when_a_dataset_is_added(job):
    params, _ = job
    before = style.dataset_colors(params)
    datasets = {"law": "Law", **params.corpus.datasets}
    corpus = params.corpus.model_copy(update={"datasets": datasets})
    after = style.dataset_colors(params.model_copy(update={"corpus": corpus}))
    assert {name: after[name] for name in before} == before
    assert len(set(after.values())) == 6


def test_labels(job):
    params, _ = job
    names = ["it", "base", "cpt_zh", "datamix_ja_zh_math", "ratio_ja_math", "optimer_ja_code"]
    assert [style.label(params, name) for name in names] == [
        "IT", "base", "CPT Zh", "DataMix Ja + Zh + Math",
        "DataMix (OptiMer ratio) Ja + Math", "OptiMer Ja + Code",
    ]  # fmt: skip
