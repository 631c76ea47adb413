"""Batches by token budget: nothing lost, nothing over budget, little padding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecmigrate.encoding.batching import plan_batches


def plan(lengths: list[int], budget: int = 128, multiple: int = 8, longest: int | None = 64) -> list[tuple[list[int], int]]:
    batches = plan_batches(np.array(lengths, dtype=np.int64), budget=budget, multiple=multiple, longest=longest)
    return [(batch.rows.tolist(), batch.width) for batch in batches]


def test_the_longest_texts_come_first_and_share_a_batch_up_to_the_budget() -> None:
    assert plan([3, 64, 9, 10, 60]) == [([1, 4], 64), ([3, 2, 0], 16)]


def test_equal_lengths_keep_their_order() -> None:
    assert plan([5, 5, 5, 5], budget=16) == [([0, 1], 8), ([2, 3], 8)]


def test_no_texts_make_no_batches() -> None:
    assert plan([]) == []


def test_a_text_over_the_budget_goes_alone() -> None:
    assert plan([500, 2], budget=128, longest=None) == [([0], 504), ([1], 8)]


def test_a_width_never_exceeds_what_the_model_reads() -> None:
    assert plan([61], multiple=16, longest=61) == [([0], 61)]


def test_a_text_without_tokens_has_a_width_all_the_same() -> None:
    assert plan([0], multiple=1) == [([0], 1)]


@given(
    st.lists(st.integers(0, 64), max_size=200),
    st.integers(64, 4096),
    st.sampled_from([1, 8, 16]),
)
def test_every_text_is_in_exactly_one_batch_that_fits(lengths: list[int], budget: int, multiple: int) -> None:
    batches = plan(lengths, budget, multiple)
    assert sorted(row for rows, _ in batches for row in rows) == list(range(len(lengths)))
    for rows, width in batches:
        assert max(lengths[row] for row in rows) <= width <= 64
        assert len(rows) == 1 or len(rows) * width <= budget


@pytest.mark.parametrize("seed", range(3))
def test_padding_wastes_less_than_a_tenth_on_lengths_like_real_ones(seed: int) -> None:
    lengths = np.clip(np.random.default_rng(seed).lognormal(4.5, 0.8, 2048), 5, 256).astype(int)
    batches = plan_batches(lengths, budget=1024, multiple=8, longest=256)
    padded = sum(len(b.rows) * b.width for b in batches)
    assert padded / lengths.sum() < 1.10
