"""The sentence-transformers backend: the same vectors as `SentenceTransformer.encode`, sooner.

    texts ─► tokens ─► batches by token budget, longest first ─► workers, one batch each ─► float32 rows in the texts' order

What it saves: padding (batches are cut by tokens, not by texts), page faults (small batches keep their activations in memory that is
there already) and waiting (a batch per core instead of a core's share of every kernel).
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from vecmigrate.config import EncodingSection
from vecmigrate.encoding.batching import Batch, plan_batches
from vecmigrate.encoding.catalog import name_from
from vecmigrate.encoding.fingerprint import Traits, fingerprint_directory
from vecmigrate.encoding.loading import find_model, open_model
from vecmigrate.encoding.tokens import TokenisedTexts, Tokeniser, tokeniser_for
from vecmigrate.encoding.workers import available_cores, shared_workers
from vecmigrate.errors import DataError, ModelError
from vecmigrate.store import Vectors
from vecmigrate.versions import ModelVersion

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

WINDOW = 16_384
"""Texts tokenised at a time: bounds the memory for a caller who brings a whole corpus."""
PADDING_MULTIPLE = 8
TOKENS_PER_BATCH: Mapping[str, int] = {"cpu": 1024, "cuda": 32_768, "mps": 8_192}
"""Measured on a CPU: 1,024 tokens are as fast as any budget, and from 4,096 on page faults cost a tenth."""

_NO_LIMIT = 1_000_000
"""A tokenizer without a maximum length says a number far above this."""
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")

log = logging.getLogger("vecmigrate.encoding")


def load_encoder(
    source: str,
    settings: EncodingSection,
    *,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    name: str | None = None,
) -> SentenceTransformerEncoder:
    """Load the model of a directory or hub name. Prompts that aren't given are the model's own; `name` is what it is called here.

    Raises `ModelError` when it can't be had, isn't safe or can't be loaded; `MissingDependency` without sentence-transformers.
    """
    folder = find_model(source)
    device = choose_device(settings.device)
    model = open_model(folder, source=source, device=device, dtype=settings.precision).eval()
    if settings.precision == "bfloat16":
        pool_in_float32(model)
        _warn_of_slow_bfloat16(device)
    query, document = own_prompts(model)
    traits = Traits(
        dimension=_dimension(model, source),
        max_tokens=_max_tokens(model),
        precision=settings.precision,
        query_prompt=query if query_prompt is None else query_prompt,
        document_prompt=document if document_prompt is None else document_prompt,
    )
    version = ModelVersion(
        name=name or name_from(source),
        fingerprint=fingerprint_directory(folder, traits),
        source=str(folder.resolve()) if Path(source).expanduser().exists() else source,
        dimension=traits.dimension,
        max_tokens=traits.max_tokens,
        precision=traits.precision,
        query_prompt=traits.query_prompt,
        document_prompt=traits.document_prompt,
    )
    return SentenceTransformerEncoder(model, version, settings)


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of text is encoded: its tokeniser, and the task that routers ask for."""

    task: str
    tokeniser: Tokeniser


