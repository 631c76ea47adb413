"""What a rung made becomes a model version: its identity, its verdict with the reasons, and how it came about."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np

from vecmigrate.config import RungName
from vecmigrate.encoding.catalog import ModelEntry
from vecmigrate.encoding.sentence_transformer import load_encoder
from vecmigrate.training.card import write_card
from vecmigrate.training.request import TrainingRequest
from vecmigrate.training.rungs import Climbed, Ground
from vecmigrate.training.verdict import CONFIDENCE, interval_of_mean

SMALLEST_SLICE = 20
_LIBRARIES = ("vecmigrate", "sentence-transformers", "transformers", "torch")


def rung_name(name: str, rung: RungName) -> str:
    """What a rung's model is called: the whole model by the training's name, the others by a name of their own."""
    return name if rung == "full" else f"{name[:56]}-{rung}"


def register(climbed: Climbed, ground: Ground, request: TrainingRequest, run_id: str, name: str) -> ModelEntry:
    """Record the model in the catalog. Its documents are the base's where only the query side was tuned."""
    base = request.base.model
    called = rung_name(name, climbed.rung)
    model = load_encoder(
        str(climbed.files), request.encoding, query_prompt=base.query_prompt, document_prompt=base.document_prompt, name=called
    ).model
    if climbed.rung != "full" and model.precision == base.precision:
        model = replace(model, documents=base.document_fingerprint)
    same_name = request.catalog.find(called)
    if same_name is not None and same_name.model.fingerprint != model.fingerprint:  # made afresh on another number of cores
        model = replace(model, name=f"{called[:54]}-{model.fingerprint[:8]}")
    lineage = {"run": run_id, **request.lineage, **lineage_of(climbed, ground, request)}
    entry = ModelEntry(model, str(climbed.files), verdict=str(climbed.finding.verdict), lineage=lineage, created_at=datetime.now(UTC))
    write_card(entry, climbed.files)
    made = request.catalog.register(entry, files=climbed.files)
    shutil.rmtree(climbed.files, ignore_errors=True)
    return made


def lineage_of(climbed: Climbed, ground: Ground, request: TrainingRequest) -> dict[str, Any]:
    """The record, JSON-ready."""
    fitting = ground.fitting
    return {
        "rung": climbed.rung,
        "base": {"name": request.base.model.name, "fingerprint": request.base.model.fingerprint, "source": request.base.path},
        "settings": request.training.model_dump(mode="json", exclude={"base"}),
        "data": {
            "pairs": len(fitting.examples.rows),
            "negatives": fitting.examples.negatives,
            "max_tokens": fitting.max_tokens,
            "notes": list(fitting.examples.notes),
        },
        "scores": _scores(climbed, ground),
        "probe": _probe(climbed, ground),
        "slices": _slices(climbed, ground),
        "reasons": list(climbed.finding.reasons),
        "choice": dict(climbed.told),
        "needs": needs(climbed.rung, request),
        "seconds": climbed.seconds,
        "libraries": {name: version(name) for name in _LIBRARIES},
    }


def needs(rung: RungName, request: TrainingRequest) -> str:
    """What a cutover to the rung's model asks for."""
    if rung != "full":
        return f"re-embeds nothing where {request.base.model.name} serves: it searches that model's vectors"
    chunks = request.chunks
    return f"re-embeds {chunks:,} chunks beside the live index" if chunks else "re-embeds every chunk beside the live index"


def _scores(climbed: Climbed, ground: Ground) -> dict[str, Any]:
    found = climbed.finding
    return {
        "measure": "nDCG@10",
        "queries": len(ground.base_dev),
        "pool": len(ground.fitting.search.pool),
        "base": float(np.mean(ground.base_dev)),
        "tuned": float(np.mean(climbed.dev)),
        "difference": found.gain,
        "interval": list(found.interval),
        "own_difference": found.own_gain,
        "own_interval": list(found.own_interval),
        "confidence": CONFIDENCE,
    }


def _probe(climbed: Climbed, ground: Ground) -> dict[str, Any]:
    if ground.probe is None or climbed.probe is None:
        return {}
    return {
        "measure": "nDCG@10",
        "queries": len(ground.probe.queries),
        "base": ground.base_probe,
        "tuned": climbed.probe,
        "margin": ground.fitting.settings.probe_margin,
    }


def _slices(climbed: Climbed, ground: Ground) -> Mapping[str, Any]:
    """The dev queries of each slice: worse where the whole interval lies below zero."""
    members: dict[str, list[int]] = {}
    for place, names in enumerate(ground.fitting.search.slices):
        for name in names:
            members.setdefault(name, []).append(place)
    return {name: _slice(climbed, ground, places) for name, places in sorted(members.items()) if len(places) >= SMALLEST_SLICE}


def _slice(climbed: Climbed, ground: Ground, places: list[int]) -> dict[str, Any]:
    differences = (climbed.dev - ground.base_dev)[places]
    groups = [ground.groups[place] for place in places]
    low, high = interval_of_mean(differences, groups)
    return {"queries": len(places), "difference": float(differences.mean()), "interval": [low, high], "worse": high < 0}
