"""What every verb works with: configuration, store, models, and how to print. Each is opened when first asked for."""

from __future__ import annotations

import getpass
import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from vecmigrate.errors import NotFound, PreflightRefused, UsageError, VecmigrateError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress

    from vecmigrate.config import Config
    from vecmigrate.encoding import CatalogEncoders, ModelCatalog, ModelEntry
    from vecmigrate.store import Store
    from vecmigrate.versions import IndexVersion, Pointer


PIPED_WIDTH = 160
"""Columns of a table that goes into a file or a pipe, where nobody's window is to be kept to."""


class Session:
    """One run of the command line."""

    def __init__(
        self, *, config_path: Path | None = None, as_json: bool = False, yes: bool = False, quiet: bool = False, verbose: bool = False
    ) -> None:
        self.config_path = config_path
        self.as_json = as_json
        self.yes = yes
        self.quiet = quiet
        self.verbose = verbose
        self.emitted = False
        self._store: Store | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._store is not None:
            self._store.close()

    # ── what the verbs work on ──

    @cached_property
    def config(self) -> Config:
        """vecmigrate.toml."""
        from vecmigrate.config import load_config

        return load_config(self.config_path)

    @property
    def store(self) -> Store:
        """The collection of the configuration, connected."""
        if self._store is None:
            from vecmigrate.registry import open_store
            from vecmigrate.retrying import retry_transient

            section = self.config.store
            self._store = retry_transient(lambda: open_store(section.adapter, section.settings, collection=section.collection))
        return self._store

    @cached_property
    def catalog(self) -> ModelCatalog:
        """The model versions of the workspace."""
        from vecmigrate.encoding import ModelCatalog

        return ModelCatalog(self.folder("models"))

    @cached_property
    def encoders(self) -> CatalogEncoders:
        """Finds and loads the encoder of a version."""
        from vecmigrate.encoding import CatalogEncoders

        return CatalogEncoders(self.catalog, self.config.encoding)

    @cached_property
    def control(self) -> ModelEntry:
        """The model that the configuration says made the vectors that serve now."""
        section = self.config.control
        return self.model(section.model, query_prompt=section.query_prompt, document_prompt=section.document_prompt)

    def model(self, reference: str, *, query_prompt: str | None = None, document_prompt: str | None = None) -> ModelEntry:
        """A catalogued model by name or fingerprint, or any directory or hub name, which is catalogued now."""
        return self.catalog.ensure(
            self.config.from_root(reference), settings=self.config.encoding, query_prompt=query_prompt, document_prompt=document_prompt
        )

    def folder(self, name: str) -> Path:
        """A folder of the workspace, made if need be, readable by its owner alone."""
        path = self.config.workspace_path / name
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    @property
    def actor(self) -> str:
        """Who does this, for the audit: user@host."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a container's uid without a name
            user = str(os.getuid())
        return f"{user}@{socket.gethostname()}"

    def pointer(self) -> Pointer:
        """The serving pointer. Raises `PreflightRefused` where there is none yet."""
        pointer = self.store.pointer()
        if pointer is None:
            raise PreflightRefused(f"{self.store.collection} has no versions yet", hint="vecmigrate shadow build makes the first")
        return pointer

    def version(self, label: str) -> IndexVersion:
        """A registered version by label, `v2`. Raises `NotFound` listing those that are there."""
        from vecmigrate.versions import parse_version

        try:
            number = parse_version(label)
        except ValueError as error:
            raise UsageError(str(error), hint="vecmigrate status lists the versions") from error
        found = {v.number: v for v in self.store.versions()}
        if number not in found:
            there = ", ".join(v.label for v in found.values()) or "none"
            raise NotFound(f"{self.store.collection} has no version v{number}; there are: {there}", hint="vecmigrate status")
        return found[number]

    def standing(self, label: str) -> IndexVersion:
        """As `version`, but raises `PreflightRefused` for one whose rows are gone."""
        from vecmigrate.versions import GONE, State

        found = self.version(label)
        if found.state in GONE:
            what = "was retired" if found.state is State.RETIRED else "was dropped"
            gone = "it is gone" if found.shares else "its rows are gone"
            raise PreflightRefused(f"{found.name} {what}: {gone}", hint="vecmigrate status lists the versions")
        return found

    def candidate(self, label: str | None) -> IndexVersion:
        """The named version, or the newest that is ready. Raises `PreflightRefused` when none is."""
        from vecmigrate.versions import State

        if label is not None:
            return self.standing(label)
        ready = [v for v in self.store.versions() if v.state is State.READY]
        if not ready:
            raise PreflightRefused(f"no version of {self.store.collection} is ready", hint="vecmigrate shadow build makes one")
        return ready[-1]

    # ── how they print ──

    @cached_property
    def out(self) -> Console:
        """stdout: the data."""
        from rich.console import Console

        width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
        return Console(markup=False, highlight=False, emoji=False, width=width)

    @cached_property
    def err(self) -> Console:
        """stderr: progress and remarks; lines stay whole where it goes into a file or a pipe."""
        from rich.console import Console

        whole = not sys.stderr.isatty()
        return Console(stderr=True, markup=False, highlight=False, emoji=False, quiet=self.quiet, soft_wrap=whole)

    def emit(self, data: Mapping[str, Any], text: Sequence[str | RenderableType] = (), *, following: str = "") -> None:
        """Print the result: `data` as JSON when asked for, else `text`, and last what comes next."""
        self.emitted = True
        if self.as_json:
            print(json.dumps({**data, "next": following or None}, default=str, ensure_ascii=False))  # noqa: T201  # the data of --json
            return
        for part in text:
            self._say(part)
        if following:
            self._say(f"next: {following}")

    def _say(self, part: str | RenderableType) -> None:
        """A line of text is left whole where it goes into a file or a pipe; tables are always laid out."""
        self.out.print(part, soft_wrap=isinstance(part, str) and not self.out.is_terminal)

    def confirm(self, plan: Sequence[str], *, typed: str | None = None, what: str = "this changes the store") -> None:
        """Show the plan and ask. `typed` is what must be typed instead of y. Raises `UsageError` without a terminal and without --yes,
        which says `what` needs agreement.
        """
        import rich_click as click

        for line in plan:
            self.err.print(line)
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise UsageError(f"{what}, and there is no terminal to ask", hint="look at the plan above, then add --yes")
        agreed = click.confirm("Proceed?", err=True) if typed is None else click.prompt(f"Type {typed} to confirm", err=True) == typed
        if not agreed:
            raise VecmigrateError("not confirmed: nothing was done", hint=f"type {typed} exactly" if typed else "")

    @contextmanager
    def progress(self, label: str) -> Iterator[Progress]:
        """A bar on stderr with rate and time left; nothing when quiet."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn(label, markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}", markup=False),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.err, disable=self.quiet, refresh_per_second=4) as bar:
            yield bar
