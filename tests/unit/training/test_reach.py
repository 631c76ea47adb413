"""What a training may change: frozen layers stay bit for bit, and low-rank adapters leave a plain model behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from training_shop import ONE_THREAD, QUICK

from vecmigrate.config import TrainingSection
from vecmigrate.dataset.pairs import DevSet, TrainingPair
from vecmigrate.encoding import ModelCatalog, load_encoder
from vecmigrate.errors import MissingDependency, ModelError
from vecmigrate.training import TrainingRequest, TrainingResult, train
from vecmigrate.training.reach import limit, merged

Request = Callable[..., TrainingRequest]
Pairs = list[TrainingPair]
LORA = QUICK.model_copy(update={"lora_rank": 2})


def pipeline(home: Path) -> SentenceTransformer:
    return SentenceTransformer(str(home), device="cpu").eval()


def weights(home: Path | str) -> dict[str, torch.Tensor]:
    return load_file(Path(home) / "model.safetensors")


def test_frozen_layers_stay_and_the_others_move(deep: Path, pairs: Pairs, dev: DevSet, request_for: Request) -> None:
    entry = train(pairs, dev, request_for(deep, QUICK.model_copy(update={"freeze_layers": 2, "precision": "bfloat16"}))).entry
    before, after = weights(deep), weights(entry.path)
    assert before.keys() == after.keys()
    frozen = [name for name in before if "embeddings." in name or "layer.0." in name or "layer.1." in name]
    assert len(frozen) == 37
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    upper = [name for name in before if "layer.2." in name]
    assert sum(not torch.equal(before[name], after[name]) for name in upper) >= len(upper) - 1  # a key's bias has no gradient


def test_all_layers_can_be_frozen_but_no_more(deep: Path) -> None:
    model = pipeline(deep)
    limit(model, TrainingSection(freeze_layers=2))
    assert {name.split(".")[4] for name, weight in model.named_parameters() if weight.requires_grad and ".layer." in name} == {"2"}
    with pytest.raises(ModelError, match=r"freeze_layers = 4, and the model's layers are 3"):
        limit(model, TrainingSection(freeze_layers=4))


def test_a_model_whose_layers_cannot_be_found_is_refused_before_it_is_trained(
    tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request
) -> None:
    request = request_for(tiny, QUICK.model_copy(update={"freeze_layers": 2}))
    steps: list[int] = []
    with pytest.raises(ModelError, match="freeze_layers = 2"):
        train(pairs, dev, request, progress=lambda step, *_: steps.append(step))
    assert steps == []


def test_nothing_is_limited_unless_asked(tiny: Path) -> None:
    model = pipeline(tiny)
    limit(model, TrainingSection())
    assert all(weight.requires_grad for weight in model.parameters())
    assert merged(model) is model


# ── LoRA ──


@pytest.fixture(scope="module")
def whole(tiny: Path, pairs: Pairs, dev: DevSet, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    pytest.importorskip("peft")
    root = tmp_path_factory.mktemp("lora")
    catalog = ModelCatalog(root / "models")
    base = catalog.ensure(str(tiny), settings=ONE_THREAD)
    return train(pairs, dev, TrainingRequest(base=base, catalog=catalog, folder=root / "training", training=LORA, encoding=ONE_THREAD))


def test_low_rank_adapters_train_a_fraction_of_the_weights(deep: Path) -> None:
    pytest.importorskip("peft")
    model = pipeline(deep)
    limit(model, TrainingSection(lora_rank=2))
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)


def test_the_saved_model_is_a_plain_one_that_has_learned(whole: TrainingResult, tiny: Path) -> None:
    home = Path(whole.entry.path)
    before, after = weights(tiny), weights(home)
    assert before.keys() == after.keys()
    assert not [file.name for file in home.rglob("*") if "adapter" in file.name]
    assert "peft" not in (home / "config.json").read_text() + (home / "modules.json").read_text()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.endswith(".weight") and "embeddings" not in name and "LayerNorm" not in name for name in moved)


def test_the_change_is_of_the_rank_that_was_asked_for(whole: TrainingResult, tiny: Path) -> None:
    before, after = weights(tiny), weights(whole.entry.path)
    name = "encoder.layer.0.intermediate.dense.weight"
    singular = torch.linalg.svdvals((after[name] - before[name]).double())
    assert singular[1] > 1e-7
    assert singular[2] < 1e-4 * singular[0]


def test_working_the_adapters_in_changes_no_embedding(tiny: Path) -> None:
    pytest.importorskip("peft")
    model = pipeline(tiny)
    limit(model, TrainingSection(lora_rank=2))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.copy_(torch.randn_like(weight))
    plain = merged(model)
    stock, adapted = (one.encode(["error zx-1"], convert_to_tensor=True) for one in (pipeline(tiny), model))
    assert torch.allclose(plain.encode(["error zx-1"], convert_to_tensor=True), adapted, atol=1e-5)
    assert not torch.allclose(stock, adapted, atol=1e-2)
    assert plain is not model


def test_fresh_adapters_worked_in_are_the_base_bit_for_bit(tiny: Path) -> None:
    """What the blend begins at."""
    pytest.importorskip("peft")
    model = pipeline(tiny)
    limit(model, TrainingSection(lora_rank=2))
    plain, stock = merged(model).state_dict(), pipeline(tiny).state_dict()
    assert plain.keys() == stock.keys()
    assert all(torch.equal(plain[name], stock[name]) for name in stock)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_scores_told_are_those_of_the_saved_model(precision: str, tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request) -> None:
    """Of weights that were blended and measured, in bfloat16 through a copy, after the adapters were worked in."""
    pytest.importorskip("peft")
    from vecmigrate.training.devsearch import dev_search

    settings = LORA.model_copy(update={"precision": precision, "learning_rate": 3e-2, "epochs": 3})
    entry = train(pairs, dev, request_for(tiny, settings)).entry
    served = float(dev_search(dev, seed=0).measure(load_encoder(entry.path, ONE_THREAD)).mean())
    best = max(score for _, score in entry.lineage["choice"]["attempts"][0]["history"][1:])
    rounding = 1e-9 if precision == "float32" else 0.05
    assert entry.lineage["scores"]["tuned"] == pytest.approx(best, abs=rounding)
    assert served == pytest.approx(best, abs=rounding)


KILLED = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from training_shop import CODES, ONE_THREAD, QUICK, dev_set, pairs_of
    from vecmigrate.encoding import ModelCatalog
    from vecmigrate.training import TrainingRequest, train

    root = Path({root!r})
    catalog = ModelCatalog(root / "models")
    request = TrainingRequest(
        base=catalog.ensure({base!r}, settings=ONE_THREAD), catalog=catalog, folder=root / "training",
        training=QUICK.model_copy(update={{"lora_rank": 2}}), encoding=ONE_THREAD,
    )
    def progress(step, *_):
        if step == 4:
            os.kill(os.getpid(), signal.SIGKILL)
    train(pairs_of(CODES), dev_set(), request, progress=progress)
"""


@pytest.mark.slow
def test_a_killed_training_of_adapters_goes_on_and_ends_as_if_it_had_not_been(
    tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request, tmp_path: Path, whole: TrainingResult
) -> None:
    code = textwrap.dedent(KILLED).format(tests=str(Path(__file__).parent), root=str(tmp_path), base=str(tiny))
    killed = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = train(pairs, dev, request_for(tiny, LORA))
    assert resumed.resumed_at == 3
    assert resumed.entry.model.fingerprint == whole.entry.model.fingerprint


def test_lora_without_peft_says_what_to_install(
    tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    request = request_for(tiny, LORA)
    with pytest.raises(MissingDependency, match="peft") as caught:
        train(pairs, dev, replace(request, name="x"))
    assert "vecmigrate[lora]" in caught.value.hint
