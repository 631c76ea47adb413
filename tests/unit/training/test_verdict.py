"""The verdict: what chance or popularity gives is no gain, and a true one is found."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vecmigrate.training.devsearch import DevSearch, ndcg
from vecmigrate.training.request import Verdict
from vecmigrate.training.verdict import Finding, cross_fitted, exchanged, interval_of_mean, judge, luck

QUERIES = 100
BASE = np.full(40, 0.5)
NOTHING = (np.zeros(40), np.zeros(40))
ALONE = tuple(f"q{n}" for n in range(40))
Array = NDArray[np.float64]


def judged(differences: Array, *, share: float = 1.0, against: tuple[str, ...] = ()) -> Finding:
    count = len(differences)
    nothing = (np.zeros(count), np.zeros(count))
    return judge(np.full(count, 0.5), 0.5 + differences, nothing, tuple(f"q{n}" for n in range(count)), share=share, against=against)


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        (np.full(40, 0.1), Verdict.TUNED),
        (np.zeros(40), Verdict.KEEP_BASE),
        (np.full(40, -0.1), Verdict.KEEP_BASE),
        (np.tile([0.5, -0.49], 20), Verdict.KEEP_BASE),
        (np.tile([0.3, -0.1], 20), Verdict.TUNED),
    ],
    ids=["better", "equal", "worse", "noise", "mostly better"],
)
def test_only_a_gain_above_chance_is_called_tuned(differences: Array, verdict: Verdict) -> None:
    found = judged(differences)
    assert found.verdict is verdict
    assert found.gain == pytest.approx(differences.mean())
    assert bool(found.reasons) is (verdict is Verdict.KEEP_BASE)


def test_a_gain_of_weights_in_between_is_called_so() -> None:
    assert judged(np.full(40, 0.1), share=0.6).verdict is Verdict.INTERPOLATED
    assert judged(np.zeros(40), share=0.6).verdict is Verdict.KEEP_BASE


def test_harm_decides_against_any_gain_and_is_named_first() -> None:
    found = judged(np.full(40, 0.1), against=("it harms: x",))
    assert found.verdict is Verdict.KEEP_BASE
    assert found.reasons == ("it harms: x",)
    assert judged(np.zeros(40), against=("it harms: x",)).reasons[0] == "it harms: x"
    assert len(judged(np.zeros(40), against=("it harms: x",)).reasons) == 2


@pytest.mark.parametrize(("count", "verdict"), [(1, Verdict.KEEP_BASE), (19, Verdict.KEEP_BASE), (20, Verdict.TUNED)])
def test_fewer_than_twenty_dev_queries_are_never_enough(count: int, verdict: Verdict) -> None:
    found = judged(np.full(count, 0.4))
    assert found.verdict is verdict
    assert ("too few" in " ".join(found.reasons)) is (verdict is Verdict.KEEP_BASE)


def test_a_loss_of_the_base_is_told_with_its_figures() -> None:
    assert judged(np.full(40, -0.1)).reasons == ("no sure gain on the dev queries: -0.100 [-0.100, -0.100]",)


# ── the interval ──


def test_the_interval_is_the_same_each_time_and_holds_the_mean() -> None:
    differences = np.random.default_rng(1).normal(0.02, 0.1, 200)
    low, high = interval_of_mean(differences)
    assert (low, high) == interval_of_mean(differences)
    assert low < differences.mean() < high


def test_noise_is_called_a_gain_about_one_time_in_forty() -> None:
    chance = np.random.default_rng(0)
    called = sum(interval_of_mean(chance.normal(0, 0.2, 100), seed=n)[0] > 0 for n in range(400))
    assert 2 <= called <= 22


def test_queries_of_one_group_are_drawn_together() -> None:
    """Eight wordings of each of ten things that rise or fall as one are ten observations and not eighty."""
    each = np.random.default_rng(2).normal(0.05, 0.2, 10)
    groups = tuple(f"thing {n}" for n in range(10) for _ in range(8))
    low, high = interval_of_mean(np.repeat(each, 8), groups)
    assert (low, high) == pytest.approx(interval_of_mean(each, [f"thing {n}" for n in range(10)]))
    apart = interval_of_mean(np.repeat(each, 8))
    assert high - low > 2 * (apart[1] - apart[0])


def test_a_gain_of_a_single_group_is_not_believed() -> None:
    differences = np.concatenate([np.full(20, 0.5), np.zeros(20)])
    assert interval_of_mean(differences)[0] > 0
    assert interval_of_mean(differences, ["one thing"] * 20 + [f"q{n}" for n in range(20)])[0] <= 0.0


# ── cross-fitting ──


def test_a_query_is_scored_under_what_the_other_queries_choose() -> None:
    """Each candidate is right for one query alone: what the others choose is never it."""
    base = np.full(5, 0.5)
    candidates = np.full((5, 5), 0.4) + np.eye(5) * 0.55
    assert candidates.mean(axis=1).max() > base.mean()
    assert cross_fitted(base, candidates, [f"q{n}" for n in range(5)]).max() <= 0.5


def test_the_base_is_a_candidate_too() -> None:
    base = np.full(40, 0.5)
    assert cross_fitted(base, np.full((3, 40), 0.2), ALONE).tolist() == base.tolist()


def test_a_better_candidate_is_chosen_by_every_fold() -> None:
    base = np.full(40, 0.5)
    candidates = np.vstack([np.full(40, 0.2), np.full(40, 0.7), np.full(40, 0.6)])
    assert cross_fitted(base, candidates, ALONE).tolist() == [0.7] * 40


def test_queries_of_one_group_are_never_parted_by_the_folds() -> None:
    """Five groups, five folds: a candidate that is good for one group alone is never chosen for it."""
    base = np.full(50, 0.5)
    groups = tuple(f"g{n // 10}" for n in range(50))
    candidates = np.vstack([np.where(np.arange(50) // 10 == n, 0.9, 0.45) for n in range(5)])
    assert candidates.mean(axis=1).max() > 0.5
    assert cross_fitted(base, candidates, groups).tolist() == [0.45] * 50


def simulated(seed: int, gain: float) -> tuple[Array, Array]:
    """A base, and forty candidates, a walk's steps and blends, that are it but for noise, better by `gain`."""
    chance = np.random.default_rng(seed)
    base = chance.uniform(0, 1, QUERIES)
    return base, base + gain + chance.normal(0, 0.2, (40, QUERIES))


