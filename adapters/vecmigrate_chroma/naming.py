"""The names of what we put beside the application's collection, and the metadata keys in it."""

from __future__ import annotations

PREFIX = "vecmigrate."
FIRST_EPOCH = ".epoch.00000001"
"""How the name of a collection's first epoch ends, which says what it follows."""
HASH_KEY = "vecmigrate_hash"
"""A row's text hash: tells a stale vector."""
OWN_KEYS = frozenset({HASH_KEY, "vecmigrate_metadata_hash"})
"""What is ours in a row's metadata; the second key was written by version 0.1."""


def vectors_name(collection: str, version: int) -> str:
    """The collection with a version's vectors."""
    return f"{PREFIX}{collection}.v{version}"


def epoch_name(collection: str, epoch: int) -> str:
    """The collection whose creation made this epoch."""
    return f"{PREFIX}{collection}.epoch.{epoch:08}"


def events_name(collection: str) -> str:
    """The collection with the versions' events."""
    return f"{PREFIX}{collection}.events"


def lock_name(collection: str, turn: int) -> str:
    """The collection whose creation gave this turn to an operator."""
    return f"{PREFIX}{collection}.lock.{turn:08}"


def published_name(collection: str) -> str:
    """The copy of a version that is to have the application's own name."""
    return f"{PREFIX}{collection}.published"


def kept_name(collection: str) -> str:
    """The application's own collection, while a version has its name."""
    return f"{PREFIX}{collection}.kept"


def withdrawn_name(collection: str) -> str:
    """The copy again, when the application's own collection has its name back."""
    return f"{PREFIX}{collection}.withdrawn"


def publication_names(collection: str) -> tuple[str, str]:
    """The note of what is published, and the same while it is written anew: whole, where the first is missing."""
    return f"{PREFIX}{collection}.publication", f"{PREFIX}{collection}.publication.new"
