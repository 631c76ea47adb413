"""`vecmigrate models`: the model versions at hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.encoding import ModelEntry
    from vecmigrate.encoding.export import Exported


@click.group("models")
def models_command() -> None:
    """The model versions at hand."""


@models_command.command("list")
@click.pass_obj
def list_command(session: Session) -> None:
    """Every model of the workspace, oldest first."""
    from vecmigrate.cli.model_lines import model_table

    entries = session.catalog.entries()
    text = [model_table(entries)] if entries else ["no models yet"]
    session.emit(
        {"models": [_data(e) for e in entries]}, text, following="vecmigrate shadow build --model NAME" if entries else "vecmigrate train"
    )


@models_command.command("show")
@click.argument("reference")
@click.pass_obj
def show_command(session: Session, reference: str) -> None:
    """One model: its identity, where it came from, its scores and its verdict. REFERENCE is a name or the fingerprint's first digits."""
    from vecmigrate.cli.model_lines import model_lines

    entry = session.catalog.get(reference)
    names = {e.model.fingerprint: e.model.name for e in reversed(session.catalog.entries())}
    session.emit(_data(entry), model_lines(entry, names), following=f"vecmigrate shadow build --model {entry.model.name}")


@models_command.command("add")
@click.argument("source")
@click.option("--name", help="What to call it here [default: from its source].")
@click.option("--query-prompt", help="What is put before a query [default: the model's own].")
@click.option("--document-prompt", help="What is put before a chunk [default: the model's own].")
@click.pass_obj
def add_command(session: Session, source: str, name: str | None, query_prompt: str | None, document_prompt: str | None) -> None:
    """Add a model that needs no training, from a directory or a hub: "just upgrade" goes the same way as a trained one."""
    entry = session.catalog.ensure(
        source, name=name, settings=session.config.encoding, query_prompt=query_prompt, document_prompt=document_prompt
    )
    lines = [f"{entry.model.name}: {entry.model.dimension} dimensions, fingerprint {entry.model.fingerprint[:12]}"]
    session.emit(_data(entry), lines, following=f"vecmigrate shadow build --model {entry.model.name}")


@models_command.command("export")
@click.argument("reference", metavar="NAME")
@click.argument("folder", type=click.Path(path_type=Path))
@click.pass_obj
def export_command(session: Session, reference: str, folder: Path) -> None:
    """Copy a model out of the workspace: a plain sentence-transformers directory with its card and its record.

    FOLDER must not be there yet. `vecmigrate models add FOLDER` knows it again in another workspace.
    """
    from vecmigrate.encoding.export import export_model

    entry = session.catalog.get(reference)
    made = export_model(entry, folder)
    lines = [f"{entry.model.name}: {made.files} files, {made.size / 1e6:.1f} MB in {made.folder}", *_prompts_to_mind(entry)]
    following = f"vecmigrate models add {made.folder}, in another workspace"
    session.emit({**_data(entry), "folder": str(made.folder), "files": made.files, "bytes": made.size}, lines, following=following)


@models_command.command("push")
@click.argument("reference", metavar="NAME")
@click.argument("repository", metavar="OWNER/REPO")
@click.option("--public", is_flag=True, help="Anybody may read it [default: a private repository].")
@click.pass_obj
def push_command(session: Session, reference: str, repository: str, public: bool) -> None:
    """Upload a model to a model hub, into a private repository. Asks first.

    The token is that of the environment variable HF_TOKEN, the hub that of HF_ENDPOINT, where it is set.
    """
    import tempfile

    from vecmigrate.encoding.export import export_model
    from vecmigrate.encoding.hub import hub_token, push_folder

    entry = session.catalog.get(reference)
    token = hub_token(repository)
    with tempfile.TemporaryDirectory(prefix=".push-", dir=session.folder("models")) as place:
        made = export_model(entry, Path(place) / entry.model.name)
        session.confirm(_push_plan(entry, made, repository, public), what="this uploads a model")
        message = f"{entry.model.name}, fingerprint {entry.model.fingerprint[:12]}"
        where = push_folder(made.folder, repository, token=token, private=not public, message=message)
    lines = [f"{entry.model.name} is at {where}", *_prompts_to_mind(entry)]
    session.emit({**_data(entry), "repository": repository, "address": where}, lines, following=f"vecmigrate models add {repository}")


def _push_plan(entry: ModelEntry, made: Exported, repository: str, public: bool) -> list[str]:
    from vecmigrate.encoding.hub import endpoint

    kept = entry.verdict == "keep base"
    return [
        f"push {entry.model.name} ({made.files} files, {made.size / 1e6:.1f} MB) to {endpoint()}/{repository}",
        "  readable by anybody" if public else "  readable by those who may read the private repository",
        "  weights, tokenizer, card and record: settings, scores and the names of slices, no query and no chunk; but a tuned model's weights",
        "  have learned from them",
        *(["  caution: its verdict is keep base: training did not find it better than the model it began with"] if kept else []),
        "  files of the same names there are replaced in one commit; undo: revert that commit, or delete the repository, on the hub",
    ]


def _prompts_to_mind(entry: ModelEntry) -> list[str]:
    """What the directory alone does not say: prompts that were given when the model was added."""
    names = [name for name, asked in zip(("query", "document"), entry.asked, strict=True) if asked is not None]
    return [f"its {' and '.join(names)} prompt was given when it was added, and is in the record alone: name it again"] if names else []


def _data(entry: ModelEntry) -> dict[str, Any]:
    return {**entry.model.to_dict(), "verdict": entry.verdict, "lineage": dict(entry.lineage), "created_at": entry.created_at.isoformat()}
