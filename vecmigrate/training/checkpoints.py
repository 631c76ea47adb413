"""A run's folder: checkpoints that count only when complete, the best model so far, and what the dev queries said.

<run>/best-24/          the model of step 24, complete: it was renamed into place
<run>/checkpoint-32/    the trainer's own files, and history.json, which is written last
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

HISTORY = "history.json"


@dataclass(frozen=True, slots=True)
class History:
    """The dev scores of the base and of each evaluated step, query by query; the best step; evaluations since then; seconds spent.

    `steps` holds the means, `every` the scores themselves.
    """

    base: tuple[float, ...]
    steps: tuple[tuple[int, float], ...] = ()
    every: tuple[tuple[int, tuple[float, ...]], ...] = ()
    best_step: int | None = None
    best: tuple[float, ...] = ()
    waited: int = 0
    seconds: float = 0.0

    def after(self, step: int, scores: Sequence[float]) -> History:
        """With one more evaluation."""
        mean = sum(scores) / len(scores)
        grown = replace(self, steps=(*self.steps, (step, mean)), every=(*self.every, (step, tuple(scores))))
        if self.best_step is None or mean > sum(self.best) / len(self.best):
            return replace(grown, best_step=step, best=tuple(scores), waited=0)
        return replace(grown, waited=self.waited + 1)

    @property
    def newest(self) -> float:
        """The mean score of the newest evaluation, the base's before there is one."""
        return self.steps[-1][1] if self.steps else sum(self.base) / len(self.base)

    @property
    def last_step(self) -> int:
        """The step evaluated last, 0 for the base."""
        return self.steps[-1][0] if self.steps else 0


class RunFolder:
    """The files of one run. Whatever a killed process left half done is ignored, and cleared away."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def best(self, step: int) -> Path:
        """Where the model of the best step is kept."""
        return self.path / f"best-{step}"

    def checkpoint(self, step: int) -> Path:
        """Where the trainer puts the checkpoint of a step."""
        return self.path / f"checkpoint-{step}"

    def latest(self) -> tuple[Path, History] | None:
        """The newest complete checkpoint whose best model is there, and its history; incomplete ones are removed."""
        found = sorted(self.path.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
        for path in found:
            history = _read(path / HISTORY)
            if history is not None and (history.best_step is None or self.best(history.best_step).is_dir()):
                return path, history
            shutil.rmtree(path, ignore_errors=True)
        return None

    def complete(self, step: int, history: History) -> None:
        """Declare the checkpoint of a step complete, then clear away what no checkpoint needs any more."""
        write_json(self.checkpoint(step) / HISTORY, asdict(history))
        for path in self.path.glob("best-*"):
            if history.best_step is None or path != self.best(history.best_step):
                shutil.rmtree(path, ignore_errors=True)
        for path in self.path.glob("checkpoint-*"):
            if path != self.checkpoint(step):
                shutil.rmtree(path, ignore_errors=True)

    def clear(self) -> None:
        """Remove the run."""
        shutil.rmtree(self.path, ignore_errors=True)


def write_json(path: Path, data: Any) -> None:
    """Write a file that is there whole or not at all."""
    draft = path.with_name(path.name + ".part")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(data, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def read_history(data: dict[str, Any]) -> History:
    """The history that `asdict` and JSON made plain. Raises `KeyError`, `TypeError` or `ValueError` where it isn't one."""
    plain = dict(data)
    steps = tuple((int(step), float(score)) for step, score in plain.pop("steps"))
    every = tuple((int(step), tuple(scores)) for step, scores in plain.pop("every"))
    return History(base=tuple(plain.pop("base")), best=tuple(plain.pop("best")), steps=steps, every=every, **plain)


def _read(path: Path) -> History | None:
    try:
        return read_history(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):  # not complete: as if it weren't there
        return None
