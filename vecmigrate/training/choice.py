"""What a request's settings come to: the loss that the data asks for, the others worth trying, and what contradicts itself."""

from __future__ import annotations

from vecmigrate.config import LossName
from vecmigrate.errors import UsageError
from vecmigrate.training.request import TrainingRequest

GRADED_LOSSES = ("cosent", "cosine")
TAUGHT_LOSSES = ("margin-mse", "distillation")


def loss_for(request: TrainingRequest) -> LossName:
    """The loss to begin with: the one named, distillation with a teacher, else ranking."""
    settings = request.training
    if settings.loss != "auto":
        return settings.loss
    return "distillation" if settings.teacher else "ranking"


def other_losses(request: TrainingRequest) -> tuple[LossName, ...]:
    """What else is tried where the loss isn't given: guided, which spares what may be false negatives."""
    return ("guided",) if request.training.loss == "auto" and not request.training.matryoshka_layers else ()


def check(request: TrainingRequest) -> None:
    """Raise `UsageError` for settings that can't go together."""
    settings = request.training
    loss = loss_for(request)
    if loss in TAUGHT_LOSSES and not settings.teacher:
        raise UsageError(f"the loss {loss!r} needs a teacher", hint="set [training] teacher to a cross-encoder, its directory or hub name")
    if settings.matryoshka_weights and len(settings.matryoshka_weights) != len(settings.matryoshka_dims):
        raise UsageError(
            f"{len(settings.matryoshka_weights)} matryoshka_weights for {len(settings.matryoshka_dims)} matryoshka_dims",
            hint="give one for each, or none",
        )
    too_wide = [dim for dim in settings.matryoshka_dims if dim > request.base.model.dimension]
    if too_wide:
        raise UsageError(
            f"matryoshka_dims has {too_wide[0]}, and the model's vectors have {request.base.model.dimension} dimensions",
            hint="give smaller ones",
        )
    if settings.mining_rounds > 1 and request.remine is None:
        raise UsageError("mining_rounds above 1 need a dataset to mine in", hint="train by the command, or give `remine`")
    if "query" in settings.rungs and loss in GRADED_LOSSES:
        raise UsageError(f"the query side is not tuned by the loss {loss!r}", hint="leave 'query' out of [training] rungs, or use ranking")
