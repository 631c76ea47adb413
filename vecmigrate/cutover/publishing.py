"""Putting a version under the application's own name, and taking it back: what must hold, and what can't be promised."""

from __future__ import annotations

from dataclasses import dataclass

from vecmigrate.encoding.encoder import EncoderSource
from vecmigrate.errors import PreflightRefused
from vecmigrate.publication import Access, Client, Published, Publishes
from vecmigrate.reindex import sync, verify
from vecmigrate.store import Store
from vecmigrate.versions import IndexVersion, State

BY_NAME = "by-name"
"""What an operator says of an application that nothing in the store shows."""

_WHY = {
    Access.HANDLE: "it keeps the collection that it once opened, and would go on reading the old vectors without an error",
    Access.CREATES: "it creates the collection when it does not find it, and in the gap between the names would make an empty one",
    Access.UNKNOWN: "whether it looks the collection up by name for each query can't be seen",
}


@dataclass(frozen=True, slots=True)
class Showing:
    """A store together with its way to publish."""

    store: Store
    publishes: Publishes


def publishing(store: Store) -> Showing:
    """Raises `PreflightRefused` for a store that has no way to publish."""
    if not isinstance(store, Publishes):
        raise PreflightRefused(f"{store.name} has no way to publish yet", hint="let readers follow the pointer: docs/cut-over.md")
    return Showing(store, store)


def published(store: Store) -> int | None:
    """Which version has the application's own name; None where none has, or the store can't publish."""
    return store.published() if isinstance(store, Publishes) else None


def refuse_while_published(store: Store, target: IndexVersion) -> None:
    """Raise `PreflightRefused` where clients by name would stay on another version than `target`."""
    shown = published(store)
    if shown is not None and shown != target.number:
        raise PreflightRefused(
            f"v{shown} is published under the application's own name: clients that look it up would stay on it",
            hint="vecmigrate publish --undo first, with the applications stopped",
        )


def require_publishable(showing: Showing, version: IndexVersion, said: str | None) -> Client:
    """Raise `PreflightRefused` unless the version serves and the application finds its collection by name.

    `said` is what the operator says of the application, `by-name`; it counts only where nothing in the store says otherwise.
    """
    require_serving(version)
    client = showing.publishes.client()
    if client.access is Access.BY_NAME or (client.access is Access.UNKNOWN and said == BY_NAME):
        return client
    who = f"this looks like {client.name} ({client.sign})" if client.name else client.sign
    hint = "if it does, say so: --client by-name" if client.access is Access.UNKNOWN else "let it follow the pointer: docs/integrations.md"
    raise PreflightRefused(f"{who}: {_WHY[client.access]}", hint=hint)


def require_serving(version: IndexVersion) -> None:
    """Raise `PreflightRefused` for a version that must not have the application's name."""
    if version.shares:
        raise PreflightRefused(
            f"{version.name} shares the vectors of {version.shares}: what sets it apart is how queries are encoded, which no name can show",
            hint="let the application follow the pointer, or encode its queries with this model: docs/cut-over.md",
        )
    if version.number == 0 or version.state is not State.ACTIVE:
        raise PreflightRefused(
            f"{version.name} is {version.state}; only a version of ours that serves is published",
            hint=f"vecmigrate cutover {version.label} first" if version.number else "it has the application's name already",
        )


def publish(showing: Showing, version: IndexVersion, encoders: EncoderSource, *, actor: str) -> Published:
    """Bring the version up to date, verify it, put it under the application's name. Hold `store.operation` around it.

    Raises `PreflightRefused` when it does not serve any more, isn't whole, or when somebody writes meanwhile.
    """
    require_serving(next(v for v in showing.store.versions() if v.number == version.number))
    encoder = encoders.encoder_for(version)
    if showing.publishes.published() is None:
        sync(showing.store, version, encoder, actor=actor)
        found = verify(showing.store, version, encoder)
        if found.only_behind:
            raise PreflightRefused(
                f"{version.name}: {'; '.join(found.problems)}: an application is still writing",
                hint="stop every application that uses the collection, then run the command again",
            )
        if not found.ok:
            raise PreflightRefused(f"{version.name}: {'; '.join(found.problems)}", hint=f"vecmigrate verify {version.label}")
    return showing.publishes.publish(version, encoder.encode_documents, actor=actor)


def unpublish(showing: Showing, encoders: EncoderSource, *, actor: str, allow_mass_deletion: bool = False) -> Published:
    """Put the application's own vectors back under its name, with everything that was written meanwhile. The pointer stays."""
    control = next(version for version in showing.store.versions() if version.number == 0)
    return showing.publishes.unpublish(
        lambda texts: encoders.encoder_for(control).encode_documents(texts), actor=actor, allow_mass_deletion=allow_mass_deletion
    )
