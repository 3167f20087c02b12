"""Which engine a search runs on, as params say."""

from __future__ import annotations

from collections.abc import Callable

from optimer.evaluation.harness import Harness
from optimer.merging.pool import Pool
from optimer.paths import Paths
from optimer.schema import Params
from optimer.search.engines import Engine


def open_engine(
    params: Params,
    paths: Paths,
    pool: Pool,
    harness: Harness,
    progress: Callable[[str], None] = lambda line: None,
) -> Engine:
    """The engine `search.backend` names, live on the base model.

    Raises ArtifactError for an unreadable base folder, SearchError as `VllmEngine` does.
    """
    base, it, dtype = paths.model("base"), paths.model("it"), params.model.dtype
    if params.search.backend == "vllm":
        from optimer.search.engines.vllm import VllmEngine

        return VllmEngine(
            pool, harness, base, it, dtype, params.search.swap, params.search.vectors_on,
            progress=progress,
        )  # fmt: skip
    from optimer.search.engines.huggingface import HuggingFaceEngine

    return HuggingFaceEngine(pool, harness, base, it, dtype)
