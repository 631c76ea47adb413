import contextlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psycopg
import pytest
from pgvector_applications import CANDIDATE, CONTROL, TEXTS, begin, build, fill, found, make_docs, vector_of

from vecmigrate.errors import PreflightRefused, VersionRetired
from vecmigrate.records import Chunk
from vecmigrate.versions import AnnParameters, Element, ModelVersion, State


def wide(dimension):
    return ModelVersion("wide", "e" * 64, "x", dimension)


@pytest.fixture
def store(db, open_store):
    make_docs(db)
    return open_store()


def options_of(db, state, name="docs_v1_embedding_idx"):
    return db.execute("SELECT reloptions FROM pg_class WHERE oid = to_regclass(%s)", [f"{state}.{name}"]).fetchone()


def test_the_candidates_index_has_the_controls_parameters(db, open_store, state):
    make_docs(db, index="hnsw (embedding vector_l2_ops) WITH (m = 6, ef_construction = 20)")
    build(open_store())
    assert options_of(db, state) == (["m=6", "ef_construction=20"],)
    opclass = "SELECT opcname FROM pg_index JOIN pg_opclass o ON o.oid = indclass[0] WHERE indexrelid = to_regclass(%s)"
    assert db.execute(opclass, [f"{state}.docs_v1_embedding_idx"]).fetchone() == ("vector_l2_ops",)


def test_without_a_controls_index_the_defaults_are_used(db, open_store):
    make_docs(db, index=None)
    assert build(open_store()).ann == AnnParameters("hnsw", 16, 64)


def test_parameters_asked_for_are_used(store, db, state):
    build(store, ann=AnnParameters("hnsw", 4, 10))
    assert options_of(db, state) == (["m=4", "ef_construction=10"],)


def test_a_version_without_an_index_is_searched_exactly(store, db, state):
    version = build(store, ann=AnnParameters("none"))
    assert options_of(db, state) is None
    assert found(store, version, TEXTS[3]) == ["4"]
    health = store.health(version)
    assert (health.bad_vectors, health.index_valid, health.index_used) == (0, None, None)


def test_an_index_of_other_parameters_is_rebuilt_and_a_good_one_is_kept(store, db, state):
    version = build(store)
    node = "SELECT relfilenode FROM pg_class WHERE oid = to_regclass(%s)"
    name = [f"{state}.docs_v1_embedding_idx"]
    before = db.execute(node, name).fetchone()
    store.build_index(version)
    assert db.execute(node, name).fetchone() == before
    db.execute(
        f"DROP INDEX {name[0]}; CREATE INDEX docs_v1_embedding_idx ON {state}.docs_v1 USING hnsw (embedding vector_cosine_ops) WITH (m = 3)"
    )
    store.build_index(version)
    assert options_of(db, state) == (["m=16", "ef_construction=64"],)


def test_an_invalid_left_over_is_seen_and_rebuilt(store, db, state):
    version = build(store)
    db.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(%s)", [f"{state}.docs_v1_embedding_idx"])
    health = store.health(version)
    assert (health.index_valid, health.index_used) == (False, False)
    store.build_index(version)
    health = store.health(version)
    assert (health.index_valid, health.index_used) == (True, True)


def test_an_index_that_no_search_can_use_is_not_called_used(store, db, state):
    version = build(store)
    db.execute(
        f"DROP INDEX {state}.docs_v1_embedding_idx; CREATE INDEX docs_v1_embedding_idx ON {state}.docs_v1 USING hnsw (embedding vector_l1_ops)"
    )
    health = store.health(version)
    assert (health.index_valid, health.index_used) == (True, False)


def test_health_of_the_control_counts_what_is_never_found(store, db):
    db.execute("INSERT INTO docs VALUES (8, 'eight', 'en', '[0,0,0,0,0,0,0,0]')")
    store.adopt(CONTROL.model)
    health = store.health(store.versions()[0])
    assert (health.bad_vectors, health.index_valid, health.index_used) == (1, True, True)


@pytest.mark.parametrize(
    ("dimension", "element", "hint"),
    [(2001, Element.FLOAT32, "half precision"), (4001, Element.FLOAT32, "fewer"), (4001, Element.FLOAT16, "fewer")],
)
def test_a_dimension_that_cannot_be_indexed_is_refused_before_anything_is_made(store, db, state, dimension, element, hint):
    store.adopt(CONTROL.model)
    with pytest.raises(PreflightRefused, match=f"{dimension} dimensions") as caught:
        store.create_version(wide(dimension), element=element)
    assert hint in caught.value.hint
    assert len(store.versions()) == 1
    assert store.create_version(wide(2000)).number == 1
    assert store.create_version(wide(4000), element=Element.FLOAT16).number == 2
    assert store.create_version(wide(9000), ann=AnnParameters("none")).number == 3
    with pytest.raises(PreflightRefused, match="stores"):
        store.create_version(wide(16001), ann=AnnParameters("none"))


