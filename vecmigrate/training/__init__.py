"""Fine-tuning: pairs and hard negatives in, a model version with a verdict out. The only place that knows the library's trainer."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vecmigrate.training.request import OnlyHelped, Progress, TrainingRequest, TrainingResult
    from vecmigrate.training.run import train

__all__ = ["OnlyHelped", "Progress", "TrainingRequest", "TrainingResult", "train"]

_HOMES = {"OnlyHelped": "request", "Progress": "request", "TrainingRequest": "request", "TrainingResult": "request", "train": "run"}


def __getattr__(name: str) -> Any:
    """Import the module of a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
