"""From pairs to columns: nothing empty, all of one width, and every filling told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vecmigrate.dataset.pairs import GradedPair, TrainingPair
from vecmigrate.errors import DataError
from vecmigrate.training.examples import (
    Examples,
    examples_of,
    graded_examples,
    shortened,
    taught_examples,
    training_length,
    triplet_examples,
)


def pair(number: int, negatives: tuple[str, ...] = (), **changes: object) -> TrainingPair:
    fields = {"query_id": f"q{number}", "chunk_id": f"c{number}", "query": f"ask {number}", "positive": f"answer {number}"}
    return TrainingPair(**{**fields, "negatives": negatives, **changes})  # type: ignore[arg-type]


def test_a_pair_becomes_a_row_of_query_answer_and_negatives() -> None:
    examples = examples_of([pair(1, ("x", "y")), pair(2, ("z", "w"))], seed=0)
    assert examples.texts == {
        "anchor": ["ask 1", "ask 2"],
        "positive": ["answer 1", "answer 2"],
        "negative_1": ["x", "z"],
        "negative_2": ["y", "w"],
    }
    assert examples.negatives == 2
    assert examples.notes == ()


def test_pairs_without_any_negatives_train_on_their_batch_alone() -> None:
    examples = examples_of([pair(1), pair(2)], seed=0)
    assert list(examples.texts) == ["anchor", "positive"]
    assert list(examples.columns()) == ["anchor", "positive", "label"]


def test_a_pair_with_fewer_negatives_repeats_its_own() -> None:
    assert examples_of([pair(1, ("x",)), pair(2, ("a", "b", "c"))], seed=0).rows[0] == ("ask 1", "answer 1", "x", "x", "x")


def test_a_pair_without_negatives_takes_another_querys_answer_and_says_so() -> None:
    examples = examples_of([pair(1, ("x",)), pair(2), pair(3, query_id="q2")], seed=0)
    assert examples.rows[1][2] == "answer 1"
    assert examples.rows[2][2] == "answer 1"
    assert examples.notes == ("2 pairs had no hard negative and took another query's answer",)


def test_a_negative_that_is_the_answer_is_none() -> None:
    assert examples_of([pair(1, ("answer 1", "x")), pair(2, ("y",))], seed=0).rows[0] == ("ask 1", "answer 1", "x")


def test_pairs_without_text_or_trust_are_left_out_and_counted() -> None:
    examples = examples_of([pair(1), pair(2), pair(3, query=" "), pair(4, positive="\n"), pair(5, weight=0.0)], seed=0)
    assert len(examples.rows) == 2
    assert examples.notes == ("3 pairs left out: no text, or no trust in them",)


@pytest.mark.parametrize(("pairs", "left"), [([], 0), ([pair(1)], 1), ([pair(1), pair(2, query="")], 1)])
def test_too_few_pairs_are_refused_with_their_number(pairs: list[TrainingPair], left: int) -> None:
    with pytest.raises(DataError, match=f"at least 2 pairs .* there are {left}") as caught:
        examples_of(pairs, seed=0)
    assert "vecmigrate" in caught.value.hint


def test_filling_is_the_same_for_the_same_seed() -> None:
    pairs = [pair(n, ("x",) if n == 0 else ()) for n in range(30)]
    assert examples_of(pairs, seed=3) == examples_of(pairs, seed=3)
    assert examples_of(pairs, seed=3) != examples_of(pairs, seed=4)


@pytest.mark.parametrize(
    ("counts", "longest", "wanted", "expected"),
    [
        ([10] * 100, 256, None, 16),
        ([10] * 90 + [200] * 10, 256, None, 128),
        ([10] * 99 + [200], 256, None, 16),
        ([100] * 100, 48, None, 48),
        ([100] * 100, None, None, 112),
        ([10] * 100, 256, 200, 200),
        ([10] * 100, 64, 200, 64),
        ([1], 256, None, 16),
        ([1], 4, None, 8),
    ],
)
def test_texts_are_cut_at_the_usual_length(counts: list[int], longest: int | None, wanted: int | None, expected: int) -> None:
    assert training_length(counts, longest=longest, wanted=wanted, cap=128) == expected


def test_a_shortened_text_has_the_same_first_tokens(tiny: Path) -> None:
    from sentence_transformers import SentenceTransformer

    pipeline = SentenceTransformer(str(tiny), device="cpu")
    texts = ["one two three four five six seven", "Ünïcode 東京", ""]
    assert shortened(texts, pipeline, 6) == ("one two three four", "Ünïcode 東京", "")


# ── grades ──


def graded(number: int, grade: float, **changes: object) -> GradedPair:
    fields = {"query_id": f"q{number}", "chunk_id": f"c{number}", "query": f"ask {number}", "text": f"text {number}", "weight": 1.0}
    return GradedPair(**{**fields, "grade": grade, **changes})  # type: ignore[arg-type]


def test_grades_become_labels_as_shares_of_the_highest() -> None:
    examples = graded_examples([graded(1, 3.0), graded(2, 0.0), graded(3, 1.5)])
    assert examples.rows == (("ask 1", "text 1"), ("ask 2", "text 2"), ("ask 3", "text 3"))
    assert examples.labels == (1.0, 0.0, 0.5)
    assert examples.columns() == {
        "anchor": ["ask 1", "ask 2", "ask 3"],
        "positive": ["text 1", "text 2", "text 3"],
        "label": [1.0, 0.0, 0.5],
    }


def test_judgments_without_text_or_trust_are_left_out_and_counted() -> None:
    examples = graded_examples([graded(1, 1), graded(2, 0), graded(3, 1, text=" "), graded(4, 1, query=""), graded(5, 2, weight=0.0)])
    assert examples.labels == (1.0, 0.0)
    assert examples.notes == ("3 pairs left out: no text, or no trust in them",)


@pytest.mark.parametrize(
    ("judgments", "said"),
    [
        ([], r"the 0 judgments have 0 different grade\(s\)"),
        ([graded(1, 1.0)], r"the 1 judgments have 1 different grade\(s\)"),
        ([graded(1, 1.0), graded(2, 1.0), graded(3, 1.0)], r"the 3 judgments have 1 different grade\(s\)"),
    ],
)
def test_judgments_of_one_grade_cannot_be_learned_from(judgments: list[GradedPair], said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        graded_examples(judgments)
    assert 'loss = "auto"' in caught.value.hint


# ── triplets and teachers ──

MINED = Examples((("a", "yes a", "no 1", "no 2"), ("b", "yes b", "no 3", "no 3")), ("a note",), (1.0, 0.5))


class Teacher:
    """Says what it is told to, and remembers what it was asked."""

    name = "the teacher"

    def __init__(self, *scores: float) -> None:
        self._scores = scores
        self.asked: list[tuple[str, str]] = []

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
        self.asked = list(pairs)
        return np.array(self._scores)


def test_each_hard_negative_makes_a_triplet_once() -> None:
    examples = triplet_examples(MINED)
    assert examples.rows == (("a", "yes a", "no 1"), ("a", "yes a", "no 2"), ("b", "yes b", "no 3"))
    assert examples.notes == ("a note",)
    assert list(examples.columns()) == ["anchor", "positive", "negative_1"]


def test_a_teachers_probabilities_become_logits() -> None:
    """Half is 0; three quarters the logarithm of three."""
    teacher = Teacher(0.75, 0.5, 0.25, 0.5, 0.5, 0.75)
    examples = taught_examples(MINED, teacher, margins=False)
    assert teacher.asked == [("a", "yes a"), ("a", "no 1"), ("a", "no 2"), ("b", "yes b"), ("b", "no 3"), ("b", "no 3")]
    assert examples.rows == MINED.rows
    assert np.array(examples.labels) == pytest.approx(np.log(3) * np.array([[1, 0, -1], [0, 0, 1]]))
    assert examples.notes == ("a note", "labels by the teacher the teacher")


def test_margins_are_the_positives_logit_less_each_negatives() -> None:
    examples = taught_examples(MINED, Teacher(0.75, 0.5, 0.25, 0.5, 0.5, 0.75), margins=True)
    assert np.array(examples.labels) == pytest.approx(np.log(3) * np.array([[1, 2], [0, -1]]))


def test_a_single_margin_is_a_number_and_no_list() -> None:
    one = Examples((("a", "yes", "no"), ("b", "yes", "no")))
    assert taught_examples(one, Teacher(0.75, 0.5, 0.5, 0.75), margins=True).labels == pytest.approx((np.log(3), -np.log(3)))


def test_a_teacher_that_is_quite_sure_gives_finite_labels() -> None:
    labels = np.array(taught_examples(MINED, Teacher(1.0, 0.0, 0.0, 1.0, 0.0, 0.0), margins=False).labels)
    assert np.isfinite(labels).all()
    assert labels.max() == pytest.approx(13.8, abs=0.1)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (triplet_examples, "triplet"),
        (lambda examples: taught_examples(examples, Teacher(), margins=True), "margin-mse"),
        (lambda examples: taught_examples(examples, Teacher(), margins=False), "distillation"),
    ],
)
def test_losses_that_need_hard_negatives_say_so(make, named: str) -> None:
    with pytest.raises(DataError, match=f"the loss '{named}' needs hard negatives") as caught:
        make(Examples((("a", "yes a"), ("b", "yes b"))))
    assert "negatives_per_pair" in caught.value.hint
