import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecmigrate.filters import And, Compare, Eq, In, Or, matches, parse_filter
from vecmigrate_chroma.where import translate

_HALF = {"$and": [{"n": {"$eq": 2.5}}, {"n": {"$gt": 2}}, {"n": {"$lt": 3}}]}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (None, None),
        ({"lang": "en"}, {"lang": {"$eq": "en"}}),
        ({"n": {"$in": [1, 2]}}, {"n": {"$in": [1, 2]}}),
        ({"n": {"$in": [1, "a", 2.5, True]}}, {"$or": [{"n": {"$in": [1]}}, {"n": {"$in": ["a"]}}, {"n": {"$in": [True]}}, _HALF]}),
        ({"n": {"$gte": 1, "$lt": 3}}, {"$and": [{"n": {"$gte": 1}}, {"n": {"$lt": 3}}]}),
        ({"a": "x", "b": "y"}, {"$and": [{"a": {"$eq": "x"}}, {"b": {"$eq": "y"}}]}),
        ({"$or": [{"a": 1}]}, {"a": {"$eq": 1}}),
        ({"n": {"$gt": 0.5}}, {"$or": [{"n": {"$gt": 0.5}}, {"n": {"$gte": 1}}]}),
        ({"n": {"$gte": -0.5}}, {"$and": [{"n": {"$gte": -0.5}}, {"n": {"$gt": -1}}]}),
        ({"n": {"$lt": 2.0}}, {"n": {"$lt": 2.0}}),
        ({"n": 2**70}, {"n": {"$eq": float(2**70)}}),
    ],
    ids=str,
)
def test_filters_in_chromas_language(written, expected):
    assert translate(parse_filter(written)) == expected


_VALUES = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, -0.5, 1.0, 2.0]), st.booleans(), st.sampled_from(["", "a", "b", "1", "it's"]))
_FIELDS = st.sampled_from(["f", "g"])
_LEAVES = st.one_of(
    st.builds(Eq, _FIELDS, _VALUES),
    st.builds(In, _FIELDS, st.lists(_VALUES, min_size=1, max_size=3).map(tuple)),
    st.builds(
        Compare, _FIELDS, st.sampled_from([">", ">=", "<", "<="]), st.one_of(st.integers(-2, 2), st.sampled_from([0.5, -0.5, -1.5, 2.0]))
    ),
)


def _groups(parts):
    several = st.lists(parts, min_size=1, max_size=3).map(tuple)
    return st.one_of(st.builds(And, several), st.builds(Or, several))


_CONDITIONS = st.recursive(_LEAVES, _groups, max_leaves=4)
ROWS = [
    {},
    *({"f": v} for v in (-2, -1, 0, 1, 1.0, 0.5, -0.5, 2, True, False, "", "a", "1", "it's")),
    {"f": 1, "g": "b"},
    {"f": "b", "g": 2.0},
]


@pytest.fixture(scope="module")
def metadata_rows():
    import chromadb

    client = chromadb.EphemeralClient()
    made = client.create_collection("where", embedding_function=None)
    made.add(ids=[str(i) for i in range(len(ROWS))], embeddings=[[1.0]] * len(ROWS), metadatas=[row or None for row in ROWS])
    yield made
    client.close()


@given(condition=_CONDITIONS)
@settings(max_examples=150, deadline=None)
def test_chroma_lets_through_what_our_own_reading_does(metadata_rows, condition):
    found = set(metadata_rows.get(where=translate(condition), include=[])["ids"])
    assert found == {str(i) for i, row in enumerate(ROWS) if matches(condition, row)}
