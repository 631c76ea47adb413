"""The model card: what a model is, what it was made of and what it brought, as the README of its folder. No text of the users' is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vecmigrate.encoding.catalog import ModelEntry

_TEMPLATE = """\
---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags: [sentence-transformers, sentence-similarity, feature-extraction, vecmigrate]
base_model: {base}
---

# {name}

{verdict}

| | base | this model | difference |
|---|---|---|---|
{table}

## How it was made

{made}

## How to use it

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/this/folder")
queries = model.encode_query(["…"])
chunks = model.encode_document(["…"])
```

The fingerprint {fingerprint} stands for weights, tokenizer, pooling, normalisation, prompts, maximum length and dimension.
"""


def write_card(entry: ModelEntry, folder: Path) -> None:
    """Write README.md into the model's folder."""
    (folder / "README.md").write_text(card(entry), encoding="utf-8")


def card(entry: ModelEntry) -> str:
    """The card's text."""
    told = entry.lineage
    return _TEMPLATE.format(
        base=told["base"]["name"],
        name=entry.model.name,
        verdict=_verdict(entry),
        table="\n".join(_rows(told)),
        made="\n".join(f"- {line}" for line in _made(told)),
        fingerprint=f"`{entry.model.fingerprint[:16]}…`",
    )


def _verdict(entry: ModelEntry) -> str:
    reasons = "".join(f" {reason[0].upper()}{reason[1:]}." for reason in entry.lineage["reasons"])
    return f"Verdict: **{entry.verdict}**.{reasons}"


def _rows(told: Any) -> list[str]:
    scores = told["scores"]
    low, high = scores["interval"]
    rows = [
        f"| dev queries, {scores['measure']} ({scores['queries']}) | {scores['base']:.3f} | {scores['tuned']:.3f} | "
        f"{scores['difference']:+.3f} [{low:+.3f}, {high:+.3f}], cross-fitted |"
    ]
    if probe := told["probe"]:
        change = probe["tuned"] - probe["base"]
        rows.append(
            f"| general probe, {probe['measure']} ({probe['queries']}) | {probe['base']:.3f} | {probe['tuned']:.3f} | {change:+.3f} |"
        )
    return rows


def _made(told: Any) -> list[str]:
    data = told["data"]
    lines = [
        f"tuned: {told['rung']}, from {told['base']['name']}",
        f"{data['pairs']:,} pairs with {data['negatives']} hard negative(s) each, texts cut at {data['max_tokens']} tokens while training",
        f"a cutover to it {told['needs']}",
    ]
    attempts = told["choice"].get("attempts", ())
    lines += [f"{one['loss']}, learning rate {one['learning_rate']:g}, {one['epochs']} epochs: dev {one['dev']:.3f}" for one in attempts]
    if told["choice"].get("share", 1.0) < 1:
        lines.append(f"weights {told['choice']['share']:.0%} of the way from the base to the tuned ones")
    return lines + [f"{name} {number}" for name, number in told["libraries"].items()]
