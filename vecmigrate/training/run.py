"""One training from request to catalogued model: check, fit, judge, register. Each part can be killed; the next call goes on."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from vecmigrate.dataset.pairs import DevSet, TrainingPair
from vecmigrate.encoding.catalog import ModelEntry, check_name
from vecmigrate.encoding.fingerprint import Traits, fingerprint_directory, module_folders, weight_files
from vecmigrate.encoding.loading import find_model
from vecmigrate.encoding.sentence_transformer import SentenceTransformerEncoder, load_encoder
from vecmigrate.encoding.workers import available_cores
from vecmigrate.errors import ModelError, PreflightRefused, UsageError, VecmigrateError
from vecmigrate.training.checkpoints import History, RunFolder
from vecmigrate.training.devsearch import DevSearch, dev_search
from vecmigrate.training.examples import Examples, examples_of, shortened, training_length
from vecmigrate.training.fit import Fitting, fit
from vecmigrate.training.request import Progress, TrainingRequest, TrainingResult
from vecmigrate.training.verdict import CONFIDENCE, verdict_on
from vecmigrate.versions import fingerprint_of

RULE = 1
"""Grows when the same request would train differently, so that no run resumes under another rule."""
LENGTH_CAPS: Mapping[str, int] = {"cpu": 128}
LENGTH_CAP = 256
_SPACE_FACTOR = 8
"""A checkpoint holds the weights and twice as much of the optimizer's; for a moment there are two, and two best models."""
_LIBRARIES = ("vecmigrate", "sentence-transformers", "transformers", "torch")
_AGAIN = "the same command goes on from the last checkpoint"


def train(pairs: Sequence[TrainingPair], dev: DevSet, request: TrainingRequest, *, progress: Progress | None = None) -> TrainingResult:
    """Fine-tune the base on the pairs, stop by the dev queries, and register the best model with its verdict and lineage.

    Killed or interrupted, the same call resumes; finished, it returns what it has made. Raises `DataError` for pairs or dev queries that
    can't be used, `ModelError` for a base that can't, `PreflightRefused` for too little disk, `UsageError` for a name that is taken.
    """
    run_id = identify(pairs, dev, request)
    run = RunFolder(request.folder / run_id[:16])
    made = None if request.fresh else _made_before(request, run_id)
    if made is not None:
        run.clear()
        return TrainingResult(made, made_before=True)
    name = _name(request, run_id)
    examples = examples_of(pairs, seed=request.training.seed)
    search = dev_search(dev, seed=request.training.seed)
    if request.fresh:
        run.clear()
    with _explained(run):
        fitting = _prepare(examples, search, request, run, progress)
        history, resumed_at = fit(fitting)
        entry = _register(fitting, history, request, run_id, name)
        run.clear()
    return TrainingResult(entry, resumed_at=resumed_at)


def identify(pairs: Sequence[TrainingPair], dev: DevSet, request: TrainingRequest) -> str:
    """What makes two trainings the same: data, base, settings, and the precision that the result is to have."""
    return fingerprint_of(
        {
            "rule": RULE,
            "base": request.base.model.fingerprint,
            "pairs": [asdict(pair) for pair in pairs],
            "dev": [[[q.id, q.text] for q in dev.queries], [[j.query_id, j.chunk_id, j.grade] for j in dev.judgments], dict(dev.pool)],
            "settings": request.training.model_dump(exclude={"base"}),
            "precision": request.encoding.precision,
        }
    )


def _made_before(request: TrainingRequest, run_id: str) -> ModelEntry | None:
    made = [e for e in request.catalog.entries() if e.lineage.get("run") == run_id and request.name in (None, e.model.name)]
    return made[0] if made else None


def _name(request: TrainingRequest, run_id: str) -> str:
    """The model's name. Raises `UsageError` now, not after the training, where it is taken."""
    if request.name is None:
        return f"{request.base.model.name[:50]}-tuned-{run_id[:6]}"
    check_name(request.name)
    taken = [e for e in request.catalog.entries() if e.model.name == request.name and e.lineage.get("run") != run_id]
    if taken:
        raise UsageError(f"the name {request.name!r} is taken by another model", hint="choose another with --name")
    return request.name


# ── before ──


def _prepare(examples: Examples, search: DevSearch, request: TrainingRequest, run: RunFolder, progress: Progress | None) -> Fitting:
    encoder = _load_base(request)
    _check_space(find_model(request.base.path), run.path)
    max_tokens = _max_tokens(encoder, examples, request)
    return Fitting(
        encoder=encoder,
        examples=examples,
        search=replace(search, pool=shortened(search.pool, encoder.pipeline, max_tokens)),
        settings=request.training,
        max_tokens=max_tokens,
        threads=request.encoding.threads or available_cores(),
        run=run,
        progress=progress,
    )


