"""Small applications for the tests: tables as people make them, filled with what the hashing encoder says of their texts."""

from vecmigrate.testing.encoders import HashingEncoder
from vecmigrate.versions import State

DIMENSION = 8
CONTROL = HashingEncoder(DIMENSION, "control")
CANDIDATE = HashingEncoder(DIMENSION, "candidate")
TEXTS = ("sort a list in place", "walk a directory tree", "parse a JSON document", "suspend the calling thread", "delete a directory tree")


def vector_of(text, encoder=CONTROL):
    return str(encoder.encode_documents([text])[0].tolist())


def make_docs(db, *, key="bigint", ids=(1, 2, 3, 4, 5), vector=f"vector({DIMENSION})", index="hnsw (embedding vector_cosine_ops)"):
    """Table docs(id, content, lang, embedding) with one row per text."""
    db.execute(f"CREATE TABLE docs (id {key} PRIMARY KEY, content text, lang text, embedding {vector})")
    for id, text in zip(ids, TEXTS, strict=True):
        db.execute("INSERT INTO docs VALUES (%s, %s, 'en', %s)", [id, text, vector_of(text)])
    if index:
        db.execute(f"CREATE INDEX docs_ann ON docs USING {index}")


def fill(store, version, encoder=CANDIDATE, batch_size=500):
    done = []
    for chunks in store.pending(version, batch_size=batch_size):
        store.load(version, chunks, encoder.encode_documents([chunk.text for chunk in chunks]))
        done += [chunk.id for chunk in chunks]
    return done


def begin(store, encoder=CANDIDATE, **options):
    store.adopt(CONTROL.model)
    return store.advance(store.create_version(encoder.model, **options), State.BACKFILLING, actor="t")


def build(store, encoder=CANDIDATE, **options):
    """A READY version."""
    version = begin(store, encoder, **options)
    fill(store, version, encoder)
    version = store.advance(version, State.INDEXING, actor="t")
    store.build_index(version)
    version = store.advance(version, State.CATCHING_UP, actor="t")
    return store.advance(version, State.READY, actor="t")


def found(store, version, text, k=1, *, encoder=CANDIDATE, **options):
    return [hit.chunk_id for hit in store.search(version, encoder.encode_queries([text]), k, **options)[0]]
