"""Adapters by name, from entry points. A missing adapter and a broken one are told apart."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from vecmigrate.errors import MissingDependency, UsageError
from vecmigrate.store import Adapter, Store

GROUP = "vecmigrate.adapters"
INSTALL_HINTS: Mapping[str, str] = {
    "pgvector": "pip install vecmigrate",
    "chroma": "pip install 'vecmigrate[chroma]'",
}


def available() -> dict[str, EntryPoint]:
    """Every installed adapter's entry point, by name. Nothing is imported."""
    return {point.name: point for point in entry_points(group=GROUP)}


def adapter(name: str) -> Adapter:
    """Import the adapter of this name.

    Raises `UsageError` when nothing of that name is installed, `MissingDependency` when its driver is not.
    """
    points = available()
    if name not in points:
        hint = INSTALL_HINTS.get(name, f"installed adapters: {', '.join(sorted(points)) or 'none'}")
        raise UsageError(f"there is no adapter named {name!r}", hint=hint)
    try:
        return cast("Adapter", points[name].load())
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"adapter {name!r} needs the package {error.name!r}",
            hint=INSTALL_HINTS.get(name, f"install {error.name}"),
        ) from error


def open_store(name: str, settings: Mapping[str, Any], *, collection: str) -> Store:
    """Open a collection through the adapter of this name."""
    return adapter(name).open(settings, collection=collection)
