"""Load params.yaml: the paper at the top, one overlay per scale, all scales validated.

Overlays may override existing keys only; mappings merge deeply, lists and scalars are replaced.
Errors name the scale, the dotted key, the rule and the nearest known key.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from optimer.errors import ParamsError
from optimer.schema import Params

# Mappings whose keys are the user's own names: an overlay replaces them as a whole.
_FREE = {
    ("corpus", "datasets"),
    ("combinations",),
    ("flexibility", "objectives"),
    ("benchmark", "engine"),
}


def read(path: Path) -> dict[str, Any]:
    """Parse params.yaml without validating it."""
    try:
        document = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file. Run from the repository root.") from None
    except yaml.YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("scales"), dict):
        raise ParamsError(f"{path}: must be a mapping with a `scales:` mapping of overlays in it.")
    return document


def merge(
    base: Mapping[str, Any], overlay: Mapping[str, Any], trail: tuple[str, ...] = ()
) -> dict[str, Any]:
    """`base` with `overlay` on top: mappings deeply, everything else replaced.

    Raises ParamsError when the overlay names a key that the base document lacks.
    """
    merged = dict(copy.deepcopy(base))
    for key, value in overlay.items():
        dotted = ".".join((*trail, str(key)))
        if key not in merged:
            raise ParamsError(f"{dotted}: unknown key{_nearest(str(key), list(merged))}")
        free = (*trail, key) in _FREE
        if isinstance(value, Mapping) and isinstance(merged[key], Mapping) and not free:
            merged[key] = merge(merged[key], value, (*trail, key))
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _nearest(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f'; did you mean "{close[0]}"?' if close else f"; known keys: {', '.join(known)}"


def load(
    path: Path = Path("params.yaml"),
    scale: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Params:
    """Resolved params of one scale; every scale of the file is validated on the way.

    `scale` and the top-level `seed` may come from `overrides` (Snakemake's --config).
    Raises ParamsError with one line per problem.
    """
    document = read(path)
    overrides = dict(overrides or {})
    unknown = set(overrides) - {"scale", "seed"}
    if unknown:
        raise ParamsError(
            f"--config {sorted(unknown)[0]}: only `scale` and `seed` can be overridden on the "
            f"command line; edit {path} for anything else."
        )
    chosen = str(scale or overrides.get("scale") or document.get("scale"))
    if chosen not in document["scales"]:
        known = ", ".join(document["scales"])
        raise ParamsError(
            f"{path}: scale must be one of {known}; got {chosen!r}"
            f"{_nearest(chosen, list(document['scales']))}"
        )
    for name in document["scales"]:
        _resolve(document, name, path, {})  # so that `paper` cannot rot on a laptop
    return _resolve(document, chosen, path, overrides)


def _resolve(
    document: Mapping[str, Any], scale: str, path: Path, overrides: Mapping[str, Any]
) -> Params:
    base = {key: value for key, value in document.items() if key != "scales"}
    try:
        merged = merge(base, document["scales"][scale] or {})
    except ParamsError as error:
        raise ParamsError(f"{path} (scale {scale}): 1 problem\n  {error}") from None
    merged["scale"] = scale
    if "seed" in overrides:
        merged["seed"] = overrides["seed"]
    try:
        return Params.model_validate(merged)
    except ValidationError as error:
        raise ParamsError(_explain(error, path, scale, merged)) from None


def _explain(error: ValidationError, path: Path, scale: str, merged: Mapping[str, Any]) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        where = ".".join(map(str, problem["loc"])) or "params"
        text = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            text = "unknown key" + _nearest(str(problem["loc"][-1]), _known(problem["loc"][:-1]))
        elif problem["type"] == "missing":
            text = "required key is missing"
        elif problem["type"] not in {"value_error"}:
            text = f"{text[0].lower()}{text[1:]}, got {problem['input']!r}"
        lines.append(f"  {where}  {text}")
    count = f"{len(lines)} problem{'s' if len(lines) > 1 else ''}"
    return f"{path} (scale {scale}): {count}\n" + "\n".join(lines)


def _known(trail: tuple[Any, ...]) -> list[str]:
    """Field names of the section that `trail` leads to."""
    model: Any = Params
    for part in trail:
        if not hasattr(model, "model_fields") or part not in model.model_fields:
            return []
        annotation = model.model_fields[part].annotation
        choices = [annotation, *getattr(annotation, "__args__", ())]
        model = next((item for item in choices if hasattr(item, "model_fields")), None)
    return list(getattr(model, "model_fields", {}))


def provenance(path: Path, scale: str) -> list[tuple[str, Any, str]]:
    """(dotted key, value, "base" or "scales.<scale>") for every resolved leaf value."""
    document = read(path)
    base = {key: value for key, value in document.items() if key != "scales"}
    overlay = document["scales"][scale] or {}
    rows: list[tuple[str, Any, str]] = []

    def walk(value: Any, over: Any, trail: tuple[str, ...]) -> None:
        if isinstance(value, Mapping) and value:
            for key, item in value.items():
                below = over.get(key, _UNSET) if isinstance(over, Mapping) else over
                walk(item, below, (*trail, key))
        else:
            origin = "base" if over is _UNSET else f"scales.{scale}"
            rows.append((".".join(trail), value, origin))

    walk(merge(base, overlay), overlay or _UNSET, ())
    return rows


_UNSET = object()
