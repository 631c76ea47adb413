import json
import random
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pgvector_applications import CANDIDATE, TEXTS, begin, build, fill, found, make_docs

from vecmigrate.errors import DataError
from vecmigrate.records import Chunk
from vecmigrate_pgvector.keys import binary_encoders, join_id, keyed, split_id

_draws = random.Random(7)
UUIDS = [str(uuid.UUID(int=_draws.getrandbits(128))) for _ in range(5)]

TYPES = {
    "smallint": ["-32768", "-1", "0", "7", "32767"],
    "int": ["-2147483648", "-1", "0", "7", "2147483647"],
    "bigint": ["-9223372036854775808", "-1", "0", "7", "9223372036854775807"],
    "uuid": sorted(UUIDS),
    "text": ["", "it's", 'say "hi", {a}', "ключ-鍵-🔑\\n\\N", "%s;--"],
    "varchar(20)": ["a", "A", "ä", "a b", "a,b"],
    "char(4)": ["a", "ab", "abc", "abcd", "b"],
    'text COLLATE "C"': ["B", "a", "b", "É", "é"],
    "numeric": ["-1.50", "0", "0.1", "100000000000000000000000000001", "NaN"],
    "numeric(10,2)": ["-1.50", "0.00", "0.10", "1.00", "2.00"],
    "double precision": ["-Infinity", "0.1", "0.30000000000000004", "1e+300", "NaN"],
    "real": ["-1.5", "0.1", "0.3", "1e+30", "3.4028235e+38"],
    "boolean_like": ["a", "b", "c", "d", "e"],
    "date": ["0001-01-01", "1999-12-31", "2000-02-29", "2024-01-01", "infinity"],
    "timestamptz": [
        "1999-12-31 23:59:59.999999+00",
        "2000-01-01 00:00:00+00",
        "2024-03-31 00:30:00+00",
        "2024-03-31 01:30:00+00",
        "infinity",
    ],
    "interval": ["00:00:00.000001", "1 day", "1 mon", "1 year 2 mons", "10 years"],
    "bytea": ["\\x", "\\x00", "\\x2c22", "\\xff", "\\xffff"],
    "inet": ["10.0.0.1/32", "10.0.0.2/32", "::1/128", "192.168.0.0/16", "fe80::1/128"],
    "mood": ["sad", "it's ok", 'quo"ted', "happy", "ünïcode"],
    "positive": ["1", "2", "3", "4", "5"],
}


def make_types(db):
    db.execute("""CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'quo"ted', 'happy', 'ünïcode')""")
    db.execute("CREATE DOMAIN positive AS bigint CHECK (VALUE > 0)")
    db.execute("CREATE DOMAIN boolean_like AS text")


@pytest.mark.parametrize("key", list(TYPES))
def test_any_key_type_goes_the_whole_way(db, open_store, key):
    make_types(db)
    ids = TYPES[key]
    make_docs(db, key=key, ids=ids)
    store = open_store(text="content")
    assert sorted(chunk.id for batch in store.scan(batch_size=2) for chunk in batch) == sorted(ids)
    assert set(store.fetch([*ids, "no such key", "007", "\0"])) == set(ids)
    assert store.fetch(["007", "+7", " 7", "7.0"]) == {}
    version = build(store)
    assert store.differences(version).clean
    assert set(store.vectors(version, [*ids, "no such key"])) == set(ids)
    assert store.vectors(version, ["007", "+7", " 7", "7.0"]) == {}
    for id, text in zip(ids, TEXTS, strict=True):
        assert found(store, version, text) == [id]
    chunks = list(store.fetch(ids[:2]).values())
    store.load(version, chunks, CANDIDATE.encode_documents([chunk.text for chunk in chunks]))
    store.remove(version, [ids[0], "no such key", "007"])
    assert store.differences(version).missing == (ids[0],)
    assert fill(store, version) == [ids[0]]
    db.execute("DELETE FROM docs WHERE content = %s", [TEXTS[4]])
    assert store.differences(version).extra == (ids[4],)


