from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from vecmigrate.errors import DataError
from vecmigrate.evaluation.statistics import (
    Interval,
    Procedure,
    _corrected,
    _student,
    _widened,
    bootstrap_interval,
    detectable_difference,
    holm,
    paired,
    queries_needed,
    sign_flip_p,
)


def drawn(n: int, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    """Differences like those of nDCG: many ties, the rest skewed."""
    generator = np.random.default_rng(seed)
    moved = generator.random(n) * 0.8 - 0.3
    return np.where(generator.random(n) < 0.5, 0.0, moved) + shift


def test_figures_of_a_case_that_can_be_read():
    found = paired(np.array([0.0, 0.5, 1.0, 0.2]), np.array([1.0, 0.5, 0.5, 0.4]))
    assert (found.n, found.wins, found.ties, found.losses) == (4, 2, 1, 1)
    assert found.control == pytest.approx(0.425)
    assert found.candidate == pytest.approx(0.6)
    assert found.difference == pytest.approx(0.175)


def test_rounding_noise_is_a_tie():
    found = paired(np.array([0.3, 0.1 + 0.2]), np.array([0.1 + 0.2, 0.3]))
    assert (found.wins, found.ties, found.losses, found.difference) == (0, 2, 0, 0.0)


def test_all_tied_has_an_interval_of_nothing_and_a_p_of_1():
    found = paired(np.full(50, 0.7), np.full(50, 0.7))
    assert found.interval == Interval(0.0, 0.0)
    assert found.p_value == 1.0
    assert found.detectable is None


@pytest.mark.parametrize("n", [1, 2, 9])
def test_too_few_queries_have_no_interval_rather_than_a_narrow_one(n):
    assert paired(np.zeros(n), np.linspace(0.1, 0.9, n)).interval is None


def test_ten_queries_have_an_interval():
    assert paired(np.zeros(10), np.linspace(0.1, 0.9, 10)).interval is not None


def test_one_query_can_prove_nothing():
    found = paired(np.array([0.0]), np.array([1.0]))
    assert (found.p_value, found.interval, found.detectable) == (1.0, None, None)


@pytest.mark.parametrize(
    ("control", "candidate"), [(np.array([]), np.array([])), (np.zeros(3), np.zeros(4)), (np.zeros((2, 2)), np.zeros((2, 2)))]
)
def test_values_that_do_not_pair_are_refused(control, candidate):
    with pytest.raises(DataError, match="control has"):
        paired(control, candidate)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(bad):
    with pytest.raises(DataError, match="NaN or infinite"):
        paired(np.array([0.0, bad]), np.array([0.5, 0.5]))


def test_the_same_seed_gives_the_same_figures_and_another_does_not():
    a, b = np.zeros(80), drawn(80)
    assert paired(a, b, Procedure(seed=3)) == paired(a, b, Procedure(seed=3))
    assert paired(a, b, Procedure(seed=3)).interval != paired(a, b, Procedure(seed=4)).interval


def test_the_interval_is_close_to_scipys_bca():
    differences = drawn(400)
    ours = bootstrap_interval(differences, Procedure(resamples=9999))
    theirs = scipy.stats.bootstrap(
        (differences,), np.mean, n_resamples=9999, rng=np.random.default_rng(1), method="BCa"
    ).confidence_interval
    assert ours.low == pytest.approx(theirs.low, abs=0.002)
    assert ours.high == pytest.approx(theirs.high, abs=0.002)


def test_the_interval_of_few_queries_is_wider_than_the_plain_bootstraps():
    differences = drawn(12, seed=2)
    ours = bootstrap_interval(differences, Procedure(resamples=9999))
    theirs = scipy.stats.bootstrap(
        (differences,), np.mean, n_resamples=9999, rng=np.random.default_rng(1), method="BCa"
    ).confidence_interval
    assert ours.high - ours.low > 1.1 * (theirs.high - theirs.low)


def test_the_interval_leans_the_way_the_data_do():
    skewed = np.concatenate([np.zeros(95), np.ones(5)])
    found = bootstrap_interval(skewed)
    assert found.high - 0.05 > 0.05 - found.low > 0


def test_more_confidence_is_a_wider_interval():
    differences = drawn(60)
    narrow, wide = (bootstrap_interval(differences, Procedure(confidence=c)) for c in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize(("n", "least"), [(10, 0.86), (20, 0.89), (37, 0.91), (100, 0.92)])
def test_a_95_percent_interval_holds_the_truth_about_95_times_in_100(n, least):
    truth = float(drawn(2_000_000, seed=99).mean())
    rounds = 400
    intervals = [bootstrap_interval(drawn(n, seed=i), Procedure(resamples=999, seed=i)) for i in range(rounds)]
    covered = sum(i.low <= truth <= i.high for i in intervals) / rounds
    assert least <= covered <= 0.99


@pytest.mark.parametrize("freedom", [9, 19, 36, 99, 1000])
@pytest.mark.parametrize("level", [0.9, 0.975, 0.995])
def test_students_quantile_is_scipys(freedom, level):
    assert _student(float(scipy.stats.norm.ppf(level)), freedom) == pytest.approx(scipy.stats.t.ppf(level, freedom), abs=0.001)


def test_the_randomisation_test_of_a_few_queries_counts_every_swap():
    differences = np.array([0.4, 0.3, -0.1, 0.2, 0.0])
    moved = differences[:4]
    swaps = [abs(float(np.dot(signs, moved))) for signs in itertools.product([1, -1], repeat=4)]
    expected = sum(s >= 0.8 - 1e-12 for s in swaps) / 16
    assert sign_flip_p(differences) == expected == 0.25


def test_five_wins_out_of_five_are_not_significant():
    assert sign_flip_p(np.full(5, 0.3)) == pytest.approx(2 / 32)


def test_ties_do_not_change_the_randomisation_test():
    moved = drawn(12, seed=5)
    moved = moved[moved != 0]
    assert sign_flip_p(np.concatenate([moved, np.zeros(500)])) == sign_flip_p(moved)


@pytest.mark.parametrize("shift", [0.0, 0.03, -0.06])
def test_the_randomisation_test_agrees_with_scipys(shift):
    differences = drawn(120, seed=8) - 0.05 + shift
    theirs = scipy.stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=9999, vectorized=True, rng=np.random.default_rng(0)
    )
    assert sign_flip_p(differences) == pytest.approx(theirs.pvalue, abs=0.02)


def test_p_is_never_0():
    assert sign_flip_p(np.full(200, 0.5)) == 1 / 10_000


def test_p_values_of_equal_systems_are_spread_evenly():
    generator = np.random.default_rng(4)
    found = [sign_flip_p(generator.normal(size=40), Procedure(resamples=499, seed=i)) for i in range(300)]
    assert 0.02 <= np.mean(np.array(found) < 0.05) <= 0.09
    assert 0.4 <= np.mean(np.array(found) < 0.5) <= 0.6


def test_a_detectable_difference_is_found_in_four_of_five_trials():
    generator = np.random.default_rng(0)
    n, scatter = 60, 0.3
    reach = detectable_difference(generator.normal(0, scatter, 100_000)) * np.sqrt(100_000 / n)
    found = [sign_flip_p(generator.normal(reach, scatter, n), Procedure(resamples=499, seed=i)) < 0.05 for i in range(300)]
    assert 0.72 <= np.mean(found) <= 0.88


def test_the_detectable_difference_is_the_textbooks():
    differences = np.array([-0.1, 0.1] * 50)
    expected = (1.959964 + 0.841621) * differences.std(ddof=1) / 10
    assert detectable_difference(differences) == pytest.approx(expected, abs=1e-6)


def test_half_the_difference_takes_four_times_the_queries():
    assert queries_needed(0.10, 37, 0.10) == 37
    assert queries_needed(0.10, 37, 0.05) == 148
    assert queries_needed(0.10, 37, -0.05) == 148


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ([], ()),
        ([0.04], (0.04,)),
        ([0.01, 0.04, 0.03], (0.03, 0.06, 0.06)),
        ([0.03, 0.01, 0.04], (0.06, 0.03, 0.06)),
        ([0.5, 0.9], (1.0, 1.0)),
    ],
)
def test_holm_on_cases_from_the_textbook(given_, expected):
    assert holm(given_) == pytest.approx(expected)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_makes_a_finding_stronger_and_keeps_the_order(p_values):
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    ordered = [a for _, a in sorted(zip(p_values, adjusted, strict=True))]
    assert ordered == sorted(ordered)