def test_half_precision_is_loaded_and_searched(store, db, state):
    version = build(store, element=Element.FLOAT16)
    kind = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = 'embedding'"
    assert db.execute(kind, [f"{state}.docs_v1"]).fetchone() == ("halfvec(8)",)
    wanted = CANDIDATE.encode_documents([TEXTS[0]])[0]
    assert np.array_equal(store.vectors(version, ["1"])["1"], wanted.astype(np.float16).astype(np.float32))
    for exact in (False, True):
        assert found(store, version, TEXTS[0], exact=exact) == ["1"]
    assert store.health(version).index_used is True


def test_vectors_arrive_bit_for_bit(store):
    version = begin(store)
    awkward = np.array([[1e-45, -0.0, 3.4028235e38, -1.1754944e-38, 0.1, 1 / 3, 1, -1]], dtype=np.float32)
    store.load(version, list(store.fetch(["2"]).values()), awkward)
    assert store.vectors(version, ["2"])["2"].tobytes() == awkward[0].tobytes()


def test_a_fortran_ordered_or_sliced_array_is_loaded_as_it_reads(store):
    version = begin(store)
    vectors = np.asfortranarray(np.arange(1, 33, dtype=np.float32).reshape(2, 16))[:, ::2]
    store.load(version, list(store.fetch(["1", "2"]).values()), vectors)
    assert store.vectors(version, ["1", "2"])["2"].tolist() == [17, 19, 21, 23, 25, 27, 29, 31]


def test_the_servers_hash_is_ours(store, db, state):
    db.execute("UPDATE docs SET content = E'tab\\t ünïcode 漢字 🚀 \\u00a0' WHERE id = 1")
    build(store)
    (chunk,) = store.fetch(["1"]).values()
    stored = db.execute(f"SELECT encode(text_hash, 'hex') FROM {state}.docs_v1 WHERE id = 1").fetchone()
    assert stored == (chunk.text_hash,)
    assert list(store.pending(store.versions()[1])) == []


def test_pending_reads_pages_and_hands_out_full_batches(store, db):
    db.execute("INSERT INTO docs SELECT i, 'text ' || i, 'en' FROM generate_series(6, 100) i")
    version = begin(store)
    fill(store, version)
    db.execute("UPDATE docs SET content = 'new ' || id WHERE id % 10 = 3")
    db.execute("UPDATE docs SET content = NULL WHERE id = 13")
    batches = [[chunk.id for chunk in batch] for batch in store.pending(version, batch_size=4)]
    assert batches == [["3", "23", "33", "43"], ["53", "63", "73", "83"], ["93"]]


def test_pending_holds_no_snapshot_between_pages(store, db):
    version = begin(store)
    pages = store.pending(version, batch_size=2)
    next(pages)
    idle = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'vecmigrate' AND (backend_xmin IS NOT NULL OR state LIKE 'idle in%%')"
    assert db.execute(idle).fetchone() == (0,)
    db.execute("DELETE FROM docs WHERE id = 3; INSERT INTO docs VALUES (30, 'thirty', 'en')")
    assert [chunk.id for batch in pages for chunk in batch] == ["4", "5", "30"]


def test_pending_of_the_control_is_what_has_no_vector(store, db):
    db.execute("INSERT INTO docs VALUES (8, 'eight', 'en', NULL), (9, ' ', 'en', NULL)")
    store.adopt(CONTROL.model)
    assert [chunk.id for batch in store.pending(store.versions()[0]) for chunk in batch] == ["8"]


def test_a_scan_is_one_snapshot(store, db):
    batches = store.scan(batch_size=2)
    first = [chunk.id for chunk in next(batches)]
    db.execute("DELETE FROM docs WHERE id > 2; INSERT INTO docs VALUES (100, 'new', 'en')")
    rest = [chunk.id for batch in batches for chunk in batch]
    assert sorted(first + rest) == ["1", "2", "3", "4", "5"]


def test_a_scan_left_half_way_gives_its_connection_back(store):
    for _ in range(30):
        next(iter(store.scan(batch_size=1)))
    assert store.count() == 5


def test_a_load_that_fails_half_way_keeps_nothing(store, db, state):
    version = begin(store)
    db.execute(f"ALTER TABLE {state}.docs_v1 ADD CHECK (id <> 4)")
    chunks = list(store.fetch(["1", "2", "3", "4", "5"]).values())
    with pytest.raises(Exception, match="check constraint"):
        store.load(version, chunks, CANDIDATE.encode_documents([chunk.text for chunk in chunks]))
    assert store.differences(version).present == 0


