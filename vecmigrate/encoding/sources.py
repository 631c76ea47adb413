"""The encoder of an index version: found in the catalog or at its source, proved by its fingerprint, kept loaded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vecmigrate.config import EncodingSection
from vecmigrate.encoding.catalog import ModelCatalog
from vecmigrate.encoding.encoder import Encoder
from vecmigrate.errors import ModelError
from vecmigrate.versions import IndexVersion, ModelVersion

if TYPE_CHECKING:
    from vecmigrate.encoding.sentence_transformer import SentenceTransformerEncoder

KEPT = 4
"""Encoders that stay loaded: control, candidate, and one version that is just leaving on either side."""
_SHOWN = 12


class CatalogEncoders:
    """An `EncoderSource` over the catalog. Safe for many threads: each model is loaded once, and a loaded one is found without waiting.

    Device, threads and budget are the settings'; precision and prompts are the version's, because they are part of what it is.
    """

    def __init__(self, catalog: ModelCatalog, settings: EncodingSection) -> None:
        self._catalog = catalog
        self._settings = settings
        self._loaded: OrderedDict[str, SentenceTransformerEncoder] = OrderedDict()
        self._loading: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def encoder_for(self, version: IndexVersion) -> Encoder:
        """See `EncoderSource.encoder_for`."""
        return self.encoder_of(version.model, made=version.name)

    def encoder_of(self, model: ModelVersion, *, made: str = "") -> Encoder:
        """The encoder of a model version; `made` says in an error what hangs on it, `docs@v2`."""
        with self._guard:
            ready = self._take(model.fingerprint)
            lock = self._loading.setdefault(model.fingerprint, threading.Lock())
        if ready is not None:
            return ready
        with lock:
            with self._guard:
                ready = self._take(model.fingerprint)
            if ready is None:
                ready = self._load(model, made or model.name)
                self._keep(ready)
        return ready

    def _take(self, fingerprint: str) -> SentenceTransformerEncoder | None:
        encoder = self._loaded.get(fingerprint)
        if encoder is not None:
            self._loaded.move_to_end(fingerprint)
        return encoder

    def _keep(self, encoder: SentenceTransformerEncoder) -> None:
        with self._guard:
            self._loaded[encoder.model.fingerprint] = encoder
            while len(self._loaded) > KEPT:
                self._loaded.popitem(last=False)

    def _load(self, model: ModelVersion, made: str) -> SentenceTransformerEncoder:
        """The first place that has the model. Raises the last place's `ModelError` when none does."""
        problem = ModelError(f"no source is known for the model that made {made}", hint="vecmigrate models add SOURCE")
        for source in self._places(model):
            try:
                encoder = self._load_from(source, model)
            except ModelError as error:
                problem = error
                continue
            if encoder.model.fingerprint == model.fingerprint:
                return encoder
            problem = _not_the_same(source, made, expected=model.fingerprint, found=encoder.model.fingerprint)
        raise problem

    def _load_from(self, source: str, model: ModelVersion) -> SentenceTransformerEncoder:
        from vecmigrate.encoding.sentence_transformer import load_encoder

        settings = self._settings.model_copy(update={"precision": model.precision})
        return load_encoder(source, settings, query_prompt=model.query_prompt, document_prompt=model.document_prompt, name=model.name)

    def _places(self, model: ModelVersion) -> Iterator[str]:
        """Where to look: catalogued under this fingerprint first, because a workspace may have moved; then the recorded source."""
        seen = set()
        for source in [e.path for e in self._catalog.entries() if e.model.fingerprint == model.fingerprint] + [model.source]:
            if source and source not in seen:
                seen.add(source)
                yield source


def _not_the_same(source: str, made: str, *, expected: str, found: str) -> ModelError:
    return ModelError(
        f"{source} is not the model that made {made}: its fingerprint is {found[:_SHOWN]}, expected {expected[:_SHOWN]}",
        hint="its files, prompts or precision have changed; bring the old ones back, or build a new version with this model",
    )
