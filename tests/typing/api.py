"""The public API as an application uses it: type-checked by `make check`, never run."""

from pathlib import Path

from vecmigrate import (
    Answer,
    Chunk,
    Result,
    Retriever,
    Store,
    VecmigrateError,
    load_config,
    open_async_collection,
    open_collection,
    open_retriever,
    open_store,
)


def search() -> list[tuple[float, str]]:
    with open_retriever(Path("vecmigrate.toml"), pointer_ttl=1.0) as retriever:
        answer: Answer = retriever.search("refund", 5, where={"lang": "en"})
        answers: list[Answer] = retriever.search_many(["refund", "parcel"], k=3)
    found: list[Result] = [r for a in (answer, *answers) for r in a.results]
    chunks: list[Chunk] = [r.chunk for r in found]
    return [(r.score, c.text) for r, c in zip(found, chunks, strict=True)]


def store() -> Store:
    config = load_config()
    return open_store(config.store.adapter, config.store.settings, collection=config.store.collection)


def stand_in() -> tuple[str, int, list[float]]:
    with open_collection("vecmigrate.toml", pointer_ttl=1.0, outage_grace=30.0, queued=True) as docs:
        docs.upsert(ids=["a"], documents=["text"], metadatas=[{"lang": "en"}])
        docs.update(ids="a", metadatas={"lang": "de"})
        docs.flush()
        found = docs.query(query_texts=["refund"], n_results=5, where={"lang": "en"}, include=["documents"])
        deleted: dict[str, int] = docs.delete(where={"lang": "de"})
        return found.version, found.epoch + deleted["deleted"] + docs.count(), docs.embed_query("refund")


async def stand_in_for_an_event_loop() -> float:
    async with await open_async_collection() as docs:
        await docs.add(ids=["a"], documents=["text"])
        return (await docs.query(query_texts="refund")).pointer_age


def exit_code(retriever: Retriever) -> int:
    try:
        retriever.search("refund")
    except VecmigrateError as error:
        hint: str = error.hint
        return error.exit_code if hint else 1
    return 0
