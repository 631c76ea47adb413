"""What a training is asked for, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from vecmigrate.config import EncodingSection, TrainingSection
from vecmigrate.encoding.catalog import ModelCatalog, ModelEntry


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


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """One training. `folder` is where its checkpoints go, `<workspace>/training`; `lineage` says what the data is (dataset hash, collection).

    The same request on the same data is the same run: it goes on from its last checkpoint, or returns what it has made,
    unless `fresh`. Without a `name` one is made of the base's and the run's.
    """

    base: ModelEntry
    catalog: ModelCatalog
    folder: Path
    training: TrainingSection = field(default_factory=TrainingSection)
    encoding: EncodingSection = field(default_factory=EncodingSection)
    name: str | None = None
    lineage: Mapping[str, Any] = field(default_factory=dict)
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The registered model and how it came about. `resumed_at` is the step that an earlier, stopped attempt had reached;
    `made_before` says that nothing was left to do.
    """

    entry: ModelEntry
    resumed_at: int | None = None
    made_before: bool = False

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
        }

    def lines(self) -> list[str]:
        """For people: what was trained on what, what it brought, and the verdict."""
        told = self.entry.lineage
        scores, used = told["scores"], told["data"]
        low, high = scores["interval"]
        first = (
            f"{self.entry.model.name}: made before, nothing to do"
            if self.made_before
            else f"{self.entry.model.name}: {told['seconds']:.0f} s"
        )
        return [
            first if self.resumed_at is None else f"{first}, resumed at step {self.resumed_at}",
            f"trained on {used['pairs']:,} pairs with {used['negatives']} hard negative(s) each, texts cut at {used['max_tokens']} tokens",
            *used["notes"],
            f"dev nDCG@10 ({scores['queries']} queries among {scores['pool']:,} chunks): {scores['base']:.3f} → {scores['tuned']:.3f} "
            f"at step {scores['step']} of {scores['steps']}",
            f"difference {scores['tuned'] - scores['base']:+.3f} [{low:+.3f}, {high:+.3f}] at {scores['confidence']:.0%}",
            f"verdict: {self.verdict}",
        ]
