"""`vecmigrate demo`: the whole job on a throw-away store, with real texts."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from vecmigrate.errors import UsageError

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.demo.applications import Application
    from vecmigrate.demo.story import Stage


@click.command("demo")
@click.option(
    "--store", type=click.Choice(["pgvector", "chroma"]), default="pgvector", show_default=True, help="Which store to show it on."
)
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Where to make it [default: a temporary folder].")
@click.option("--keep", is_flag=True, help="Leave the store and the workspace there to play with, and the server running until Ctrl-C.")
@click.pass_obj
def demo_command(session: Session, store: str, folder: Path | None, keep: bool) -> None:
    """The whole job on a throw-away store: ingest with the stock model, read the log, train, build, compare, cut over, roll back.

    Needs no database, no GPU and no network. The texts are the documentation of the Python that runs it; the log's questions were
    written for the demo, by hand. The lift that it prints is whatever it measures.
    """
    from vecmigrate.cli import run
    from vecmigrate.config import EncodingSection
    from vecmigrate.demo.story import Stage, open_application, play, prepare, stock_model
    from vecmigrate.encoding import load_encoder

    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    start = time.monotonic()
    place = _place(folder)
    options = ["--quiet"] if session.quiet else []
    stage = Stage(place, lambda arguments: run([*options, *arguments]), session.out.print)
    try:
        application, server = open_application(store, place)
        with server:
            prepare(application, stage, load_encoder(stock_model(), EncodingSection(), name="all-minilm-l6-v2"))
            play(stage)
            session.out.print(f"\nthe whole job took {time.monotonic() - start:.0f} s")
            if keep:
                _wait(session, stage, application)
    finally:
        if not keep and folder is None:
            shutil.rmtree(place, ignore_errors=True)


def _place(folder: Path | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="vecmigrate-demo-"))
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", hint="name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def _wait(session: Session, stage: Stage, application: Application) -> None:
    session.out.print(f"kept in {stage.folder}; report {stage.folder / 'report.html'}")
    for name, value in application.environment.items():
        session.out.print(f"export {name}='{value}'")
    session.out.print(f"next: vecmigrate status --config {stage.config}")
    if application.environment:
        session.out.print("the server runs until Ctrl-C")
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            session.out.print("stopped")
