"""Tasks of lm-eval with some of their keys replaced (see tasks/README.md).

lm-eval imports every function a task file names when it reads the file; HumanEval's then downloads
and runs code. Here functions are looked up after the replacement, so that what is replaced is
never imported, and nothing of lm-eval's files is copied.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from optimer.errors import EvaluationError

OWN_TASKS = Path(__file__).parent / "tasks"


@dataclass(frozen=True)
class _Function:
    """A function that a file names: `module.function`, the module beside the file or installed."""

    spec: str
    folder: Path

    def load(self) -> Any:
        module, _, name = self.spec.rpartition(".")
        beside = self.folder / f"{module}.py"
        if not beside.exists():
            return getattr(importlib.import_module(module), name)
        found = importlib.util.spec_from_file_location(f"{self.folder.name}_{module}", beside)
        assert found is not None and found.loader is not None
        loaded = importlib.util.module_from_spec(found)
        found.loader.exec_module(loaded)
        return getattr(loaded, name)


def own_names() -> list[str]:
    """Names of the tasks that have a file here."""
    return sorted(path.stem for path in OWN_TASKS.glob("*.yaml"))


def own_task(name: str) -> Any:
    """The task object of a file here, with its data loaded.

    Raises EvaluationError when the installed lm-eval lacks the file it starts from.
    """
    import lm_eval.tasks
    from lm_eval.api.task import ConfigurableTask

    config = _read(OWN_TASKS / f"{name}.yaml")
    stock = Path(lm_eval.tasks.__file__).parent / config.pop("stock")
    if not stock.exists():
        raise EvaluationError(
            f"task {name}: the installed lm-eval has no {stock.name}; install the pinned version "
            "(requirements/)"
        )
    merged = _read(stock) | config
    merged.pop("tag", None)
    return ConfigurableTask(config=_resolved(merged))


def _read(path: Path) -> dict[str, Any]:
    """A task file with its functions as names only."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor(
        "!function",
        lambda loader, node: _Function(str(loader.construct_scalar(node)), path.parent),  # type: ignore[arg-type]
    )
    return yaml.load(path.read_text(encoding="utf-8"), Loader)


def _resolved(value: Any) -> Any:
    if isinstance(value, _Function):
        return value.load()
    if isinstance(value, dict):
        return {key: _resolved(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item) for item in value]
    return value