@given(st.lists(st.integers(-4, 4).map(lambda i: i / 4), min_size=10, max_size=40))
def test_turning_the_sides_round_turns_the_figures_round(differences):
    zero, d = np.zeros(len(differences)), np.array(differences)
    there, back = paired(zero, d, Procedure(resamples=199)), paired(d, zero, Procedure(resamples=199))
    assert there.difference == -back.difference
    assert (there.wins, there.losses) == (back.losses, back.wins)
    assert there.p_value == back.p_value
    assert there.interval.low == pytest.approx(-back.interval.high, abs=0.15)


@given(st.lists(st.floats(-1, 1), min_size=10, max_size=30))
def test_the_interval_is_within_the_data(differences):
    found = bootstrap_interval(np.array(differences), Procedure(resamples=199))
    assert min(differences) - 1e-12 <= found.low <= found.high <= max(differences) + 1e-12


def test_memory_does_not_grow_with_resamples_times_queries():
    differences = drawn(20_000)
    tracemalloc.start()
    bootstrap_interval(differences, Procedure(resamples=600))
    sign_flip_p(differences, Procedure(resamples=600))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120_000_000  # 600 × 20,000 values of 8 bytes would be 96 MB twice over, with their signs and indexes


@pytest.mark.parametrize("confidence", [0.95, 0.999, 0.999999])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_single_query_that_moves_does_not_turn_the_interval_inside_out(confidence, sign):
    differences = np.zeros(12)
    differences[3] = sign
    found = bootstrap_interval(differences, Procedure(confidence=confidence))
    assert found.low <= differences.mean() <= found.high
    assert found.low <= 0 <= found.high


