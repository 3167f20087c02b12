"""ROUGE-2 of Japanese summaries on MeCab tokens (task ja_leaderboard_xlsum).

Lin 2004, https://aclanthology.org/W04-1013; tokens of fugashi with UniDic Lite after removing
emoji and unifying widths, as the Japanese leaderboard does.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from optimer.errors import EvaluationError


def rouge2(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """{"rouge2": F1 in [0, 1]} of one summary. Raises EvaluationError where MeCab is absent."""
    return {"rouge2": _scorer().score(doc["summary"], results[0])["rouge2"].fmeasure}


@cache
def _scorer() -> Any:
    try:
        import emoji  # type: ignore[import-not-found]
        import neologdn  # type: ignore[import-not-found]
        from fugashi import Tagger  # type: ignore[import-not-found]
        from rouge_score import rouge_scorer
    except ImportError as error:
        raise EvaluationError(
            f"task ja_leaderboard_xlsum needs the package {error.name}: pip install fugashi "
            "unidic-lite neologdn emoji rouge_score, or take the task out of benchmark.columns"
        ) from None
    tagger = Tagger("-Owakati")

    class Words:
        def tokenize(self, text: str) -> list[str]:
            plain = " ".join(neologdn.normalize(emoji.replace_emoji(text, "")).split())
            return tagger.parse(plain).split()

    return rouge_scorer.RougeScorer(["rouge2"], tokenizer=Words())
