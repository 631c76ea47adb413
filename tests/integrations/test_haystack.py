"""Haystack's own pipelines and retrievers, over a collection that is flipped under them."""

import asyncio
import threading
from copy import deepcopy

import pytest
from haystack import Document, Pipeline
from haystack.components.writers import DocumentWriter
from haystack.core.errors import DeserializationError
from haystack.document_stores.types import DuplicatePolicy
from haystack_integrations.components.retrievers.chroma import ChromaEmbeddingRetriever, ChromaQueryTextRetriever
from haystack_integrations.document_stores.chroma import ChromaDocumentStore

from vecmigrate import open_collection
from vecmigrate.errors import PreflightRefused, StoreError, UsageError, WrongSpace
from vecmigrate.integrations.haystack import (
    CarriedVector,
    VersionedDocumentStore,
    VersionedEmbeddingRetriever,
    VersionedQueryTextRetriever,
    VersionedTextEmbedder,
)

PARCEL = "how to return a parcel"
OURS = ["vecmigrate.integrations.haystack"]


def scores(documents):
    """Haystack's score of a Chroma document is its distance."""
    return {document.content: document.score for document in documents}


def with_embedder(shop, top_k=5):
    pipeline = Pipeline()
    pipeline.add_component("embedder", VersionedTextEmbedder(shop.collection))
    pipeline.add_component("retriever", ChromaEmbeddingRetriever(VersionedDocumentStore(shop.collection), top_k=top_k))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    return pipeline


def ask(pipeline, text):
    return pipeline.run({"embedder": {"text": text}})["retriever"]["documents"]


def test_a_store_that_is_held_answers_with_the_model_that_serves_after_cutover_and_rollback(either):
    store = VersionedDocumentStore(either.collection)
    assert isinstance(store, ChromaDocumentStore)
    by_text, by_vector = ChromaQueryTextRetriever(store, top_k=5), with_embedder(either)
    for number in (0, 1, 0):
        if number != either.operator.pointer().active:
            either.flip(number)
        expected = pytest.approx(either.distances(number, "a lost parcel"), abs=1e-5)
        assert scores(by_text.run("a lost parcel")["documents"]) == expected
        assert scores(ask(by_vector, "a lost parcel")) == expected


def test_a_flip_between_embedder_and_retriever_mixes_nothing(either):
    pipeline = with_embedder(either)
    either.after_the_next_query(0, lambda: either.flip(1))
    found = ask(pipeline, "a lost parcel")
    assert either.operator.pointer().active == 1
    assert scores(found) == pytest.approx(either.distances(0, "a lost parcel"), abs=1e-5)


def test_a_flip_while_a_text_is_encoded_mixes_nothing(either):
    either.after_the_next_query(0, lambda: either.flip(1))
    found = ChromaQueryTextRetriever(VersionedDocumentStore(either.collection), top_k=5).run("a lost parcel")["documents"]
    assert scores(found) == pytest.approx(either.distances(0, "a lost parcel"), abs=1e-5)


def test_a_vector_keeps_its_pin_as_input_of_a_pipeline(either):
    pipeline = Pipeline()
    pipeline.add_component("retriever", ChromaEmbeddingRetriever(VersionedDocumentStore(either.collection), top_k=5))
    vector = VersionedTextEmbedder(either.collection).run("a lost parcel")["embedding"]
    either.flip(1)
    found = pipeline.run({"retriever": {"query_embedding": vector}})["retriever"]["documents"]
    assert scores(found) == pytest.approx(either.distances(0, "a lost parcel"), abs=1e-5)


def test_a_vector_is_a_list_of_floats_that_survives_every_copy(shop):
    vector = VersionedTextEmbedder(shop().collection).run(PARCEL)["embedding"]
    assert isinstance(vector, list)
    for copy in (deepcopy(vector), CarriedVector(vector), CarriedVector(deepcopy(number) for number in vector)):
        assert copy == vector
        assert (copy.version, copy.text, copy.fingerprint) == ("docs@v0", PARCEL, vector.fingerprint)