@pytest.mark.parametrize(("n", "confidence"), [(10, 0.95), (12, 0.95), (50, 0.9)])
def test_percentiles_are_widened_as_hesterberg_says(n, confidence):
    low, high = _widened(confidence, n)
    reach = scipy.stats.t.ppf(0.5 + confidence / 2, n - 1) * np.sqrt(n / (n - 1))
    assert low == pytest.approx(scipy.stats.norm.cdf(-reach), rel=0.01)
    assert high == pytest.approx(1 - low)


def test_drawing_how_often_each_value_comes_is_drawing_queries():
    generator = np.random.default_rng(6)
    few = generator.choice([-0.5, 0.0, 0.0, 0.25, 1.0], 400)
    many = few + generator.random(400) * 1e-6
    grouped, drawn_singly = (bootstrap_interval(d) for d in (few, many))
    assert grouped.low == pytest.approx(drawn_singly.low, abs=0.003)
    assert grouped.high == pytest.approx(drawn_singly.high, abs=0.003)


def test_the_corrected_percentile_is_efrons():
    means = np.arange(100) / 100
    bias = scipy.stats.norm.ppf(0.605)  # 60 resamples below the mean, one equal to it
    z = bias + scipy.stats.norm.ppf(0.025)
    expected = scipy.stats.norm.cdf(bias + z / (1 - 0.03 * z))
    assert _corrected(0.025, means, 0.60, 0.03) == pytest.approx(expected)


@pytest.mark.parametrize("size", [0.125, 0.1309297535714574, 1 / 3, 0.6309297535714575, 0.1 + 0.2])
@pytest.mark.parametrize(("wins", "losses", "n"), [(8, 2, 100), (7, 1, 60), (3, 3, 80)])
def test_the_interval_of_differences_of_one_size_is_that_of_whole_numbers_times_the_size(size, wins, losses, n):
    """Rounding must not decide on which side of the mean the many resamples fall that equal it."""
    signs = np.array([1.0] * wins + [-1.0] * losses + [0.0] * (n - wins - losses))
    whole = bootstrap_interval(signs, Procedure())
    found = bootstrap_interval(signs * size, Procedure())
    assert (found.low / size, found.high / size) == pytest.approx((whole.low, whole.high), abs=1e-6)
