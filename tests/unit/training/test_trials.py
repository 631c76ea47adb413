"""The walk from trial to trial, as tables: what was found, and what is tried next."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from vecmigrate.config import LossName, TrainingSection
from vecmigrate.training.trials import (
    LARGEST_RATE,
    MOST_ATTEMPTS,
    MOST_EPOCHS,
    SMALLEST_RATE,
    Outcome,
    Trial,
    first_trial,
    next_trial,
    within_work,
)

FREE = TrainingSection()


def found(rate: float, score: float, *, epochs: int = 2, rising: bool = False, loss: LossName = "ranking", round: int = 1) -> Outcome:
    return Outcome(Trial(rate, epochs, loss, round), score, rising)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Trial(1e-4, 2)),
        ({"learning_rate": 3e-5}, Trial(3e-5, 2)),
        ({"epochs": 5}, Trial(1e-4, 5)),
        ({"learning_rate": 3e-5, "epochs": 5}, Trial(3e-5, 5)),
    ],
)
def test_the_walk_begins_with_what_is_given(given: dict[str, Any], expected: Trial) -> None:
    assert first_trial(TrainingSection(**given), "ranking") == expected


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([found(1e-4, 0.5)], Trial(2e-4, 2)),
        ([found(1e-4, 0.5), found(2e-4, 0.4)], Trial(5e-5, 2)),
        ([found(1e-4, 0.5), found(2e-4, 0.6)], Trial(4e-4, 2)),
        ([found(1e-4, 0.5), found(2e-4, 0.6), found(4e-4, 0.7)], None),
        ([found(1e-4, 0.5), found(2e-4, 0.4), found(5e-5, 0.4)], None),
        ([found(1e-4, 0.5), found(2e-4, 0.4), found(5e-5, 0.6)], Trial(2.5e-5, 2)),
        ([found(1e-4, 0.5, rising=True), found(2e-4, 0.4), found(5e-5, 0.4)], Trial(1e-4, 4)),
        ([found(1e-4, 0.5), found(2e-4, 0.4), found(5e-5, 0.4), found(1e-4, 0.4, epochs=4)], None),
        ([found(2e-5, 0.5)], Trial(4e-5, 2)),
        ([found(1e-5, 0.5), found(2e-5, 0.4)], None),
        ([found(5e-4, 0.5)], Trial(2.5e-4, 2)),
    ],
    ids=[
        "higher first",
        "then lower",
        "uphill",
        "no rate above the largest",
        "a peak",
        "downhill",
        "still rising",
        "longer was worse",
        "from below",
        "no rate below the smallest",
        "from the largest",
    ],
)
def test_the_next_trial_follows_from_what_was_found(outcomes: list[Outcome], expected: Trial | None) -> None:
    assert next_trial(outcomes, FREE) == expected


def test_passes_are_doubled_up_to_the_most() -> None:
    given = TrainingSection(learning_rate=1e-4)
    walk = [found(1e-4, 0.5, rising=True)]
    for epochs, score in ((4, 0.6), (6, 0.7)):
        assert next_trial(walk, given) == Trial(1e-4, epochs)
        walk.append(found(1e-4, score, epochs=epochs, rising=True))
    assert MOST_EPOCHS == 6
    assert next_trial(walk, given) is None


def test_other_losses_are_tried_where_none_is_given() -> None:
    peak = [found(1e-4, 0.5), found(2e-4, 0.4), found(5e-5, 0.4)]
    assert next_trial(peak, FREE, ("guided",)) == Trial(1e-4, 2, "guided")
    assert next_trial([*peak, found(1e-4, 0.3, loss="guided")], FREE, ("guided",)) is None
    assert next_trial(peak, TrainingSection(loss="ranking"), ("guided",)) is None


def test_a_round_of_mining_comes_last_and_begins_where_the_best_ended() -> None:
    settings = TrainingSection(mining_rounds=3, learning_rate=1e-4, epochs=2)
    assert next_trial([found(1e-4, 0.5)], settings) == Trial(1e-4, 2, round=2)
    assert next_trial([found(1e-4, 0.5), found(1e-4, 0.6, round=2)], settings) == Trial(1e-4, 2, round=3)
    assert next_trial([found(1e-4, 0.5), found(1e-4, 0.4, round=2)], settings) is None
    assert next_trial([found(1e-4, 0.5), found(1e-4, 0.6, round=2), found(1e-4, 0.7, round=3)], settings) is None


@pytest.mark.parametrize("rising", [False, True])
@pytest.mark.parametrize(
    "score",
    [lambda n: n, lambda n: -n, lambda n: 0.5, lambda n: (n * 7) % 5],
    ids=["ever better", "ever worse", "all alike", "up and down"],
)
def test_the_walk_ends_and_never_tries_one_thing_twice(score: Callable[[int], float], rising: bool) -> None:
    settings = TrainingSection(mining_rounds=5)
    outcomes = [Outcome(first_trial(settings, "ranking"), score(0), rising)]
    while (trial := next_trial(outcomes, settings, ("guided", "symmetric-ranking"))) is not None:
        outcomes.append(Outcome(trial, score(len(outcomes)), rising))
        assert len(outcomes) <= MOST_ATTEMPTS
    tried = [outcome.trial for outcome in outcomes]
    assert len(set(tried)) == len(tried) >= 2
    assert all(SMALLEST_RATE <= trial.learning_rate <= LARGEST_RATE and trial.epochs <= MOST_EPOCHS for trial in tried)


@pytest.mark.parametrize(("pairs", "fits"), [(500, True), (6_666, True), (6_667, False), (1_000_000, False)])
def test_without_a_budget_work_is_bounded_and_not_time(pairs: int, fits: bool) -> None:
    made = [Trial(1e-4, 2), Trial(2e-4, 2)]
    assert within_work(made, Trial(5e-5, 2), pairs) is fits


def test_what_is_given_is_not_searched() -> None:
    given = TrainingSection(learning_rate=7e-5, epochs=3, loss="ranking")
    assert next_trial([found(7e-5, 0.5, epochs=3, rising=True)], given, ("guided",)) is None


def test_the_same_outcomes_give_the_same_walk_in_whatever_order_they_are_told() -> None:
    outcomes = [found(1e-4, 0.5), found(2e-4, 0.7), found(5e-5, 0.3)]
    assert {next_trial(list(order), FREE) for order in (outcomes, outcomes[::-1])} == {Trial(4e-4, 2)}


def test_names_of_trials_tell_them_apart() -> None:
    trials = [
        Trial(1e-4, 2),
        Trial(2e-4, 2),
        Trial(1e-4, 4),
        Trial(1e-4, 2, "guided"),
        Trial(1e-4, 2, round=2),
        Trial(2.5e-5, 2),
        Trial(2e-5, 2),
    ]
    assert trials[0].name == "ranking-1e-04-2x"
    assert trials[4].name == "ranking-1e-04-2x-mined2"
    assert all(a.name != b.name for a, b in pairwise(trials))
    assert len({trial.name for trial in trials}) == len(trials)
