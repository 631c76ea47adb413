"""From pairs to columns: nothing empty, all of one width, and every filling told."""

from __future__ import annotations

from pathlib import Path

import pytest

from vecmigrate.dataset.pairs import TrainingPair
from vecmigrate.errors import DataError
from vecmigrate.training.examples import examples_of, shortened, training_length


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