def test_numbers_that_say_nothing_of_themselves_are_refused(shop):
    store = VersionedDocumentStore(shop().collection)
    with pytest.raises(WrongSpace, match="don't say which model"):
        ChromaEmbeddingRetriever(store).run([0.1] * 32)
    with pytest.raises(WrongSpace, match="don't say which model"):
        CarriedVector([0.1] * 32)


def test_what_is_written_after_the_cutover_is_found_in_both_versions(either):
    store = VersionedDocumentStore(either.collection)
    either.flip(1)
    indexing = Pipeline()
    indexing.add_component("writer", DocumentWriter(store, policy=DuplicatePolicy.OVERWRITE))
    documents = [Document(id="card", content="send a postcard", meta={"words": 3}), Document(id="return", content="send it back")]
    assert indexing.run({"writer": {"documents": documents}}) == {"writer": {"documents_written": 2}}
    store.update_by_filter({"field": "meta.words", "operator": "==", "value": 6}, {"paid": True})
    assert either.in_step()
    for number in (1, 0):
        if number != either.operator.pointer().active:
            either.flip(number)
        for id, text in (("card", "send a postcard"), ("return", "send it back")):
            (found,) = ChromaQueryTextRetriever(store, top_k=1).run(text)["documents"]
            assert (found.id, found.score) == (id, pytest.approx(0.0, abs=1e-5))
    assert store.filter_documents({"field": "meta.paid", "operator": "==", "value": True})[0].id == "invoice"


def test_embeddings_that_documents_carry_are_not_stored(either):
    store = VersionedDocumentStore(either.collection)
    store.write_documents([Document(id="blank", content="", embedding=[1.0] * 32)])
    either.flip(1)
    assert store.write_documents(store.filter_documents(), DuplicatePolicy.OVERWRITE) == 6
    asyncio.run(store.write_documents_async([Document(id="card", content="send a postcard", embedding=[1.0] * 32)]))
    assert either.collection.count() == 7
    assert either.in_step()
    assert either.collection.corrected == 0


def test_what_is_deleted_after_the_cutover_is_gone_from_both_versions(either):
    store = VersionedDocumentStore(either.collection)
    either.flip(1)
    store.delete_documents(["gift"])
    assert store.delete_by_filter({"field": "meta.words", "operator": "==", "value": 6}) == 1
    assert either.in_step()
    either.flip(0)
    found = ChromaQueryTextRetriever(store, top_k=9).run("gift")["documents"]
    assert sorted(document.id for document in found) == ["hours", "lost", "return"]
    store.delete_all_documents()
    store.delete_all_documents()
    assert store.count_documents() == 0
    assert either.in_step()


def test_filters_are_haystacks(shop):
    shop = shop()
    store = VersionedDocumentStore(shop.collection)
    shop.flip(1)
    retriever = ChromaQueryTextRetriever(store, filters={"field": "meta.words", "operator": ">", "value": 5})
    assert sorted(document.id for document in retriever.run("gift")["documents"]) == ["invoice", "lost"]
    found = retriever.run("gift", filters={"field": "content", "operator": "contains", "value": "hours"})["documents"]
    assert [document.id for document in found] == ["hours"]


def test_recreating_the_index_is_refused(shop):
    store = VersionedDocumentStore(shop().collection)
    with pytest.raises(PreflightRefused, match="from which every version is made"):
        store.delete_all_documents(recreate_index=True)
    with pytest.raises(PreflightRefused, match="from which every version is made"):
        asyncio.run(store.delete_all_documents_async(recreate_index=True))
    assert store.count_documents() == 5


def test_async_pipelines_and_writes_are_the_same(shop):
    shop = shop()
    store, pipeline = VersionedDocumentStore(shop.collection), with_embedder(shop, top_k=1)

    async def visit():
        await store.write_documents_async([Document(id="letters", content="letters weigh less")])
        shop.flip(1)
        await store.write_documents_async([Document(id="card", content="send a postcard")])
        await store.delete_documents_async(["gift"])
        by_vector = await pipeline.run_async({"embedder": {"text": "letters weigh less"}})
        by_text = await ChromaQueryTextRetriever(store, top_k=1).run_async("send a postcard")
        count = await store.count_documents_async()
        await store.delete_all_documents_async()
        return by_vector["retriever"]["documents"][0].id, by_text["documents"][0].id, count

    assert asyncio.run(visit()) == ("letters", "card", 6)
    assert (store.count_documents(), shop.in_step()) == (0, True)


