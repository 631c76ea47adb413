"""vecmigrate on PostgreSQL with pgvector: index versions are side tables next to the application's own.

Importing this package imports no driver; `adapter.open` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vecmigrate_pgvector.store import PgvectorStore


@dataclass(frozen=True, slots=True)
class PgvectorAdapter:
    """What the entry point `pgvector` names."""

    name: str = "pgvector"

    def open(self, settings: Mapping[str, Any], *, collection: str) -> PgvectorStore:
        """Connect and detect the layout; nothing is written. See `vecmigrate_pgvector.settings.Settings` for the keys.

        Raises `UsageError`, `StoreUnavailable`, `AccessDenied`, `NotFound` and `PreflightRefused`.
        """
        from vecmigrate_pgvector.store import PgvectorStore

        return PgvectorStore.open(settings, collection=collection)


adapter = PgvectorAdapter()
