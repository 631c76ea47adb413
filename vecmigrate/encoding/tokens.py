"""Texts to the model's input: a private copy of the fast tokenizer where it proves to do the same, the library's own way otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from vecmigrate.encoding.batching import Batch, Indices

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Encoding, Tokenizer

CHARACTERS_PER_TOKEN = 4
"""What a length in characters is taken for where tokens can't be counted beforehand."""

PROBES = (
    "Wie heißt das?  Ünïcode, CamelCase and\n\ttabs ",
    " x",
    "https://example.org/a_b-c?d=1 — 東京 2026 … 🙂",
    "one two three four five six seven eight nine ten " * 120,
)
"""Texts on which the private tokenizer must agree with the library's preprocessing, or it isn't used."""


class TokenisedTexts(Protocol):
    """A window of texts, measured, from which batches are drawn."""

    @property
    def lengths(self) -> Indices:
        """Tokens of each text, shape (n,)."""
        ...

    def features(self, batch: Batch) -> dict[str, Any]:
        """The model's input for one batch; tensors of shape (rows, width)."""
        ...


class Tokeniser(Protocol):
    """Turns texts into a `TokenisedTexts`. Safe to call from several threads."""

    def read(self, texts: Sequence[str]) -> TokenisedTexts:
        """Tokenise with this tokeniser's prompt, cut at the model's maximum length."""
        ...

    def count_truncated(self, texts: Sequence[str]) -> int:
        """How many texts lost their ends."""
        ...


@dataclass(frozen=True, slots=True)
class Padding:
    """How rows are filled up: the value for each input the model takes, and the side."""

    values: Mapping[str, int]
    left: bool


class FastTokeniser:
    """A copy of the tokenizer, so that its truncation and padding are ours: the shared one changes under concurrent callers."""

    def __init__(self, tokenizer: Tokenizer, *, prompt: str, padding: Padding, constants: Mapping[str, Any]) -> None:
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._padding = padding
        self._constants = constants

    def read(self, texts: Sequence[str]) -> FastTokens:
        """See `Tokeniser.read`."""
        return FastTokens(self._encode(texts), self._padding, self._constants)

    def count_truncated(self, texts: Sequence[str]) -> int:
        """See `Tokeniser.count_truncated`."""
        return sum(1 for encoding in self._encode(texts) if encoding.overflowing)

    def _encode(self, texts: Sequence[str]) -> list[Encoding]:
        return self._tokenizer.encode_batch_fast([self._prompt + text for text in texts])


@dataclass(frozen=True, slots=True)
class FastTokens:
    """Encodings of a window; see `TokenisedTexts`."""

    encodings: Sequence[Encoding]
    padding: Padding
    constants: Mapping[str, Any]

    @property
    def lengths(self) -> Indices:
        """See `TokenisedTexts.lengths`."""
        return np.fromiter((len(encoding) for encoding in self.encodings), dtype=np.int64, count=len(self.encodings))

    def features(self, batch: Batch) -> dict[str, Any]:
        """See `TokenisedTexts.features`."""
        chosen = [self.encodings[row] for row in batch.rows]
        columns = {name: self._column(name, chosen, batch.width) for name in self.padding.values}
        return {**columns, **self.constants}

    def _column(self, name: str, chosen: Sequence[Encoding], width: int) -> torch.Tensor:
        column = np.full((len(chosen), width), self.padding.values[name], dtype=np.int64)
        for row, encoding in enumerate(chosen):
            values = getattr(encoding, _ATTRIBUTES[name])
            span = slice(width - len(values), None) if self.padding.left else slice(len(values))
            column[row, span] = values
        return torch.from_numpy(column)


_ATTRIBUTES: Mapping[str, str] = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


