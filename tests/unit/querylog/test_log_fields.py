"""One cell of a log row: what is read, and what is refused with a reason."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecmigrate.querylog import fields

NOON = datetime(2024, 5, 6, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a-1", "a-1"),
        ("  a-1 ", "a-1"),
        (17, "17"),
        (17.0, "17"),
        (Decimal(17), "17"),
        (Decimal("17.00"), "17"),
        (None, ""),
        (float("nan"), ""),
        (UUID("12345678-1234-5678-1234-567812345678"), "12345678-1234-5678-1234-567812345678"),
        (["t1", 7], '["t1","7"]'),
        ({"id": 5, "rank": 1}, "5"),
        ({"object_id": "x"}, "x"),
        ({"document_id": "x"}, "x"),
        ("a\x00b", "ab"),
        ("a\ud800b", "a\ufffdb"),
        ("größe", "größe"),
        (date(2024, 5, 6), "2024-05-06"),
    ],
)
def test_an_id_of_any_type_has_one_text(value, expected):
    assert fields.reference(value) == expected


@pytest.mark.parametrize("value", [True, 1.5, b"raw", {"rank": 1}, object()])
def test_what_is_no_id_is_refused(value):
    with pytest.raises(ValueError, match=r"is not an id|has no id"):
        fields.reference(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["a", "b"], ("a", "b")),
        (("a", 2), ("a", "2")),
        ([], ()),
        (None, ()),
        ("", ()),
        ("   ", ()),
        ("a", ("a",)),
        ("a,b , c", ("a", "b", "c")),
        ("a,,b,", ("a", "b")),
        ('["a", "b"]', ("a", "b")),
        ("[1, 2]", ("1", "2")),
        (' ["a"] ', ("a",)),
        ("{a,b}", ("a", "b")),
        ("{}", ()),
        ('{"a b","c,d"}', ("a b", "c,d")),
        ('{"say \\"hi\\"",NULL,x}', ('say "hi"', "x")),
        (["a", None, ""], ("a",)),
        (42, ("42",)),
        ([{"id": "a"}, {"id": "b"}], ("a", "b")),
        ([["t", 1], ["t", 2]], ('["t","1"]', '["t","2"]')),
        ("[draft] notes", ("[draft] notes",)),
    ],
)
def test_ids_come_as_lists_json_postgres_arrays_or_with_commas(value, expected):
    assert fields.references(value) == expected


@pytest.mark.parametrize("value", [{"a": 1}, {"id": "a"}, '{"a": 1}', "{a{b}", '{"open}', "[true]", '[{"rank": 3}]'])
def test_an_ids_cell_that_makes_no_sense_is_refused(value):
    with pytest.raises(ValueError, match="id"):
        fields.references(value)


def test_texts_as_references_are_not_taken_apart_at_commas():
    assert fields.references("First, open the lid.", split=False) == ("First, open the lid.",)
    assert fields.references("{braces} stay", split=False) == ("{braces} stay",)
    assert fields.references('["First, open.", "Then close."]', split=False) == ("First, open.", "Then close.")


@given(st.lists(st.text(alphabet="abc,\"\\{} '", min_size=1, max_size=6).filter(lambda s: s.strip() == s)))
def test_a_postgres_array_reads_back_as_what_was_written(items):
    def quoted(item):
        return '"%s"' % item.replace("\\", "\\\\").replace('"', '\\"')

    assert fields.references("{%s}" % ",".join(map(quoted, items))) == tuple(items)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": 1, "b": "0.5"}, (("a", 1.0), ("b", 0.5))),
        ({"a": True, "b": False}, (("a", 1.0), ("b", 0.0))),
        ({"a": None}, ()),
        ([{"id": "a", "rating": 4}], (("a", 4.0),)),
        ([{"document_id": 7, "grade": 3}], (("7", 3.0),)),
        ({"id": "a", "rating": 2}, (("a", 2.0),)),
        ([["a", 3]], (("a", 3.0),)),
        ('{"a": -1}', (("a", -1.0),)),
        ('[{"id": "a", "rating": 5}]', (("a", 5.0),)),
        (None, ()),
        ("", ()),
        ({}, ()),
        ([], ()),
        ({"a": Decimal("2.5")}, (("a", 2.5),)),
    ],
)
def test_ratings_come_as_a_mapping_or_as_a_list(value, expected):
    assert fields.ratings(value) == expected


@pytest.mark.parametrize(("value", "expected"), [(4, 4.0), ("4", 4.0), ([3, 3, 0], 2.0), ("[3, 0]", 1.5), (True, 1.0)])
def test_a_bare_number_rates_the_one_result_shown(value, expected):
    assert fields.ratings(value, ["d1"]) == (("d1", expected),)


@pytest.mark.parametrize("shown", [(), ("d1", "d2")])
def test_a_bare_number_needs_exactly_one_result(shown):
    with pytest.raises(ValueError, match=f"one id in query_response_hit_ids, and there are {len(shown)}"):
        fields.ratings(3, shown)


@pytest.mark.parametrize(
    "value",
    [{"a": "great"}, {"a": float("nan")}, {"a": "inf"}, [{"id": "a"}], [{"rating": 3}], {"a": [1]}, "{broken", [{"id": "", "rating": 1}]],
)
def test_a_rating_that_is_no_number_is_refused(value):
    with pytest.raises(ValueError):
        fields.ratings(value, ["d1"])


@pytest.mark.parametrize(
    ("value", "assumed"),
    [
        ("2024-05-06T12:00:00Z", False),
        ("2024-05-06T12:00:00+00:00", False),
        ("2024-05-06T14:00:00+02:00", False),
        ("2024-05-06 12:00:00+00", False),
        ("2024-05-06 12:00:00 UTC", False),
        ("2024-05-06T12:00:00", True),
        ("2024-05-06 12:00:00.000", True),
        (1714996800, False),
        (1714996800.0, False),
        ("1714996800", False),
        ("1714996800.5", False),
        (1714996800000, False),
        ("1714996800000", False),
        (1714996800000000, False),
        (1714996800000000000, False),
        (Decimal(1714996800), False),
        (datetime(2024, 5, 6, 12, tzinfo=UTC), False),
        (datetime(2024, 5, 6, 12), True),
        (datetime(2024, 5, 6, 7, tzinfo=timezone(timedelta(hours=-5))), False),
    ],
)
def test_times_come_in_many_forms_and_leave_in_utc(value, assumed):
    at, was_assumed = fields.moment(value)
    assert at is not None
    assert at.replace(microsecond=0) == NOON
    assert at.utcoffset() == timedelta(0)
    assert was_assumed is assumed


def test_a_date_alone_is_its_midnight():
    assert fields.moment("2024-05-06") == (datetime(2024, 5, 6, tzinfo=UTC), True)
    assert fields.moment("20240506") == (datetime(2024, 5, 6, tzinfo=UTC), True)
    assert fields.moment(date(2024, 5, 6)) == (datetime(2024, 5, 6, tzinfo=UTC), True)


@pytest.mark.parametrize("value", [None, "", "  ", float("nan"), Decimal("NaN")])
def test_no_time_is_no_error(value):
    assert fields.moment(value) == (None, False)


@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00",
        "2024-13-01",
        "99999999999999999999999",
        0,
        -5,
        12,
        10**400,
        1e30,
        float("inf"),
        Decimal("Infinity"),
        True,
        [1],
    ],
)
def test_what_is_no_time_is_refused(value):
    with pytest.raises(ValueError, match="not a time"):
        fields.moment(value)


@given(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.binary(),
        st.lists(st.text()),
        st.dictionaries(st.text(), st.text()),
    )
)
def test_no_value_whatever_raises_anything_but_value_error(value):
    for read in (fields.reference, fields.references, fields.ratings, fields.moment):
        try:
            read(value)
        except ValueError as error:
            assert str(error)  # noqa: PT017


@pytest.mark.parametrize("value", [["acme", 0], ("acme", "0"), '["acme","0"]', '["acme", 0]', ' [ "acme" , "0" ] '])
def test_a_key_of_several_columns_is_written_as_the_stores_write_it(value):
    assert fields.reference(value) == '["acme","0"]'


@pytest.mark.parametrize("value", ["[draft] plan", "[]", '["one"]', "[1.5, 2]", "[true, 1]", '[["a"], "b"]'])
def test_a_text_that_begins_with_a_bracket_stays_as_it_is(value):
    assert fields.reference(value) == value
