"""One attempt at a training: the settings that are tried, and which to try next.

The search is a short walk, not a grid: the learning rate first, because it matters most, then what the curve asks for. Each step hangs
on the dev scores alone, so the same data gives the same walk, whether it was interrupted or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vecmigrate.config import LossName, TrainingSection

RATES = (1e-4, 2e-4, 5e-5)
EPOCHS = 2
MOST_EPOCHS = 6
MOST_ATTEMPTS = 8
MOST_WORK = 40_000
"""Pairs times passes that a search without a budget may come to in all: half an hour on two cores with bfloat16. Counted in work, not in
time, so that the same data makes the same attempts."""
NEXT = 2.0
"""How far the next rate is from the best of those tried at an end."""
LARGEST_RATE, SMALLEST_RATE = 5e-4, 1e-5


@dataclass(frozen=True, slots=True)
class Trial:
    """What one attempt trains with. `round` counts the minings of hard negatives: the first are the control's own."""

    learning_rate: float
    epochs: int
    loss: LossName = "ranking"
    round: int = 1

    @property
    def name(self) -> str:
        """Its folder's name, and what people read."""
        mined = f"-mined{self.round}" if self.round > 1 else ""
        return f"{self.loss}-{self.learning_rate:.0e}-{self.epochs}x{mined}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trial came to: its best dev score, and whether that was at its end, so that more passes might give more."""

    trial: Trial
    score: float
    rising: bool


def first_trial(settings: TrainingSection, loss: LossName) -> Trial:
    """Where the walk begins."""
    return Trial(settings.learning_rate or RATES[0], settings.epochs or EPOCHS, loss)


def next_trial(outcomes: Sequence[Outcome], settings: TrainingSection, other_losses: Sequence[LossName] = ()) -> Trial | None:
    """What to try after these; None when nothing promising is left."""
    best = max(outcomes, key=lambda outcome: outcome.score)
    tried = {outcome.trial for outcome in outcomes}
    if len(tried) >= MOST_ATTEMPTS:
        return None
    wishes = [*_rates(best.trial, settings), *_passes(best, settings), *_losses(best.trial, settings, other_losses)]
    wishes += _rounds(best.trial, settings)
    return next((trial for trial in wishes if trial not in tried), None)


def within_work(made: Sequence[Trial], trial: Trial, pairs: int) -> bool:
    """Whether one more attempt stays within `MOST_WORK`."""
    return pairs * sum(one.epochs for one in (*made, trial)) <= MOST_WORK


def _rates(best: Trial, settings: TrainingSection) -> list[Trial]:
    """The rates on both sides of the best one, the higher first."""
    if settings.learning_rate is not None or best.round > 1:
        return []
    near = (best.learning_rate * NEXT, best.learning_rate / NEXT)
    return [replace(best, learning_rate=rate) for rate in near if SMALLEST_RATE <= rate <= LARGEST_RATE]


def _passes(best: Outcome, settings: TrainingSection) -> list[Trial]:
    """Twice the passes, where the score was still rising at the end."""
    more = min(MOST_EPOCHS, best.trial.epochs * 2)
    if settings.epochs is not None or not best.rising or more == best.trial.epochs:
        return []
    return [replace(best.trial, epochs=more)]


def _losses(best: Trial, settings: TrainingSection, others: Sequence[LossName]) -> list[Trial]:
    return [replace(best, loss=loss) for loss in others] if settings.loss == "auto" and best.round == 1 else []


def _rounds(best: Trial, settings: TrainingSection) -> list[Trial]:
    """Once more with negatives that the best model so far confuses."""
    return [replace(best, round=best.round + 1)] if best.round < settings.mining_rounds else []
