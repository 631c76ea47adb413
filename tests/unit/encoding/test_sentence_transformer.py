"""Our encoder against the library's own, for pipelines of every shape; and what it refuses."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Router, StaticEmbedding, Transformer

from vecmigrate.config import EncodingSection
from vecmigrate.encoding import load_encoder
from vecmigrate.encoding.loading import quiet_bars
from vecmigrate.encoding.sentence_transformer import choose_device
from vecmigrate.encoding.tokens import FastTokeniser, LibraryTokeniser
from vecmigrate.errors import DataError, ModelError

ONE_THREAD = EncodingSection(threads=1, device="cpu")
TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "",
    "How do I run something in the background and get its result?",
    "naïve café — 東京 🙂\n\ttabs and\x00a zero byte  ",
    "lorem ipsum dolor sit amet " * 90,
    "x",
    "CamelCase snake_case kebab-case http://example.org/?q=1&r=2",
)
MANY = [f"{text} {place}" for place, text in enumerate(TEXTS * 3)]


def largest_difference(a: Any, b: Any) -> float:
    return float(np.abs(np.asarray(a) - np.asarray(b)).max())


def test_the_vectors_are_the_librarys_own(encoder: Any) -> None:
    expected = encoder.pipeline.encode(MANY, show_progress_bar=False)
    got = encoder.encode_documents(MANY)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    assert largest_difference(got, expected) < 1e-5


def test_the_same_texts_give_the_same_bits(encoder: Any) -> None:
    assert np.array_equal(encoder.encode_documents(MANY), encoder.encode_documents(MANY))


def test_a_texts_vector_does_not_depend_on_its_company(encoder: Any) -> None:
    together = encoder.encode_documents(MANY)
    for place in (0, 4, 20):
        assert largest_difference(encoder.encode_queries([MANY[place]])[0], together[place]) < 1e-5


def test_no_texts_give_an_empty_matrix(encoder: Any) -> None:
    assert encoder.encode_queries([]).shape == (0, 384)
    assert encoder.encode_documents(()).shape == (0, 384)
    assert encoder.count_truncated([]) == 0


def test_windows_join_without_a_seam(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = encoder.encode_documents(MANY)
    monkeypatch.setattr("vecmigrate.encoding.sentence_transformer.WINDOW", 5)
    assert largest_difference(encoder.encode_documents(MANY), expected) < 1e-5


def test_texts_longer_than_the_model_reads_are_counted(encoder: Any) -> None:
    assert encoder.count_truncated(TEXTS) == 1
    fits, overflows = "word " * 254, "word " * 255
    assert encoder.count_truncated([fits]) == 0
    assert encoder.count_truncated([overflows, fits]) == 1


def test_the_model_says_what_it_is(encoder: Any, minilm: Path) -> None:
    model = encoder.model
    assert (model.dimension, model.max_tokens, model.precision) == (384, 256, "float32")
    assert (model.query_prompt, model.document_prompt) == ("", "")
    assert model.source == str(minilm.resolve())
    assert len(model.fingerprint) == 64


def test_eight_threads_at_once_get_their_own_answers(encoder: Any) -> None:
    expected = encoder.encode_queries(list(TEXTS))
    wrong: list[float] = []

    def ask() -> None:
        for place in [0, 1, 2, 3, 5, 6]:
            difference = largest_difference(encoder.encode_queries([TEXTS[place]])[0], expected[place])
            if difference > 1e-5:
                wrong.append(difference)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_lone_surrogate_is_encoded_as_a_question_mark(encoder: Any) -> None:
    assert largest_difference(encoder.encode_queries(["a \ud800 b"]), encoder.encode_queries(["a ? b"])) < 1e-6


def test_what_is_not_text_is_named_by_its_place(encoder: Any) -> None:
    with pytest.raises(DataError, match="text 1 is NoneType"):
        encoder.encode_documents(["fine", None])


@pytest.mark.parametrize(
    "modules",
    [
        [Pooling(16, "cls")],
        [Pooling(16, "mean"), Dense(16, 8), Normalize()],
        [Pooling(16, ("mean", "max"))],
        [Pooling(16, "weightedmean")],
        [Pooling(16, "lasttoken")],
    ],
    ids=["cls", "dense", "two-poolings", "weighted", "last-token"],
)
def test_any_pipeline_of_the_library_encodes_alike(tiny: Callable[..., Path], modules: list[Any]) -> None:
    encoder = load_encoder(str(tiny(*modules)), ONE_THREAD)
    assert largest_difference(encoder.encode_documents(MANY), encoder.pipeline.encode(MANY, show_progress_bar=False)) < 1e-5
    assert isinstance(encoder._documents.tokeniser, FastTokeniser)


@pytest.mark.parametrize("include_prompt", [True, False])
def test_the_models_own_prompts_are_used_as_the_library_uses_them(
    tiny: Callable[..., Path], edited: Callable[..., Path], include_prompt: bool
) -> None:
    model = edited(
        tiny(Pooling(16, "mean", include_prompt=include_prompt)),
        "config_sentence_transformers.json",
        prompts={"query": "query: ", "document": "passage: "},
    )
    encoder = load_encoder(str(model), ONE_THREAD)
    assert (encoder.model.query_prompt, encoder.model.document_prompt) == ("query: ", "passage: ")
    assert largest_difference(encoder.encode_queries(MANY), encoder.pipeline.encode_query(MANY)) < 1e-5
    assert largest_difference(encoder.encode_documents(MANY), encoder.pipeline.encode_document(MANY)) < 1e-5
    assert largest_difference(encoder.encode_queries(MANY), encoder.encode_documents(MANY)) > 1e-3


def test_prompts_that_are_given_replace_the_models_own(tiny: Callable[..., Path], edited: Callable[..., Path]) -> None:
    model = edited(tiny(Pooling(16)), "config_sentence_transformers.json", prompts={"query": "query: "})
    own, given, none = (load_encoder(str(model), ONE_THREAD, query_prompt=prompt) for prompt in (None, "ask: ", ""))
    assert (own.model.query_prompt, given.model.query_prompt, none.model.query_prompt) == ("query: ", "ask: ", "")
    assert len({e.model.fingerprint for e in (own, given, none)}) == 3
    assert largest_difference(given.encode_queries(["x y"]), none.encode_queries(["ask: x y"])) < 1e-6
    assert given.count_truncated(["word " * 44]) == 0
    assert given.encode_documents(["x"]).tolist() == none.encode_documents(["x"]).tolist()


def test_a_decoder_that_pads_on_the_left_encodes_alike(tiny: Callable[..., Path], tmp_path: Path) -> None:
    from transformers import Qwen2Config, Qwen2Model

    torch.manual_seed(0)
    plain = shutil.copytree(tiny(Pooling(16)).parent / "plain", tmp_path / "plain")
    config = Qwen2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, intermediate_size=32, vocab_size=30522
    )
    with quiet_bars():
        Qwen2Model(config).save_pretrained(plain)
        tokenizer = json.loads((plain / "tokenizer_config.json").read_text())
        (plain / "tokenizer_config.json").write_text(json.dumps({**tokenizer, "padding_side": "left"}))
        modules = [Transformer(str(plain), max_seq_length=48), Pooling(16, "lasttoken")]
        SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "m"), create_model_card=False)
    encoder = load_encoder(str(tmp_path / "m"), ONE_THREAD)
    assert encoder.pipeline.tokenizer.padding_side == "left"
    assert isinstance(encoder._queries.tokeniser, FastTokeniser)
    texts = [text for text in MANY if text.strip()]
    assert largest_difference(encoder.encode_documents(texts), encoder.pipeline.encode(texts, show_progress_bar=False)) < 1e-5


def router_model(tiny: Callable[..., Path], folder: Path, lengths: tuple[int, int] = (48, 48)) -> Path:
    with quiet_bars():
        queries, documents = (
            Transformer(str(tiny(Pooling(16), seed=seed).parent / "plain"), max_seq_length=longest) for seed, longest in enumerate(lengths)
        )
        router = Router.for_query_document([queries, Pooling(16)], [documents, Pooling(16)])
        SentenceTransformer(modules=[router, Dense(16, 8)], device="cpu").save(str(folder), create_model_card=False)
    return folder


def test_a_router_sends_queries_and_documents_their_own_ways(tiny: Callable[..., Path], tmp_path: Path) -> None:
    encoder = load_encoder(str(router_model(tiny, tmp_path / "router")), ONE_THREAD)
    assert largest_difference(encoder.encode_queries(MANY), encoder.pipeline.encode_query(MANY)) < 1e-5
    assert largest_difference(encoder.encode_documents(MANY), encoder.pipeline.encode_document(MANY)) < 1e-5
    assert largest_difference(encoder.encode_queries(MANY), encoder.encode_documents(MANY)) > 1e-3


def test_where_the_fast_tokenizer_would_differ_the_librarys_way_is_taken(tiny: Callable[..., Path], tmp_path: Path) -> None:
    encoder = load_encoder(str(router_model(tiny, tmp_path / "router", lengths=(48, 24))), ONE_THREAD)
    kinds = [type(kind.tokeniser) for kind in (encoder._queries, encoder._documents)]
    assert LibraryTokeniser in kinds
    assert largest_difference(encoder.encode_queries(MANY), encoder.pipeline.encode_query(MANY)) < 1e-5
    assert largest_difference(encoder.encode_documents(MANY), encoder.pipeline.encode_document(MANY)) < 1e-5


def test_the_weights_of_a_routers_branches_are_part_of_the_fingerprint(tiny: Callable[..., Path], tmp_path: Path) -> None:
    router = router_model(tiny, tmp_path / "router")
    before = load_encoder(str(router), ONE_THREAD).model.fingerprint
    branch = router / "document_0_Transformer" / "model.safetensors"
    weights = load_file(branch)
    save_file({name: value * np.float32(1.01) for name, value in weights.items()}, branch, metadata={"format": "pt"})
    assert load_encoder(str(router), ONE_THREAD).model.fingerprint != before


def static_model(minilm: Path, folder: Path) -> Path:
    from tokenizers import Tokenizer

    torch.manual_seed(0)
    tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    with quiet_bars():
        SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=12)], device="cpu").save(str(folder), create_model_card=False)
    return folder


def test_a_model_without_a_transformer_encodes_alike(minilm: Path, tmp_path: Path) -> None:
    encoder = load_encoder(str(static_model(minilm, tmp_path / "static")), ONE_THREAD)
    texts = [text for text in MANY if text.strip()]
    assert encoder.model.max_tokens is None
    assert largest_difference(encoder.encode_documents(texts), encoder.pipeline.encode(texts, show_progress_bar=False)) < 1e-5


def test_an_unusable_vector_is_refused_by_its_texts_place(minilm: Path, tmp_path: Path) -> None:
    model = static_model(minilm, tmp_path / "static")
    weights = load_file(model / "model.safetensors")
    save_file({name: value * 0 for name, value in weights.items()}, model / "model.safetensors")
    with pytest.raises(ModelError, match=r"2 unusable vector\(s\): that of text 0 is zero"):
        load_encoder(str(model), ONE_THREAD).encode_documents(["a", "b"])


def test_a_vector_that_is_not_finite_is_refused(tiny: Callable[..., Path]) -> None:
    model = tiny(Pooling(16))
    weights = load_file(model / "model.safetensors")
    poisoned = {name: value * (np.nan if "word_embeddings" in name else 1) for name, value in weights.items()}
    save_file({name: value.astype(np.float32) for name, value in poisoned.items()}, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="that of text 0 is not finite"):
        load_encoder(str(model), ONE_THREAD).encode_queries(["a"])


def test_bfloat16_is_another_model_close_to_the_first(encoder: Any, minilm: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="vecmigrate"):
        half = load_encoder(str(minilm), EncodingSection(precision="bfloat16", device="cpu"))
    texts = [text for text in TEXTS if len(text) < 100]
    vectors = half.encode_documents(texts)
    assert vectors.dtype == np.float32
    assert half.model.fingerprint != encoder.model.fingerprint
    assert half.model.precision == "bfloat16"
    cosines = (vectors * encoder.encode_documents(texts)).sum(axis=1)
    assert 0.999 < cosines.min() < 1 - 1e-7
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-5
    assert bool(caplog.records) != (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


# ── what can't be loaded ──


@pytest.mark.parametrize("source", ["./nowhere", "/nowhere/model", "a/b/c", "~/no-such-model-here", "nowhere/"])
def test_a_missing_directory_is_named(source: str) -> None:
    with pytest.raises(ModelError, match=f"no model directory {source}"):
        load_encoder(source, ONE_THREAD)


@pytest.mark.parametrize("source", ["", "  "])
def test_no_model_at_all_is_said(source: str) -> None:
    with pytest.raises(ModelError, match="no model is named"):
        load_encoder(source, ONE_THREAD)


def test_a_hub_that_is_out_of_reach_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="neither a directory nor to be had from the model hub") as caught:
        load_encoder("someone/some-model", ONE_THREAD)
    assert "connection" in caught.value.hint


def test_a_name_that_no_hub_has_is_said() -> None:
    with pytest.raises(ModelError, match="neither a directory nor"):
        load_encoder("no model of this name", ONE_THREAD)


def test_a_cached_hub_model_loads_offline_by_name(minilm: Path, encoder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    revision = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--sentence-transformers--all-MiniLM-L6-v2"
    shutil.copytree(minilm, repository / "snapshots" / revision)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name in ("sentence-transformers/all-MiniLM-L6-v2", "all-MiniLM-L6-v2"):
        model = load_encoder(name, ONE_THREAD).model
        assert model.fingerprint == encoder.model.fingerprint
        assert model.source == name
        assert model.name == "all-minilm-l6-v2"


def test_pickled_weights_are_refused_with_the_way_to_convert_them(tiny: Callable[..., Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny(Pooling(16)), tmp_path / "m"))
    weights = load_file(copy / "model.safetensors")
    torch.save({name: torch.from_numpy(value) for name, value in weights.items()}, copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"pytorch_model\.bin, a pickle") as caught:
        load_encoder(str(copy), ONE_THREAD)
    assert "safetensors" in caught.value.hint


def test_a_pickle_in_a_later_module_is_refused_too(tiny: Callable[..., Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny(Pooling(16), Dense(16, 8)), tmp_path / "m"))
    (copy / "2_Dense" / "model.safetensors").rename(copy / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(ModelError, match="a pickle"):
        load_encoder(str(copy), ONE_THREAD)


def test_a_model_with_code_of_its_own_is_refused_and_not_run(tiny: Callable[..., Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny(Pooling(16)), tmp_path / "m"))
    (copy / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    modules = json.loads((copy / "modules.json").read_text())
    modules[1]["type"] = "evil.Evil"
    (copy / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError) as caught:
        load_encoder(str(copy), ONE_THREAD)
    assert "code" in caught.value.hint
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("modules.json", "{not json", "modules.json can't be read"),
        ("modules.json", "[1]", "modules.json can't be read"),
        ("config.json", '{"model_type": "of-tomorrow"}', "cannot be loaded"),
        ("tokenizer.json", "{}", "cannot be loaded"),
        ("model.safetensors", "rubbish", "cannot be loaded"),
    ],
)
def test_a_damaged_directory_is_named(tiny: Callable[..., Path], tmp_path: Path, file: str, content: str, said: str) -> None:
    copy = Path(shutil.copytree(tiny(Pooling(16)), tmp_path / "damaged"))
    (copy / file).write_text(content)
    with pytest.raises(ModelError, match=said):
        load_encoder(str(copy), ONE_THREAD)


def test_a_directory_that_holds_no_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a model"):
        load_encoder(str(tmp_path), ONE_THREAD)
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="is not a directory"):
        load_encoder(str(tmp_path / "file"), ONE_THREAD)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_is_not_there_is_said() -> None:
    with pytest.raises(ModelError, match="no cuda device"):
        choose_device("cuda")
    assert choose_device("auto") in ("cpu", "mps")


@pytest.mark.gpu
def test_a_gpu_gives_the_processors_vectors(encoder: Any, minilm: Path) -> None:
    gpu = load_encoder(str(minilm), EncodingSection(device="cuda"))
    assert gpu.pipeline.device.type == "cuda"
    assert largest_difference(gpu.encode_documents(MANY), encoder.encode_documents(MANY)) < 1e-4


def test_importing_the_package_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = "import sys, vecmigrate.encoding, vecmigrate.encoding.catalog, vecmigrate.encoding.sources; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_a_public_name_that_is_not_there_is_said() -> None:
    import vecmigrate.encoding

    with pytest.raises(AttributeError, match="nonsense"):
        vecmigrate.encoding.nonsense  # noqa: B018
