"""The commands of `optimer corpus` on hand-made corpora."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from corpus_files import ROOT, document, write_gzip
from typer.testing import CliRunner

from optimer.cli.corpus import app
from optimer.errors import CorpusError, ParamsError
from optimer.paths import Paths

PATHS = Paths("tiny")


def call(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_sample_then_mix(workplace: Path) -> None:
    text = (ROOT / "params.yaml").read_text()
    head, tiny = text.split("\n  tiny:", 1)
    for old, new in (("token_budget: 200000", "token_budget: 640"), ("{ngram: 13}", "{ngram: 0}")):
        assert tiny.count(old) == 1
        tiny = tiny.replace(old, new)
    Path("params.yaml").write_text(f"{head}\n  tiny:{tiny}")
    write_gzip(Path("corpora/en/x/0000.jsonl.gz"), [document(i, i, i) for i in range(500)])
    result = call("sample", "en")
    assert result.exit_code == 0, result.output
    assert "en: 1920 tokens in 30 sequences from 384 documents, 0 removed" in result.output
    result = call("mix", "cpt_en", "--seed", "3")
    assert result.exit_code == 0, result.output
    assert "cpt_en: 10 sequences: en 10" in result.output
    assert json.loads(PATHS.mixture("cpt_en").read_text())["seed"] == 3


def test_errors_reach_the_caller(workplace: Path) -> None:
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    assert isinstance(call("sample", "fr").exception, CorpusError)
    refused = call("world", "--scale", "paper")
    assert isinstance(refused.exception, ParamsError)
    assert "scale paper has no `world` section" in str(refused.exception)
