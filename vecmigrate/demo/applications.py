"""The demo's applications: what a team has before vecmigrate comes. A searchable store made with the stock model, and its search log.

These are written as an application would write them, with the driver alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vecmigrate.demo.corpus import Item
from vecmigrate.errors import MissingDependency
from vecmigrate.store import Vectors

BATCH = 1000


class Application(Protocol):
    """A store with texts and vectors in it, and a log of what was asked."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The `[store]` table of vecmigrate.toml."""
        ...

    @property
    def log(self) -> Mapping[str, Any]:
        """The `[log]` table of vecmigrate.toml."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment variables that the settings name."""
        ...

    def ingest(self, items: Sequence[Item], vectors: Vectors) -> None:
        """Store the texts with their vectors, and index them."""
        ...

    def play(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log the searches."""
        ...


@dataclass(frozen=True, slots=True)
class PostgresApplication:
    """Table `docs` with an HNSW index, and table `search_log`."""

    dsn: str

    @property
    def settings(self) -> Mapping[str, Any]:
        """Where the table is; everything else is detected."""
        return {"adapter": "pgvector", "dsn_env": "VECMIGRATE_DEMO_DSN", "table": "docs", "text": "body"}

    @property
    def log(self) -> Mapping[str, Any]:
        """The log's table: its columns have our names."""
        return {"table": "search_log"}

    @property
    def environment(self) -> Mapping[str, str]:
        """The DSN."""
        return {"VECMIGRATE_DEMO_DSN": self.dsn}

    def ingest(self, items: Sequence[Item], vectors: Vectors) -> None:
        """As a small application does it: one INSERT for each row, the index afterwards."""
        import psycopg
        from pgvector.psycopg import register_vector
        from psycopg import sql

        with psycopg.connect(self.dsn) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            register_vector(connection)
            columns = f"id text PRIMARY KEY, title text, body text NOT NULL, kind text, module text, embedding vector({vectors.shape[1]})"
            connection.execute(sql.SQL("CREATE TABLE docs ({})").format(sql.SQL(columns)))
            with connection.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO docs VALUES (%s, %s, %s, %s, %s, %s)",
                    [(i.id, i.title, i.text, i.kind, i.module, v) for i, v in zip(items, vectors, strict=True)],
                )
            connection.execute("CREATE INDEX docs_embedding_idx ON docs USING hnsw (embedding vector_cosine_ops)")

    def play(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Into `search_log`, a row for each search."""
        import psycopg

        names = ("query_id", "timestamp", "session_id", "user_query", "query_response_hit_ids", "clicked_ids")
        with psycopg.connect(self.dsn) as connection, connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE search_log (query_id text PRIMARY KEY, timestamp timestamptz, session_id text, user_query text,"
                " query_response_hit_ids text[], clicked_ids text[])"
            )
            cursor.executemany("INSERT INTO search_log VALUES (%s, %s, %s, %s, %s, %s)", [[row[n] for n in names] for row in rows])


@dataclass(frozen=True, slots=True)
class ChromaApplication:
    """Collection `docs` in a persistent directory, and a log in a JSONL file."""

    path: Path

    @property
    def settings(self) -> Mapping[str, Any]:
        """Where the collection is."""
        return {"adapter": "chroma", "path": str(self.path / "chroma"), "source": "docs"}

    @property
    def log(self) -> Mapping[str, Any]:
        """The log's file."""
        return {"path": str(self.path / "search_log.jsonl")}

    @property
    def environment(self) -> Mapping[str, str]:
        """Nothing."""
        return {}

    def ingest(self, items: Sequence[Item], vectors: Vectors) -> None:
        """Add in batches."""
        try:
            import chromadb
            from chromadb.config import Settings
        except ImportError as error:
            raise MissingDependency("the demo on Chroma needs chromadb", hint="pip install 'vecmigrate[chroma]'") from error
        settings = Settings(anonymized_telemetry=False)
        client = chromadb.PersistentClient(str(self.path / "chroma"), settings=settings)
        collection = client.create_collection("docs", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None)
        for start in range(0, len(items), BATCH):
            part = items[start : start + BATCH]
            collection.add(
                ids=[i.id for i in part],
                documents=[i.text for i in part],
                metadatas=[{"title": i.title, "kind": i.kind, "module": i.module} for i in part],
                embeddings=vectors[start : start + BATCH],
            )
        client.close()  # type: ignore[attr-defined]  # the client has it, its interface does not

    def play(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Into a file, a line for each search."""
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (self.path / "search_log.jsonl").write_text(text, encoding="utf-8")


def start_postgres(folder: Path) -> tuple[PostgresApplication, AbstractContextManager[Any]]:
    """An embedded PostgreSQL with pgvector in `folder`, running until its context is left."""
    from vecmigrate.testing.postgres import EmbeddedPostgres

    server = EmbeddedPostgres(folder / "postgres")
    return PostgresApplication(server.dsn), server


Starter = Callable[[Path], tuple[Application, AbstractContextManager[Any]]]
