"""Models that are given: fetched from the Hub at a recorded commit, or copied from a folder.

Safetensors only. What is fetched lands in `work/` first, so that a killed download continues, and
takes its place when its shards are complete.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optimer import receipts
from optimer.errors import ArtifactError
from optimer.paths import Paths
from optimer.schema import Params

PATTERNS = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja"]
"""Files of a model that are taken; never pickles, never code."""


def fetch(params: Params, paths: Paths, name: str, report: Callable[[str], None]) -> dict[str, Any]:
    """Leave the given model `name` (`base` or `it`) at its path; returns its receipt.

    Raises ArtifactError when the source is missing or out of reach, has no safetensors, lacks a
    shard, or ships code of its own.
    """
    from optimer.tensors import TensorStore
    from optimer.tensors.writer import atomic_folder

    started = time.monotonic()
    side = params.model.base if name == "base" else params.model.instruct
    revision = params.model.base_revision if name == "base" else params.model.instruct_revision
    paths.model_receipt(name).unlink(missing_ok=True)
    if Path(side).is_dir():
        source, commit, downloaded = Path(side), None, None
    else:
        source, commit = _download(side, revision, paths.training_state(name), report)
        downloaded = source
    refuse_code(source)
    store = TensorStore.open(source)  # refuses pickles, missing shards and damaged headers
    n_parameters = sum(store.n_elements(tensor) for tensor in store.names())
    dtypes = sorted({str(store.dtype(tensor)).removeprefix("torch.") for tensor in store.names()})
    store.close()
    out = paths.model(name)
    with atomic_folder(out) as folder:
        for pattern in PATTERNS:
            for file in sorted(source.glob(pattern)):
                # a download is ours to move; a folder of the user's is copied
                (shutil.move if downloaded else shutil.copyfile)(file, folder / file.name)
    receipt = {
        "model": name,
        "kind": "given",
        "source": side,
        "revision": revision,
        "commit": commit,
        "files": receipts.hash_files([file for file in out.iterdir() if file.is_file()], out),
        "n_parameters": n_parameters,
        "dtypes": dtypes,
        "seconds": round(time.monotonic() - started, 3),
        "versions": receipts.versions("huggingface-hub", "safetensors"),
    }
    receipts.write(paths.model_receipt(name), receipt)
    if downloaded:
        shutil.rmtree(downloaded, ignore_errors=True)
    return receipt


def refuse_code(folder: Path) -> None:
    """Raise ArtifactError when a model needs code that ships with it: an `auto_map`, and an
    architecture that transformers does not have (where it has, its own is used)."""
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{file}: no readable model config ({error}). Name a folder or Hub id with a model."
        ) from None
    if "auto_map" not in config:
        return
    from transformers import CONFIG_MAPPING

    if config.get("model_type") not in CONFIG_MAPPING:
        raise ArtifactError(
            f"{file}: this model needs code that ships with it ({config['auto_map']}), which is "
            "never run here. Choose a model whose architecture transformers has itself."
        )


def _download(
    repository: str, revision: str | None, state: Path, report: Callable[[str], None]
) -> tuple[Path, str]:
    """Snapshot of a Hub repository at one commit; returns its folder and the commit."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import httpx

    try:
        commit = HfApi().model_info(repository, revision=revision).sha
        if commit is None:
            raise OSError("the Hub names no commit")
        folder = state / commit
        report(f"fetching {repository} at commit {commit[:12]}")
        snapshot_download(repository, revision=commit, local_dir=folder, allow_patterns=PATTERNS)
    except (HfHubHTTPError, HFValidationError, httpx.HTTPError, OSError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ArtifactError(
            f"model {repository!r} (revision {revision or 'newest'}) could not be fetched from "
            f"the Hub: {first} It is no folder here either. Check the name in params.yaml, "
            "accept the licence of a gated model and log in with `hf auth login`, or give the "
            "path of a local folder instead."
        ) from error
    return folder, commit