def _load_base(request: TrainingRequest) -> SentenceTransformerEncoder:
    """The base in float32, whatever precision it serves in, with its entry's prompts made its own.

    Raises `ModelError` when its files are not what was registered.
    """
    m = request.base.model
    traits = Traits(m.dimension, m.max_tokens, m.precision, m.query_prompt, m.document_prompt)
    if fingerprint_directory(find_model(request.base.path), traits) != m.fingerprint:
        raise ModelError(f"{request.base.path} is no longer the model {m.name!r}", hint=f"vecmigrate models add {request.base.path}")
    settings = request.encoding.model_copy(update={"precision": "float32"})
    encoder = load_encoder(request.base.path, settings, query_prompt=m.query_prompt, document_prompt=m.document_prompt, name=m.name)
    encoder.pipeline.prompts = {"query": m.query_prompt, "document": m.document_prompt}
    return encoder


def _check_space(model: Path, run: Path) -> None:
    """Raises `PreflightRefused` where checkpoints won't fit."""
    weights = sum(file.stat().st_size for path in module_folders(model) for file in weight_files(model / path))
    run.mkdir(parents=True, exist_ok=True, mode=0o700)
    free = shutil.disk_usage(run).free
    if free < weights * _SPACE_FACTOR:
        needed, there = (size / 1e9 for size in (weights * _SPACE_FACTOR, free))
        raise PreflightRefused(
            f"training needs {needed:.1f} GB for its checkpoints in {run.parent}; {there:.1f} GB are free",
            hint="make room, or set [workspace] to a larger disk",
        )


def _max_tokens(encoder: SentenceTransformerEncoder, examples: Examples, request: TrainingRequest) -> int:
    tokenizer: Any = getattr(encoder.pipeline, "tokenizer", None)
    cap = LENGTH_CAPS.get(encoder.pipeline.device.type, LENGTH_CAP)
    if not callable(tokenizer):
        return request.training.max_tokens or cap
    counts = [len(ids) for row in examples.rows for ids in tokenizer(list(row[:2]), truncation=False, verbose=False)["input_ids"]]
    return training_length(counts, longest=encoder.model.max_tokens, wanted=request.training.max_tokens, cap=cap)


# ── after ──


def _register(fitting: Fitting, history: History, request: TrainingRequest, run_id: str, name: str) -> ModelEntry:
    files = fitting.run.best(history.best_step or 0)
    model = load_encoder(str(files), request.encoding, name=name).model
    same_name = request.catalog.find(name)
    if same_name is not None and same_name.model.fingerprint != model.fingerprint:  # made afresh on another number of cores
        model = replace(model, name=f"{name[:54]}-{model.fingerprint[:8]}")
    verdict, interval = verdict_on(np.array(history.base), np.array(history.best))
    lineage = {"run": run_id, **request.lineage, **_lineage(fitting, history, request, interval)}
    entry = ModelEntry(model, str(files), verdict=str(verdict), lineage=lineage, created_at=datetime.now(UTC))
    return request.catalog.register(entry, files=files)


def _lineage(fitting: Fitting, history: History, request: TrainingRequest, interval: tuple[float, float]) -> dict[str, Any]:
    return {
        "base": {"name": request.base.model.name, "fingerprint": request.base.model.fingerprint, "source": request.base.path},
        "settings": request.training.model_dump(exclude={"base"}),
        "data": {
            "pairs": len(fitting.examples.rows),
            "negatives": fitting.examples.negatives,
            "max_tokens": fitting.max_tokens,
            "notes": list(fitting.examples.notes),
        },
        "scores": {
            "measure": "nDCG@10",
            "queries": len(fitting.search.queries),
            "pool": len(fitting.search.pool),
            "base": float(np.mean(history.base)),
            "tuned": float(np.mean(history.best)),
            "interval": list(interval),
            "confidence": CONFIDENCE,
            "step": history.best_step,
            "steps": history.last_step,
            "history": [[0, float(np.mean(history.base))], *([step, score] for step, score in history.steps)],
        },
        "seconds": history.seconds,
        "libraries": {name: version(name) for name in _LIBRARIES},
    }


# ── when it goes wrong ──


@contextmanager
def _explained(run: RunFolder) -> Iterator[None]:
    """Say what is kept and how to go on."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        stopped.add_note(f"interrupted: {_AGAIN}")
        raise
    except VecmigrateError:
        raise
    except (OSError, RuntimeError) as error:
        if _is_full(error):
            raise PreflightRefused(f"the disk of {run.path.parent} is full", hint=f"make room; {_AGAIN}") from error
        if "out of memory" in str(error).lower():
            raise ModelError("training ran out of memory", hint="lower [training] batch_size or max_tokens") from error
        raise
    except MemoryError as error:
        raise ModelError("training ran out of memory", hint="lower [training] batch_size or max_tokens") from error


def _is_full(error: Exception) -> bool:
    return getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
