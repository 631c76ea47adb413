"""From pairs to the columns that the loss reads: query, positive, and as many hard negatives for each."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from vecmigrate.dataset.cross_encoder import PairScorer
from vecmigrate.dataset.pairs import GradedPair, TrainingPair
from vecmigrate.errors import DataError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

FEWEST = 2
"""With a single pair there is nothing to tell its answer from."""
_MINE_HINT = "vecmigrate logs stats shows what the log gives; vecmigrate dataset build makes pairs of it"


@dataclass(frozen=True, slots=True)
class Examples:
    """Rows of (query, positive, negative …), all of one width, with a label each: the trust in the pair, or what a teacher says.

    `notes` say what was left out or filled in, and how often.
    """

    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = field(default=())
    labels: tuple[Any, ...] = field(default=())

    @property
    def negatives(self) -> int:
        """Hard negatives of each row."""
        return len(self.rows[0]) - 2

    @property
    def texts(self) -> Mapping[str, list[str]]:
        """The columns of texts by name, in the order that the loss expects."""
        names = ["anchor", "positive", *(f"negative_{number}" for number in range(1, self.negatives + 1))]
        return {name: [row[place] for row in self.rows] for place, name in enumerate(names)}

    def columns(self) -> dict[str, list[Any]]:
        """The columns of texts, and the labels where there are any."""
        return {**self.texts, **({"label": list(self.labels)} if self.labels else {})}


def examples_of(pairs: Sequence[TrainingPair], *, seed: int) -> Examples:
    """The usable pairs as rows. A pair with fewer hard negatives than the widest repeats its own; one without any takes another query's
    answer, as the loss does with the rest of its batch anyway.

    Raises `DataError` when fewer than two usable pairs are left.
    """
    usable = [pair for pair in pairs if pair.query.strip() and pair.positive.strip() and pair.weight > 0]
    if len(usable) < FEWEST:
        raise DataError(
            f"training needs at least {FEWEST} pairs of a query and a chunk that answers it; there are {len(usable)}", hint=_MINE_HINT
        )
    own = [tuple(text for text in pair.negatives if text.strip() and text != pair.positive) for pair in usable]
    width = max(len(texts) for texts in own)
    fill = _Filling(usable, random.Random(seed))  # noqa: S311  # not for secrets
    rows = tuple((pair.query, pair.positive, *fill(pair, texts, width)) for pair, texts in zip(usable, own, strict=True))
    return Examples(rows, tuple(_notes(len(pairs) - len(usable), fill.borrowed)), tuple(pair.weight for pair in usable))


class _Filling:
    """Brings every pair to one number of negatives."""

    def __init__(self, pairs: Sequence[TrainingPair], chance: random.Random) -> None:
        self._pairs = pairs
        self._chance = chance
        self._answers: dict[str, set[str]] = {}
        for pair in pairs:
            self._answers.setdefault(pair.query_id, set()).add(pair.chunk_id)
        self.borrowed = 0

    def __call__(self, pair: TrainingPair, own: tuple[str, ...], width: int) -> tuple[str, ...]:
        if width and not own:
            self.borrowed += 1
            own = (self._another(pair),)
        return tuple(own[place % len(own)] for place in range(width))

    def _another(self, pair: TrainingPair) -> str:
        """The answer of a random other query, which isn't one of this query's."""
        others = [p.positive for p in self._pairs if p.chunk_id not in self._answers[pair.query_id]]
        return self._chance.choice(others) if others else pair.query


def _notes(dropped: int, borrowed: int) -> list[str]:
    notes = []
    if dropped:
        notes.append(f"{dropped:,} pairs left out: no text, or no trust in them")
    if borrowed:
        notes.append(f"{borrowed:,} pairs had no hard negative and took another query's answer")
    return notes


def training_length(counts: Sequence[int], *, longest: int | None, wanted: int | None, cap: int) -> int:
    """Where texts are cut while training: `wanted`, else the 95th percentile of their token counts rounded up to 16, at most `cap`.

    Never more than the model reads; what is cut off is cut for training only.
    """
    ranked = sorted(counts)
    usual = ranked[min(len(ranked) - 1, int(0.95 * len(ranked)))]
    chosen = wanted or min(cap, -(-usual // 16) * 16)
    return max(8, min(chosen, longest or chosen))


def shortened(texts: Sequence[str], pipeline: SentenceTransformer, max_tokens: int) -> tuple[str, ...]:
    """The texts without what lies behind `max_tokens` tokens, where the tokenizer can say where that is."""
    tokenizer: Any = getattr(pipeline, "tokenizer", None)
    if not getattr(tokenizer, "is_fast", False):
        return tuple(texts)
    found = tokenizer(list(texts), truncation=True, max_length=max_tokens, return_offsets_mapping=True)["offset_mapping"]
    return tuple(text[: max((end for _, end in offsets), default=0)] for text, offsets in zip(texts, found, strict=True))


def graded_examples(graded: Sequence[GradedPair]) -> Examples:
    """Rows of (query, chunk) with the grade, as a share of the highest, as their label.

    Raises `DataError` when there are fewer than two, or all have one grade.
    """
    usable = [pair for pair in graded if pair.query.strip() and pair.text.strip() and pair.weight > 0]
    grades = {pair.grade for pair in usable}
    if len(usable) < FEWEST or len(grades) < FEWEST:
        raise DataError(
            f"the {len(usable):,} judgments have {len(grades)} different grade(s); a loss on grades needs at least two",
            hint='set [training] loss = "auto", or read ratings that also say what is not relevant',
        )
    highest = max(grades)
    rows = tuple((pair.query, pair.text) for pair in usable)
    return Examples(rows, tuple(_notes(len(graded) - len(usable), 0)), tuple(pair.grade / highest for pair in usable))


def triplet_examples(examples: Examples) -> Examples:
    """One row of (query, positive, negative) for each hard negative. Raises `DataError` where there are none."""
    _need_negatives(examples, "triplet")
    rows = tuple((row[0], row[1], negative) for row in examples.rows for negative in dict.fromkeys(row[2:]))
    return Examples(rows, examples.notes)


def taught_examples(examples: Examples, teacher: PairScorer, *, margins: bool) -> Examples:
    """The rows with what a cross-encoder says of them as labels: its logits for the positive and each negative, or their differences.

    Raises `DataError` where there are no hard negatives.
    """
    _need_negatives(examples, "margin-mse" if margins else "distillation")
    asked = [(row[0], text) for row in examples.rows for text in row[1:]]
    probability = np.clip(teacher.score(asked), 1e-6, 1 - 1e-6)
    logits = np.log(probability / (1 - probability)).reshape(len(examples.rows), -1)
    labels = logits[:, :1] - logits[:, 1:] if margins else logits
    told = labels[:, 0] if labels.shape[1] == 1 else labels
    return Examples(examples.rows, (*examples.notes, f"labels by the teacher {teacher.name}"), tuple(told.tolist()))


def _need_negatives(examples: Examples, loss: str) -> None:
    if not examples.negatives:
        raise DataError(
            f"the loss {loss!r} needs hard negatives, and the dataset has none",
            hint="vecmigrate dataset build with negatives_per_pair = 1 or more under [dataset]",
        )
