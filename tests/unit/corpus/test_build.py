"""Sampling one dataset end to end: nested, deterministic, decontaminated, whole or absent."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from corpus_files import ROOT, document, write_gzip

from optimer import receipts
from optimer.corpus.build import batches, budget_of, sample
from optimer.corpus.decontaminate import build_overlap
from optimer.corpus.pack import DocumentTokenizer
from optimer.errors import ArtifactError, CorpusError
from optimer.paths import Paths
from optimer.tokens import open_store

PATHS = Paths("tiny")


def write_corpus(place: Path, n_shards: int = 4, n_documents: int = 25) -> None:
    """Shard s, line i: three words, the first two telling s and i."""
    for shard in range(n_shards):
        lines = [document(shard, 100 + i, 500) for i in range(n_documents)]
        write_gzip(place / "corpora/en/x" / f"{shard:04d}.jsonl.gz", lines)


def tokens() -> np.ndarray:
    return np.array(open_store(PATHS.corpus("en")))


def test_packed_rows_and_receipt(workplace: Path, make_params) -> None:
    write_gzip(workplace / "corpora/en/x/0000.jsonl.gz", [document(1, 2, 3), document(4)] * 8)
    receipt = sample(make_params(token_budget=32, reserve=1.0), PATHS, "en")
    rows = tokens()
    assert rows.shape == (4, 8)
    assert rows.dtype == np.uint16
    stream = rows.ravel().tolist()
    text = " ".join(map(str, stream))
    assert stream[0] == 1
    assert text.replace("1 11 12 13 2", "").replace("1 14 2", "").split() in (
        [], ["1"], ["1", "11"], ["1", "14"], ["1", "11", "12"], ["1", "11", "12", "13"],
    )  # whole documents between BOS 1 and EOS 2, the last one cut  # fmt: skip
    assert receipt == receipts.read(PATHS.corpus_receipt("en"))
    assert receipt["n_sequences"] == 4
    assert receipt["n_tokens"] == 32
    assert (receipt["bos"], receipt["eos"], receipt["dtype"]) == (1, 2, "uint16")
    assert receipt["documents"]["removed"] == 0
    assert receipt["lines"] == {"read": 16, "bad": 0, "examples": []}
    assert receipt["sha256"] == {"tokens.npy": receipts.sha256(PATHS.corpus("en") / "tokens.npy")}
    assert receipt["vocabulary"] == DocumentTokenizer(PATHS.world / "tokenizer").fingerprint
    assert receipt["sources"] == [
        {"reader": "llm_jp", "location": "en/x", "revision": None, "licence": ""}
    ]


def test_larger_budget_extends_the_smaller_one(workplace: Path, make_params) -> None:
    write_corpus(workplace)
    sample(make_params(token_budget=80, reserve=1.0), PATHS, "en")
    small = tokens()
    sample(make_params(token_budget=160, reserve=2.5), PATHS, "en")
    large = tokens()
    assert (small.shape, large.shape) == ((10, 8), (50, 8))
    assert np.array_equal(large[:10], small)


def test_deterministic_and_seeded(workplace: Path, make_params) -> None:
    write_corpus(workplace)
    first = sample(make_params(), PATHS, "en")["sha256"]
    assert sample(make_params(), PATHS, "en")["sha256"] == first
    assert sample(make_params(seed=1), PATHS, "en")["sha256"] != first


def test_sample_spans_shards_and_repeats_no_document(workplace: Path, make_params) -> None:
    write_corpus(workplace)
    sample(make_params(token_budget=200, reserve=1.0), PATHS, "en")
    documents = [tuple(part[1:3]) for part in np.split(tokens().ravel(), range(5, 200, 5))]
    assert len(set(documents)) == 40
    assert {shard for shard, _ in documents} == {10, 11, 12, 13}


def test_less_than_the_reserve_takes_everything(workplace: Path, make_params) -> None:
    write_corpus(workplace)  # 100 documents of 5 tokens: 62 rows of 8
    receipt = sample(make_params(token_budget=400, reserve=3.0), PATHS, "en")
    assert (receipt["n_sequences"], receipt["n_sequences_wanted"]) == (62, 150)
    assert receipt["documents"]["kept"] == 100


def test_corpus_smaller_than_its_budget(workplace: Path, make_params) -> None:
    write_corpus(workplace)
    with pytest.raises(
        CorpusError,
        match=r"en: its sources hold 500 tokens, but 504 are asked for \(4 shards, 100 documents "
        r"read\)\. Add rows to data/sources\.tsv or lower the token budget",
    ):
        sample(make_params(token_budget=504), PATHS, "en")
    assert not PATHS.corpus("en").exists()
    assert not PATHS.corpus_receipt("en").exists()
    assert list(PATHS.corpus("en").parent.iterdir()) == []


def test_unknown_dataset_and_tiny_budget(workplace: Path, make_params) -> None:
    with pytest.raises(CorpusError, match=r"'fr' is not a dataset of scale tiny; known: .*en, ja"):
        sample(make_params(), PATHS, "fr")
    with pytest.raises(CorpusError, match=r"math' at scale tiny"):
        sample(make_params(), PATHS, "math")  # in params, but not in this table
    with pytest.raises(CorpusError, match="7 tokens do not fill one sequence of 8"):
        budget_of(make_params(token_budget=7), "en")


def test_toy_datasets_have_their_own_budgets(make_params) -> None:
    params = make_params()
    for name in ("pretrain", "instruct"):
        tokens = getattr(params.world, name).token_budget
        budget = budget_of(params, name)
        assert (budget.n_required, budget.n_wanted) == (tokens // 8, tokens // 8)


def test_bad_lines_are_reported_then_refused(workplace: Path, make_params) -> None:
    lines = [document(1, 2, 3)] * 99
    write_gzip(workplace / "corpora/en/x/0000.jsonl.gz", [*lines[:50], "broken", *lines[50:]])
    receipt = sample(make_params(max_bad_lines=0.01), PATHS, "en")
    assert receipt["lines"]["bad"] == 1
    assert receipt["lines"]["examples"] == [
        "en/x/0000.jsonl.gz:51: not JSON (Expecting value at character 0)"
    ]
    with pytest.raises(CorpusError, match=r"1 of 100 lines cannot be read.*\n  en/x/0000"):
        sample(make_params(max_bad_lines=0.001), PATHS, "en")
    assert not PATHS.corpus_receipt("en").exists()  # the old one no longer holds


def test_documents_sharing_ngrams_are_removed_and_quoted(workplace: Path, make_params) -> None:
    clean = [document(i, i + 1, i + 2, i + 3) for i in range(100, 195)]
    dirty = [document(1, 2, 3, 4, 5), document(9, 1, 2, 3, 9)]
    write_gzip(workplace / "corpora/en/x/0000.jsonl.gz", [*clean, *dirty])
    tokenizer = DocumentTokenizer(PATHS.world / "tokenizer")
    with pytest.raises(ArtifactError, match=r"overlap\.json: no such receipt"):
        sample(make_params(token_budget=480, ngram=3), PATHS, "en")
    build_overlap(["w1 w2 w3", "w4 w5"], tokenizer, 3, PATHS)
    receipt = sample(make_params(token_budget=480, ngram=3), PATHS, "en")
    counts = receipt["documents"]
    assert (counts["read"], counts["kept"], counts["removed"]) == (97, 95, 2)
    assert counts["removed_quotes"] == ["w1 w2 w3", "w1 w2 w3"]
    assert receipt["decontamination"]["overlap_sha256"] == receipts.sha256(PATHS.overlap)
    assert 11 not in tokens()  # w1
    with pytest.raises(CorpusError, match=r"2 of 97 documents share an n-gram .* 0\.02\..*\n  w1"):
        sample(make_params(token_budget=480, ngram=3, max_removed=0.02), PATHS, "en")


def test_batches_are_bounded() -> None:
    sizes = [len(batch) for batch in batches(["x"] * 2050)]
    assert sizes == [1024, 1024, 2]
    assert [len(batch) for batch in batches(["x" * 1_500_000] * 3)] == [1, 1, 1]


SCRIPT = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from optimer.corpus import build
    from optimer.corpus.build import sample
    from optimer.params import load
    from optimer.paths import Paths
    params = load(Path(sys.argv[1]), "tiny")
    rule = params.corpus.decontamination.model_copy(update={"ngram": 0})
    corpus = params.corpus.model_copy(update={
        "token_budget": 24_000, "sequence_length": 8, "reserve": 1.0, "decontamination": rule})
    def slowly(text):
        print(text, flush=True)
        time.sleep(float(sys.argv[2]))
    try:
        sample(params.model_copy(update={"corpus": corpus}), Paths("tiny"), "en", slowly)
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
    """
)


