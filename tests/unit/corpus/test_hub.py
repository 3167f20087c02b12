"""Reader `hub` through the real `datasets` library, on a local folder in place of a repository."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from optimer.corpus.hub import hub_shards, resolve_revision, split_location
from optimer.corpus.shards import Tally
from optimer.errors import CorpusError


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache", raising=False)


def test_location_is_split() -> None:
    assert split_location("org/name:conf:train") == ("org/name", "conf", "train")
    assert split_location("org/name::train") == ("org/name", None, "train")
    for broken in ("org/name", "org/name:train", ":c:train", "org/name:c:"):
        with pytest.raises(CorpusError, match="repository:configuration:split"):
            split_location(broken)


def test_one_shard_per_file_and_bad_rows_tallied(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for shard in range(3):
        rows = [{"content": f"text {shard}.{i}" if i else ""} for i in range(4)]
        raw = "\n".join(map(json.dumps, rows)).encode()
        (folder / f"train-{shard}.jsonl.gz").write_bytes(gzip.compress(raw))
    location = f"{tmp_path}::train"
    assert resolve_revision(location, None) is None
    shards = hub_shards(location, None)
    assert len(shards) == 3
    tally = Tally(1.0)
    found = [list(shard.open(tally)) for shard in shards]
    assert sorted(text for texts in found for text in texts) == [
        f"text {s}.{i}" for s in range(3) for i in (1, 2, 3)
    ]
    assert all(len({text[5] for text in texts}) == 1 for texts in found)
    assert (tally.n_lines, tally.n_bad) == (12, 3)
    assert tally.examples[0] == f"{location}#0:1: no text in it"


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match=r"empty::train' at revision newest cannot be opened"):
        hub_shards(f"{tmp_path / 'empty'}::train", None)
