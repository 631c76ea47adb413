"""What the stand-in for an application's collection needs of its store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from vecmigrate.live import Live
from vecmigrate.versions import IndexVersion
from vecmigrate_chroma.driver import Driver
from vecmigrate_chroma.rows import Rows, Source
from vecmigrate_chroma.search import Search


@dataclass(frozen=True, slots=True)
class Inside:
    """`rows_of` opens a version's rows for a block; `VersionRetired` comes out of it when they have gone before or within. `begin_writing`
    refuses where a write would harm.
    """

    driver: Driver
    source: Source
    search: Search
    live: Live
    rows_of: Callable[[IndexVersion], AbstractContextManager[Rows]]
    versions: Callable[[], Sequence[IndexVersion]]
    begin_writing: Callable[[], None]
