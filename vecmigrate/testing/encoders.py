"""Encoders for tests: deterministic, instant, without torch. Texts that share words come out near each other."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vecmigrate.encoding.encoder import Encoder
from vecmigrate.errors import ModelError
from vecmigrate.store import Vectors
from vecmigrate.versions import IndexVersion, ModelVersion, fingerprint_of

_WORD = re.compile(r"\w+")


class HashingEncoder:
    """A bag of words: each word has a pseudo-random direction that hangs on `salt`, a text is their normalised sum.

    Encoders of another salt or dimension are another space, with another fingerprint. Only the first `max_tokens` words are read.
    """

    def __init__(self, dimension: int = 64, salt: str = "", *, max_tokens: int | None = None) -> None:
        if dimension < 1:
            raise ModelError(f"a dimension of {dimension} is no space", hint="HashingEncoder(dimension=64)")
        parts = {"encoder": "vecmigrate.testing.HashingEncoder", "dimension": dimension, "salt": salt, "max_tokens": max_tokens}
        self._salt = salt
        self._model = ModelVersion(
            name=f"hashing-{salt or 'plain'}-{dimension}",
            fingerprint=fingerprint_of(parts),
            source="vecmigrate.testing",
            dimension=dimension,
            max_tokens=max_tokens,
        )

    @property
    def model(self) -> ModelVersion:
        """Its identity: dimension, salt and `max_tokens`."""
        return self._model

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension), float32, norms 1."""
        return self._encode(texts)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """The same as `encode_queries`: there is no prompt."""
        return self._encode(texts)

    def count_truncated(self, texts: Sequence[str]) -> int:
        """How many texts have more than `max_tokens` words."""
        limit = self._model.max_tokens
        return 0 if limit is None else sum(len(_words(text)) > limit for text in texts)

    def _encode(self, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), self._model.dimension), dtype=np.float32)
        for place, text in enumerate(texts):
            words = _words(text)[: self._model.max_tokens]
            total = np.sum([_direction(self._salt, word, self._model.dimension) for word in words], axis=0)
            norm = float(np.linalg.norm(total))
            if norm == 0:
                raise ModelError(f"text {place} has a zero vector", hint="give HashingEncoder another salt or a larger dimension")
            vectors[place] = total / norm
        return vectors


class TranslatingEncoder:
    """The documents of another encoder, and queries in which some words are read as others: tuned on the query side alone.

    A version under it shares the vectors of a version under `base`: a query for "moggy" finds the documents on cats, where `words` says so.
    """

    def __init__(self, base: HashingEncoder, words: Mapping[str, str]) -> None:
        parts = {"encoder": "vecmigrate.testing.TranslatingEncoder", "base": base.model.fingerprint, "words": dict(words)}
        self._base = base
        self._words = dict(words)
        self._model = replace(
            base.model, name=f"{base.model.name}-tuned", fingerprint=fingerprint_of(parts), documents=base.model.document_fingerprint
        )

    @property
    def model(self) -> ModelVersion:
        """Its identity, with the base's as that of its documents."""
        return self._model

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension), after the words were translated."""
        return self._base.encode_queries([" ".join(self._words.get(word, word) for word in _words(text)) for text in texts])

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """The base's."""
        return self._base.encode_documents(texts)

    def count_truncated(self, texts: Sequence[str]) -> int:
        """The base's."""
        return self._base.count_truncated(texts)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower()) or [text]


@lru_cache(maxsize=65536)
def _direction(salt: str, word: str, dimension: int) -> NDArray[np.float64]:
    digest = hashlib.shake_256(f"{salt}\0{word}".encode("utf-8", "surrogatepass")).digest(4 * dimension)
    return np.frombuffer(digest, dtype="<u4").astype(np.float64) / 2**31 - 1.0


@dataclass(frozen=True, slots=True)
class FixedEncoders:
    """An `EncoderSource` over encoders that are there already, by fingerprint."""

    by_fingerprint: Mapping[str, Encoder]

    @classmethod
    def of(cls, *encoders: Encoder) -> Self:
        """The source that knows exactly these."""
        return cls({encoder.model.fingerprint: encoder for encoder in encoders})

    def encoder_for(self, version: IndexVersion) -> Encoder:
        """The encoder of the version's fingerprint. Raises `ModelError` when it is not among them or is not what it is filed under."""
        wanted = version.model.fingerprint
        found = self.by_fingerprint.get(wanted)
        if found is None:
            raise ModelError(f"no encoder for {version.name} ({version.model.name})", hint="give FixedEncoders its encoder")
        if found.model.fingerprint != wanted:
            raise ModelError(f"the encoder filed for {version.name} is another model", hint="file encoders under their own fingerprints")
        return found
