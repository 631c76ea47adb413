"""The attempts of one training: each trial fitted in a folder of its own, remembered when done, within the budget.

<run>/ranking-1e-04-2x/best-24/  outcome.json      done: its best model and what the dev queries said
<run>/ranking-2e-04-2x/checkpoint-32/              under way: the next call goes on here
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from vecmigrate.config import LossName
from vecmigrate.encoding.sentence_transformer import SentenceTransformerEncoder
from vecmigrate.errors import ModelError
from vecmigrate.training.checkpoints import History, RunFolder, read_history, write_json
from vecmigrate.training.examples import Examples
from vecmigrate.training.fit import Fitting, fit, is_main_process
from vecmigrate.training.trials import Outcome, Trial, first_trial, next_trial, within_work

OUTCOME = "outcome.json"
SMALLEST_BATCH = 2
_LOWER = "lower [training] batch_size or max_tokens, or set recompute = true"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A trial that is done: what the dev queries said, and where its best model lies. `notes` say what had to be changed for it."""

    trial: Trial
    history: History
    best: Path
    notes: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """What the walk goes by."""
        best = max((score for _, score in self.history.steps), default=0.0)
        return Outcome(self.trial, best, rising=self.history.best_step == self.history.last_step)


@dataclass(frozen=True, slots=True)
class Attempts:
    """How attempts are made. `template` is what they share; `fresh_encoder` loads the base anew, in which each begins; `examples` gives
    those of a round of mining, the model found so far at hand.
    """

    template: Fitting
    fresh_encoder: Callable[[], SentenceTransformerEncoder]
    examples: Callable[[Trial, Path | None], Examples]
    other_losses: tuple[LossName, ...] = ()

    def make(self, loss: LossName) -> tuple[tuple[Attempt, ...], int | None]:
        """All attempts, in their order, and the step that an earlier, stopped call had reached.

        The first is always made to its end; a further one only while it fits into the budget, taking as long per pass as those before, or
        without a budget into `MOST_WORK`.
        """
        settings = self.template.settings
        made: list[Attempt] = []
        resumed: int | None = None
        trial: Trial | None = first_trial(settings, loss)
        while trial is not None:
            attempt, step = self._attempt(trial, made)
            made.append(attempt)
            resumed = step if step is not None else resumed
            trial = next_trial([one.outcome for one in made], settings, self.other_losses)
            if trial is not None and not self._affordable(trial, made):
                break
        return tuple(made), resumed

    def _affordable(self, trial: Trial, made: Sequence[Attempt]) -> bool:
        if self.template.settings.budget_minutes is None:
            return within_work([one.trial for one in made], trial, len(self.template.examples.rows))
        spent = sum(one.history.seconds for one in made)
        per_pass = max(one.history.seconds / one.trial.epochs for one in made)
        return spent + per_pass * trial.epochs <= self.template.settings.budget_minutes * 60

    def _attempt(self, trial: Trial, made: Sequence[Attempt]) -> tuple[Attempt, int | None]:
        home = RunFolder(self.template.run.path / trial.name)
        done = _read(home.path, trial)
        if done is not None:
            return done, done.history.last_step
        best = max(made, key=lambda one: one.outcome.score, default=None)
        fitting = replace(
            self.template,
            trial=trial,
            run=home,
            examples=self.examples(trial, best.best if best else None),
            base_scores=made[0].history.base if made else self.template.base_scores,
        )
        history, resumed, notes = self._in_memory(fitting)
        _finish(home, history, notes)
        return Attempt(trial, history, home.best(history.best_step or 0), notes), resumed

    def _in_memory(self, fitting: Fitting) -> tuple[History, int | None, tuple[str, ...]]:
        """Fit; where memory runs out, go on from the last checkpoint with half the batch and twice the accumulation."""
        notes: tuple[str, ...] = ()
        while True:
            try:
                history, resumed = fit(replace(fitting, encoder=self.fresh_encoder()))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if fitting.batch_size // 2 < SMALLEST_BATCH:
                    raise ModelError("training ran out of memory", hint=_LOWER) from error
                fitting = _halved(fitting)
                notes = (f"memory ran out: batches of {fitting.batch_size} instead, each step the mean of {_steps(fitting)} of them",)
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
            else:
                return history, resumed, notes


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is what torch or Python raise when memory, of the device or of the machine, is used up."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        sign in str(error).lower() for sign in ("out of memory", "can't allocate memory", "not enough memory")
    )


def _halved(fitting: Fitting) -> Fitting:
    settings = fitting.settings
    return replace(
        fitting, settings=settings.model_copy(update={"batch_size": fitting.batch_size // 2, "accumulation": settings.accumulation * 2})
    )


def _steps(fitting: Fitting) -> int:
    return fitting.settings.accumulation


def _finish(home: RunFolder, history: History, notes: tuple[str, ...]) -> None:
    if not is_main_process():
        return
    write_json(home.path / OUTCOME, {"history": asdict(history), "notes": list(notes)})
    for path in home.path.glob("checkpoint-*"):
        shutil.rmtree(path, ignore_errors=True)


def _read(folder: Path, trial: Trial) -> Attempt | None:
    try:
        data = json.loads((folder / OUTCOME).read_text(encoding="utf-8"))
        history = read_history(data["history"])
        best = RunFolder(folder).best(history.best_step or 0)
        return Attempt(trial, history, best, tuple(data["notes"])) if best.is_dir() else None
    except (OSError, ValueError, KeyError, TypeError):  # not done: as if it weren't there
        return None