NAMES = tuple(f"q{n}" for n in range(QUERIES))
NO_POPULARITY = (np.zeros(QUERIES), np.zeros(QUERIES))


def says_gain(base: Array, made: Array) -> bool:
    """The procedure as a training goes through it."""
    best = made[int(np.argmax(made.mean(axis=1)))]
    against = ["luck"] if luck(base, best, made, NAMES) >= 0.025 else []
    return judge(base, cross_fitted(base, made, NAMES), NO_POPULARITY, NAMES, against=against).verdict is Verdict.TUNED


def test_the_best_of_forty_that_are_no_better_is_seldom_called_a_gain() -> None:
    """Judged by the scores that chose it, it would be most of the time; by cross-fitting alone, oftener than the interval says."""
    honest = naive = 0
    for seed in range(200):
        base, made = simulated(seed, 0.0)
        honest += says_gain(base, made)
        best = made[int(np.argmax(made.mean(axis=1)))]
        naive += judge(base, best, NO_POPULARITY, NAMES).verdict is Verdict.TUNED
    assert honest < 0.06 * 200
    assert naive > 0.5 * 200


@pytest.mark.parametrize(
    ("chosen", "others", "low", "high"),
    [
        (np.full(40, 0.6), [], 0.0, 0.001),
        (np.full(40, 0.5), [], 1.0, 1.0),
        (np.full(40, 0.4), [], 1.0, 1.0),
        (np.tile([0.9, 0.2], 20), [], 0.1, 0.5),
        (np.full(40, 0.6), [np.tile([0.9, 0.1], 20)] * 30, 0.0, 0.001),
    ],
    ids=["sure", "nothing", "worse", "noise", "sure among noise"],
)
def test_luck_is_how_often_signs_by_chance_would_find_as_much(chosen: Array, others: list[Array], low: float, high: float) -> None:
    candidates = np.vstack([chosen, *others])
    assert low <= luck(BASE, chosen, candidates, ALONE) <= high


