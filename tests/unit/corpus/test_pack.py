"""Tokenizer, packing, and folders that appear whole or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from corpus_files import ROOT, write_tokenizer

from optimer.corpus.pack import DocumentTokenizer, StoreWriter, _tokenizer_class, staged
from optimer.errors import ArtifactError, CorpusError
from optimer.tokens import open_store, vocabulary_fingerprint


def test_ids_bos_eos_and_dtype(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    tokenizer = DocumentTokenizer(tmp_path)
    ids = tokenizer.encode(["w3 w4", "w5 unheard-of"])
    assert [item.tolist() for item in ids] == [[13, 14], [15, 0]]
    assert tokenizer.wrap(ids[0]).tolist() == [1, 13, 14, 2]
    assert tokenizer.wrap(ids[0]).dtype == np.uint16
    assert (tokenizer.bos, tokenizer.eos, tokenizer.n_ids) == (1, 2, 1010)
    assert tokenizer.decode(ids[0]) == "w3 w4"


def test_ids_equal_those_of_the_transformers_call(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    write_tokenizer(tmp_path)
    texts = ["w1 w2 w3", "", "<eos> w9"]
    ours = [ids.tolist() for ids in DocumentTokenizer(tmp_path).encode(texts)]
    called = AutoTokenizer.from_pretrained(tmp_path)(texts, add_special_tokens=False)["input_ids"]
    assert ours == called


def test_generic_class_is_what_auto_picks_and_needs_no_torch(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    write_tokenizer(tmp_path)
    assert type(AutoTokenizer.from_pretrained(tmp_path)) is _tokenizer_class(tmp_path)
    code = (
        "import sys; from pathlib import Path; from optimer.corpus.pack import DocumentTokenizer;"
        "DocumentTokenizer(Path(sys.argv[1])); print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "GemmaTokenizer"}')
    assert _tokenizer_class(tmp_path) is AutoTokenizer


def test_large_vocabulary_takes_uint32(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, n_words=65_525)
    assert DocumentTokenizer(tmp_path).dtype == np.uint16  # ids 0 … 65,534
    write_tokenizer(tmp_path, n_words=65_526)
    assert DocumentTokenizer(tmp_path).dtype == np.uint32


def test_tokenizer_that_does_not_fit_the_model(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"vocab_size": 1009}}))
    with pytest.raises(CorpusError, match=r"ids up to 1009, but the model has 1009 embeddings"):
        DocumentTokenizer(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 1010}))
    DocumentTokenizer(tmp_path)


def test_missing_tokenizer_and_missing_eos(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no tokenizer there"):
        DocumentTokenizer(tmp_path / "nowhere")
    write_tokenizer(tmp_path, eos=None)
    with pytest.raises(CorpusError, match="declares no EOS token"):
        DocumentTokenizer(tmp_path)


def test_fingerprint_follows_ids_and_not_files(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "a")
    write_tokenizer(tmp_path / "b")
    settings = tmp_path / "b" / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"chat_template": "hi"}))
    write_tokenizer(tmp_path / "c", n_words=999)
    a, b, c = (DocumentTokenizer(tmp_path / name).fingerprint for name in "abc")
    assert a == b != c
    assert vocabulary_fingerprint({"x": 0, "y": 1}) == vocabulary_fingerprint({"y": 1, "x": 0})
    assert vocabulary_fingerprint({"x": 0, "y": 1}) != vocabulary_fingerprint({"x": 1, "y": 0})


def test_rows_are_the_stream_cut_at_fixed_length(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path, 4, np.uint16)
    writer.append([np.array([1, 11, 2], np.uint16), np.array([1, 12], np.uint16)], limit=9)
    writer.append([np.array([13, 2, 1, 14, 15, 16], np.uint16)], limit=9)
    writer.close()
    assert open_store(tmp_path).tolist() == [[1, 11, 2, 1], [12, 13, 2, 1]]
    assert open_store(tmp_path).dtype == np.uint16


def test_limit_cuts_and_empty_append_is_harmless(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path, 2, np.uint32)
    writer.append([], limit=2)
    writer.append([np.arange(9, dtype=np.uint32)], limit=2)
    writer.close()
    assert open_store(tmp_path).tolist() == [[0, 1], [2, 3]]


def test_staged_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "corpus" / "ja"
    with staged(target) as partial:
        (partial / "a").write_text("1")
        assert not target.exists()
    assert (target / "a").read_text() == "1"
    with staged(target) as partial:
        (partial / "b").write_text("2")
    assert [file.name for file in target.iterdir()] == ["b"]
    assert [item.name for item in target.parent.iterdir()] == ["ja"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_staged_folder_vanishes_with_any_error(tmp_path: Path, error: type) -> None:
    with pytest.raises(error), staged(tmp_path / "ja") as partial:
        (partial / "a").write_text("1")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_run_are_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / ".ja.partial").mkdir()
    (tmp_path / ".ja.partial" / "tokens.npy").write_text("half")
    with staged(tmp_path / "ja") as partial:
        assert list(partial.iterdir()) == []


def test_staged_names_folder_and_cause(tmp_path: Path) -> None:
    message = "ja: could not be written .No space left on device"
    with pytest.raises(ArtifactError, match=message), staged(tmp_path / "ja"):
        raise OSError(28, "No space left on device")
