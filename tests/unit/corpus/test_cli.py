"""The commands of `optimer corpus` on hand-made corpora."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import yaml
from corpus_files import ROOT, document, write_gzip
from typer.testing import CliRunner

from optimer.cli.corpus import app
from optimer.errors import CorpusError, ParamsError
from optimer.paths import Paths

PATHS = Paths("tiny")


def call(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_sample_then_mix(workplace: Path) -> None:
    edited = yaml.safe_load((ROOT / "params.yaml").read_text())
    edited["scales"]["tiny"]["corpus"] |= {"token_budget": 640, "decontamination": {"ngram": 0}}
    Path("params.yaml").write_text(yaml.safe_dump(edited))
    write_gzip(Path("corpora/en/x/0000.jsonl.gz"), [document(i, i, i) for i in range(500)])
    result = call("sample", "en")
    assert result.exit_code == 0, result.output
    assert "en: 1920 tokens in 30 sequences from 384 documents, 0 removed" in result.output
    result = call("mix", "cpt_en", "--seed", "3")
    assert result.exit_code == 0, result.output
    assert "cpt_en: 10 sequences: en 10" in result.output
    assert json.loads(PATHS.mixture("cpt_en").read_text())["seed"] == 3


def test_a_damaged_file_below_the_threshold_is_named(workplace: Path) -> None:
    edited = yaml.safe_load((ROOT / "params.yaml").read_text())
    edited["scales"]["tiny"]["corpus"] |= {
        "token_budget": 640, "decontamination": {"ngram": 0}, "max_bad_lines": 0.01,
    }  # fmt: skip
    Path("params.yaml").write_text(yaml.safe_dump(edited))
    write_gzip(Path("corpora/en/x/0000.jsonl.gz"), [document(i, i, i) for i in range(500)])
    damaged = Path("corpora/en/x/0001.jsonl.gz")
    write_gzip(damaged, [document(i, i, i) for i in range(500)])
    damaged.write_bytes(damaged.read_bytes()[:200])
    result = call("sample", "en")
    assert result.exit_code == 0, result.output
    assert "en: skipped en/x/0001.jsonl.gz:" in result.output
    assert "file ends early or is damaged, the rest is lost" in result.output


def test_errors_reach_the_caller(workplace: Path) -> None:
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    assert isinstance(call("sample", "fr").exception, CorpusError)
    refused = call("world", "--scale", "paper")
    assert isinstance(refused.exception, ParamsError)
    assert "scale paper has no `world` section" in str(refused.exception)
