"""`vecmigrate query`: one question, answered by the version that serves and by a candidate. Writes nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import rich_click as click

from vecmigrate.errors import UsageError

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.serving import Answer
    from vecmigrate.versions import IndexVersion


@click.command("query")
@click.argument("text")
@click.option("-k", default=5, show_default=True, type=click.IntRange(1, 1000), help="How many results.")
@click.option("--where", help='A metadata filter as JSON, such as \'{"lang": "en"}\'.')
@click.option("--version", "label", help="A second version to answer with [default: the newest that is ready].")
@click.pass_obj
def query_command(session: Session, text: str, k: int, where: str | None, label: str | None) -> None:
    """One question, answered by the version that serves and by a candidate beside it."""
    from vecmigrate.serving import Retriever

    condition = _condition(where)
    retriever = Retriever(session.store, session.encoders)
    answers = [retriever.search(text, k, where=condition)]
    other = _other(session, label)
    if other is not None and other.name != answers[0].version:
        answers.append(retriever.search_in(other, text, k, where=condition))
    session.emit({"query": text, "answers": [_data(a) for a in answers]}, [_table(a) for a in answers], following="vecmigrate status")


def _condition(where: str | None) -> dict[str, Any] | None:
    if where is None:
        return None
    try:
        found = json.loads(where)
    except ValueError as error:
        raise UsageError(f"--where is not JSON: {error}", hint='like --where \'{"lang": "en"}\'') from error
    if not isinstance(found, dict):
        raise UsageError("--where must be a JSON object", hint='like --where \'{"lang": "en"}\'')
    return found


def _other(session: Session, label: str | None) -> IndexVersion | None:
    from vecmigrate.versions import State

    if label:
        return session.standing(label)
    ready = [v for v in session.store.versions() if v.state is State.READY]
    return ready[-1] if ready else None


def _data(answer: Answer) -> dict[str, Any]:
    results = [{"id": r.chunk.id, "score": r.score, "text": r.chunk.text, "metadata": dict(r.chunk.metadata)} for r in answer.results]
    return {"version": answer.version, "epoch": answer.epoch, "fingerprint": answer.fingerprint, "results": results}


def _table(answer: Answer) -> Any:
    from vecmigrate.cli.tables import one_line, plain_table

    table = plain_table("rank", "score", "id", "text", right=("rank", "score"), wrap=("id",), cut=("text",))
    table.title = f"{answer.version}, model {answer.fingerprint[:12]}"
    table.title_justify = "left"
    for rank, result in enumerate(answer.results, 1):
        table.add_row(str(rank), f"{result.score:.4f}", one_line(result.chunk.id, 60), one_line(result.chunk.text, 100))
    return table
