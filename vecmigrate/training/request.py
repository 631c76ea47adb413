"""What a training is asked for, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from vecmigrate.config import EncodingSection, TrainingSection
from vecmigrate.dataset.pairs import GradedPair, TrainingPair
from vecmigrate.encoding.catalog import ModelCatalog, ModelEntry
from vecmigrate.encoding.encoder import Encoder


class Verdict(StrEnum):
    """Whether the training was worth it, on the dev queries."""

    TUNED = "tuned"
    """Better than the base, by more than chance."""
    INTERPOLATED = "interpolated"
    """The same of weights between the base's and the tuned ones, which find more, or harm less, than the tuned ones."""
    KEEP_BASE = "keep base"
    """Not better, or not surely; the comparison on the test queries has the last word either way."""


class Progress(Protocol):
    """Called after every step, and after the base has been measured as step 0."""

    def __call__(self, step: int, total: int, loss: float | None, dev_score: float | None, attempt: str) -> None:
        """`dev_score` is the newest nDCG@10 on the dev queries; both are None before there is one. `attempt` names the settings tried."""
        ...


class OnlyHelped(Exception):
    """Raised in every process but the first, which has the result, where several train together."""


class Remine(Protocol):
    """Mines hard negatives anew, those that a tuned model confuses; see `vecmigrate.dataset.remine`."""

    def __call__(self, encoder: Encoder, *, seed: int) -> Sequence[TrainingPair]:
        """The training pairs with other negatives."""
        ...


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """One training. `folder` is where its checkpoints go, `<workspace>/training`; `lineage` says what the data is (dataset hash, collection).

    `graded` is what a loss on grades trains on, `remine` what `mining_rounds` above one need; `chunks` is the number that a re-index would
    embed, 0 where it isn't known. Relative paths of `training` start at `root`. The same request on the same data is the same run: it goes
    on from its last checkpoint, or returns what it has made, unless `fresh`. Without a `name` one is made of the base's and the run's.
    """

    base: ModelEntry
    catalog: ModelCatalog
    folder: Path
    training: TrainingSection = field(default_factory=TrainingSection)
    encoding: EncodingSection = field(default_factory=EncodingSection)
    name: str | None = None
    lineage: Mapping[str, Any] = field(default_factory=dict)
    fresh: bool = False
    graded: Sequence[GradedPair] = ()
    remine: Remine | None = None
    root: Path = Path()
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The registered models and how they came about: `entry` is the one to go on with, `entries` those of all rungs, the cheapest first.

    `resumed_at` is the step that an earlier, stopped attempt had reached; `made_before` says that nothing was left to do.
    """

    entry: ModelEntry
    resumed_at: int | None = None
    made_before: bool = False
    entries: tuple[ModelEntry, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """What the dev queries say."""
        return Verdict(self.entry.verdict or Verdict.KEEP_BASE)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready mapping."""
        return {
            "model": self.entry.model.to_dict(),
            "verdict": str(self.verdict),
            "resumed_at": self.resumed_at,
            "made_before": self.made_before,
            **self.entry.lineage,
            "rungs": [
                {"rung": e.lineage["rung"], "model": e.model.name, "verdict": e.verdict, "scores": e.lineage["scores"]}
                for e in self.entries
            ],
        }

    def lines(self) -> list[str]:
        """For people: what was trained on what, what it brought, and the verdict."""
        told = self.entry.lineage
        used = told["data"]
        name = self.entry.model.name
        first = f"{name}: made before, nothing to do" if self.made_before else f"{name}: {told['seconds']:.0f} s"
        return [
            first if self.resumed_at is None else f"{first}, resumed at step {self.resumed_at}",
            f"trained on {used['pairs']:,} pairs with {used['negatives']} hard negative(s) each, texts cut at {used['max_tokens']} tokens",
            *used["notes"],
            *(line for entry in self.entries or (self.entry,) for line in _rung_lines(entry)),
            *_why(told),
            f"verdict: {self.verdict}",
        ]


_RUNGS = {
    "adapter": "a matrix on the query side",
    "query": "the query encoder alone",
    "full": "the whole model",
}


def _rung_lines(entry: ModelEntry) -> Iterator[str]:
    """What one rung brings, and what it asks for."""
    told = entry.lineage
    scores = told["scores"]
    low, high = scores["interval"]
    yield f"{told['rung']} ({_RUNGS[told['rung']]}): {entry.verdict}, {told['seconds']:.0f} s, {told['needs']}"
    yield (
        f"  dev nDCG@10 ({scores['queries']} queries among {scores['pool']:,} chunks): {scores['base']:.3f} → {scores['tuned']:.3f}, "
        f"cross-fitted difference {scores['difference']:+.3f} [{low:+.3f}, {high:+.3f}] at {scores['confidence']:.0%}"
    )
    probe = told["probe"]
    if probe:
        yield f"  general probe nDCG@10 ({probe['queries']} queries): {probe['base']:.3f} → {probe['tuned']:.3f}"
    yield from (f"  {line}" for line in _ways(told))


def _ways(told: Mapping[str, Any]) -> Iterator[str]:
    """How the model was chosen."""
    made = told["choice"]
    for one in made.get("attempts", ()):
        yield (
            f"{one['loss']}, rate {one['learning_rate']:g}, {one['epochs']} epochs: dev {one['dev']:.3f} "
            f"at step {one['step']} of {one['steps']}, {one['seconds']:.0f} s"
        )
        yield from (f"  {note}" for note in one["notes"])
    if made.get("mean_of", 1) > 1:
        yield f"the weights are the mean of {made['mean_of']} attempts"
    if made.get("share", 1.0) < 1.0:
        yield f"the weights lie {made['share']:.0%} of the way from the base to the tuned ones"


def _why(told: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"why: {reason}" for reason in told["reasons"])
    for slice_name, figures in told["slices"].items():
        if figures["worse"]:
            low, high = figures["interval"]
            yield f"worse on {slice_name!r} ({figures['queries']} dev queries): {figures['difference']:+.3f} [{low:+.3f}, {high:+.3f}]"
