"""Merge weights per group of layers: early, middle and late thirds; attention and MLP.

The gradient gives a derivative for each at the price of one; a searched set of them leaves as a
mergekit recipe whose `weight` is a list of filters, layer by layer (first match wins, as in
mergekit's `evaluate_setting`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from optimer.errors import SearchError
from optimer.tensors.names import layer_of

THIRDS = ("early", "middle", "late")
PARTS = ("attention", "mlp")
OTHER = "other"
"""Merged tensors outside attention and MLP: norms, final norm."""

GROUPS = (*(f"{third}_{part}" for third in THIRDS for part in PARTS), OTHER)
_MODULES = {"attention": "self_attn", "mlp": "mlp"}


def n_layers(names: Iterable[str]) -> int:
    """Number of transformer layers among canonical tensor names."""
    found = [layer for layer in map(layer_of, names) if layer is not None]
    return max(found) + 1 if found else 0


def third_of(layer: int, layers: int) -> str:
    """Which third a layer lies in; with two layers, the first is early and the last is late."""
    if layers == 2:
        return THIRDS[2 * layer]
    return THIRDS[min(3 * layer // layers, 2)]


def group_of(name: str, layers: int) -> str:
    """Group of a canonical tensor name."""
    layer = layer_of(name)
    part = next((part for part, module in _MODULES.items() if f".{module}." in name), None)
    if layer is None or part is None:
        return OTHER
    return f"{third_of(layer, layers)}_{part}"


def grouped_recipe(
    document: Mapping[str, Any],
    order: Iterable[str],
    weights: Mapping[str, Mapping[str, float]],
    layers: int,
) -> dict[str, Any]:
    """A recipe of `merging.recipe` with weights by group in place of one weight a model.

    `order`: vector names in the order of the recipe's models; `weights`: {vector: {group: w}},
    every group given (`other` for the rest). Raises SearchError when a group is missing.
    """
    made = copy.deepcopy(dict(document))
    models = made.get("models") or made["modules"]["text_decoder"]["models"]
    for name, model in zip(order, models, strict=True):
        missing = [group for group in GROUPS if group not in weights[name]]
        if missing and not (layers == 2 and all("middle" in group for group in missing)):
            raise SearchError(f"weights of {name} by group of layers: {missing[0]} is missing")
        excluded = model["parameters"]["weight"][:-1]
        filters = [
            {
                "filter": f"layers.{layer}.{module}.",
                "value": weights[name][f"{third_of(layer, layers)}_{part}"],
            }
            for layer in range(layers)
            for part, module in _MODULES.items()
        ]
        model["parameters"]["weight"] = [*excluded, *filters, {"value": weights[name][OTHER]}]
    return made
