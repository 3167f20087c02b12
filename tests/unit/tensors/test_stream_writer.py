import pytest
import torch

from optimer.tensors import ShardWriter, TensorStore
from optimer.tensors.stream import StreamWriter

TENSORS = {
    "a": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3),
    "b": torch.arange(5, dtype=torch.float32),
    "c": torch.arange(7, dtype=torch.bfloat16),
    "d": torch.zeros(0, 4),
    "e": torch.arange(3, dtype=torch.float32),
}
PLAN = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in TENSORS.items()}


@pytest.mark.parametrize("max_shard_bytes", [20, 34, 10_000])
def test_files_are_those_of_the_shard_writer(tmp_path, max_shard_bytes):
    held, streamed = tmp_path / "held", tmp_path / "streamed"
    for folder in (held, streamed):
        folder.mkdir()
    with ShardWriter(held, max_shard_bytes) as first:
        for name, tensor in TENSORS.items():
            first.add(name, tensor)
    with StreamWriter(streamed, PLAN, max_shard_bytes) as second:
        for name in second.order:
            second.add(name, TENSORS[name])
    assert first.sha256 == second.sha256
    names = sorted(path.name for path in held.iterdir())
    assert names == sorted(path.name for path in streamed.iterdir())
    assert all((held / n).read_bytes() == (streamed / n).read_bytes() for n in names)
    store = TensorStore.open(streamed)
    assert all(torch.equal(store.read(name), tensor) for name, tensor in TENSORS.items())


def test_widest_elements_come_first_within_a_shard(tmp_path):
    assert StreamWriter(tmp_path, PLAN).order == ["b", "d", "e", "a", "c"]


def test_another_tensor_than_planned_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match=r"expected b of .*float32, \(5,\).*got a"),
        StreamWriter(tmp_path, PLAN) as writer,
    ):
        writer.add("a", TENSORS["a"])
    with (
        pytest.raises(ValueError, match=r"expected b of .*got b: torch.float32 \[4\]"),
        StreamWriter(tmp_path, PLAN) as writer,
    ):
        writer.add("b", TENSORS["b"][:4])
    with (
        pytest.raises(ValueError, match="tensor d was planned, not added"),
        StreamWriter(tmp_path, PLAN) as writer,
    ):
        writer.add("b", TENSORS["b"])


def test_a_disk_that_refuses_is_an_error_of_the_caller(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="nowhere"),
        StreamWriter(tmp_path / "nowhere", PLAN) as writer,
    ):
        for name in writer.order:
            writer.add(name, TENSORS[name])
