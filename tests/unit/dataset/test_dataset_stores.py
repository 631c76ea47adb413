"""On the real stores: documents are told apart by the application's own columns, and vectors read in blocks rank as a search does."""

from __future__ import annotations

from itertools import count

import pytest

from vecmigrate.config import DatasetSection
from vecmigrate.dataset import build_dataset
from vecmigrate.registry import open_store
from vecmigrate.store import control_version

from .dataset_corpus import ENCODER, asked, corpus

NUMBERS = count()


def file_of(id):
    return f"f{int(id[1:]) // 6}"


@pytest.fixture
def on_postgres(postgres, texts):
    """A table without an index on its vectors."""
    import psycopg
    from pgvector.psycopg import register_vector

    dsn = postgres.create_database(f"mining{next(NUMBERS)}")
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        register_vector(connection)
        connection.execute("CREATE TABLE docs (id text PRIMARY KEY, body text NOT NULL, file_id text, embedding vector(64))")
        with connection.cursor() as cursor:
            vectors = ENCODER.encode_documents(list(texts.values()))
            rows = [(id, text, file_of(id), vector) for (id, text), vector in zip(texts.items(), vectors, strict=True)]
            cursor.executemany("INSERT INTO docs VALUES (%s, %s, %s, %s)", rows)
    store = open_store("pgvector", {"dsn": dsn, "table": "docs", "text": "body"}, collection="docs")
    yield store
    store.close()


@pytest.fixture
def on_chroma(tmp_path, texts):
    import chromadb
    from chromadb.config import Settings

    client = chromadb.PersistentClient(str(tmp_path / "chroma"), settings=Settings(anonymized_telemetry=False))
    collection = client.create_collection("docs", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None)
    collection.add(
        ids=list(texts),
        documents=list(texts.values()),
        metadatas=[{"file_id": file_of(id)} for id in texts],
        embeddings=ENCODER.encode_documents(list(texts.values())),
    )
    client.close()
    store = open_store("chroma", {"path": str(tmp_path / "chroma"), "source": "docs"}, collection="docs")
    yield store
    store.close()


@pytest.mark.parametrize(("where", "search"), [("on_postgres", "auto"), ("on_chroma", "exact")])
def test_a_build_in_blocks_mines_what_a_build_by_search_does(where, search, request, tmp_path, monkeypatch, texts):
    """A table without an index is read in blocks by itself; Chroma always has one, so there it is asked for."""
    store = request.getfixturevalue(where)
    control = control_version(store, ENCODER.model)
    settings = DatasetSection(negative_search=search, negatives_per_pair=3)
    searched = build_dataset(store, control, ENCODER, asked(texts), settings, tmp_path / "searched")
    monkeypatch.setattr("vecmigrate.dataset.searching.EXACT_UP_TO", 0)
    monkeypatch.setattr("vecmigrate.dataset.searching.BLOCK", 50)
    in_blocks = build_dataset(store, control, ENCODER, asked(texts), settings, tmp_path / "blocks")
    assert "  searched by brute force, the vectors read in blocks" in in_blocks.report
    assert in_blocks.training_pairs() == searched.training_pairs()
    assert in_blocks.candidates() == searched.candidates()


@pytest.mark.parametrize("where", ["on_postgres", "on_chroma"])
def test_the_applications_own_field_names_the_documents(where, request, tmp_path, texts):
    store = request.getfixturevalue(where)
    settings = DatasetSection(negatives_per_pair=9)
    dataset = build_dataset(store, control_version(store, ENCODER.model), ENCODER, asked(texts), settings, tmp_path / "datasets")
    id_of = {text: id for id, text in corpus().items()}
    assert any("120 of 120 chunks name their document by the metadata key 'file_id' (detected" in line for line in dataset.report)
    assert any("candidates skipped: of the same document as a relevant chunk" in line for line in dataset.report)
    for pair in dataset.training_pairs():
        assert all(file_of(id_of[text]) != file_of(pair.chunk_id) for text in pair.negatives)
