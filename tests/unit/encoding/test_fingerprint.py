"""A fingerprint changes with everything that moves a vector, and with nothing else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling

from vecmigrate.encoding.fingerprint import Traits, fingerprint_directory, module_folders, weight_files
from vecmigrate.errors import ModelError

TRAITS = Traits(dimension=16, max_tokens=48, precision="float32", query_prompt="", document_prompt="")
KNOWN = "53dcabeb0292a7ad9af79ae399305b081e69e0c409110b0a7395b4183cd41a35"
"""all-MiniLM-L6-v2 at float32 with 256 tokens. If this changes, every stored version of every user loses its encoder: raise SCHEME."""


@pytest.fixture(scope="module")
def model(tiny: Callable[..., Path]) -> Path:
    return tiny(Pooling(16), Dense(16, 8), Normalize())


def fingerprint(folder: Path, **changes: Any) -> str:
    return fingerprint_directory(folder, replace(TRAITS, **changes))


def test_the_rule_has_not_changed(minilm: Path) -> None:
    assert fingerprint(minilm, dimension=384, max_tokens=256) == KNOWN


def test_the_same_model_saved_again_by_a_newer_library_is_the_same_model(minilm: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    from vecmigrate.encoding.loading import quiet_bars

    with quiet_bars():
        SentenceTransformer(str(minilm), device="cpu").save(str(tmp_path / "again"))
    assert (tmp_path / "again" / "modules.json").read_bytes() != (minilm / "modules.json").read_bytes()
    assert fingerprint(tmp_path / "again", dimension=384, max_tokens=256) == KNOWN


def test_names_times_and_notes_play_no_part(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "elsewhere"))
    (copy / "README.md").write_text("other words")
    (copy / "vecmigrate.json").write_text("{}")
    for file in copy.rglob("*"):
        os.utime(file, (1, 1))
    assert fingerprint(copy) == fingerprint(model)


def test_one_changed_weight_is_another_model(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "m"))
    before = fingerprint(copy)
    weights = load_file(copy / "model.safetensors")
    name = sorted(weights)[0]
    weights[name] = weights[name] + np.float32(1e-3)
    save_file(weights, copy / "model.safetensors")
    assert fingerprint(copy) != before == fingerprint(model)


def test_a_weight_of_a_later_module_counts(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "m"))
    file = copy / "2_Dense" / "model.safetensors"
    weights = load_file(file)
    save_file({name: value * 2 for name, value in weights.items()}, file)
    assert fingerprint(copy) != fingerprint(model)


def test_how_tensors_are_spread_over_files_does_not_count(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "m"))
    weights = load_file(copy / "model.safetensors")
    names = sorted(weights)
    halves = {"model-1.safetensors": names[:5], "model-2.safetensors": names[5:]}
    for file, part in halves.items():
        save_file({name: weights[name] for name in reversed(part)}, copy / file, metadata={"note": "sharded"})
    (copy / "model.safetensors").unlink()
    index = {"weight_map": {name: file for file, part in halves.items() for name in part}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert [file.name for file in weight_files(copy)] == ["model-1.safetensors", "model-2.safetensors"]
    assert fingerprint(copy) == fingerprint(model)


@pytest.mark.parametrize(
    "changes",
    [
        {"dimension": 8},
        {"max_tokens": 47},
        {"max_tokens": None},
        {"precision": "bfloat16"},
        {"query_prompt": "query: "},
        {"document_prompt": " "},
    ],
)
def test_every_trait_counts(model: Path, changes: dict[str, Any]) -> None:
    assert fingerprint(model, **changes) != fingerprint(model)


def test_query_and_document_prompts_are_told_apart(model: Path) -> None:
    assert fingerprint(model, query_prompt="p: ") != fingerprint(model, document_prompt="p: ")


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("config.json", {"hidden_act": "relu"}),
        ("config.json", {"layer_norm_eps": 1e-6}),
        ("config.json", {"is_decoder": True}),
        ("config.json", {"some_switch_of_tomorrow": False}),
        ("1_Pooling/config.json", {"pooling_mode": "cls"}),
        ("1_Pooling/config.json", {"include_prompt": False}),
        ("2_Dense/config.json", {"activation_function": "torch.nn.modules.linear.Identity"}),
        ("2_Dense/config.json", {"module_input_name": "token_embeddings"}),
        ("tokenizer_config.json", {"do_lower_case": False}),
        ("tokenizer_config.json", {"padding_side": "left"}),
        ("tokenizer.json", {"normalizer": None}),
        ("sentence_bert_config.json", {"do_lower_case": True}),
    ],
)
def test_a_setting_that_moves_vectors_counts(model: Path, edited: Callable[..., Path], file: str, changes: dict[str, Any]) -> None:
    assert fingerprint(edited(model, file, **changes)) != fingerprint(model)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("config.json", {"transformers_version": "9.9", "_name_or_path": "elsewhere", "use_cache": True, "bos_token_id": None}),
        ("config.json", {"hidden_dropout_prob": 0.5, "is_decoder": False}),
        ("tokenizer.json", {"truncation": None, "padding": None}),
        ("tokenizer_config.json", {"model_max_length": 99, "name_or_path": "elsewhere"}),
        ("sentence_bert_config.json", {"max_seq_length": 99, "do_lower_case": False}),
        ("config_sentence_transformers.json", {"__version__": {"pytorch": "9"}, "similarity_fn_name": "dot"}),
    ],
)
def test_a_setting_that_moves_none_does_not(model: Path, edited: Callable[..., Path], file: str, changes: dict[str, Any]) -> None:
    assert fingerprint(edited(model, file, **changes)) == fingerprint(model)


def test_the_order_of_the_modules_counts(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "m"))
    modules = json.loads((copy / "modules.json").read_text())
    (copy / "modules.json").write_text(json.dumps([modules[0], modules[1], modules[3], modules[2]]))
    assert fingerprint(copy) != fingerprint(model)


def test_the_old_and_the_new_way_to_write_pooling_are_one(model: Path, edited: Callable[..., Path]) -> None:
    old = edited(model, "1_Pooling/config.json")
    flags = {"word_embedding_dimension": 16, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    (old / "1_Pooling" / "config.json").write_text(json.dumps(flags))
    assert fingerprint(old) == fingerprint(model)


def test_a_vocabulary_without_a_fast_tokenizer_counts(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "m"))
    (copy / "tokenizer.json").unlink()
    (copy / "vocab.txt").write_text("[UNK]\na\n")
    before = fingerprint(copy)
    (copy / "vocab.txt").write_text("[UNK]\nb\n")
    assert fingerprint(copy) != before


def test_a_plain_transformers_directory_has_a_fingerprint(model: Path) -> None:
    plain = model.parent / "plain"
    assert module_folders(model) == ("", "1_Pooling", "2_Dense", "3_Normalize")
    assert module_folders(plain) == ("",)
    assert fingerprint(plain) != fingerprint(model)


def test_a_tokenizer_of_a_later_module_counts(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "m"))
    (copy / "0_StaticEmbedding").mkdir()
    (copy / "modules.json").write_text(json.dumps([{"type": "x.StaticEmbedding", "path": "0_StaticEmbedding"}]))
    (copy / "0_StaticEmbedding" / "tokenizer.json").write_text('{"model": 1}')
    before = fingerprint(copy)
    (copy / "0_StaticEmbedding" / "tokenizer.json").write_text('{"model": 2}')
    assert fingerprint(copy) != before


def test_every_file_of_an_unknown_kind_of_module_counts(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "m"))
    (copy / "4_New").mkdir()
    modules = json.loads((copy / "modules.json").read_text())
    (copy / "modules.json").write_text(json.dumps([*modules, {"type": "sentence_transformers.x.New", "path": "4_New"}]))
    (copy / "4_New" / "new_config.json").write_text("{}")
    before = fingerprint(copy)
    (copy / "4_New" / "new_config.json").write_text('{"scale": 2}')
    assert fingerprint(copy) != before


def test_a_module_outside_the_directory_is_refused(model: Path, edited: Callable[..., Path]) -> None:
    copy = edited(model, "config.json")
    (copy / "modules.json").write_text(json.dumps([{"type": "x.Transformer", "path": "../../etc"}]))
    with pytest.raises(ModelError, match="outside itself"):
        fingerprint(copy)


@pytest.mark.parametrize("content", [b"", b"\x80\x02}q\x00.", b"\xff" * 64, b"\x02" + b"\0" * 7 + b"{}"[:1]])
def test_damaged_weights_are_named(model: Path, tmp_path: Path, content: bytes) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "m"))
    (copy / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="damaged"):
        fingerprint(copy)


def test_a_cut_off_file_is_named(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "m"))
    whole = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(whole[:-100])
    with pytest.raises(ModelError, match="outside its file"):
        fingerprint(copy)
