"""Reading the sources table and the lines of its files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from corpus_files import HEADER, ROOT, document, write_gzip

from optimer.corpus.shards import Tally, read_lines
from optimer.corpus.sources import Source, read_table, shards_of, sources_of
from optimer.errors import CorpusError


def texts(file: Path, max_bad: float = 1.0) -> tuple[list[str], Tally]:
    tally = Tally(max_bad)
    return list(read_lines(file, file.name, tally)), tally


def test_the_committed_table_names_every_dataset_of_every_scale() -> None:
    from optimer.experiment import sampled_datasets
    from optimer.params import load

    for scale in ("tiny", "small", "paper"):
        for dataset in sampled_datasets(load(ROOT / "params.yaml", scale)):
            assert sources_of(ROOT / "data/sources.tsv", scale, dataset)


def test_missing_dataset_gets_the_nearest_name(tmp_path: Path) -> None:
    table = tmp_path / "sources.tsv"
    table.write_text(HEADER + "tiny\tmath\tjsonl\tm\t\t\t\n")
    with pytest.raises(CorpusError, match=r'"mat" at scale tiny|did you mean "math"\?'):
        sources_of(table, "tiny", "mat")
    with pytest.raises(CorpusError, match="no row for dataset 'math' at scale paper; it has: none"):
        sources_of(table, "paper", "math")


def test_several_rows_of_one_dataset_are_kept_in_order(tmp_path: Path) -> None:
    table = tmp_path / "sources.tsv"
    table.write_text(HEADER + "tiny\tja\tjsonl\ta\t\t\t\ntiny\tja\thub\tr:c:s\tabc\tMIT\tn\n")
    assert [row.location for row in sources_of(table, "tiny", "ja")] == ["a", "r:c:s"]
    assert read_table(table)[1] == Source("tiny", "ja", "hub", "r:c:s", "abc", "MIT", "n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scale dataset\n", "sources.tsv:1: the header must be scale dataset reader"),
        (HEADER + "tiny\tja\tjsonl\n", "sources.tsv:2: 7 tab-separated columns .* found 3"),
        (HEADER + "tiny\tja\tparquet\ta\t\t\t\n", "sources.tsv:2: reader must be .*'parquet'"),
    ],
)
def test_broken_table_is_named_by_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "sources.tsv").write_text(text)
    with pytest.raises(CorpusError, match=message):
        read_table(tmp_path / "sources.tsv")


def test_absent_and_empty_locations(tmp_path: Path) -> None:
    source = Source("paper", "ja", "llm_jp", "ja/ja_cc", "", "", "")
    with pytest.raises(CorpusError, match=r"ja/ja_cc: dataset 'ja' .* OPTIMER_CORPUS_ROOT"):
        shards_of(source, tmp_path)
    (tmp_path / "ja/ja_cc/level0").mkdir(parents=True)
    with pytest.raises(CorpusError, match=r"ja/ja_cc: no \*\.jsonl\.gz in it"):
        shards_of(source, tmp_path)
    write_gzip(tmp_path / "ja/ja_cc/level0/0001.jsonl.gz", [document(1)])
    write_gzip(tmp_path / "ja/ja_cc/level0/0000.jsonl.gz", [document(1)])
    (tmp_path / "ja/ja_cc/level0/.0002.jsonl.gz").write_bytes(b"being fetched")
    assert [shard.name for shard in shards_of(source, tmp_path)] == [
        "ja/ja_cc/level0/0000.jsonl.gz",
        "ja/ja_cc/level0/0001.jsonl.gz",
    ]


def test_plain_jsonl_file_with_content_field(tmp_path: Path) -> None:
    (tmp_path / "code.jsonl").write_text('{"content": "a = 1"}\n\n{"text": "b"}')
    source = Source("small", "code", "jsonl", "code.jsonl", "", "", "")
    (shard,) = shards_of(source, tmp_path)
    tally = Tally(0.0)
    assert list(shard.open(tally)) == ["a = 1", "b"]
    assert (tally.n_lines, tally.n_bad) == (2, 0)


def test_bad_lines_are_counted_and_named(tmp_path: Path) -> None:
    file = tmp_path / "0000.jsonl.gz"
    lines = [
        document(1),
        '{"text": "cut of',
        '["a list"]',
        '{"meta": {}}',
        '{"text": "  "}',
        b'{"text": "\xff"}',
        '{"text": "\\ud800"}',
        document(2),
    ]
    write_gzip(file, lines)
    found, tally = texts(file)
    assert found == ["w1", "w2"]
    assert (tally.n_lines, tally.n_bad) == (8, 6)
    assert tally.examples == [
        "0000.jsonl.gz:2: not JSON (Invalid control character at at character 16)",
        "0000.jsonl.gz:3: not a JSON object",
        "0000.jsonl.gz:4: no text in it",
        "0000.jsonl.gz:5: no text in it",
        "0000.jsonl.gz:6: not UTF-8",
        "0000.jsonl.gz:7: text holds a lone surrogate",
    ]


def test_truncated_gzip_keeps_whole_lines_and_is_named(tmp_path: Path) -> None:
    file = tmp_path / "0000.jsonl.gz"
    lines = [json.dumps({"text": f"{i} {i * 2654435761 % 2**32}"}) for i in range(50_000)]
    whole = gzip.compress("\n".join(lines).encode())
    file.write_bytes(whole[: len(whole) // 2])
    found, tally = texts(file)
    assert 1000 < len(found) < 40_000
    assert found == [json.loads(line)["text"] for line in lines[: len(found)]]
    assert tally.n_bad == 1
    assert tally.examples[0].startswith(f"0000.jsonl.gz:{len(found) + 1}: file ends early")


@pytest.mark.parametrize("raw", [b"", b"not gzip at all"])
def test_files_that_are_no_gzip(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "0000.jsonl.gz"
    file.write_bytes(raw)
    found, tally = texts(file)
    assert found == []
    assert tally.examples[0].startswith("0000.jsonl.gz:1: file ends early or is damaged")


def test_threshold_is_a_share_of_lines() -> None:
    tally = Tally(0.1, n_lines=10)
    tally.bad("f", 3, "not JSON")
    tally.check()
    tally.bad("f", 7, "no text in it")
    with pytest.raises(CorpusError, match=r"2 of 10 lines cannot be read; .* share of 0\.1"):
        tally.check()


def test_long_source_is_refused_before_its_end(tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl"
    file.write_text(f"{document(1)}\n" * 10_000 + "bad\n" * 5_000)
    tally = Tally(0.001)
    with pytest.raises(CorpusError, match=r"f\.jsonl:10001: not JSON"):
        list(read_lines(file, "f.jsonl", tally))
    assert tally.n_bad == 11  # the eleventh is more than 0.001 of 10,011 lines


def test_only_the_first_twenty_are_quoted(tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl"
    file.write_text("bad\n" * 30)
    _, tally = texts(file)
    assert (tally.n_bad, len(tally.examples)) == (30, 20)
