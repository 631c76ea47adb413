import numpy as np
import pytest

from vecmigrate.errors import NotFound, StoreError, UsageError
from vecmigrate.filters import parse_filter
from vecmigrate.testing.chroma import create_filled
from vecmigrate.testing.hooks import CANDIDATE, CONTROL, TEXTS, build, ids_found, model_of, plane, random_rows, rows_of
from vecmigrate.versions import AnnParameters, Metric, State
from vecmigrate_chroma import adapter
from vecmigrate_chroma import search as searching


def _truth(rows, query, k, metric):
    matrix = np.stack([row.vector for row in rows])
    scores = searching.scores(query[None], matrix, metric)[0]
    return [rows[i].id for i in np.argsort(-scores, kind="stable")[:k]]


@pytest.mark.parametrize("metric", list(Metric))
def test_exact_search_is_numpys_over_several_batches(opened, metric, monkeypatch):
    rows = random_rows(500, 8)
    store = opened(rows, metric=metric)
    store.adopt(model_of(8))
    monkeypatch.setattr(searching, "SCORES_AT_ONCE", 300)
    queries = np.stack([row.vector for row in random_rows(520, 8)[500:503]])
    found = store.search(store.versions()[0], queries, 20, exact=True)
    assert [[hit.chunk_id for hit in hits] for hits in found] == [_truth(rows, query, 20, metric) for query in queries]


@pytest.mark.parametrize("where", ["opened", "opened_on_server"])
def test_indexed_search_of_a_larger_collection_is_near_the_exact_one_and_filters_return_k(where, request):
    store = request.getfixturevalue(where)(random_rows(2_500, 16), metric=Metric.L2)
    store.adopt(CONTROL.model)
    control = store.versions()[0]
    queries = np.random.default_rng(1).normal(size=(20, 16)).astype(np.float32)
    exact, indexed = (store.search(control, queries, 10, exact=mode) for mode in (True, False))
    overlap = [len({h.chunk_id for h in a} & {h.chunk_id for h in b}) for a, b in zip(exact, indexed, strict=True)]
    assert sum(overlap) / 200 > 0.9
    for limit, expected in ((15, 15), (10, 10), (400, 30)):
        hits = store.search(control, queries, 30, where=parse_filter({"number": {"$lt": limit}}))
        assert {len(found) for found in hits} == {expected}
        assert all(int(hit.chunk_id[2:]) < limit for found in hits for hit in found)


def test_k_beyond_what_the_graph_reaches_still_returns_every_row(opened):
    """HNSW graphs leave rows out that no other leads to: 2 of 4,000 random ones were, measured on a server."""
    rows = random_rows(2_500, 32)
    store = opened(rows, metric=Metric.L2)
    store.adopt(model_of(32))
    assert len(ids_found(store, store.versions()[0], rows[0].vector, 2_500)) == 2_500


def test_a_query_that_the_index_answers_short_is_answered_exactly(opened, monkeypatch):
    store = opened(rows_of(TEXTS))
    store.adopt(CONTROL.model)
    ask = store._search._ask
    monkeypatch.setattr(store._search, "_ask", lambda *arguments: [hits[:2] for hits in ask(*arguments)])
    query = CONTROL.encode_queries([TEXTS["os.walk"]])
    assert store.search(store.versions()[0], query, 5) == store.search(store.versions()[0], query, 5, exact=True)


def test_of_queries_answered_short_each_is_answered_exactly(opened, monkeypatch):
    """One of them may have found all there is already: that says nothing of the others."""
    store = opened(rows_of(TEXTS))
    store.adopt(CONTROL.model)
    ask = store._search._ask
    monkeypatch.setattr(store._search, "_ask", lambda *arguments: [ask(*arguments)[0], ()])
    found = store.search(store.versions()[0], CONTROL.encode_queries(["x", "y"]), 50)
    assert [len(hits) for hits in found] == [len(TEXTS), len(TEXTS)]


def test_ties_beyond_k_are_cut_by_id(opened):
    store = opened(plane(d=(1, 0), b=(1, 0), c=(1, 0), a=(1, 0), z=(0, 1)))
    store.adopt(model_of(2))
    assert ids_found(store, store.versions()[0], [1, 0], 2) == ["a", "b"]


def test_asking_for_no_hits_is_a_usage_error(opened):
    store = opened(rows_of(TEXTS))
    store.adopt(CONTROL.model)
    with pytest.raises(UsageError, match="k is 0"):
        store.search(store.versions()[0], CONTROL.encode_queries(["x"]), 0)