def test_async_pipelines_leave_the_event_loop_to_others(shop):
    shop, threads = shop(), []
    by_text = ChromaQueryTextRetriever(VersionedDocumentStore(shop.collection))
    for visit in (lambda: with_embedder(shop).run_async({"embedder": {"text": PARCEL}}), lambda: by_text.run_async(PARCEL)):
        shop.after_the_next_query(0, lambda: threads.append(threading.current_thread()))
        asyncio.run(visit())
    assert [thread is threading.main_thread() for thread in threads] == [False, False]


def test_a_pipeline_is_written_down_by_the_path_of_vecmigrate_toml_and_read_back(configured):
    config = str(configured())
    pipeline = Pipeline()
    pipeline.add_component("embedder", VersionedTextEmbedder(config))
    pipeline.add_component("retriever", VersionedEmbeddingRetriever(VersionedDocumentStore(config), top_k=3))
    pipeline.add_component("asked", VersionedQueryTextRetriever(VersionedDocumentStore(config), filter_policy="merge"))
    pipeline.add_component("writer", DocumentWriter(VersionedDocumentStore(config)))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    written = pipeline.dumps()
    assert "init_parameters:\n      collection: " in written
    again = Pipeline.loads(written, allowed_modules=OURS)
    assert again.dumps() == written
    retriever = again.get_component("retriever")
    assert (retriever.top_k, retriever.document_store.filter_documents()[0].content) == (3, PARCEL)
    again.close()


def test_a_pipeline_closes_what_it_opened_and_opens_it_again(configured):
    store = VersionedDocumentStore(configured())
    pipeline = Pipeline()
    pipeline.add_component("retriever", ChromaQueryTextRetriever(store))
    collection = store.collection
    pipeline.close()
    with pytest.raises(StoreError):
        collection.count()
    assert store.count_documents() == 5
    pipeline.close()


def test_haystacks_own_retrievers_are_written_down_but_not_read_back(configured):
    pipeline = Pipeline()
    pipeline.add_component("retriever", ChromaQueryTextRetriever(VersionedDocumentStore(configured())))
    with pytest.raises(DeserializationError, match="can't be deserialized as 'ChromaDocumentStore'"):
        Pipeline.loads(pipeline.dumps(), allowed_modules=OURS)


def test_an_open_collection_cannot_be_written_down_and_is_not_closed_with_the_pipeline(configured):
    with open_collection(configured()) as collection:
        store = VersionedDocumentStore(collection)
        pipeline = Pipeline()
        pipeline.add_component("embedder", VersionedTextEmbedder(collection))
        pipeline.add_component("retriever", VersionedQueryTextRetriever(store))
        with pytest.raises(UsageError, match="an open collection can't be written down"):
            pipeline.dumps()
        assert store.count_documents() == 5
        pipeline.close()
        assert store.count_documents() == 5


def test_nothing_is_opened_before_it_is_used(tmp_path):
    store = VersionedDocumentStore(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="cannot be read"):
        store.count_documents()
    assert list(tmp_path.iterdir()) == []


def test_a_collection_of_chromadb_is_refused_because_it_would_stay_with_one_model(shop):
    own = shop().own
    for make in (VersionedDocumentStore, VersionedTextEmbedder):
        with pytest.raises(UsageError, match="a Collection does not follow the serving pointer"):
            make(own)


def test_a_missing_framework_is_named_with_what_to_install(without):
    error = without("haystack_integrations.document_stores.chroma", "vecmigrate.integrations.haystack")
    assert error.message == "this integration needs the package 'haystack_integrations.document_stores.chroma'"
    assert error.hint == "pip install 'vecmigrate[haystack]'"
