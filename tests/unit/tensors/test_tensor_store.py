import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from optimer.errors import ArtifactError
from optimer.tensors import ShardWriter, TensorStore, atomic_folder, check_finite
from optimer.tensors import writer as writer_module

TENSORS = {
    "model.norm.weight": torch.tensor([1.5, -2.25, 3.0], dtype=torch.bfloat16),
    "model.layers.0.mlp.up_proj.weight": torch.arange(6.0).reshape(2, 3),
    "steps": torch.tensor(7, dtype=torch.int64),
}


def write(folder, max_shard_bytes=1 << 20):
    with atomic_folder(folder) as partial, ShardWriter(partial, max_shard_bytes) as writer:
        for name, tensor in TENSORS.items():
            writer.add(name, tensor)
    return writer


def test_written_shards_are_what_the_library_reads(tmp_path):
    write(tmp_path / "m")
    read = load_file(tmp_path / "m" / "model.safetensors")
    assert read.keys() == TENSORS.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in TENSORS.items())


def test_the_library_s_files_are_read(tmp_path):
    save_file(TENSORS, tmp_path / "model.safetensors")
    store = TensorStore.open(tmp_path)
    assert store.shape("model.layers.0.mlp.up_proj.weight") == (2, 3)
    assert store.dtype("model.norm.weight") == torch.bfloat16
    for name, tensor in TENSORS.items():
        assert torch.equal(store.read(name), tensor)
        store.release(name)
        assert torch.equal(store.read(name), tensor)


def test_shards_are_split_indexed_and_hashed(tmp_path):
    writer = write(tmp_path / "m", max_shard_bytes=24)
    files = sorted(path.name for path in (tmp_path / "m").iterdir())
    assert files == [
        "model-00001-of-00003.safetensors",
        "model-00002-of-00003.safetensors",
        "model-00003-of-00003.safetensors",
        "model.safetensors.index.json",
    ]
    assert sorted(writer.sha256) == files[:3]
    store = TensorStore.open(tmp_path / "m")
    assert all(torch.equal(store.read(name), tensor) for name, tensor in TENSORS.items())
    index = json.loads((tmp_path / "m" / files[3]).read_text())
    assert index["metadata"]["total_size"] == 6 + 24 + 8


def test_unaligned_tensors_are_read(tmp_path):
    header = {
        "a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [2, 10]},
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    data = TENSORS["model.norm.weight"][:1].view(torch.uint8).numpy().tobytes()
    data += torch.tensor([0.1, -5.0]).numpy().tobytes()
    file = tmp_path / "model.safetensors"
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)
    assert torch.equal(TensorStore.open(tmp_path).read("b"), torch.tensor([0.1, -5.0]))


def test_missing_shard_is_named(tmp_path):
    write(tmp_path / "m", max_shard_bytes=24)
    (tmp_path / "m" / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"1 of 3 shards .* model-00002-of-00003\.safetensors"):
        TensorStore.open(tmp_path / "m")


def test_truncated_shard_is_named(tmp_path):
    write(tmp_path / "m")
    file = tmp_path / "m" / "model.safetensors"
    raw = file.read_bytes()
    file.write_bytes(raw[:-5])
    expected = rf"model\.safetensors: truncated, {len(raw) - 5} of {len(raw)} bytes are there"
    with pytest.raises(ArtifactError, match=expected):
        TensorStore.open(tmp_path / "m")
    file.write_bytes(raw[:20])
    with pytest.raises(ArtifactError, match=r"model\.safetensors: not a safetensors file"):
        TensorStore.open(tmp_path / "m")


def test_folder_without_weights_and_pickles_are_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"neither model\.safetensors nor .* not a model"):
        TensorStore.open(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(ArtifactError, match=r"pytorch_model\.bin: a pickle; only safetensors"):
        TensorStore.open(tmp_path)


def test_tied_head_has_no_name_of_its_own(tmp_path):
    embedding = torch.ones(4, 2)
    tensors = {"model.embed_tokens.weight": embedding, "lm_head.weight": embedding.clone()}
    save_file(tensors, tmp_path / "model.safetensors")
    names = {}
    for tied in (True, False):
        (tmp_path / "config.json").write_text(json.dumps({"tie_word_embeddings": tied}))
        names[tied] = sorted(TensorStore.open(tmp_path).names())
    assert names[True] == ["model.embed_tokens.weight"]
    assert names[False] == ["lm_head.weight", "model.embed_tokens.weight"]


def test_nan_is_counted_and_its_file_named(tmp_path):
    bad = torch.tensor([1.0, float("nan"), float("inf"), 2.0])
    with pytest.raises(ArtifactError, match=r"x\.safetensors: tensor a has 2 of 4 values"):
        check_finite(bad, "a", tmp_path / "x.safetensors")
    check_finite(bad[[0, 3]], "a", tmp_path / "x.safetensors")


def test_a_failed_write_leaves_the_old_folder(tmp_path):
    write(tmp_path / "m")
    before = sorted(path.name for path in (tmp_path / "m").iterdir())
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "m") as partial:
        (partial / "half").write_text("x")
        raise RuntimeError
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_full_disk_is_an_error_with_a_way_out(tmp_path, monkeypatch):
    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer_module.os, "fsync", full)
    with pytest.raises(ArtifactError, match=r"No space left on device.*nothing was left half"):
        write(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_replaced(tmp_path):
    (tmp_path / ".m.partial").mkdir()
    (tmp_path / ".m.partial" / "junk").write_text("x")
    write(tmp_path / "m")
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["model.safetensors"]
