"""LlamaIndex's own index and retriever, over a collection that is flipped under them."""

import asyncio
import math
import threading

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import QueryBundle, TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from llama_index.core.vector_stores.utils import node_to_metadata_dict
from llama_index.vector_stores.chroma import ChromaVectorStore

from vecmigrate.errors import PreflightRefused, UsageError, WrongSpace
from vecmigrate.integrations.llamaindex import VersionedChromaVectorStore, VersionedEmbedding, open_vector_store

PARCEL = "how to return a parcel"


@pytest.fixture(scope="module")
def described():
    def metadata(id, text):
        node = TextNode(id_=id, text=text, metadata={"words": len(text.split())})
        return {
            key: "" if value is None else value for key, value in node_to_metadata_dict(node, remove_text=True, flat_metadata=True).items()
        }

    return metadata


def index_over(shop):
    store = open_vector_store(shop.collection)
    return VectorStoreIndex.from_vector_store(store, embed_model=VersionedEmbedding(shop.collection))


def distances(found):
    """LlamaIndex's score is exp(-distance)."""
    return {result.node.get_content(): -math.log(result.score) for result in found}


def words(number):
    return MetadataFilters(filters=[MetadataFilter(key="words", value=number)])


def test_a_retriever_that_is_held_answers_with_the_model_that_serves_after_cutover_and_rollback(either):
    retriever = index_over(either).as_retriever(similarity_top_k=5)
    for number in (0, 1, 0):
        if number != either.operator.pointer().active:
            either.flip(number)
        assert distances(retriever.retrieve("a lost parcel")) == pytest.approx(either.distances(number, "a lost parcel"), abs=1e-5)
        assert retriever.retrieve(PARCEL)[0].node.node_id == "return"


def test_a_flip_between_encoding_and_searching_mixes_nothing(either):
    retriever = index_over(either).as_retriever(similarity_top_k=5)
    either.after_the_next_query(0, lambda: either.flip(1))
    found = retriever.retrieve("a lost parcel")
    assert either.operator.pointer().active == 1
    assert distances(found) == pytest.approx(either.distances(0, "a lost parcel"), abs=1e-5)


def test_a_vector_taken_before_a_flip_is_searched_in_the_version_it_is_of(either):
    store = open_vector_store(either.collection)
    vector = VersionedEmbedding(either.collection).get_query_embedding("a lost parcel")
    either.flip(1)
    found = store.query(VectorStoreQuery(query_embedding=vector, similarity_top_k=1))
    assert found.ids == ["lost"]
    assert -math.log(found.similarities[0]) == pytest.approx(
        either.distances(0, "a lost parcel")["what to do when a parcel is lost"], abs=1e-5
    )


def test_a_vector_that_says_nothing_of_itself_is_refused(shop):
    store = open_vector_store(shop().collection)
    for mode in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR):
        with pytest.raises(WrongSpace, match="don't say which model"):
            store.query(VectorStoreQuery(query_embedding=[0.1] * 32, similarity_top_k=1, mode=mode))


def test_a_query_that_another_index_has_embedded_is_answered_by_its_words(either):
    bundle = QueryBundle("a lost parcel", embedding=[0.1] * 32)
    either.flip(1)
    found = index_over(either).as_retriever(similarity_top_k=5).retrieve(bundle)
    assert distances(found) == pytest.approx(either.distances(1, "a lost parcel"), abs=1e-5)


class Unasked(VersionedEmbedding):
    """An embed model that must not be asked for a query."""

    def _get_query_embedding(self, query):
        raise AssertionError(query)


def test_an_index_does_not_ask_its_embed_model_for_a_query(shop):
    collection = shop().collection
    index = VectorStoreIndex.from_vector_store(open_vector_store(collection), embed_model=Unasked(collection))
    assert [result.node.node_id for result in index.as_retriever(similarity_top_k=1).retrieve(PARCEL)] == ["return"]


def test_marginal_relevance_compares_in_the_version_that_serves(shop):
    shop = shop()
    retriever = index_over(shop).as_retriever(vector_store_query_mode="mmr", similarity_top_k=2)
    for number in (0, 1, 0):
        if number != shop.operator.pointer().active:
            shop.flip(number)
        assert retriever.retrieve(PARCEL)[0].node.node_id == "return"


def test_marginal_relevance_stays_in_one_space_when_the_querys_version_is_retired_meanwhile(either):
    retriever = index_over(either).as_retriever(
        vector_store_query_mode="mmr", similarity_top_k=2, vector_store_kwargs={"mmr_threshold": 1.0}
    )
    either.flip(1)

    def back_for_good():
        either.flip(0)
        either.retire(1)

    either.after_the_next_query(1, back_for_good)
    assert [result.node.node_id for result in retriever.retrieve("pay by card")] == ["invoice", "lost"]


def test_what_is_inserted_after_the_cutover_is_found_in_both_versions(either):
    index = index_over(either)
    either.flip(1)
    index.insert_nodes([TextNode(id_="card", text="send a postcard", metadata={"words": 3})])
    index.vector_store.add([TextNode(id_="stamps", text="stamps are sold here")])
    pipeline = IngestionPipeline(transformations=[VersionedEmbedding(either.collection)], vector_store=index.vector_store)
    pipeline.run(nodes=[TextNode(id_="letters", text="letters weigh less")])
    assert either.in_step()
    assert either.collection.corrected == 0
    for number in (1, 0):
        if number != either.operator.pointer().active:
            either.flip(number)
        for id, text in (("card", "send a postcard"), ("stamps", "stamps are sold here"), ("letters", "letters weigh less")):
            (found,) = index.as_retriever(similarity_top_k=1).retrieve(text)
            assert (found.node.node_id, found.score) == (id, pytest.approx(1.0, abs=1e-5))


