"""The model versions of a workspace: one folder each, with a record that says what it is and where it came from.

models/
  all-minilm-l6-v2/vecmigrate.json          an external model: the record names its directory or hub name
  docs-tuned-1/vecmigrate.json  modules.json  model.safetensors …     a model trained here: the folder is the model
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vecmigrate.config import EncodingSection
from vecmigrate.encoding.fingerprint import Traits, fingerprint_directory
from vecmigrate.errors import ModelError, UsageError
from vecmigrate.versions import ModelVersion

RECORD = "vecmigrate.json"
FORMAT = 1
SHORTEST_PREFIX = 8
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_LIST_HINT = "vecmigrate models list shows what is there; vecmigrate models add SOURCE adds one"
_SAYS_NOTHING = frozenset({"model", "models", "final", "output", "checkpoint", "best"})


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model version at hand. `path` is its directory, or the hub name it is loaded from; `verdict` is None unless it was trained here.

    `asked` holds the prompts that were given when it was added; None stands for the model's own.
    """

    model: ModelVersion
    path: str
    verdict: str | None = None
    lineage: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    asked: tuple[str | None, str | None] = (None, None)


class ModelCatalog:
    """The folder of model versions. Every change is one atomic rename, so a killed process leaves no half entry."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def entries(self) -> Sequence[ModelEntry]:
        """All entries, oldest first. Raises `ModelError` for a record that can't be read."""
        if not self.folder.is_dir():
            return ()
        found = [self._read(path) for path in sorted(self.folder.glob(f"[a-z0-9]*/{RECORD}"))]
        return tuple(sorted(found, key=lambda entry: (entry.created_at, entry.model.name)))

    def find(self, reference: str) -> ModelEntry | None:
        """The entry of a name, of a fingerprint's first 8 or more digits, or of a directory or hub name; None where there is none.

        Raises `ModelError` when the digits fit two different models.
        """
        entries = self.entries()
        named = [e for e in entries if e.model.name == reference]
        found = named or _by_fingerprint(entries, reference) or _by_source(entries, reference)
        return found[0] if found else None

    def get(self, reference: str) -> ModelEntry:
        """As `find`, but raises `ModelError` where there is none."""
        entry = self.find(reference)
        if entry is None:
            there = ", ".join(e.model.name for e in self.entries()) or "none"
            raise ModelError(f"there is no model {reference!r}; there are: {there}", hint=_LIST_HINT)
        return entry

    def add(
        self,
        source: str,
        *,
        name: str | None = None,
        settings: EncodingSection,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
    ) -> ModelEntry:
        """Load the model once to learn its identity, and record it. Idempotent. Raises as `load_encoder` does.

        Raises `UsageError` for a name that is taken by another model, or isn't one.
        """
        return self._add(_known_of(source, (query_prompt, document_prompt)), name, settings)

    def ensure(
        self,
        reference: str,
        *,
        name: str | None = None,
        settings: EncodingSection,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
    ) -> ModelEntry:
        """The entry of this reference with these prompts and at the configured precision, added if it isn't there yet.

        A directory whose files have changed since it was added counts as another model.
        """
        known = self.find(reference)
        wanted = known or _known_of(_absolute(reference), (None, None))
        if (query_prompt, document_prompt) != (None, None):
            wanted = replace(wanted, asked=(query_prompt, document_prompt))
        for entry in self.entries():
            same = (entry.path, entry.asked, entry.model.precision) == (wanted.path, wanted.asked, settings.precision)
            if same and name in (None, entry.model.name) and _unchanged(entry):
                return entry
        return self._add(wanted, name, settings)

    def _add(self, wanted: ModelEntry, name: str | None, settings: EncodingSection) -> ModelEntry:
        """Load it, and record what it is; verdict and lineage are those of `wanted`, which may be the same model at another precision."""
        from vecmigrate.encoding.sentence_transformer import load_encoder

        if name is not None:
            check_name(name)
        query_prompt, document_prompt = wanted.asked
        model = load_encoder(wanted.path, settings, query_prompt=query_prompt, document_prompt=document_prompt).model
        if wanted.model.fingerprint == model.fingerprint:  # of another precision or with other prompts, the documents are others too
            model = replace(model, documents=wanted.model.documents)
        same = [e for e in self.entries() if e.model.fingerprint == model.fingerprint and name in (None, e.model.name)]
        if same:
            return same[0]
        chosen = name or self._free_name(name_from(wanted.path), model.fingerprint)
        return self.register(replace(wanted, model=replace(model, name=chosen), path=model.source, created_at=datetime.now(UTC)))

    def register(self, entry: ModelEntry, *, files: Path | None = None) -> ModelEntry:
        """Record a model whose identity is known. `files` is a finished model directory, which is moved in.

        Raises `UsageError` when the name is taken by another model. Registering the same model again keeps the first record.
        """
        home = self._home(entry.model.name)
        if (home / RECORD).is_file():
            there = self._read(home / RECORD)
            if there.model.fingerprint != entry.model.fingerprint:
                raise UsageError(f"the name {entry.model.name!r} is taken by another model", hint="choose another with --name")
            return there
        if home.exists():  # left by hand, without a record
            raise UsageError(f"{home} is in the way: it holds no model of ours", hint="move it away, or choose another --name")
        staged = self._staged(entry.model.name, files)
        write_record(staged, entry, local=files is not None)
        staged.rename(home)
        return self._read(home / RECORD)

    def _staged(self, name: str, files: Path | None) -> Path:
        """A folder in the catalog, under a name that is no entry's, with the files in it."""
        staged = self.folder / f".adding-{name}-{os.getpid()}"
        shutil.rmtree(staged, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        if files is None:
            staged.mkdir()
        else:
            shutil.move(files, staged)
        return staged

    def _home(self, name: str) -> Path:
        check_name(name)
        home = self.folder / name
        if home.is_symlink():
            raise ModelError(
                f"{home} is a link, which could lead out of the workspace", hint="add the model it points to under a name of its own"
            )
        return home

    def _free_name(self, name: str, fingerprint: str) -> str:
        return name if not (self.folder / name).exists() else f"{name[:54]}-{fingerprint[:8]}"

    def _read(self, path: Path) -> ModelEntry:
        return _recorded(path, self._home(path.parent.name).resolve())


def check_name(name: str) -> None:
    """Raise `UsageError` unless the name is a plain one, which can lead nowhere else."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a model name", hint="use 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit"
        )


def name_from(source: str) -> str:
    """A valid name out of a directory or hub name: its last part that says something."""
    parts = [part for part in re.split(r"[/\\]+", source.strip()) if part.strip(".~")]
    telling = [part for part in parts if part.lower() not in _SAYS_NOTHING]
    plain = re.sub(r"[^a-z0-9._-]+", "-", (telling or parts or ["model"])[-1].lower()).strip("._-")
    return plain[:64] or "model"


def _by_fingerprint(entries: Sequence[ModelEntry], reference: str) -> list[ModelEntry]:
    if len(reference) < SHORTEST_PREFIX or not re.fullmatch(r"[0-9a-f]+", reference):
        return []
    found = [e for e in entries if e.model.fingerprint.startswith(reference)]
    if len({e.model.fingerprint for e in found}) > 1:
        raise ModelError(f"{reference} begins {len(found)} fingerprints", hint="give more digits, or the name")
    return found


def _by_source(entries: Sequence[ModelEntry], reference: str) -> list[ModelEntry]:
    return [e for e in entries if e.path == _absolute(reference)]


def _absolute(source: str) -> str:
    local = Path(source).expanduser()
    return str(local.resolve()) if source and local.exists() else source


def _known_of(source: str, asked: tuple[str | None, str | None]) -> ModelEntry:
    """What is known of a source before it is loaded: verdict, lineage and whose document vectors it shares, of a directory that was
    trained in another workspace, unless its files were changed since.
    """
    folder = Path(source).expanduser()
    unknown = ModelEntry(_unknown(source), source, asked=asked)
    if not (folder / RECORD).is_file():
        return unknown
    trained = _recorded(folder / RECORD, folder)
    return replace(unknown, model=trained.model, verdict=trained.verdict, lineage=trained.lineage) if _unchanged(trained) else unknown


def _recorded(record: Path, home: Path) -> ModelEntry:
    """The entry that a record describes. Raises `ModelError` when it can't be read."""
    try:
        data = json.loads(record.read_text(encoding="utf-8"))
        model = ModelVersion.from_dict(data["model"])
        where = str(home) if data["local"] else model.source
        return ModelEntry(
            model=replace(model, source=where),
            path=where,
            verdict=data["verdict"],
            lineage=data["lineage"],
            created_at=datetime.fromisoformat(data["created_at"]),
            asked=(data["asked"][0], data["asked"][1]),
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ModelError(f"{record} can't be read: {error}", hint=f"remove {record.parent}, then add or train the model again") from error


def _unknown(source: str) -> ModelVersion:
    return ModelVersion(name="", fingerprint="", source=source, dimension=0)


def _unchanged(entry: ModelEntry) -> bool:
    """Whether the directory still is what was recorded. A hub name is checked when it is loaded."""
    folder = Path(entry.path)
    if not folder.is_dir():
        return True
    m = entry.model
    traits = Traits(m.dimension, m.max_tokens, m.precision, m.query_prompt, m.document_prompt)
    return fingerprint_directory(folder, traits) == m.fingerprint


def _plain(entry: ModelEntry) -> dict[str, Any]:
    return {
        "model": entry.model.to_dict(),
        "verdict": entry.verdict,
        "lineage": dict(entry.lineage),
        "created_at": entry.created_at.isoformat(),
        "asked": list(entry.asked),
    }


def write_record(folder: Path, entry: ModelEntry, *, local: bool) -> None:
    """Write the record of a model into `folder`, which is the model's own directory where `local`."""
    _write(folder / RECORD, {"format": FORMAT, "local": local, **_plain(entry)})


def _write(path: Path, data: Mapping[str, Any]) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=2, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
