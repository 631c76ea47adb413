"""How a model reads on a terminal: one row in the list, and its own page with what it brought and how it was made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vecmigrate.cli.tables import PlainTable, plain_table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from vecmigrate.encoding import ModelEntry

_WIDTH = 14
_SCORES = ("", "base", "this model", "difference")
_RUNGS = {"adapter": "a matrix on the query side", "query": "the query encoder alone", "full": "the whole model"}


def model_table(entries: Sequence[ModelEntry]) -> PlainTable:
    """One line for each model; rung, gain and verdict are of those that were trained."""
    headers = ("name", "fingerprint", "dim", "precision", "rung", "gain", "verdict", "source")
    table = plain_table(*headers, right=("dim",), cut=("source",))
    for e in entries:
        m = e.model
        told = e.lineage
        table.add_row(
            m.name, m.fingerprint[:12], str(m.dimension), m.precision, told.get("rung", ""), gain_of(told), e.verdict or "", m.source
        )
    return table


def gain_of(told: Mapping[str, Any]) -> str:
    """`+0.031 [+0.012, +0.050]`: nDCG@10 on the dev queries, cross-fitted; empty where nothing was measured."""
    scores = told.get("scores") or {}
    return _difference(scores["difference"], scores.get("interval")) if "difference" in scores else ""


def model_lines(entry: ModelEntry, names: Mapping[str, str]) -> list[str | RenderableType]:
    """One model's page. `names` are those of the models at hand by fingerprint."""
    m, told = entry.model, entry.lineage
    limit = f"texts up to {m.max_tokens:,} tokens" if m.max_tokens else "texts of any length"
    lines: list[str | RenderableType] = [
        m.name,
        _line("fingerprint", m.fingerprint),
        _line("vectors", f"{m.dimension} dimensions, {m.precision}, {limit}"),
        _line("prompts", f"query {m.query_prompt!r}, document {m.document_prompt!r}"),
        _line("documents", _documents(entry, names)),
        _line("source", m.source),
        _line("added", f"{entry.created_at:%Y-%m-%d %H:%M} UTC"),
    ]
    if entry.verdict is None:
        return [*lines, _line("verdict", "none: not trained by vecmigrate")]
    lines += [_line("verdict", entry.verdict), *(_line("", f"because {reason}") for reason in told.get("reasons") or ())]
    return [*lines, *_made(told), *_figures(told)]


def _line(name: str, value: str) -> str:
    return f"  {name:<{_WIDTH}} {value}"


def _documents(entry: ModelEntry, names: Mapping[str, str]) -> str:
    other = entry.model.documents
    if not other:
        return "vectors of its own: a version of it embeds every chunk"
    known = f"{names[other]}, {other[:12]}" if other in names else f"the model {other[:12]}, which is not here"
    return f"shares the document vectors of {known}: nothing is re-embedded"


def _made(told: Mapping[str, Any]) -> Iterator[str]:
    base, data, made = (told.get(name) or {} for name in ("base", "data", "choice"))
    if "rung" in told:
        yield _line("tuned", f"{told['rung']}, {_RUNGS.get(told['rung'], told['rung'])}")
    if base:
        yield _line("from", f"{base.get('name', '')}, {base.get('fingerprint', '')[:12]}")
    if "dataset" in told:
        yield _line("dataset", f"{told['dataset'][:12]} of {told.get('collection', '')}")
    if data:
        yield _line("trained on", f"{data['pairs']:,} pairs with {data['negatives']} hard negative(s), cut at {data['max_tokens']} tokens")
        yield from (_line("", note) for note in data.get("notes") or ())
    for one in made.get("attempts") or ():
        told_one = f"{one['loss']}, rate {one['learning_rate']:g}, {one['epochs']} epochs: dev {one['dev']:.3f} at step {one['step']}"
        yield _line("attempt", f"{told_one} of {one['steps']}, {one['seconds']:.0f} s")
    if made.get("mean_of", 1) > 1:
        yield _line("weights", f"the mean of {made['mean_of']} attempts")
    if made.get("share", 1.0) < 1.0:
        yield _line("weights", f"{made['share']:.0%} of the way from the base to the tuned ones")
    if "needs" in told:
        yield _line("a cutover", told["needs"])
    if "libraries" in told:
        yield _line("made by", ", ".join(f"{name} {number}" for name, number in told["libraries"].items()))


def _figures(told: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The table of the card, and the slices under it."""
    scores, probe, slices = (told.get(name) or {} for name in ("scores", "probe", "slices"))
    if not scores:
        return
    table = plain_table(*_SCORES, right=_SCORES[1:])
    table.add_row(
        f"dev {scores['measure']} ({scores['queries']} queries)", f"{scores['base']:.3f}", f"{scores['tuned']:.3f}", gain_of(told)
    )
    if "own_difference" in scores:
        table.add_row("  without what popularity finds", "", "", _difference(scores["own_difference"], scores["own_interval"]))
    if probe:
        change = _difference(probe["tuned"] - probe["base"], None)
        table.add_row(f"general probe ({probe['queries']} queries)", f"{probe['base']:.3f}", f"{probe['tuned']:.3f}", change)
    for name, part in slices.items():
        worse = " worse" if part["worse"] else ""
        table.add_row(f"  slice {name} ({part['queries']}){worse}", "", "", _difference(part["difference"], part["interval"]))
    yield ""
    yield table


def _difference(value: float, interval: Sequence[float] | None) -> str:
    return f"{value:+.3f} [{interval[0]:+.3f}, {interval[1]:+.3f}]" if interval else f"{value:+.3f}"
