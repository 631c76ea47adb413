"""Replay: general pairs mixed among the domain's, so that the model goes on doing what it could (Rebuffi et al. 2017, of many)."""

from __future__ import annotations

import json
import random
from pathlib import Path

from vecmigrate.dataset.pairs import TrainingPair
from vecmigrate.errors import DataError, UsageError
from vecmigrate.training.request import TrainingRequest

_SHAPE = 'a replay file has lines such as {"query": "…", "positive": "…"}; `negatives` may be a list of texts'


def replayed(request: TrainingRequest, pairs: int) -> tuple[TrainingPair, ...]:
    """`replay_fraction` times as many pairs as there are of the domain, drawn from `[training] replay`; none where it isn't set.

    Raises `UsageError` for a file that isn't there, `DataError` naming a line that can't be used.
    """
    settings = request.training
    if settings.replay is None:
        return ()
    file = request.root / settings.replay.expanduser()
    if not file.is_file():
        raise UsageError(f"[training] replay: there is no file {file}", hint=_SHAPE)
    lines = [(number, line) for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1) if line.strip()]
    wanted = min(len(lines), round(pairs * settings.replay_fraction))
    chosen = random.Random(settings.seed).sample(lines, wanted)  # noqa: S311  # not for secrets
    return tuple(_pair(file, number, line) for number, line in sorted(chosen))


def _pair(file: Path, number: int, line: str) -> TrainingPair:
    try:
        row = json.loads(line)
        query, positive, negatives = str(row["query"]), str(row["positive"]), tuple(str(text) for text in row.get("negatives", ()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file}, line {number}: {type(error).__name__}: {error}", hint=_SHAPE) from error
    return TrainingPair(f"replay-{number}", f"replay-{number}", query, positive, negatives)
