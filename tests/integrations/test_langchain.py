"""LangChain's own store and retriever, over a collection that is flipped under them."""

import asyncio
import importlib
import subprocess
import sys

import pytest
from langchain_chroma import Chroma
from langchain_core.documents import Document

from vecmigrate.errors import PreflightRefused, UsageError, WrongSpace
from vecmigrate.integrations.langchain import VersionedEmbeddings, open_vector_store
from vecmigrate.integrations.opening import framework

PARCEL = "how to return a parcel"


def scores(found):
    return {document.page_content: score for document, score in found}


def test_a_store_that_is_held_answers_with_the_model_that_serves_after_cutover_and_rollback(either):
    store = open_vector_store(either.collection)
    assert isinstance(store, Chroma)
    for number in (0, 1, 0):
        if number != either.operator.pointer().active:
            either.flip(number)
        found = store.similarity_search_with_score("a lost parcel", k=5)
        assert scores(found) == pytest.approx(either.distances(number, "a lost parcel"), abs=1e-5)
        assert [document.id for document in store.similarity_search(PARCEL, k=1)] == ["return"]


def test_a_vector_taken_before_a_flip_is_searched_in_the_version_it_is_of(either):
    store = open_vector_store(either.collection)
    vector = store.embeddings.embed_query("a lost parcel")
    either.flip(1)
    found = store.similarity_search_by_vector_with_relevance_scores(vector, k=5)
    assert scores(found) == pytest.approx(either.distances(0, "a lost parcel"), abs=1e-5)


def test_a_flip_between_encoding_and_searching_mixes_nothing(either):
    store = open_vector_store(either.collection)
    either.after_the_next_query(0, lambda: either.flip(1))
    found = store.similarity_search_with_score("a lost parcel", k=5)
    assert either.operator.pointer().active == 1
    assert scores(found) == pytest.approx(either.distances(0, "a lost parcel"), abs=1e-5)


def test_a_vector_that_says_nothing_of_itself_is_refused(shop):
    store = open_vector_store(shop().collection)
    for search in (store.similarity_search_by_vector, store.max_marginal_relevance_search_by_vector):
        with pytest.raises(WrongSpace, match="don't say which model"):
            search([0.1] * 32)


def test_relevance_scores_are_of_the_collections_own_metric(shop):
    shop = shop()
    store = open_vector_store(shop.collection)
    shop.flip(1)
    ((best, score),) = store.similarity_search_with_relevance_scores("a lost parcel", k=1)
    assert (best.id, score) == ("lost", pytest.approx(1 - shop.distances(1, "a lost parcel")[best.page_content], abs=1e-5))
    named = open_vector_store(shop.collection, relevance_score_fn=lambda distance: 0.25)
    assert scores(named.similarity_search_with_relevance_scores(PARCEL, k=1)) == {PARCEL: 0.25}


def test_marginal_relevance_compares_in_the_version_that_serves(shop):
    shop = shop()
    store = open_vector_store(shop.collection)
    retriever = store.as_retriever(search_type="mmr", search_kwargs={"k": 2, "fetch_k": 4, "lambda_mult": 0.3})
    for number in (0, 1, 0):
        if number != shop.operator.pointer().active:
            shop.flip(number)
        assert retriever.invoke(PARCEL)[0].id == "return"


def test_marginal_relevance_stays_in_one_space_when_the_querys_version_is_retired_meanwhile(either):
    store = open_vector_store(either.collection)
    either.flip(1)

    def back_for_good():
        either.flip(0)
        either.retire(1)

    either.after_the_next_query(1, back_for_good)
    found = store.max_marginal_relevance_search("pay by card", k=2, fetch_k=5, lambda_mult=1.0)
    assert [document.id for document in found] == ["invoice", "lost"]


def test_what_is_written_after_the_cutover_is_found_in_both_versions(either):
    store = open_vector_store(either.collection)
    either.flip(1)
    documents = [Document("send a postcard", metadata={"words": 3}, id="card"), Document("stamps are sold here", id="stamps")]
    assert store.add_documents(documents) == ["card", "stamps"]
    (made,) = store.add_texts(["letters weigh less"])
    assert either.in_step()
    for number in (1, 0):
        if number != either.operator.pointer().active:
            either.flip(number)
        for id, text in (("card", "send a postcard"), ("stamps", "stamps are sold here"), (made, "letters weigh less")):
            ((found, distance),) = store.similarity_search_with_score(text, k=1)
            assert (found.id, distance) == (id, pytest.approx(0.0, abs=1e-5))


