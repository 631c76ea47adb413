"""A catalogued model as a plain directory for other places: what loads it, its card and its record, and nothing of this machine.

    <folder>/  modules.json  model.safetensors  tokenizer.json …  README.md  vecmigrate.json     whole, or not there

`vecmigrate models add <folder>` knows it again in another workspace, with its verdict, its lineage and whose vectors it shares.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from vecmigrate.encoding.catalog import RECORD, ModelEntry, write_record
from vecmigrate.encoding.fingerprint import Traits, fingerprint_directory
from vecmigrate.encoding.loading import find_model
from vecmigrate.errors import ModelError, UsageError

CARD = "README.md"
_LOADED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", CARD, "LICENSE*")
"""What a sentence-transformers model is loaded from, and its papers. Weights as safetensors alone: the other forms can hold code."""
_OTHER_FORMS = frozenset({"onnx", "openvino", "original"})
_PLAIN_CARD = """\
---
library_name: sentence-transformers
tags: [sentence-transformers, feature-extraction, vecmigrate]
---

# {name}

Not tuned by vecmigrate, which knows it by the fingerprint `{fingerprint}`.
"""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: the directory, how many files are in it, and how many bytes they are."""

    folder: Path
    files: int
    size: int


def export_model(entry: ModelEntry, folder: Path) -> Exported:
    """Copy the model into `folder`, which must not be there yet, and check that the copy is the same model.

    Raises `UsageError` for a folder that is in the way, `ModelError` when the model can't be had or has changed since it was
    catalogued, or the copy can't be written.
    """
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"{folder} is there already", hint="name a folder that isn't there yet, or move that one away")
    source = find_model(entry.path)
    draft = folder.with_name(f".{folder.name}.part-{os.getpid()}")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _copy(source, draft)
        _write_papers(entry, draft)
        _refuse_another(entry, draft)
        draft.rename(folder)
    except OSError as error:
        raise ModelError(
            f"{folder} cannot be written: {error.strerror or error}", hint="free some space, or name another folder"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return Exported(folder, len(sizes), sum(sizes))


def _copy(source: Path, target: Path) -> None:
    target.mkdir()
    for path in sorted(source.rglob("*")):
        inner = path.relative_to(source)
        hidden = any(part.startswith(".") or part in _OTHER_FORMS for part in inner.parts)
        if not hidden and path.is_file() and any(PurePath(path.name).match(pattern) for pattern in _LOADED):
            (target / inner).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / inner)


def _write_papers(entry: ModelEntry, folder: Path) -> None:
    """The card where there is none, and the record without the places of this machine."""
    if not (folder / CARD).is_file():
        card = _PLAIN_CARD.format(name=entry.model.name, fingerprint=entry.model.fingerprint)
        (folder / CARD).write_text(card, encoding="utf-8")
    (folder / RECORD).unlink(missing_ok=True)
    told = replace(entry, model=replace(entry.model, source=entry.model.name), lineage=_placeless(dict(entry.lineage)))
    write_record(folder, told, local=True)


def _placeless(value: Any) -> Any:
    """The same with absolute paths cut to their last part: they say who made it and where, and lead nowhere elsewhere."""
    if isinstance(value, dict):
        return {key: _placeless(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_placeless(inner) for inner in value]
    return PurePath(value).name if isinstance(value, str) and PurePath(value).is_absolute() else value


def _refuse_another(entry: ModelEntry, copy: Path) -> None:
    m = entry.model
    traits = Traits(m.dimension, m.max_tokens, m.precision, m.query_prompt, m.document_prompt)
    if fingerprint_directory(copy, traits) != m.fingerprint:
        raise ModelError(f"{entry.path} is no longer the model {m.name!r}", hint=f"vecmigrate models add {entry.path}")