class SentenceTransformerEncoder:
    """A loaded pipeline. Any number of threads may encode at once; together they use `[encoding] threads` cores."""

    def __init__(self, pipeline: SentenceTransformer, model: ModelVersion, settings: EncodingSection) -> None:
        device = pipeline.device.type
        self._pipeline = pipeline
        self._model = model
        self._budget = settings.tokens_per_batch or TOKENS_PER_BATCH.get(device, TOKENS_PER_BATCH["cpu"])
        self._workers = shared_workers((settings.threads or available_cores()) if device == "cpu" else 1)
        self._queries = self._kind("query", model.query_prompt)
        self._documents = self._kind("document", model.document_prompt)

    def _kind(self, task: str, prompt: str) -> _Kind:
        return _Kind(task, tokeniser_for(self._pipeline, prompt=prompt, task=task, longest=self._model.max_tokens))

    @property
    def model(self) -> ModelVersion:
        """See `Encoder.model`."""
        return self._model

    @property
    def pipeline(self) -> SentenceTransformer:
        """The library's model, for training and for comparison."""
        return self._pipeline

    def through(self, pipeline: torch.nn.Module) -> SentenceTransformerEncoder:
        """An encoder that is this one but for the pipeline: a copy of this one's in another precision. What it is called stays."""
        twin = copy.copy(self)
        twin._pipeline = cast("SentenceTransformer", pipeline)
        return twin

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """See `Encoder.encode_queries`."""
        return self._encode(texts, self._queries)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """See `Encoder.encode_documents`."""
        return self._encode(texts, self._documents)

    def count_truncated(self, texts: Sequence[str]) -> int:
        """See `Encoder.count_truncated`."""
        return self._documents.tokeniser.count_truncated(_checked(texts, 0)) if texts else 0

    def _encode(self, texts: Sequence[str], kind: _Kind) -> Vectors:
        vectors: Vectors = np.empty((len(texts), self._model.dimension), dtype=np.float32)
        for start in range(0, len(texts), WINDOW):
            window = _checked(texts[start : start + WINDOW], start)
            self._encode_window(kind.tokeniser.read(window), kind.task, vectors[start : start + len(window)])
        self._check(vectors)
        return vectors

    def _encode_window(self, tokens: TokenisedTexts, task: str, out: Vectors) -> None:
        batches = plan_batches(tokens.lengths, budget=self._budget, multiple=PADDING_MULTIPLE, longest=self._model.max_tokens)

        def work(batch: Batch) -> None:
            out[batch.rows] = self._forward(tokens.features(batch), task)

        try:
            self._workers.each(work, batches)
        except (RuntimeError, ValueError, IndexError) as error:
            raise ModelError(
                f"{self._model.name} failed while encoding: {error}", hint="lower [encoding] tokens_per_batch, or try device = 'cpu'"
            ) from error

    @torch.inference_mode()
    def _forward(self, features: dict[str, Any], task: str) -> Vectors:
        device = self._pipeline.device
        placed = {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in features.items()}
        vectors: Vectors = self._pipeline(placed, task=task)["sentence_embedding"].float().cpu().numpy()
        return vectors

    def _check(self, vectors: Vectors) -> None:
        """Raise for the first vector that is NaN, infinite or zero: stored, it would never be found again."""
        norms = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
        bad = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
        if bad.size:
            what = "zero" if norms[bad[0]] == 0 else "not finite"
            raise ModelError(
                f"{self._model.name} gave {bad.size} unusable vector(s): that of text {int(bad[0])} is {what}",
                hint="look at that text; if it is ordinary, the model's weights are damaged, or its precision is too low",
            )


def choose_device(wanted: str) -> str:
    """The device of this name; "auto" is the GPU where there is one. Raises `ModelError` for a device that isn't there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if there[device])
    if not there[wanted]:
        raise ModelError(
            f"this machine has no {wanted} device that torch {torch.__version__} can use", hint='set [encoding] device = "auto"'
        )
    return wanted


def own_prompts(model: SentenceTransformer) -> tuple[str, str]:
    """The model's own query and document prompts, chosen as its `encode_query` and `encode_document` do."""
    prompts = model.prompts
    document = next((prompts[key] for key in _DOCUMENT_PROMPTS if prompts.get(key) is not None), None)
    default = prompts.get(model.default_prompt_name or "") or ""
    query = prompts.get("query")
    return (default if query is None else query), (default if document is None else document)


def _dimension(model: SentenceTransformer, source: str) -> int:
    dimension = model.get_embedding_dimension()
    if not dimension:
        raise ModelError(f"{source} does not say how many dimensions its vectors have", hint="it is not a sentence-embedding model")
    return int(dimension)


def _max_tokens(model: SentenceTransformer) -> int | None:
    longest = model.get_max_seq_length()
    if longest is None or longest < _NO_LIMIT:
        return longest
    positions = getattr(model.config, "max_position_embeddings", None)
    return int(positions) if positions else None


def pool_in_float32(model: SentenceTransformer) -> None:
    """Let only the transformers themselves compute in 16 bits: pooling sums many numbers, and costs nothing.

    A router is looked into: the first module of each of its routes is a transformer, which two routes may have in common.
    """
    first, *rest = model.children()
    chains: Mapping[str, Any] = getattr(first, "sub_modules", {"": [first]})
    routes = [list(route) for route in chains.values()]
    for module in [*rest, *(module for route in routes for module in route[1:])]:
        module.float()
    for module in {id(route[0]): route[0] for route in routes}.values():
        module.register_forward_hook(lambda _module, _inputs, output: {name: _widened(value) for name, value in output.items()})


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def _warn_of_slow_bfloat16(device: str) -> None:
    able = torch.cuda.is_bf16_supported() if device == "cuda" else device != "cpu" or cpu_has_bfloat16()
    if not able:
        log.warning('this %s has no bfloat16 units: [encoding] precision = "float32" is faster here and more exact', device)


def cpu_has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 matrices by units of its own."""
    return any(bool(getattr(torch.cpu, probe, bool)()) for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))


def _checked(texts: Sequence[str], start: int) -> list[str]:
    """The texts as a list of valid Unicode: a lone surrogate, which no tokenizer takes, becomes a question mark."""
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"text {start + place} is {type(text).__name__}, not text", hint="leave rows without text out")
    return [text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8") for text in texts]