def start(*args: str, **options) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(ROOT / "params.yaml"), *args],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def big_corpus(place: Path) -> None:
    """More than one batch of documents: 10 x 600 of 5 tokens each."""
    write_corpus(place, n_shards=10, n_documents=0)
    for shard in range(10):
        file = place / "corpora/en/x" / f"{shard:04d}.jsonl.gz"
        write_gzip(file, [document(shard, i % 900, 500) for i in range(600)])


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_run_leaves_nothing_taken_for_complete(
    workplace: Path, make_params, how: int
) -> None:
    big_corpus(workplace)
    with start("0.5") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("en: ")
        process.send_signal(how)
        assert process.wait(20) != 0
    assert not PATHS.corpus("en").exists()
    assert not PATHS.corpus_receipt("en").exists()
    sample(make_params(token_budget=24_000), PATHS, "en")  # simply works, leftovers or not
    assert open_store(PATHS.corpus("en")).shape == (3750, 8)
    assert [item.name for item in PATHS.corpus("en").parent.iterdir()] == ["en"]


def test_disk_that_refuses_names_the_folder(workplace: Path) -> None:
    """A file-size limit makes the kernel refuse the write, as a full disk does."""
    big_corpus(workplace)

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    with start("0", preexec_fn=limit) as process:
        assert process.wait(60) == 1
        assert process.stderr is not None
        message = process.stderr.read()
    assert "ArtifactError: " in message
    assert f"{PATHS.corpus('en')}: could not be written (File too large)" in message
    assert list(PATHS.corpus("en").parent.iterdir()) == []
    assert not PATHS.corpus_receipt("en").exists()
