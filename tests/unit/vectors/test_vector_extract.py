import json
import math
import shutil

import factories
import pytest
import torch
from safetensors.torch import load_file, save_file

from optimer.errors import ArtifactError
from optimer.tensors import TensorStore
from optimer.vectors.extract import extract
from optimer.vectors.vector import DistributionVector

ROW = "model.layers.0.mlp.up_proj.weight"


def copied(folder, source, change=None, name="model.safetensors"):
    shutil.copytree(source, folder)
    if change is not None:
        tensors = load_file(folder / name)
        change(tensors)
        save_file(tensors, folder / name, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", factories.FAMILIES)
def test_base_plus_vector_is_the_checkpoint_bit_for_bit(family, name, dtype):
    pool = family(name, dtype)
    base, trained = TensorStore.open(pool.base), TensorStore.open(pool.models["cpt_ja"])
    vector = DistributionVector.open(pool.vectors["cpt_ja"])
    assert len(vector.names) > 20
    for tensor in vector.names:
        restored = vector.apply(tensor, base.read(tensor))
        expected = trained.read(tensor)
        assert restored.dtype == expected.dtype
        assert torch.equal(restored.view(torch.uint8), expected.view(torch.uint8))


def test_receipt_tells_norms_hashes_and_what_did_not_change(family, tmp_path):
    pool = family("qwen3_tied")
    receipt = extract(pool.base, pool.models["it"], tmp_path / "v", "it")
    base, trained = load_file(pool.base / "model.safetensors"), None
    trained = load_file(pool.models["it"] / "model.safetensors")
    norm = float((trained[ROW].double() - base[ROW].double()).norm())
    assert receipt["norms"][ROW] == pytest.approx(norm, rel=1e-5)
    assert receipt["norm"] == pytest.approx(math.hypot(*receipt["norms"].values()))
    assert receipt["norms"]["model.embed_tokens.weight"] == 0
    assert receipt["n_unchanged_tensors"] == 1
    assert receipt["n_elements"] == sum(tensor.numel() for tensor in base.values())
    assert sorted(receipt["sha256"]) == ["model.safetensors", "vector.json"]
    assert list(receipt["inputs"]["base"]) == ["model.safetensors"]
    assert "model.embed_tokens.weight" not in load_file(tmp_path / "v" / "model.safetensors")


def test_same_inputs_give_the_same_bytes(family, tmp_path):
    pool = family("qwen3_tied", "bfloat16")
    first, second = (extract(pool.base, pool.models["it"], tmp_path / n, "it") for n in "ab")
    assert first["sha256"] == second["sha256"]


def test_sharded_checkpoint_gives_the_same_vector(family, tmp_path):
    pool = family("llama")
    model = factories.trained(factories.make_model("llama"), 2)
    factories.save(model, tmp_path / "sharded", max_shard_size="20KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    extract(pool.base, tmp_path / "sharded", tmp_path / "v", "cpt_ja")
    name = "model.safetensors"
    assert (tmp_path / "v" / name).read_bytes() == (pool.vectors["cpt_ja"] / name).read_bytes()


def test_only_the_language_model_gets_a_vector(family):
    pool = family("gemma3_multimodal")
    vector = DistributionVector.open(pool.vectors["it"])
    assert not [name for name in vector.names if "vision" in name or "multi_modal" in name]
    assert "model.layers.1.mlp.down_proj.weight" in vector.names


def test_hub_layout_and_transformers_layout_give_the_same_vector(family, tmp_path):
    pool = family("gemma3_multimodal")
    base = factories.to_hub_layout(copied(tmp_path / "base", pool.base))
    extract(base, pool.models["it"], tmp_path / "v", "it")
    name = "model.safetensors"
    assert (tmp_path / "v" / name).read_bytes() == (pool.vectors["it"] / name).read_bytes()


def test_text_only_checkpoint_fits_a_multimodal_base(family, tmp_path):
    pool = family("gemma3_multimodal")
    tensors = {
        name.removeprefix("language_model."): tensor
        for name, tensor in load_file(pool.models["it"] / "model.safetensors").items()
        if name.startswith("language_model.")
    }
    text = copied(tmp_path / "text", pool.models["it"])
    save_file(tensors, text / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((text / "config.json").read_text())
    (text / "config.json").write_text(json.dumps(config["text_config"]))
    extract(pool.base, text, tmp_path / "v", "it")
    name = "model.safetensors"
    assert (tmp_path / "v" / name).read_bytes() == (pool.vectors["it"] / name).read_bytes()


def refused(pool, checkpoint, tmp_path, match):
    with pytest.raises(ArtifactError, match=match):
        extract(pool.base, checkpoint, tmp_path / "v", "x")
    assert not (tmp_path / "v").exists()
    assert not list(tmp_path.glob(".v*"))


def test_other_names_are_refused(family, tmp_path):
    pool = family("qwen3_tied")
    other = family("llama").models["it"]
    refused(pool, other, tmp_path, r"tensor names differ .* 4 missing \(model\.layers\.0")


def test_other_shapes_are_refused(family, tmp_path):
    def change(tensors):
        tensors[ROW] = torch.zeros(47, 32)

    pool = family("qwen3_tied")
    checkpoint = copied(tmp_path / "c", pool.models["it"], change)
    refused(pool, checkpoint, tmp_path, r"up_proj\.weight has shape \[47, 32\].*has \[48, 32\]")


def test_nan_is_refused_by_file_and_tensor(family, tmp_path):
    def change(tensors):
        tensors[ROW][3, 4] = float("nan")

    pool = family("qwen3_tied")
    checkpoint = copied(tmp_path / "c", pool.models["it"], change)
    expected = r"c/model\.safetensors: tensor model\.layers\.0\.mlp\.up_proj\.weight has 1 of 1536"
    refused(pool, checkpoint, tmp_path, expected)


def test_missing_shard_is_refused(family, tmp_path):
    pool = family("llama")
    model = factories.make_model("llama")
    folder = factories.save(model, tmp_path / "c", max_shard_size="20KB")
    next(folder.glob("*-00002-of-*.safetensors")).unlink()
    refused(pool, folder, tmp_path, r"shards named by .* missing: model-00002-of-")


def test_other_vocabulary_is_refused_by_id(family, tmp_path):
    words = list(factories.WORDS)
    words[10], words[11] = words[11], words[10]
    folder = factories.save(factories.make_model("qwen3_tied"), tmp_path / "c", words=words)
    expected = r"vocabulary differs .* 2 ids .* first id 10: 'w5' in the base, 'w6' here"
    refused(family("qwen3_tied"), folder, tmp_path, expected)


def test_tokenizer_files_may_differ_when_ids_do_not(family, tmp_path):
    pool = family("qwen3_tied")
    files = [folder / "tokenizer_config.json" for folder in (pool.base, pool.models["it"])]
    template = pool.models["it"] / "chat_template.jinja"
    assert template.exists() or files[0].read_text() != files[1].read_text()
    assert extract(pool.base, pool.models["it"], tmp_path / "v", "it")["n_extra_tokens"] == 0


def test_tokens_that_only_one_side_names_are_counted(family, tmp_path):
    model = factories.trained(factories.make_model("qwen3_tied"), 1)
    folder = factories.save(model, tmp_path / "c", words=factories.WORDS[:-2])
    receipt = extract(family("qwen3_tied").base, folder, tmp_path / "v", "x")
    assert receipt["n_extra_tokens"] == 2


def test_checkpoint_without_a_tokenizer_is_refused(family, tmp_path):
    pool = family("qwen3_tied")
    folder = copied(tmp_path / "c", pool.models["it"])
    for file in folder.glob("*token*"):
        file.unlink()
    refused(pool, folder, tmp_path, r"c: no tokenizer in this folder")