def test_composite_keys_of_mixed_types_go_the_whole_way(db, open_store):
    make_types(db)
    db.execute(
        'CREATE TABLE docs (tenant mood, "The Part" text, n int, at timestamptz, content text, embedding vector(8), '
        'PRIMARY KEY (tenant, at, "The Part", n))'
    )
    rows = [("sad", 'a"b,c\\', 1), ("sad", "ü\n\t", 2), ("happy", "", 3), ("happy", "[]", 4), ("it's ok", "\x01\x7f", 5)]
    for (tenant, part, n), text in zip(rows, TEXTS, strict=True):
        db.execute("INSERT INTO docs VALUES (%s, %s, %s, '2024-01-01', %s, %s)", [tenant, part, n, text, str([1.0] * 8)])
    store = open_store(text="content")
    ids = [join_id((tenant, "2024-01-01 00:00:00+00", part, str(n))) for tenant, part, n in rows]
    assert {chunk.id for batch in store.scan() for chunk in batch} == set(ids)
    version = build(store)
    assert store.differences(version).clean
    assert [found(store, version, text) for text in TEXTS] == [[id] for id in ids]
    assert set(store.vectors(version, ids)) == set(store.fetch([*ids, "[]", "x", '["sad"]', '["gone","x","y","z"]'])) == set(ids)
    store.remove(version, ids[:2])
    assert sorted(fill(store, version, batch_size=1)) == sorted(ids[:2])


def test_key_columns_named_like_ours_do_not_collide(db, open_store):
    db.execute("CREATE TABLE docs (text_hash int, embedding int, content text, vec vector(8), PRIMARY KEY (text_hash, embedding))")
    db.execute("INSERT INTO docs VALUES (1, 2, 'sort a list in place', %s)", [str([1.0] * 8)])
    store = open_store()
    version = build(store)
    assert found(store, version, TEXTS[0]) == ['["1","2"]']
    store.remove(version, ['["1","2"]'])
    assert store.differences(version).n_missing == 1


def test_a_collation_of_the_key_is_kept(db, open_store, state):
    make_docs(db, key='text COLLATE "C"', ids=["a", "B", "c", "D", "e"])
    build(open_store(text="content"))
    collation = "SELECT attcollation::regcollation::text FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = 'id'"
    assert db.execute(collation, [f"{state}.docs_v1"]).fetchone() == ('"C"',)


def test_an_id_that_is_no_key_is_not_loaded(db, open_store):
    make_docs(db)
    store = open_store()
    version = begin(store)
    for bad in ("x", "1.0", "9223372036854775808", "1\0"):
        with pytest.raises(DataError):
            store.load(version, [Chunk("1", "a"), Chunk(bad, "b")], np.ones((2, 8), dtype=np.float32))
    assert store.differences(version).present == 0


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=4))
def test_an_id_splits_into_what_it_was_joined_from(parts):
    assert split_id(join_id(parts), len(parts)) == tuple(parts)


@pytest.mark.parametrize(
    "id", ['["a"]', '["a","b","c"]', '["a", "b"]', '["a",1]', '{"a":"b"}', "a,b", "", '["a","\\u0062"]', '["a","b"', "\ud800"]
)
def test_what_is_not_the_canonical_form_is_no_id(id):
    assert split_id(id, 2) is None


def test_a_nul_or_a_lone_surrogate_is_no_id():
    assert split_id("a\0", 1) is None
    assert split_id("a\ud800", 1) is None
    assert split_id(json.dumps(["a\0", "b"], separators=(",", ":")), 2) is None


def test_ids_that_cannot_be_keys_of_the_type_are_sorted_out_before_the_server_is_asked():
    assert keyed(["1", "x", "2", "1", "99999999999999999999", "2.0"], ["int8"]).ids == ("1", "2")
    assert keyed([UUIDS[0], "x"], ["uuid"]).ids == (UUIDS[0],)
    assert keyed(['["1","a"]', '["x","a"]'], ["int4", "text"]).columns == (("1",), ("a",))


def test_binary_fields_are_length_and_payload():
    (encode,) = binary_encoders(["int4"])
    assert encode("-2") == b"\0\0\0\4\xff\xff\xff\xfe"
    (encode,) = binary_encoders(["text"])
    assert encode("é") == b"\0\0\0\2\xc3\xa9"
    assert binary_encoders(["int4", "numeric"]) is None