def test_the_more_candidates_the_more_luck() -> None:
    chance = np.random.default_rng(3)
    made = 0.5 + chance.normal(0, 0.2, (40, 40))
    best = made[int(np.argmax(made.mean(axis=1)))]
    assert luck(BASE, best, best[None], ALONE) < 0.05 < luck(BASE, best, made, ALONE)


def test_wordings_of_one_thing_are_lucky_together() -> None:
    chosen = np.repeat([0.7, 0.7, 0.7, 0.5], 10)
    assert luck(BASE, chosen, chosen[None], ALONE) < 0.001
    assert luck(BASE, chosen, chosen[None], tuple(f"thing {n // 10}" for n in range(40))) == pytest.approx(1 / 8, abs=0.03)


def test_a_true_gain_is_found_among_forty() -> None:
    found = sum(says_gain(*simulated(seed, 0.1)) for seed in range(50))
    assert found >= 45


# ── popularity ──


def popular_search(count: int = 40) -> DevSearch:
    """Half of the queries ask for chunk 0, the rest for one each: chunk 0 is popular."""
    grades: tuple[dict[int, float], ...] = tuple({0: 1.0} if n % 2 else {n: 1.0} for n in range(count))
    return DevSearch(
        tuple(f"ask {n}" for n in range(count)), grades, tuple(f"text {n}" for n in range(count)), tuple(f"q{n}" for n in range(count))
    )


def ranking(*first: int, count: int = 40) -> NDArray[np.int64]:
    """For every query the same: these, then others."""
    rest = [place for place in range(count) if place not in first]
    return np.tile(np.array([*first, *rest][:10]), (count, 1))


def test_a_model_that_only_learned_what_is_popular_is_refused() -> None:
    """It shows chunk 0 to everybody, and half of them asked for it."""
    search = popular_search()
    before, after = ranking(30, 31, 32, 33, 34), ranking(0, 31, 32, 33, 34)
    base, tuned = search.score(before), search.score(after)
    assert interval_of_mean(tuned - base, search.groups)[0] > 0.15
    found = judge(base, tuned, (exchanged(search, before), exchanged(search, after)), search.groups)
    assert found.verdict is Verdict.KEEP_BASE
    assert found.reasons[0].startswith("the gain is popularity: with the queries' judgments exchanged among each other it is +0.3")
    assert found.own_gain == pytest.approx(0, abs=0.1)


def test_a_model_that_finds_each_querys_own_chunk_passes() -> None:
    search = popular_search()
    before = ranking(30, 31, 32, 33, 34)
    after = before.copy()
    after[:, 0] = [next(iter(grades)) for grades in search.grades]
    base, tuned = search.score(before), search.score(after)
    found = judge(base, tuned, (exchanged(search, before), exchanged(search, after)), search.groups)
    assert found.verdict is Verdict.TUNED
    assert 0.2 < found.own_gain < found.gain


def test_exchanged_judgments_are_always_anothers() -> None:
    """With a chunk of its own for each query and a perfect ranking, another's judgment finds nothing."""
    search = DevSearch(tuple("abcde"), tuple({n: 1.0} for n in range(5)), tuple("vwxyz"), tuple("abcde"))
    perfect = np.arange(5).reshape(5, 1)
    assert search.score(perfect).tolist() == [1.0] * 5
    assert exchanged(search, perfect).tolist() == [0.0] * 5
    assert exchanged(search, perfect, seed=3).tolist() == [0.0] * 5


def test_exchanged_scores_are_the_mean_over_the_others() -> None:
    """One row for all: chunk 0 first. Two of three queries ask for it, so by the others' judgments each finds it about as often."""
    search = DevSearch(tuple("abc"), ({0: 1.0}, {0: 1.0}, {1: 1.0}), tuple("xyz"), tuple("abc"))
    found = exchanged(search, np.tile(np.array([0, 1, 2]), (3, 1)))
    second = ndcg([0, 1, 2], {1: 1.0})
    assert found[2] == pytest.approx(1.0)
    assert found[:2].mean() == pytest.approx((1 + second) / 2, abs=0.1)


def test_a_single_query_exchanges_with_nobody() -> None:
    search = DevSearch(("a",), ({0: 1.0},), ("x",), ("a",))
    assert exchanged(search, np.array([[0]])).tolist() == [1.0]
