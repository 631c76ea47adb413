"""A cross-encoder that tells unjudged answers from hard negatives: it reads query and chunk together, which no embedding does.

It is a sentence-transformers `CrossEncoder` with one output, loaded as the embedding models are: safetensors only, nobody's code.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vecmigrate.encoding.loading import INSTALL_HINT, find_model, quiet_bars
from vecmigrate.errors import MissingDependency, ModelError

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

_HINT = "[dataset] negative_filter takes a sentence-transformers cross-encoder: its directory or hub name"


class PairScorer(Protocol):
    """Says how well a text answers a query."""

    @property
    def name(self) -> str:
        """What it is called in reports."""
        ...

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
        """For each (query, text), 0 to 1. Shape (len(pairs),)."""
        ...


def load_cross_encoder(source: str) -> PairScorer:
    """The cross-encoder of a directory or hub name.

    Raises `ModelError` when it can't be had, isn't safe, or is no cross-encoder with one output; `MissingDependency` without
    sentence-transformers.
    """
    folder = find_model(source)
    _refuse_another_kind(folder, source)
    model = _open(folder, source)
    if model.num_labels != 1:
        raise ModelError(f"{source} gives {model.num_labels} scores for a pair; one is needed: how well the text answers", hint=_HINT)
    return _CrossEncoderScorer(source, model)


def _refuse_another_kind(folder: Path, source: str) -> None:
    """The library would give any model a head of random weights, and its scores would look like scores."""
    if _json(folder / "config_sentence_transformers.json").get("model_type") == "CrossEncoder":
        return
    architectures = _json(folder / "config.json").get("architectures") or []
    if not any(str(name).endswith("ForSequenceClassification") for name in architectures):
        raise ModelError(f"{source} is no cross-encoder: it has no head that scores a pair of texts", hint=_HINT)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _open(folder: Path, source: str) -> CrossEncoder:
    try:
        from sentence_transformers import CrossEncoder
    except ModuleNotFoundError as error:
        raise MissingDependency(f"loading a cross-encoder needs the package {error.name!r}", hint=INSTALL_HINT) from error
    from vecmigrate.encoding.sentence_transformer import choose_device

    try:
        with quiet_bars():
            model: CrossEncoder = CrossEncoder(
                str(folder),
                device=choose_device("auto"),
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True},
            )
            return model
    except Exception as error:  # whatever a damaged or foreign directory provokes in three libraries
        why = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
        raise ModelError(f"{source} cannot be loaded as a cross-encoder: {why}", hint=_HINT) from error


class _CrossEncoderScorer:
    def __init__(self, name: str, model: CrossEncoder) -> None:
        self._name = name
        self._model = model

    @property
    def name(self) -> str:
        return self._name

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
        """The sigmoid of the model's output, whatever activation it was saved with."""
        import torch

        if not pairs:
            return np.zeros(0)
        readable = [(_readable(query), _readable(text)) for query, text in pairs]
        raw = self._model.predict(readable, activation_fn=torch.nn.Identity(), show_progress_bar=False)
        logits = np.asarray(raw, dtype=np.float64).reshape(-1)
        if not np.isfinite(logits).all():
            raise ModelError(f"{self._name} gave a score that is not a number", hint="its weights are damaged, or its precision is too low")
        scores: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-np.clip(logits, -700, 700)))
        return scores


def _readable(text: str) -> str:
    """No tokenizer takes a lone surrogate."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
