"""A live vLLM engine, re-composed trial after trial.

Processes: the search worker's process owns the study, the tasks and the `vllm.LLM` object. vLLM
puts its scheduler into a process of its own and the model into one worker process for each rank of
tensor parallelism (on one CPU all may share this process: VLLM_ENABLE_V1_MULTIPROCESSING=0). They
talk through vLLM's own channels: `generate` carries token ids, `collective_rpc` the K merge
weights of a trial and a checksum back. No weights and no code travel; workers open base and
vectors themselves (`vllm_worker`). One engine a process.

After each swap the prefix cache is reset, and a refused reset is an error: vLLM only warns, and
answers from the old weights would be silently wrong. Before anything is searched, the self-check
(`selfcheck`) compares compositions with models that never saw this engine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from optimer.errors import SearchError
from optimer.evaluation.harness import Harness
from optimer.evaluation.itemscores import ItemScores, item_scores
from optimer.evaluation.splits import Block, Split
from optimer.evaluation.vllm_live import VllmBackend, ends_of
from optimer.merging.pool import Pool
from optimer.search.engines.calls import DIED, calls_to
from optimer.search.engines.selfcheck import References, allowance, references, self_check
from optimer.search.engines.vllm_start import quantised, refuse_quantised, start
from optimer.search.engines.vllm_worker import describe
from optimer.search.failures import EngineDied

_N_PROBES = 3
_PROBE_BLOCKS = 2  # cache blocks that every probe prompt fills
_RESETS = 20  # tries to reset the prefix cache, a tenth of a second apart


class VllmEngine:
    """vLLM on the base model's folder, whose weights follow the study."""

    def __init__(
        self,
        pool: Pool,
        harness: Harness,
        base_dir: Path,
        it_dir: Path,
        dtype: str,
        swap: str = "auto",
        vectors_on: str = "device",
        known: References | None = None,
        progress: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Start vLLM with `benchmark.engine` as its arguments and check that swaps take.

        `swap`: in_place, reload, or auto (in place on CUDA, then reload). `vectors_on`: device, or
        host (pinned memory), for in-place swaps. `known`: references of the self-check, made here
        when not given. Raises SearchError when vLLM is missing, does not start, holds quantised
        weights, or when no swap path passes the self-check.
        """
        self.pool = pool
        self.harness = harness
        self.progress = progress
        options = dict(harness.params.benchmark.engine)
        refuse_quantised(base_dir, options)
        self._check_dtypes(dtype)
        started = time.perf_counter()
        self._llm: Any = start(base_dir, str(harness.tokenizer.name_or_path), dtype, options)
        self._calls = calls_to(self._llm)
        ends = ends_of(it_dir, base_dir, harness.tokenizer)
        self.backend = VllmBackend(self._llm, harness.tokenizer, ends)
        try:
            self._prepare(base_dir, dtype, swap, vectors_on, known)
        except BaseException:
            self.close()
            raise
        progress(f"vLLM is ready after {time.perf_counter() - started:.0f} s, swap {self.swap}")

    def compose(self, weights: Mapping[str, float]) -> str:
        """Make θ(w) the live model; returns its checksum, the pool's own where the swap path sees
        whole tensors (always but for in-place swaps under tensor parallelism).

        Raises MergeError when the weights do not fit the pool, EngineDied when vLLM's process is
        gone, SearchError when its prefix cache cannot be reset.
        """
        values = self.pool.weights(weights)
        digests = self._call("pool_compose", values)
        self._reset_prefix_cache()
        if len(set(digests)) == 1:
            return digests[0]
        return "layout-" + sha256(" ".join(digests).encode()).hexdigest()[:16]

    def score(self, split: Split, block: Block | None = None) -> dict[str, ItemScores]:
        """Records of the harness's tasks on one split, or on a block of it.

        Raises EngineDied when vLLM's process is gone.
        """
        found = self._alive(lambda: self.harness.score(self.backend, split, block))
        return {name: item_scores(score) for name, score in found.items()}

    def close(self) -> None:
        """End vLLM's processes and forget the pool."""
        llm, self._llm = self._llm, None
        if llm is not None:
            llm.llm_engine.engine_core.shutdown()
        self.pool.close()

    def _prepare(
        self, base_dir: Path, dtype: str, swap: str, vectors_on: str, known: References | None
    ) -> None:
        found = self._call("pool_open", describe(self.pool))[0]
        if found["quantization"] is not None:
            raise SearchError(quantised(f"vLLM loaded it as {found['quantization']}"))
        auto = ["in_place", "reload"] if found["device"] == "cuda" else ["reload"]
        if known is None:
            self.progress("self-check: answers of transformers to compare with")
            known = references(self.pool, base_dir, dtype, self._probes())
        allowed = allowance(lambda: self._ask(known), known, dtype)
        failures: list[str] = []
        for self.swap in auto if swap == "auto" else [swap]:
            try:
                self._call("pool_prepare", self.swap, vectors_on)
                for line in self_check(self.compose, lambda: self._ask(known), known, allowed,
                                       self.swap):  # fmt: skip
                    self.progress(f"self-check ({self.swap}): {line}")
                return
            except EngineDied:
                raise
            except SearchError as error:
                failures.append(str(error))
                self.progress(str(error))
        raise SearchError("\n".join(failures))

    def _probes(self) -> list[list[int]]:
        """Prompts of the tasks, strung together until they fill several cache blocks."""
        config = self._llm.llm_engine.vllm_config
        length = _PROBE_BLOCKS * int(config.cache_config.block_size) + _N_PROBES
        length = min(length, int(config.model_config.max_model_len) - 1)
        prompts = list(self.harness.first_prompt_ids.values())
        probes = []
        for first in range(_N_PROBES):
            ids: list[int] = []
            place = first
            while len(ids) < length:
                ids += prompts[place % len(prompts)][: length - len(ids)] or [0]
                place += 1
            probes.append(ids[first:] if first < len(ids) - 1 else ids)
        return probes

    def _ask(self, known: References) -> list[list[float]]:
        return self._alive(lambda: self.backend.log_probs(known.prompts, known.tokens))

    def _call(self, method: str, *arguments: Any) -> list[Any]:
        """One method of every worker. Raises SearchError with what went wrong there."""
        return self._alive(lambda: self._llm.collective_rpc(method, args=arguments))

    def _alive(self, work: Callable[[], Any]) -> Any:
        from vllm.v1.engine.exceptions import EngineDeadError  # pyright: ignore

        if self._llm is None:
            raise EngineDied("this vLLM engine was closed or has died; start the search again")
        try:
            return self._calls(work)
        except EngineDeadError as error:
            raise EngineDied(DIED) from error
        except SearchError:
            raise
        except Exception as error:  # of a worker: only its text comes through
            if "collective_rpc" not in str(error):
                raise
            raise SearchError(f"vLLM's worker: {error}") from error

    def _reset_prefix_cache(self) -> None:
        for _ in range(_RESETS):
            if self._alive(self._llm.reset_prefix_cache):
                return
            time.sleep(0.1)
        raise SearchError(
            "vLLM refuses to reset its prefix cache (some blocks are still in use), so it could "
            "answer from the weights of an earlier trial; run the same command again, or set "
            "enable_prefix_caching: false in benchmark.engine"
        )

    def _check_dtypes(self, dtype: str) -> None:
        wrong = {
            name: str(self.pool.base.dtype(name)) for name in self.pool.base.names()
            if self.pool.is_merged(name) and str(self.pool.base.dtype(name)) != f"torch.{dtype}"
        }  # fmt: skip
        if wrong:
            name, found = next(iter(wrong.items()))
            raise SearchError(
                f"{self.pool.base_dir}: {name} is {found}, model.dtype is {dtype}; a live engine "
                "holds the merge in the base model's own dtype, so set model.dtype to it"
            )