def test_a_source_that_was_made_anew_is_found_by_its_name(opened, chroma_directory):
    _, client = chroma_directory
    store = opened(rows_of(TEXTS))
    store.adopt(CONTROL.model)
    client.delete_collection("app")
    with pytest.raises(NotFound, match="'app'"):
        store.search(store.versions()[0], CONTROL.encode_queries(["x"]), 3)
    create_filled(client, "app", rows_of({"new": "red apple"}), Metric.COSINE)
    assert ids_found(store, store.versions()[0], CONTROL.encode_queries(["red apple"])[0], 3) == ["new"]


def test_the_index_takes_the_parameters_asked_for_or_the_controls(opened, chroma_directory):
    _, client = chroma_directory
    client.create_collection("app", embedding_function=None, configuration={"hnsw": {"space": "ip", "max_neighbors": 24, "ef_search": 77}})
    store = opened([])
    assert store.adopt(CONTROL.model).ann == AnnParameters("hnsw", 24, 100)
    store.create_version(CANDIDATE.model)
    store.create_version(CANDIDATE.model, ann=AnnParameters(m=8, ef_construction=40))
    found = [client.get_collection(f"vecmigrate.docs.v{n}", embedding_function=None).configuration_json["hnsw"] for n in (1, 2)]
    assert [(f["space"], f["max_neighbors"], f["ef_construction"], f["ef_search"]) for f in found] == [
        ("ip", 24, 100, 77),
        ("ip", 8, 40, 77),
    ]
    with pytest.raises(UsageError, match="none"):
        store.create_version(CANDIDATE.model, ann=AnnParameters(kind="none"))


@pytest.mark.parametrize("metric", list(Metric))
def test_a_sound_index_is_healthy_whatever_the_metric_and_the_duplicates(opened, metric):
    rows = random_rows(1_500, 8)
    doubles = [type(rows[0])(f"double{i}", "the same", rows[0].vector, {}) for i in range(100)]
    store = opened(rows + doubles, metric=metric)
    store.adopt(model_of(8))
    health = store.health(store.versions()[0])
    assert (health.bad_vectors, health.index_valid) == (0, True), health.detail


def test_zero_vectors_of_the_application_are_counted(opened):
    store = opened(plane(a=(1, 0), zero=(0, 0)), metric=Metric.L2)
    store.adopt(model_of(2))
    assert store.health(store.versions()[0]).bad_vectors == 1


@pytest.fixture
def damage(opened, chroma_directory):
    """A version of 2,200 rows, closed; then its graph file changed by `change(content, bytes of links, bytes of an element)`; reopened."""
    path, client = chroma_directory
    store = opened(random_rows(2_200, 8), metric=Metric.L2)
    store.adopt(model_of(8))
    version = store.advance(store.create_version(model_of(8, "candidate")), State.BACKFILLING, actor="t")
    rows = {row.id: row.vector for row in random_rows(2_200, 8)}
    for chunks in store.pending(version):
        store.load(version, chunks, np.stack([rows[chunk.id] for chunk in chunks]))
    store.build_index(version)
    assert store.health(version).index_valid
    store.close()
    client.close()
    again = []

    def change(how):
        links, element = 4 + 2 * 16 * 4, 4 + 2 * 16 * 4 + 8 * 4 + 8
        for file in path.glob("*/data_level0.bin"):
            content = bytearray(file.read_bytes())
            how(content, links, element)
            file.write_bytes(bytes(content))
        again.append(adapter.open({"path": str(path), "source": "app"}, collection="docs"))
        return again[0], version

    yield change
    for store in again:
        store.close()


def test_an_index_that_lost_vectors_is_found_out_though_counts_are_right(damage):
    def cut_the_links(content, links, element):
        for start in range(0, len(content) - element + 1, element):
            content[start : start + links] = bytes(links)

    store, version = damage(cut_the_links)
    assert store.differences(version).clean
    health = store.health(version)
    assert (health.bad_vectors, health.index_valid) == (0, False)
    assert "not found" in health.detail
    with pytest.raises(StoreError, match="damaged"):
        store.build_index(version)


def test_vectors_that_cannot_be_read_back_are_a_damaged_index(damage):
    def blank_the_half(content, links, element):
        half = len(content) // 2
        content[half:] = bytes(len(content) - half)

    store, version = damage(blank_the_half)
    assert store.differences(version).clean
    health = store.health(version)
    assert (health.index_valid, "cannot be read back" in health.detail) == (False, True)


def test_a_rebuilt_version_is_searched_after_others_were_dropped(opened):
    store = opened(rows_of(TEXTS))
    store.adopt(CONTROL.model)
    dropped = store.advance(build(store), State.CANCELLED, actor="t")
    store.drop(dropped)
    assert ids_found(store, build(store), CANDIDATE.encode_queries([TEXTS["sorted"]])[0], 1) == ["sorted"]
