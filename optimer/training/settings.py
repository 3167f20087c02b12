"""Which training settings one model of the pool gets. Pure functions of params."""

from __future__ import annotations

from pydantic import ValidationError

from optimer import experiment
from optimer.errors import ParamsError
from optimer.schema import Params
from optimer.schema.train import TrainParams
from optimer.seeding import stream_seed


def settings(params: Params, model: experiment.Model) -> TrainParams:
    """Section `train`, with the toy recipes of section `world` on top for the toy pair.

    Toy models train every tensor: their embeddings start from random numbers.
    Raises ParamsError when the overridden batch does not divide, or the model is not trained.
    """
    if not model.trained:
        source = params.model.base if model.name == "base" else params.model.instruct
        raise ParamsError(f"{model.name} is given ({source}): it has no training settings")
    if model.kind not in ("pretrain", "instruct"):
        return params.train
    if params.world is None:
        raise ParamsError(f"{model.name}: kind {model.kind} needs a `world` section in params")
    recipe = params.world.pretrain if model.kind == "pretrain" else params.world.instruct
    values = params.train.model_dump() | {
        "learning_rate": recipe.learning_rate,
        "batch_size": recipe.batch_size,
        "warmup_ratio": recipe.warmup_ratio,
        "frozen": [],
    }
    try:
        return TrainParams.model_validate(values)
    except ValidationError as error:
        text = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ParamsError(f"world.{model.kind}: {text}") from None


def token_budget(params: Params, model: experiment.Model) -> int:
    """Tokens one trained model is to see (a count)."""
    if model.kind in ("pretrain", "instruct") and params.world is not None:
        recipe = params.world.pretrain if model.kind == "pretrain" else params.world.instruct
        return recipe.token_budget
    return params.corpus.token_budget * len(model.datasets)


def training_seed(params: Params, model: experiment.Model) -> int:
    """Seed of everything random inside one training run (dropout, where a model has any)."""
    return stream_seed(params.seed, "train", model.name)
