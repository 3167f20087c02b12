"""A working directory and params for tests of the corpus phase."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from corpus_files import HEADER, ROOT, write_tokenizer

from optimer.params import load
from optimer.paths import Paths
from optimer.schema import Params


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with the word tokenizer where the world keeps its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPTIMER_CORPUS_ROOT", str(tmp_path / "corpora"))
    write_tokenizer(Paths("tiny").world / "tokenizer")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sources.tsv").write_text(
        HEADER + "".join(f"tiny\t{name}\tllm_jp\t{name}/x\t\t\t\n" for name in ("en", "ja", "zh"))
    )
    return tmp_path


@pytest.fixture
def make_params() -> Callable[..., Params]:
    """Params of scale tiny with small corpus numbers; decontamination off unless asked for."""

    def make(*, seed: int = 0, ngram: int = 0, max_removed: float = 0.05, **corpus) -> Params:
        params = load(ROOT / "params.yaml", "tiny", {"seed": seed})
        settings = {"token_budget": 80, "sequence_length": 8, "reserve": 2.0, "max_bad_lines": 0.0}
        rule = params.corpus.decontamination.model_copy(
            update={"ngram": ngram, "max_removed": max_removed}
        )
        section = params.corpus.model_copy(update={**settings, **corpus, "decontamination": rule})
        return params.model_copy(update={"corpus": section})

    return make