def test_old_and_new_rows_may_come_in_one_load(store, db):
    version = begin(store)
    fill(store, version)
    db.execute("INSERT INTO docs VALUES (6, 'six', 'en')")
    chunks = [Chunk("5", TEXTS[4]), Chunk("6", "six")]
    store.load(version, chunks, np.full((2, 8), 3, dtype=np.float32))
    assert store.vectors(version, ["5"])["5"].tolist() == [3.0] * 8
    assert store.differences(version).clean


def test_rows_loaded_after_the_index_are_found_through_it(store, db):
    version = build(store)
    db.execute("INSERT INTO docs VALUES (6, 'a brand new chunk', 'en')")
    fill(store, version)
    assert found(store, version, "a brand new chunk") == ["6"]
    assert store.health(version).index_valid is True


def test_a_row_deleted_or_filtered_out_in_the_source_is_found_no_more(db, open_store):
    make_docs(db)
    store = open_store(where="lang = 'en'")
    version = build(store)
    db.execute("DELETE FROM docs WHERE id = 2; UPDATE docs SET lang = 'de' WHERE id = 3")
    for exact in (False, True):
        assert sorted(found(store, version, TEXTS[1], 5, exact=exact)) == ["1", "4", "5"]
    assert store.differences(version).extra == ("2", "3")


def test_everything_is_refused_after_the_drop(store):
    version = build(store)
    gone = store.advance(version, State.CANCELLED, actor="op")
    store.drop(gone)
    chunks = list(store.fetch(["1"]).values())
    vectors = CANDIDATE.encode_documents([TEXTS[0]])
    for use in (
        lambda: store.search(version, vectors, 1),
        lambda: list(store.pending(version)),
        lambda: store.load(version, chunks, vectors),
        lambda: store.remove(version, ["1"]),
        lambda: store.vectors(version, ["1"]),
        lambda: store.differences(version),
        lambda: store.health(version),
        lambda: store.build_index(version),
    ):
        with pytest.raises(VersionRetired):
            use()


def test_a_retired_version_is_gone_for_readers_even_before_its_drop(store):
    version = build(store)
    store.advance(version, State.CANCELLED, actor="op")
    with pytest.raises(VersionRetired):
        store.search(version, CANDIDATE.encode_queries(["x"]), 1)


KILLED = """
import sys, numpy as np
from vecmigrate.testing.encoders import HashingEncoder
from vecmigrate_pgvector import adapter
dsn, state = sys.argv[1:]
store = adapter.open({"dsn": dsn, "table": "docs", "state_schema": state}, collection="docs")
encoder = HashingEncoder(8, "candidate")
version = store.versions()[1]
print("started", flush=True)
for chunks in store.pending(version, batch_size=20):
    store.load(version, chunks, encoder.encode_documents([chunk.text for chunk in chunks]))
print("done", flush=True)
"""


def test_a_build_killed_again_and_again_resumes_and_ends_complete(store, db, dsn, state):
    db.execute("INSERT INTO docs SELECT i, 'text number ' || i, 'en' FROM generate_series(6, 3000) i")
    version = begin(store)
    present = 0
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", KILLED, dsn, state], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "started\n"
        deadline = time.monotonic() + 20
        while store.differences(version).present < present + 60 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        before, present = present, store.differences(version).present
        assert present > before
    rest = fill(store, version, batch_size=500)
    assert len(rest) == len(set(rest)) <= 3000 - present + 20
    difference = store.differences(version)
    assert (difference.clean, difference.present) == (True, 3000)


def test_a_killed_index_build_leaves_nothing_in_the_way(store, db, dsn, state):
    version = begin(store)
    fill(store, version)
    building = psycopg.connect(dsn)
    with contextlib.suppress(psycopg.OperationalError), building:
        building.execute(f"LOCK TABLE {state}.docs_v1 IN SHARE UPDATE EXCLUSIVE MODE")
        building.execute(f"CREATE INDEX docs_v1_embedding_idx ON {state}.docs_v1 USING hnsw (embedding vector_cosine_ops)")
        db.execute("SELECT pg_terminate_backend(%s)", [building.info.backend_pid])
    store.build_index(version)
    assert store.health(version).index_valid is True


@pytest.mark.parametrize("text", ["", None, "  "])
def test_a_row_with_a_vector_and_no_text_is_no_fault_of_the_control(db, open_store, text):
    make_docs(db)
    store = open_store()
    control = store.adopt(CONTROL.model)
    db.execute("INSERT INTO docs VALUES (9, %s, 'en', %s)", [text, vector_of("x")])
    found = store.differences(control)
    assert (found.expected, found.present, found.clean) == (5, 5, True)
