"""The benchmark's tasks as lm-eval task objects (EleutherAI lm-evaluation-harness 0.4.13).

At scale tiny only the generated task files are read; elsewhere lm-eval's own, changed by this
package's `tasks/*.yaml` where the stock file cannot work. "n-shot" is forced on every task except
those whose file says `num_fewshot: 0`, as lm-eval's `--num_fewshot` does.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from optimer.errors import EvaluationError, OptimerError
from optimer.evaluation.sandbox import available
from optimer.evaluation.stock import own_names, own_task
from optimer.paths import Paths
from optimer.schema import Params, TaskMetric


@dataclass(frozen=True)
class Leaf:
    """One lm-eval task object and the shots it really uses."""

    name: str
    task: Any
    n_shots: int


@dataclass(frozen=True)
class BenchmarkTask:
    """A task or group named in a column, with the metric read from it."""

    name: str
    metric: str
    """Metric name without its filter, e.g. `acc`."""
    filter: str
    scale: float
    leaves: tuple[Leaf, ...]
    pooled: bool
    """Groups: whether subtasks are weighted by size (else each counts the same)."""

    @property
    def n_shots(self) -> int | None:
        """Shots used; None when the subtasks of a group differ."""
        shots = {leaf.n_shots for leaf in self.leaves}
        return shots.pop() if len(shots) == 1 else None


def declared(params: Params, names: Sequence[str] | None = None) -> dict[str, TaskMetric]:
    """Tasks of the columns in table order, or those named; the first mention of a task counts.

    Raises EvaluationError for a name that no column has.
    """
    known: dict[str, TaskMetric] = {}
    for column in params.benchmark.columns:
        for metric in column.tasks:
            known.setdefault(metric.task, metric)
    for name in names or ():
        if name not in known:
            raise EvaluationError(
                f"task {name!r} is in no column of benchmark.columns, so its metric is unknown; "
                f"known: {', '.join(known)}"
            )
    return {name: known[name] for name in names} if names is not None else known


def load_tasks(
    params: Params, paths: Paths, names: Sequence[str] | None = None, run: bool = True
) -> dict[str, BenchmarkTask]:
    """Task objects with their items loaded, by task name.

    Raises EvaluationError for an unknown task or metric, for data that cannot be loaded, and, if
    they are to be `run`, for tasks that execute model-written code where `benchmark.unsafe_code`
    is off or no sandbox is at hand.
    """
    _prepare_libraries()
    generated = params.world is not None
    if generated and not paths.tasks.is_dir():
        raise EvaluationError(
            f"{paths.tasks}: no generated tasks; run the corpus phase first (snakemake target "
            "`corpus`)"
        )
    wanted = declared(params, names)
    own = [] if generated else own_names()
    manager = _manager(paths.tasks if generated else None) if set(wanted) - set(own) else None
    loaded = {
        name: _load(None if name in own else manager, spec, params) for name, spec in wanted.items()
    }
    for task in loaded.values() if run else ():
        for leaf in task.leaves:
            _check_code(leaf, params)
    return loaded


@cache
def _stock_manager() -> Any:
    """Index of lm-eval's own tasks; half a minute."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _manager(folder: Path | None) -> Any:
    """lm-eval's task index of one folder, or of its own tasks."""
    from lm_eval.tasks import TaskManager

    if folder is None:
        return _stock_manager()
    return TaskManager(include_path=str(folder), include_defaults=False)


def _load(manager: Any, spec: TaskMetric, params: Params) -> BenchmarkTask:
    """One task or group; `manager` None: from this package's file."""
    if manager is not None and spec.task not in manager.all_tasks:
        known = sorted({*manager.all_tasks, *(own_names() if params.world is None else ())})
        close = difflib.get_close_matches(spec.task, known, n=3)
        raise EvaluationError(
            f"benchmark.columns: lm-eval knows no task {spec.task!r}; "
            f"{'nearest' if close else 'known'}: {', '.join(close or known[:20])}"
        )
    try:
        if manager is None:
            loaded = {"tasks": {spec.task: own_task(spec.task)}, "groups": {}}
        else:
            loaded = manager.load(spec.task)
    except OptimerError:
        raise
    except Exception as error:  # lm-eval and datasets raise whatever their parts raise
        raise EvaluationError(
            f"task {spec.task}: could not be loaded ({type(error).__name__}: {error}). Check the "
            "network or the local dataset, or fill the Hugging Face cache beforehand"
        ) from error
    leaves = tuple(_leaf(task, params) for task in loaded["tasks"].values())
    metric, _, filter_name = spec.metric.partition(",")
    for leaf in leaves:
        _check_metric(leaf.task, spec, metric, filter_name)
    pooled = len(leaves) == 1 or _weighted(loaded, metric, spec.task)
    return BenchmarkTask(spec.task, metric, filter_name, spec.scale, leaves, pooled)


def _check_code(leaf: Leaf, params: Params) -> None:
    if getattr(leaf.task, "UNSAFE_CODE", False):
        if not params.benchmark.unsafe_code:
            raise EvaluationError(
                f"task {leaf.name} runs model-written code, which benchmark.unsafe_code: "
                "false forbids; set it to true or take the task out of benchmark.columns"
            )
        available()


def _leaf(task: Any, params: Params) -> Leaf:
    if task.OUTPUT_TYPE not in ("multiple_choice", "generate_until", "loglikelihood"):
        raise EvaluationError(
            f"task {task.task_name}: output type {task.OUTPUT_TYPE} is not supported; use a "
            "multiple_choice, loglikelihood or generate_until task"
        )
    if task.config.num_fewshot != 0:
        task.set_config(key="num_fewshot", value=params.benchmark.n_shots)
    return Leaf(task.task_name, task, task.config.num_fewshot)


def _check_metric(task: Any, spec: TaskMetric, metric: str, filter_name: str) -> None:
    filters = [item.name for item in task._filters]
    metrics = list(task.aggregation())
    # a metric function of the task's own may return names that only a scored item shows
    open_names = any(callable(item["metric"]) for item in task.config.metric_list or [])
    if filter_name not in filters or not (metric in metrics or open_names):
        known = [f"{name},{item}" for name in metrics for item in filters]
        raise EvaluationError(
            f"task {task.task_name} has no metric {spec.metric!r}; known: {', '.join(known)}"
        )


def _weighted(loaded: Any, metric: str, name: str) -> bool:
    """Whether a group weights its subtasks by size when it aggregates `metric`."""
    group = loaded["groups"].get(name)
    for config in (group.aggregate_metric_list if group else None) or []:
        if config.metric == metric:
            return bool(config.weight_by_size)
    raise EvaluationError(
        f"{name} is a group or tag that does not aggregate {metric!r}; list its subtasks in the "
        f"column instead ({', '.join(list(loaded['tasks'])[:8])})"
    )


def _prepare_libraries() -> None:
    """One progress line of ours instead of the libraries' many, and templates compiled once.

    lm-eval 0.4.13 compiles the Jinja template of a prompt anew for every item; compiling is 95 %
    of what building and reading the toy's prompts cost.
    """
    import datasets
    from lm_eval import utils

    templates: Any = utils.env
    if not hasattr(templates.from_string, "cache_info"):
        templates.from_string = lru_cache(maxsize=None)(templates.from_string)
    for library in ("lm_eval", "lm-eval"):
        logging.getLogger(library).setLevel(logging.ERROR)
    datasets.disable_progress_bars()