def test_what_is_changed_and_deleted_after_the_cutover_is_so_in_both_versions(either):
    store = open_vector_store(either.collection)
    either.flip(1)
    store.update_documents(["return", "lost"], [Document("send it back", metadata={"words": 3}), Document("parcels that vanished")])
    store.delete(ids=["gift"])
    assert either.in_step()
    either.flip(0)
    assert [document.id for document in store.similarity_search("send it back", k=1)] == ["return"]
    assert sorted(document.id for document in store.similarity_search("gift", k=9)) == ["hours", "invoice", "lost", "return"]
    assert store.get_by_ids(["return", "gift"]) == [Document("send it back", metadata={"words": 3}, id="return")]


def test_filters_are_chromas(shop):
    shop = shop()
    store = open_vector_store(shop.collection)
    shop.flip(1)
    assert [document.id for document in store.similarity_search("gift", k=5, filter={"words": 6})] == ["invoice"]
    assert [d.id for d in store.similarity_search("gift", k=5, where_document={"$contains": "hours"})] == ["hours"]


def test_a_blank_text_gets_the_controls_vector_though_another_version_serves(either):
    store = open_vector_store(either.collection)
    either.flip(1)
    store.add_texts(["letters weigh less", " "], ids=["letters", "blank"])
    assert either.collection.count() == 7
    assert either.in_step()


def test_what_would_destroy_the_collection_is_refused(shop):
    store = open_vector_store(shop().collection)
    for destroy in (store.delete_collection, store.reset_collection, lambda: store.fork("copy")):
        with pytest.raises(PreflightRefused, match="from which every version is made") as refused:
            destroy()
        assert "delete(ids=" in refused.value.hint
    with pytest.raises(PreflightRefused, match="of one model"):
        type(store).from_documents([Document("a")], store.embeddings)
    assert store.collection.count() == 5


def test_images_are_refused(shop, tmp_path):
    with pytest.raises(UsageError, match="images are not followed"):
        open_vector_store(shop().collection).add_images([str(tmp_path / "a.png")])


def test_async_searches_and_writes_are_the_same(shop):
    shop = shop()
    store = open_vector_store(shop.collection)

    async def visit():
        await store.aadd_texts(["letters weigh less"], ids=["letters"])
        shop.flip(1)
        await store.aadd_documents([Document("send a postcard", id="card")])
        await store.adelete(["gift"])
        retriever = store.as_retriever(search_kwargs={"k": 1})
        nearest = [(await retriever.ainvoke(text))[0].id for text in ("letters weigh less", "send a postcard")]
        diverse = await store.amax_marginal_relevance_search("send a postcard", k=1)
        return nearest, diverse[0].id, [document.id for document in await store.aget_by_ids(["hours", "gift"])]

    assert asyncio.run(visit()) == (["letters", "card"], "card", ["hours"])
    assert shop.in_step()


def test_embeddings_say_whose_they_are(shop):
    shop = shop()
    embeddings = VersionedEmbeddings(shop.collection)
    assert embeddings.embed_documents([]) == []
    before = embeddings.embed_documents([PARCEL, "gift"])
    shop.flip(1)
    after = asyncio.run(embeddings.aembed_query(PARCEL))
    assert ([vector.version for vector in before], after.version) == (["docs@v0", "docs@v0"], "docs@v1")


def test_a_path_opens_the_collection_that_vecmigrate_toml_names(configured):
    config = configured()
    for path in (config, str(config)):
        store = open_vector_store(path)
        assert [document.page_content for document in store.get_by_ids(["return"])] == [PARCEL]
        store.collection.close()


def test_a_collection_of_chromadb_is_refused_because_it_would_stay_with_one_model(shop):
    own = shop().own
    with pytest.raises(UsageError, match="a Collection does not follow the serving pointer"):
        open_vector_store(own)


def test_a_missing_framework_is_named_with_what_to_install(without):
    error = without("langchain_chroma", "vecmigrate.integrations.langchain")
    assert error.message == "this integration needs the package 'langchain_chroma'"
    assert error.hint == "pip install 'vecmigrate[langchain]'"


def test_a_framework_that_is_broken_is_not_called_missing():
    with pytest.raises(ModuleNotFoundError, match="a_part_of_it"), framework("langchain", "langchain_chroma"):
        importlib.import_module("a_part_of_it")


def test_no_framework_is_imported_before_its_own_module_is():
    heavy = ("langchain_core", "llama_index", "haystack", "chromadb", "torch")
    code = f"import sys, vecmigrate, vecmigrate.integrations; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
