"""LangChain on a Chroma collection: one vector store, made once, follows the cutover and the way back; what it writes is in both versions.

An application does the same with `open_vector_store("vecmigrate.toml")`; here the models are small enough to be made on the spot.
"""

import tempfile
from pathlib import Path

import chromadb

from vecmigrate import open_store
from vecmigrate.cutover import flip
from vecmigrate.integrations.langchain import open_vector_store
from vecmigrate.reindex import build
from vecmigrate.serving import LiveIndex
from vecmigrate.testing.encoders import FixedEncoders, HashingEncoder

OLD, NEW = HashingEncoder(64, "the model in production"), HashingEncoder(96, "its successor")
TEXTS = ["how to return a parcel", "opening hours of the shop", "pay by invoice"]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "chroma")
        client = chromadb.PersistentClient(path, settings=chromadb.Settings(anonymized_telemetry=False))
        collection = client.create_collection("docs", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None)
        collection.add(ids=["a", "b", "c"], documents=TEXTS, embeddings=OLD.encode_documents(TEXTS))
        client.close()

        store = open_store("chroma", {"path": path, "source": "docs"}, collection="docs")
        store.adopt(OLD.model)
        v1 = build(store, store.create_version(NEW.model), NEW, actor="example").version

        held = open_vector_store(store.stand_in(LiveIndex(store, FixedEncoders.of(OLD, NEW))))
        retriever = held.as_retriever(search_kwargs={"k": 1})
        vector = held.embeddings.embed_query("return a parcel")
        for epoch, (target, reason) in enumerate(((1, "cutover"), (0, "rollback")), start=1):
            flip(store, target, expect_epoch=epoch, actor="example", reason=reason)
            held.add_texts([f"written after the {reason}"])
            found = retriever.invoke("return a parcel")[0]
            print(f"{reason}: docs@v{target} serves, best {found.id}; its own: {retriever.invoke(f'after the {reason}')[0].page_content}")
        print("a vector from before both is still of", vector.version, "and finds", held.similarity_search_by_vector(vector, k=1)[0].id)
        print("rows missing in v1:", store.differences(v1).n_missing)
        held.collection.close()


if __name__ == "__main__":
    main()
