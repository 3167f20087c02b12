import json
import shutil

import factories
import pytest
from safetensors.torch import load_file

from optimer.errors import ArtifactError
from optimer.vectors.geometry import geometry

EXCLUDE = ("embed_tokens", "lm_head", "rotary")


@pytest.fixture
def trajectory(family, tmp_path):
    """Two checkpoints of cpt_ja: the base, and cpt_math's model under the wrong name."""
    pool = family("qwen3_untied")
    for step, source in ((100, pool.base), (20, pool.models["cpt_math"])):
        shutil.copytree(source, tmp_path / "run" / f"step_{step:06d}")
    (tmp_path / "run" / "notes.txt").write_text("")
    return tmp_path / "run"


def flat(folder):
    return {
        name: tensor.double().flatten()
        for name, tensor in load_file(folder / "model.safetensors").items()
        if not any(part in name for part in EXCLUDE)
    }


def test_products_are_those_of_the_models(family, trajectory):
    pool = family("qwen3_untied")
    found = geometry(pool.base, pool.vectors, {"cpt_ja": trajectory}, EXCLUDE, 512)
    base, it, ja = flat(pool.base), flat(pool.models["it"]), flat(pool.models["cpt_ja"])
    expected = sum(float((it[n] - base[n]).dot(ja[n] - base[n])) for n in base)
    norm2 = sum(float((it[n] - base[n]).square().sum()) for n in base)
    assert found["names"] == ["it", "cpt_ja", "cpt_math"]
    assert found["gram"][0][1] == pytest.approx(expected, rel=1e-3, abs=1e-5 * norm2)
    assert found["gram"][0][1] == pytest.approx(found["gram"][1][0], rel=1e-4, abs=1e-6 * norm2)
    assert found["norms"][0] ** 2 == pytest.approx(norm2, rel=1e-5)
    assert found["base_norm"] ** 2 == pytest.approx(
        sum(float(tensor.square().sum()) for tensor in base.values()), rel=1e-5
    )
    assert found["excluded"] == ["lm_head.weight", "model.embed_tokens.weight"]
    assert found["n_elements"] == sum(tensor.numel() for tensor in base.values())


def test_layers_add_up_to_the_total(family):
    pool = family("qwen3_untied")
    found = geometry(pool.base, pool.vectors, {}, EXCLUDE, 512)
    assert [item["layer"] for item in found["layers"]] == ["0", "1", "other"]
    for i in range(3):
        for j in range(3):
            parts = sum(item["gram"][i][j] for item in found["layers"])
            assert parts == pytest.approx(found["gram"][i][j], rel=1e-12)


def test_checkpoints_are_ordered_and_measured_against_every_vector(family, trajectory):
    pool = family("qwen3_untied")
    found = geometry(pool.base, pool.vectors, {"cpt_ja": trajectory}, EXCLUDE, 512)
    first, second = found["trajectory"]["cpt_ja"]
    assert (first["step"], first["tokens"], second["step"]) == (20, 20 * 512, 100)
    assert first["gram_row"] == pytest.approx(found["gram"][2], rel=1e-4)
    assert first["norm2"] == pytest.approx(found["gram"][2][2], rel=1e-5)
    assert second["gram_row"] == [0, 0, 0]
    json.dumps(found)


def test_embedding_counts_when_it_is_not_excluded(family, tmp_path):
    pool = family("qwen3_untied")
    with_head = geometry(pool.base, pool.vectors, {}, (), 512)
    without = geometry(pool.base, pool.vectors, {}, EXCLUDE, 512)
    assert with_head["excluded"] == []
    assert with_head["gram"][0][0] > without["gram"][0][0]
    assert with_head["n_elements"] - without["n_elements"] == 2 * factories.VOCABULARY * 32


def test_run_without_checkpoints_is_refused(family, tmp_path):
    pool = family("qwen3_untied")
    with pytest.raises(ArtifactError, match=r"no intermediate checkpoints step_<n>/ of cpt_ja"):
        geometry(pool.base, pool.vectors, {"cpt_ja": tmp_path}, EXCLUDE, 512)


def test_vector_of_another_model_is_refused(family):
    pool, other = family("qwen3_untied"), family("llama")
    with pytest.raises(ArtifactError, match=r"vector it lacks 4 tensors of the base model"):
        geometry(pool.base, {"it": other.vectors["it"]}, {}, EXCLUDE, 512)
