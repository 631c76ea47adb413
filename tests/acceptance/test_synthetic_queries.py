"""A team without a query log, and one with: queries made from the chunks of a real store, searched for with the stock model."""

import pytest

pytestmark = pytest.mark.slow


def test_a_team_without_a_log_gets_a_dataset_that_says_that_nobody_asked_it(team):
    found = team.type("dataset", "build", "--synthetic", "local", "--without-log")
    counts = found["counts"]
    assert counts["synthetic_queries"] == sum(counts[f"{split}_queries"] for split in ("train", "dev", "test")) > 100
    assert "asked by no user" in found["report"][0]
    assert any("among its best" in line for line in found["report"]), "the round trip refuses some"
    again = team.type("dataset", "build", "--synthetic", "local", "--without-log")
    assert again["hash"] == found["hash"]


def test_beside_the_log_they_only_train(team):
    plain = team.type("dataset", "build")
    more = team.type("dataset", "build", "--synthetic", "local")
    assert more["counts"]["test_queries"] == plain["counts"]["test_queries"]
    assert more["counts"]["dev_queries"] == plain["counts"]["dev_queries"]
    assert more["counts"]["train_queries"] == plain["counts"]["train_queries"] + more["counts"]["synthetic_queries"]
    assert not list((team.folder / ".vecmigrate").glob("synthesis/*")), "nothing was asked of any service"
