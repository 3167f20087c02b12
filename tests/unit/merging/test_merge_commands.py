"""`optimer vectors` and `optimer merge` on pico models in the place of a finished training."""

import csv
import json
import shutil
from pathlib import Path

import factories
import pytest
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from optimer import experiment
from optimer.cli import merge, vectors
from optimer.errors import ArtifactError, ParamsError
from optimer.merging.checksum import checksum
from optimer.params import load
from optimer.paths import Paths

ROOT = Path(__file__).parents[3]
PATHS = Paths("tiny")
BEST = {"it": 0.71, "cpt_ja": 0.33, "cpt_math": 0.12}


@pytest.fixture(scope="module")
def finished_training(tmp_path_factory):
    """A working directory with every model of scale tiny, one combination."""
    folder = tmp_path_factory.mktemp("merge")
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    tiny = document["scales"]["tiny"]
    tiny["combinations"] = {"ja_math": tiny["combinations"]["ja_math"]}
    (folder / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    for seed, name in enumerate(experiment.models(load(folder / "params.yaml", "tiny"))):
        model = factories.make_model("llama")
        if name != "base":
            factories.trained(model, seed)
        factories.save(model, folder / PATHS.model(name), chat=name == "it")
    trajectory = folder / PATHS.trajectory("cpt_ja") / "step_000010"
    shutil.copytree(folder / PATHS.model("cpt_en"), trajectory)
    best = folder / PATHS.best("ja_math")
    best.parent.mkdir(parents=True)
    best.write_text(yaml.safe_dump({"combination": "ja_math", "weights": BEST}))
    return folder


@pytest.fixture
def workplace(finished_training, monkeypatch):
    monkeypatch.chdir(finished_training)


def call(app, *arguments):
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def extract_all():
    params = load(Path("params.yaml"), "tiny")
    for name in (*experiment.vectors(params), *experiment.ratio_models(params)):
        if not PATHS.vector_receipt(name).exists():
            call(vectors.app, "extract", name)


def test_vectors_and_geometry(workplace):
    output = call(vectors.app, "extract", "cpt_ja")
    receipt = json.loads(PATHS.vector_receipt("cpt_ja").read_text())
    assert f"cpt_ja: norm {receipt['norm']:.4g} over 20,128 elements" in output
    extract_all()
    assert "7 vectors, 3 layers" in call(vectors.app, "geometry")
    found = json.loads(PATHS.geometry.read_text())
    assert found["names"][:3] == ["it", "cpt_en", "cpt_ja"]
    point = found["trajectory"]["cpt_ja"][0]
    params = load(Path("params.yaml"), "tiny")
    assert (point["step"], point["tokens"]) == (10, 10 * params.train.batch_size * 64)
    assert point["gram_row"] == pytest.approx(found["gram"][1], rel=1e-4, abs=1e-6)


def test_checkpoint_from_elsewhere_becomes_a_vector(workplace, tmp_path):
    folder = factories.save(factories.trained(factories.make_model("llama"), 99), tmp_path / "law")
    assert "law: norm" in call(vectors.app, "import", "law", str(folder))
    assert (PATHS.vector("law") / "vector.json").exists()
    for bad in ("../law", "base"):
        with pytest.raises(ParamsError, match="a vector's name must be letters"):
            call(vectors.app, "import", bad, str(folder))


def test_import_replaces_no_vector_of_the_graph(workplace, tmp_path):
    before = sorted(PATHS.vector("it").parent.parent.rglob("*"))
    for name in ("it", "cpt_ja", "datamix_ja_math", "ratio_ja_math"):
        with pytest.raises(ParamsError, match=f"'{name}' is a vector that .* {name}_import"):
            call(vectors.app, "import", name, str(tmp_path))
    assert sorted(PATHS.vector("it").parent.parent.rglob("*")) == before


def test_unknown_vector_lists_the_known(workplace):
    with pytest.raises(ParamsError, match=r"'cpt_jp' has no vector .* it, cpt_en.*import NAME"):
        call(vectors.app, "extract", "cpt_jp")


def test_receipt_goes_before_the_vector_it_vouches_for(workplace):
    extract_all()
    model = PATHS.model("cpt_zh") / "model.safetensors"
    raw = model.read_bytes()
    model.write_bytes(raw[:-1])
    with pytest.raises(ArtifactError, match="truncated"):
        call(vectors.app, "extract", "cpt_zh")
    assert not PATHS.vector_receipt("cpt_zh").exists()
    model.write_bytes(raw)


def test_rows_are_merged_with_receipts(workplace):
    extract_all()
    output = call(merge.app, "run", "single_ja", "ja_math_ties", "ja_math_optimer")
    assert "single_ja: dare_linear of it 0.6, cpt_ja 1" in output
    assert "ja_math_optimer: dare_linear of it 0.71, cpt_ja 0.33, cpt_math 0.12" in output
    receipt = json.loads(PATHS.merged_receipt("ja_math_optimer").read_text())
    assert (receipt["row"], receipt["weights"], receipt["density"]) == (
        "ja_math_optimer",
        BEST,
        0.9,
    )
    written = load_file(PATHS.merged("ja_math_optimer") / "model.safetensors")
    assert receipt["checksum"] == checksum(written)
    card = (PATHS.merged("ja_math_optimer") / "README.md").read_text()
    assert "# Ja + Math: OptiMer (ours)" in card
    assert "google" not in card  # a toy never carries a real model's name


def test_merging_again_gives_the_same_model(workplace):
    extract_all()
    seen = set()
    for _ in range(2):
        call(merge.app, "run", "single_ja")
        seen.add(json.loads(PATHS.merged_receipt("single_ja").read_text())["checksum"])
    call(merge.app, "run", "single_ja", "--seed", "5")
    seen.add(json.loads(PATHS.merged_receipt("single_ja").read_text())["checksum"])
    assert len(seen) == 2  # another mask seed, another model


def test_masked_models_reproduce_a_row_by_mergekit(workplace, tmp_path):
    from optimer.merging.parity import run_mergekit

    extract_all()
    call(merge.app, "run", "ja_math_optimer")
    output = call(merge.app, "masked", "ja_math_optimer", str(tmp_path / "masked"))
    assert output.startswith("mergekit-yaml ")
    document = yaml.safe_load((tmp_path / "masked" / "recipe.yaml").read_text())
    theirs = load_file(run_mergekit(document, tmp_path / "m") / "model.safetensors")
    ours = load_file(PATHS.merged("ja_math_optimer") / "model.safetensors")
    assert max(float((ours[n] - theirs[n]).abs().max()) for n in ours) <= 2.4e-7


def test_every_row_is_compared_with_mergekit(workplace):
    extract_all()
    rows = [r for r in experiment.rows(load(Path("params.yaml"), "tiny")) if r.merge_method]
    call(merge.app, "run", *(r.id for r in rows))
    call(merge.app, "parity")
    table = list(csv.DictReader(PATHS.mergekit_parity.open()))
    assert [line["row"] for line in table] == [r.id for r in rows]
    assert {line["n_elements"] for line in table} == {"20128"}
    by_row = {line["row"]: line for line in table}
    for row in ("ja_math_task_arithmetic", "ja_math_ties"):
        assert (by_row[row]["share_different"], by_row[row]["max_ulp"]) == ("0.0", "0")
    assert all(float(line["max_abs"]) <= 2.4e-7 for line in table)


def test_rows_that_cannot_be_merged_say_why(workplace):
    extract_all()
    with pytest.raises(ParamsError, match="row base_it is the model it as it is"):
        call(merge.app, "run", "base_it")
    with pytest.raises(ParamsError, match="'single_jp' is not a row of Table 1"):
        call(merge.app, "run", "single_jp")
    best = PATHS.best("ja_math")
    text = best.read_text()
    best.unlink()
    with pytest.raises(ArtifactError, match=r"best\.yaml: not there.*optimer search ja_math"):
        call(merge.app, "run", "ja_math_optimer")
    best.write_text(yaml.safe_dump({"weights": {"it": 1.0}}))
    with pytest.raises(
        ArtifactError, match=r"has weights of it, row ja_math_optimer needs it, cpt"
    ):
        call(merge.app, "run", "ja_math_optimer")
    best.write_text(text)
    receipt = PATHS.vector_receipt("cpt_code")
    receipt.unlink()
    with pytest.raises(ArtifactError, match=r"cpt_code\.json: no such receipt"):
        call(merge.app, "run", "single_code")
