"""An existing Chroma collection: a new version beside it, a cutover that every reader follows at its next query, and back.

Chroma has no alias and no atomic rename; the pointer is a row of epoch collections, of which exactly one of several callers can
create the next.
"""

import tempfile
from pathlib import Path

import chromadb

from vecmigrate import Retriever, open_store
from vecmigrate.cutover import flip
from vecmigrate.reindex import build
from vecmigrate.testing.encoders import FixedEncoders, HashingEncoder

OLD, NEW = HashingEncoder(64, "the model in production"), HashingEncoder(64, "its successor")
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
        build(store, store.create_version(NEW.model), NEW, actor="example")
        retriever = Retriever(store, FixedEncoders.of(OLD, NEW))
        for target, reason in ((1, "cutover"), (0, "rollback")):
            before = retriever.search("return a parcel", 1)
            flip(store, target, expect_epoch=before.epoch, actor="example", reason=reason)
            after = retriever.search("return a parcel", 1)
            print(f"{reason}: {before.version} → {after.version}, epoch {after.epoch}, best {after.results[0].chunk.id}")
        retriever.close()


if __name__ == "__main__":
    main()
