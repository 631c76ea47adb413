"""Which weights a training may change: all, the upper layers, or low-rank adapters beside them (LoRA: Hu et al. 2022)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from sentence_transformers import SentenceTransformer

from vecmigrate.config import TrainingSection
from vecmigrate.errors import MissingDependency, ModelError
from vecmigrate.training.grouping import transformers_of

LORA_SCALE = 2
"""lora_alpha over the rank."""
LORA_DROPOUT = 0.0


def limit(pipeline: SentenceTransformer, settings: TrainingSection) -> None:
    """Freeze, or add adapters, as the settings say, in place.

    Raises `ModelError` where the model has fewer layers, `MissingDependency` for LoRA without peft.
    """
    if settings.freeze_layers:
        _freeze(pipeline, settings.freeze_layers)
    if settings.lora_rank:
        _add_adapters(pipeline, settings.lora_rank, settings.seed)
    if settings.compile:
        for inner in transformers_of(pipeline):
            inner.compile(dynamic=True)


def _freeze(pipeline: SentenceTransformer, count: int) -> None:
    """Keep the token embeddings and the lowest layers as they are."""
    for inner in transformers_of(pipeline):
        layers = _layers(inner)
        if layers is None or len(layers) < count:
            there = "none that could be found" if layers is None else str(len(layers))
            raise ModelError(f"[training] freeze_layers = {count}, and the model's layers are {there}", hint="lower it")
        for part in (inner.get_input_embeddings(), getattr(inner, "embeddings", None), *layers[:count]):
            if part is not None:
                part.requires_grad_(False)


def _layers(inner: torch.nn.Module) -> torch.nn.ModuleList | None:
    """The stack of layers: the longest list of like modules."""
    lists = [module for module in inner.modules() if isinstance(module, torch.nn.ModuleList) and len(module) > 1]
    return max(lists, key=len, default=None)


def _add_adapters(pipeline: SentenceTransformer, rank: int, seed: int) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError as error:
        raise MissingDependency("LoRA needs the package peft", hint="pip install 'vecmigrate[lora]', or unset lora_rank") from error
    config = LoraConfig(r=rank, lora_alpha=LORA_SCALE * rank, lora_dropout=LORA_DROPOUT, target_modules="all-linear", bias="none")
    for parameter in pipeline.parameters():
        parameter.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):  # the adapters begin at random numbers
        torch.manual_seed(seed)
        for inner in transformers_of(pipeline):
            inject_adapter_in_model(config, inner)


def merged(pipeline: SentenceTransformer) -> SentenceTransformer:
    """The pipeline with its adapters worked into its weights, a copy; without adapters the pipeline itself."""
    if not any(True for _ in _adapted(pipeline)):
        return pipeline
    twin = copy.deepcopy(pipeline)
    for parent, name, layer in list(_adapted(twin)):
        layer.merge()
        setattr(parent, name, layer.get_base_layer())
    return twin


def _adapted(pipeline: torch.nn.Module) -> Iterator[tuple[torch.nn.Module, str, Any]]:
    for parent in list(pipeline.modules()):
        for name, child in list(parent.named_children()):
            if hasattr(child, "get_base_layer") and hasattr(child, "merge"):
                yield parent, name, child