def test_versions_embed_the_stored_text_without_the_metadata(shop):
    shop = shop()
    index = index_over(shop)
    index.insert_nodes([TextNode(id_="card", text="send a postcard", metadata={"shelf": "stationery"})])
    (stored,) = shop.collection.get(ids=["card"], include=["embeddings"])["embeddings"]
    assert list(stored) == pytest.approx(shop.encoders[0].encode_documents(["send a postcard"])[0].tolist(), abs=1e-6)


def test_what_is_deleted_after_the_cutover_is_gone_from_both_versions(either):
    index = index_over(either)
    index.insert(Document(text="send a postcard", id_="stationery"))
    either.flip(1)
    index.delete_ref_doc("stationery")
    index.delete_nodes(["gift"])
    index.vector_store.delete_nodes(filters=words(6))
    index.vector_store.delete_nodes(filters=words(99))
    assert either.in_step()
    either.flip(0)
    assert sorted(result.node.node_id for result in index.as_retriever(similarity_top_k=9).retrieve("gift")) == ["hours", "lost", "return"]
    index.vector_store.clear()
    assert either.collection.count() == 0
    assert either.in_step()


def test_filters_are_llamaindexs(shop):
    shop = shop()
    index = index_over(shop)
    shop.flip(1)
    found = index.as_retriever(similarity_top_k=5, filters=words(8)).retrieve("gift")
    assert [result.node.node_id for result in found] == ["lost"]
    assert [node.node_id for node in index.vector_store.get_nodes(["hours"])] == ["hours"]
    assert [node.node_id for node in index.vector_store.get_nodes(None, words(6))] == ["invoice"]


def test_embeddings_that_nodes_carry_are_not_stored(either):
    store = open_vector_store(either.collection)
    either.flip(1)
    store.add([TextNode(id_="card", text="send a postcard", embedding=[1.0] * 32), TextNode(id_="none", text="", embedding=[1.0] * 32)])
    assert either.collection.count() == 7
    assert either.in_step()
    assert either.collection.corrected == 0


def test_what_would_make_a_collection_of_one_model_is_refused(shop, tmp_path):
    shop = shop()
    with pytest.raises(PreflightRefused, match="of one model"):
        VersionedChromaVectorStore.from_params("docs", persist_dir=str(tmp_path / "else"))
    with pytest.raises(UsageError, match="a Collection does not follow the serving pointer"):
        VersionedChromaVectorStore.from_collection(shop.own)
    assert isinstance(VersionedChromaVectorStore.from_collection(shop.collection), ChromaVectorStore)


def test_async_retrieval_and_writes_are_the_same(shop):
    shop = shop()
    index = index_over(shop)

    async def visit():
        await index.ainsert_nodes([TextNode(id_="letters", text="letters weigh less")])
        shop.flip(1)
        await index.vector_store.async_add([TextNode(id_="card", text="send a postcard")])
        await index.adelete_nodes(["gift"])
        retriever = index.as_retriever(similarity_top_k=1)
        nearest = [(await retriever.aretrieve(text))[0].node.node_id for text in ("letters weigh less", "send a postcard")]
        return nearest, [node.node_id for node in await index.vector_store.aget_nodes(["hours"])]

    assert asyncio.run(visit()) == (["letters", "card"], ["hours"])
    assert shop.in_step()
    asyncio.run(index.vector_store.aclear())
    assert shop.collection.count() == 0


def test_async_retrieval_leaves_the_event_loop_to_others(shop):
    shop, threads = shop(), []
    shop.after_the_next_query(0, lambda: threads.append(threading.current_thread()))
    asyncio.run(index_over(shop).as_retriever(similarity_top_k=1).aretrieve(PARCEL))
    assert [thread is threading.main_thread() for thread in threads] == [False]


def test_embeddings_say_whose_they_are(shop):
    shop = shop()
    model = VersionedEmbedding(shop.collection)
    before = model.get_text_embedding_batch([PARCEL, "gift"])
    shop.flip(1)
    after = asyncio.run(model.aget_query_embedding(PARCEL))
    assert ([vector.version for vector in before], after.version) == (["docs@v0", "docs@v0"], "docs@v1")
    assert (model.model_name, model.class_name()) == ("vecmigrate app", "VersionedEmbedding")


def test_a_query_without_words_or_vector_lists_nodes(shop):
    found = open_vector_store(shop().collection).query(VectorStoreQuery(similarity_top_k=3, mode=VectorStoreQueryMode.DEFAULT))
    assert (len(found.nodes), found.similarities) == (3, None)


def test_a_path_opens_the_collection_that_vecmigrate_toml_names(configured):
    store = open_vector_store(configured())
    assert [node.get_content() for node in store.get_nodes(["return"])] == [PARCEL]
    store.client.close()


def test_a_missing_framework_is_named_with_what_to_install(without):
    error = without("llama_index.vector_stores.chroma", "vecmigrate.integrations.llamaindex")
    assert error.message == "this integration needs the package 'llama_index.vector_stores.chroma'"
    assert error.hint == "pip install 'vecmigrate[llamaindex]'"