class LibraryTokeniser:
    """The library's own preprocessing, batch by batch: for pipelines without a fast tokenizer, with routers or with chat templates."""

    def __init__(self, model: SentenceTransformer, *, prompt: str, task: str) -> None:
        self._model = model
        self._prompt = prompt
        self._task = task

    def read(self, texts: Sequence[str]) -> LibraryTokens:
        """See `Tokeniser.read`."""
        return LibraryTokens(texts, self._model, self._prompt, self._task)

    def count_truncated(self, texts: Sequence[str]) -> int:
        """See `Tokeniser.count_truncated`; 0 for a pipeline without a tokenizer or without a limit."""
        tokenizer, longest = getattr(self._model, "tokenizer", None), self._model.get_max_seq_length()
        if longest is None or not callable(tokenizer):
            return 0
        return sum(len(tokenizer(self._prompt + text, truncation=False, verbose=False)["input_ids"]) > longest for text in texts)


@dataclass(frozen=True, slots=True)
class LibraryTokens:
    """Texts of a window, measured in characters; see `TokenisedTexts`."""

    texts: Sequence[str]
    model: SentenceTransformer
    prompt: str
    task: str

    @property
    def lengths(self) -> Indices:
        """See `TokenisedTexts.lengths`: here estimated from the characters."""
        return np.array([len(text) // CHARACTERS_PER_TOKEN + 1 for text in self.texts], dtype=np.int64)

    def features(self, batch: Batch) -> dict[str, Any]:
        """See `TokenisedTexts.features`; the library pads."""
        return self.model.preprocess([self.texts[row] for row in batch.rows], prompt=self.prompt or None, task=self.task)


def tokeniser_for(model: SentenceTransformer, *, prompt: str, task: str, longest: int | None) -> Tokeniser:
    """The fast tokeniser if it gives the library's own input on every probe, else the library's."""
    fast = _fast_tokeniser(model, prompt=prompt, task=task, longest=longest)
    library = LibraryTokeniser(model, prompt=prompt, task=task)
    return fast if fast is not None and _agree(fast, library) else library


def _fast_tokeniser(model: SentenceTransformer, *, prompt: str, task: str, longest: int | None) -> FastTokeniser | None:
    tokenizer: Any = getattr(model, "tokenizer", None)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not hasattr(backend, "to_str"):
        return None
    sample = model.preprocess([PROBES[0]], prompt=prompt or None, task=task)
    tensors = {name for name, value in sample.items() if isinstance(value, torch.Tensor)}
    if not tensors <= set(_ATTRIBUTES):
        return None
    fill = {"input_ids": tokenizer.pad_token_id or 0, "attention_mask": 0, "token_type_ids": tokenizer.pad_token_type_id}
    padding = Padding({name: fill[name] for name in _ATTRIBUTES if name in tensors}, left=tokenizer.padding_side == "left")
    constants = {name: value for name, value in sample.items() if name not in tensors}
    return FastTokeniser(_private_copy(backend, tokenizer.truncation_side, longest), prompt=prompt, padding=padding, constants=constants)


def _private_copy(backend: Any, truncation_side: str, longest: int | None) -> Tokenizer:
    copy: Tokenizer = type(backend).from_str(backend.to_str())
    copy.no_padding()
    copy.no_truncation()
    if longest is not None:
        copy.enable_truncation(longest, direction=truncation_side)
    return copy


def _agree(fast: Tokeniser, library: Tokeniser) -> bool:
    """Whether both give the same input for each probe alone, and for two probes padded to one width."""
    for probes in (*((probe,) for probe in PROBES), PROBES[:2]):
        ours, theirs = fast.read(probes), library.read(probes)
        expected = theirs.features(Batch(np.arange(len(probes), dtype=np.int64), 1))
        batch = Batch(np.arange(len(probes), dtype=np.int64), int(ours.lengths.max()))
        if not _same(ours.features(batch), expected):
            return False
    return True


def _same(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    if set(ours) != set(theirs):
        return False
    return all(
        torch.equal(value, theirs[name]) if isinstance(value, torch.Tensor) else value == theirs[name] for name, value in ours.items()
    )
