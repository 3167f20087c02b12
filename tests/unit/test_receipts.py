"""Receipts and atomic writes: a file is whole or absent."""

import errno
import os

import pytest

from optimer import receipts
from optimer.errors import ArtifactError
from optimer.seeding import stream_seed, unit_float


def test_round_trip(tmp_path):
    path = tmp_path / "deep" / "cpt_ja.json"
    receipts.write(path, {"tokens": 3, "name": "日本語"})
    assert receipts.read(path) == {"tokens": 3, "name": "日本語"}
    assert path.read_text() == '{\n  "name": "日本語",\n  "tokens": 3\n}\n'


def test_missing_and_broken_receipts(tmp_path):
    with pytest.raises(ArtifactError, match="no such receipt, so the artifact .* is not complete"):
        receipts.read(tmp_path / "x.json")
    (tmp_path / "x.json").write_text('{"half": ')
    with pytest.raises(ArtifactError, match="not valid JSON .* Delete it and run its phase again"):
        receipts.read(tmp_path / "x.json")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    receipts.write(path, {"old": 1})

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match="No space left on device"):
        receipts.write(path, {"new": 2})
    assert receipts.read(path) == {"old": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_hashes_are_sha256(tmp_path):
    (tmp_path / "b.txt").write_bytes(b"abc")
    assert receipts.hash_files(tmp_path.iterdir(), tmp_path) == {
        "b.txt": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    }


def test_streams_are_named_and_stable():
    assert stream_seed(0, "a", 1) == stream_seed(0, "a", 1)
    assert stream_seed(0, "a", 1) != stream_seed(0, "a1")
    assert len({stream_seed(seed, "order") for seed in range(100)}) == 100
    assert 0 <= unit_float(3, "x") < 1
