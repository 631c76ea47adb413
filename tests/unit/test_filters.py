"""Filters read and match as written."""

import pytest

from vecmigrate.errors import UsageError
from vecmigrate.filters import And, Compare, Eq, In, Or, matches, parse_filter

BOOK = {"lang": "en", "year": 2021, "rating": 4.5, "draft": False}


@pytest.mark.parametrize(
    ("where", "parsed"),
    [
        (None, None),
        ({}, None),
        ({"lang": "en"}, Eq("lang", "en")),
        ({"lang": {"$eq": "en"}}, Eq("lang", "en")),
        ({"lang": {"$in": ["en", "de"]}}, In("lang", ("en", "de"))),
        ({"year": {"$gte": 2020, "$lt": 2024}}, And((Compare("year", ">=", 2020), Compare("year", "<", 2024)))),
        ({"lang": "en", "draft": False}, And((Eq("lang", "en"), Eq("draft", False)))),
        ({"$or": [{"lang": "en"}, {"year": 2024}]}, Or((Eq("lang", "en"), Eq("year", 2024)))),
        ({"$and": [{"lang": "en"}]}, And((Eq("lang", "en"),))),
    ],
)
def test_the_written_form_is_read(where, parsed):
    assert parse_filter(where) == parsed


@pytest.mark.parametrize(
    "where",
    [
        {"lang": {"$like": "e%"}},
        {"lang": {"$in": []}},
        {"lang": {"$in": "en"}},
        {"year": {"$gt": "2020"}},
        {"year": {"$gt": True}},
        {"lang": None},
        {"lang": ["en"]},
        {"lang": {}},
        {"$or": []},
        {"$or": [{}]},
        {"$or": {"lang": "en"}},
        {"$not": {"lang": "en"}},
        {"lang": {"$eq": None}},
    ],
)
def test_what_cannot_be_read_is_a_usage_error_with_a_hint(where):
    with pytest.raises(UsageError) as caught:
        parse_filter(where)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("where", "answer"),
    [
        (None, True),
        ({"lang": "en"}, True),
        ({"lang": "de"}, False),
        ({"missing": "x"}, False),
        ({"draft": False}, True),
        ({"draft": 0}, False),
        ({"year": 2021}, True),
        ({"year": 2021.0}, True),
        ({"year": "2021"}, False),
        ({"lang": {"$in": ["de", "en"]}}, True),
        ({"year": {"$gt": 2021}}, False),
        ({"year": {"$gte": 2021, "$lte": 2021}}, True),
        ({"rating": {"$lt": 4.6}}, True),
        ({"lang": {"$gt": 1}}, False),
        ({"draft": {"$gte": 0}}, False),
        ({"missing": {"$gt": 1}}, False),
        ({"$or": [{"lang": "de"}, {"year": 2021}]}, True),
        ({"$and": [{"lang": "en"}, {"year": 2020}]}, False),
    ],
)
def test_a_filter_matches_metadata(where, answer):
    assert matches(parse_filter(where), BOOK) is answer
