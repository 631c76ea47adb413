"""The identity of a model directory: everything in it that moves a vector, and nothing that doesn't.

    modules      the pipeline in order, a router's branches too; of each module
      weights      every tensor's name, type, shape and bytes, however they are spread over safetensors files
      tokenizer    tokenizer.json without its padding and truncation, or the vocabulary files where there is none
      settings     those that move vectors
    traits       dimension, maximum length, precision and prompts, as the encoder uses them

Reads files only, so an upgrade of a library changes no fingerprint; names, times and notes in the directory play no part.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from vecmigrate.errors import ModelError
from vecmigrate.versions import fingerprint_of

SCHEME = 1
"""Grows when the rule below changes, so that fingerprints of two rules never compare equal by accident."""

_HEADER_LIMIT = 100_000_000
_BUFFERS = ("position_ids",)
"""Tensors that hold counters, which newer libraries no longer save."""

_IRRELEVANT_SETTINGS = frozenset(
    {
        "_commit_hash",
        "_name_or_path",
        "architectures",
        "attention_dropout",
        "attention_probs_dropout_prob",
        "classifier_dropout",
        "dtype",
        "finetuning_task",
        "gradient_checkpointing",
        "hidden_dropout_prob",
        "id2label",
        "initializer_range",
        "label2id",
        "max_seq_length",
        "output_past",
        "tie_word_embeddings",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)
"""Settings that move no vector in inference, or that stand among the traits."""

_SAME_AS_ABSENT: Mapping[str, tuple[Any, ...]] = {
    "add_cross_attention": (False,),
    "do_lower_case": (False,),
    "is_decoder": (False,),
    "modality_config": ({"text": {"method": "forward", "method_output_name": "last_hidden_state"}},),
    "module_input_name": ("sentence_embedding",),
    "module_output_name": ("sentence_embedding", "token_embeddings"),
    "transformer_task": ("feature-extraction",),
}
"""Defaults that newer libraries spell out when they save an older model."""

_TOKENIZER_SETTINGS = ("do_lower_case", "strip_accents", "tokenize_chinese_chars", "add_prefix_space", "padding_side", "truncation_side")
_TOKENIZER_DEFAULTS = {"padding_side": "right", "truncation_side": "right"}
ROUTER_CONFIG = "router_config.json"
_KNOWN_KINDS = frozenset({"Transformer", "Pooling", "Normalize", "Dense", "StaticEmbedding", "Router"})
_VOCABULARIES = ("vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model")
_OLD_POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True, slots=True)
class Traits:
    """What the loaded encoder does that its files do not settle. `max_tokens` is None where the model has no limit."""

    dimension: int
    max_tokens: int | None
    precision: str
    query_prompt: str
    document_prompt: str


def fingerprint_directory(folder: Path, traits: Traits) -> str:
    """The fingerprint, 64 hex digits. Raises `ModelError` for files that can't be read or are damaged."""
    module_folders(folder)  # refuses what leads out of it
    try:
        parts = {
            "scheme": SCHEME,
            "modules": [_module(folder, kind, path) for kind, path in _pipeline(folder)],
            "traits": asdict(traits),
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the model in {folder} is damaged: {error}", hint="copy or download it again") from error
    return fingerprint_of(parts)


def module_folders(folder: Path) -> tuple[str, ...]:
    """The paths of the pipeline's modules within the directory, the root first as `""`.

    Raises `ModelError` for one that leads out, and for a list that can't be read.
    """
    try:
        paths = [path for _, path in _pipeline(folder)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{folder / 'modules.json'} can't be read: {error}", hint="copy or download the model again") from error
    for path in paths:
        if not (folder / path).resolve().is_relative_to(folder.resolve()):
            raise ModelError(f"the model in {folder} names a module outside itself: {path!r}", hint="get the model from a source you trust")
    return tuple(dict.fromkeys(["", *paths]))


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that make up one module's weights; none for a module without weights."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return sorted({folder / str(name) for name in _json(index)["weight_map"].values()})
    whole = folder / "model.safetensors"
    return [whole] if whole.is_file() else sorted(folder.glob("*.safetensors"))


# ── weights ──


def _weights(folder: Path) -> str:
    tensors: dict[str, str] = {}
    for file in weight_files(folder):
        found = file.stat()
        tensors.update(_tensor_digests(str(file.resolve()), found.st_size, found.st_mtime_ns))
    return fingerprint_of(tensors)


@lru_cache(maxsize=64)
def _tensor_digests(path: str, size: int, mtime_ns: int) -> dict[str, str]:
    """By name. `size` and `mtime_ns` are there for the cache: a file that was replaced is read again."""
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return dict(_digest_each(data))


def _digest_each(data: mmap.mmap) -> Iterator[tuple[str, str]]:
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= min(_HEADER_LIMIT, len(data) - 8):
        raise ValueError("not a safetensors file")
    header = json.loads(data[8 : 8 + length])
    with memoryview(data) as whole:
        for name, entry in header.items():
            if name == "__metadata__" or name.endswith(_BUFFERS):
                continue
            start, end = (8 + length + int(offset) for offset in entry["data_offsets"])
            if not 8 + length <= start <= end <= len(data):
                raise ValueError(f"tensor {name} lies outside its file")
            with whole[start:end] as raw:
                yield name, f"{entry['dtype']}{entry['shape']}{hashlib.sha256(raw).hexdigest()}"


# ── tokenizer ──


def _tokenizer(folder: Path) -> Mapping[str, Any]:
    settings = _settings(folder / "tokenizer_config.json")
    told = {k: settings[k] for k in _TOKENIZER_SETTINGS if settings.get(k) is not None and settings[k] != _TOKENIZER_DEFAULTS.get(k)}
    fast = folder / "tokenizer.json"
    if fast.is_file():
        content = {k: v for k, v in _json(fast).items() if k not in ("padding", "truncation")}
        return {"settings": told, "fast": fingerprint_of(content)}
    files = {name: _file_digest(folder / name) for name in _VOCABULARIES if (folder / name).is_file()}
    return {"settings": told, "files": files}


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ── modules ──


def _module(root: Path, kind: str, path: str) -> Mapping[str, Any]:
    folder = root / path
    return {"kind": kind, "settings": _of_kind(folder, kind), "weights": _weights(folder), "tokenizer": _tokenizer(folder)}


def _of_kind(folder: Path, kind: str) -> Mapping[str, Any]:
    settings = _relevant(_settings(folder / "config.json"))
    if kind == "Pooling":
        return _pooling(settings)
    if kind == "Transformer":
        for file in sorted(folder.glob("sentence_*_config.json")):
            settings |= _relevant(_settings(file))
    elif kind == "Router":
        return _settings(folder / ROUTER_CONFIG)
    elif kind not in _KNOWN_KINDS:
        return {file.name: _file_digest(file) for file in sorted(folder.glob("*.json"))}
    return settings


def _relevant(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Without what moves no vector, and without defaults that are merely spelt out."""
    return {
        key: value
        for key, value in settings.items()
        if key not in _IRRELEVANT_SETTINGS and value is not None and value not in _SAME_AS_ABSENT.get(key, ())
    }


def _pooling(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Pooling's settings in one form: up to release 5 each mode was a flag of its own."""
    flags = [mode for flag, mode in _OLD_POOLING.items() if settings.get(flag)]
    mode = settings.get("pooling_mode", flags or "mean")
    return {"modes": [mode] if isinstance(mode, str) else list(mode), "include_prompt": settings.get("include_prompt", True)}


# ── files ──


def _pipeline(folder: Path) -> list[tuple[str, str]]:
    """The kind and path of each module, in order, with a router's branches after it.

    A plain transformers directory is a transformer alone; that the library then takes the mean is its rule, not the directory's.
    """
    listed = folder / "modules.json"
    if not listed.is_file():
        return [("Transformer", "")]
    found: list[tuple[str, str]] = []
    for module in _json(listed):
        kind, path = _kind(module["type"]), str(module.get("path", ""))
        found.append((kind, path))
        branches = _settings(folder / path / ROUTER_CONFIG).get("types", {}) if kind == "Router" else {}
        found += [(_kind(name), f"{path}/{branch}".lstrip("/")) for branch, name in branches.items()]
    return found


def _kind(reference: Any) -> str:
    return str(reference).rpartition(".")[2]


def _settings(path: Path) -> dict[str, Any]:
    return dict(_json(path)) if path.is_file() else {}


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
