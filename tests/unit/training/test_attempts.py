"""Several attempts of one training: within the budget, remembered when done, and carried on when memory runs out."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_shop import ONE_THREAD, QUICK

from vecmigrate.dataset.pairs import DevSet, TrainingPair
from vecmigrate.encoding import ModelCatalog
from vecmigrate.encoding.encoder import Encoder
from vecmigrate.errors import ModelError, UsageError
from vecmigrate.training import TrainingRequest, TrainingResult, train
from vecmigrate.training.attempts import is_out_of_memory
from vecmigrate.training.losses import GroupedLoss

Request = Callable[..., TrainingRequest]
Pairs = list[TrainingPair]
WALK = QUICK.model_copy(update={"learning_rate": None, "evaluations_per_epoch": 1})
"""One epoch, and the rate left to the walk."""


def told(result: TrainingResult) -> list[tuple[str, float, int]]:
    return [(one["loss"], one["learning_rate"], one["round"]) for one in result.entry.lineage["choice"]["attempts"]]


def watched(names: list[str]) -> Callable[..., None]:
    """A progress that notes each attempt's name once."""

    def progress(step: int, total: int, loss: float | None, dev_score: float | None, attempt: str) -> None:
        if attempt not in names:
            names.append(attempt)

    return progress


@pytest.fixture(scope="module")
def whole(tiny: Path, pairs: Pairs, dev: DevSet, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    root = tmp_path_factory.mktemp("walk")
    catalog = ModelCatalog(root / "models")
    base = catalog.ensure(str(tiny), settings=ONE_THREAD)
    return train(pairs, dev, TrainingRequest(base=base, catalog=catalog, folder=root / "training", training=WALK, encoding=ONE_THREAD))


def test_rates_are_tried_and_every_attempt_is_told(whole: TrainingResult) -> None:
    attempts = whole.entry.lineage["choice"]["attempts"]
    assert told(whole)[:2] == [("ranking", 1e-4, 1), ("ranking", 2e-4, 1)]
    assert all(len(one["history"]) == 2 and one["steps"] == 6 for one in attempts)
    assert len({one["history"][0][1] for one in attempts}) == 1, "all begin at the same base"
    assert sum(line.strip().startswith("ranking, rate") for line in whole.lines()) == len(attempts) >= 3


def test_the_first_attempt_is_made_whatever_the_budget_and_no_other(tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request) -> None:
    names: list[str] = []
    settings = WALK.model_copy(update={"budget_minutes": 1e-9})
    result = train(pairs, dev, request_for(tiny, settings), progress=watched(names))
    assert told(result) == [("ranking", 1e-4, 1)]
    assert names == ["ranking-1e-04-1x"]


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
        training=QUICK.model_copy(update={{"learning_rate": None, "evaluations_per_epoch": 1}}), encoding=ONE_THREAD,
    )
    def progress(step, total, loss, dev_score, attempt):
        if step == 4 and attempt == "ranking-2e-04-1x":
            os.kill(os.getpid(), signal.SIGKILL)
    train(pairs_of(CODES), dev_set(), request, progress=progress)
"""


@pytest.mark.slow
def test_attempts_that_were_done_are_not_made_again_after_a_kill(
    tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request, tmp_path: Path, whole: TrainingResult
) -> None:
    code = textwrap.dedent(KILLED).format(tests=str(Path(__file__).parent), root=str(tmp_path), base=str(tiny))
    killed = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    names: list[str] = []
    resumed = train(pairs, dev, request_for(tiny, WALK), progress=watched(names))
    assert "ranking-1e-04-1x" not in names
    assert names[0] == "ranking-2e-04-1x"
    assert told(resumed) == told(whole)
    assert resumed.entry.model.fingerprint == whole.entry.model.fingerprint
    assert resumed.entry.lineage["scores"] == whole.entry.lineage["scores"]


# ── memory ──


def run_out_above(monkeypatch: pytest.MonkeyPatch, rows: int, error: Exception | None = None, *, after: int = 0) -> list[int]:
    """Let the loss fail on batches of more than so many rows, once `after` batches have gone well; the sizes of all are noted."""
    sizes: list[int] = []
    forward = GroupedLoss.forward

    def limited(self: GroupedLoss, columns: Any, labels: Any) -> Any:
        features = list(columns)
        sizes.append(len(features[0]["input_ids"]))
        if sizes[-1] > rows and len(sizes) > after:
            raise error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return forward(self, features, labels)

    monkeypatch.setattr(GroupedLoss, "forward", limited)
    return sizes


def test_where_memory_runs_out_the_batch_is_halved_and_the_step_kept(
    tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = run_out_above(monkeypatch, 2)
    settings = QUICK.model_copy(update={"batch_size": 8})
    result = train(pairs, dev, request_for(tiny, settings))
    (attempt,) = result.entry.lineage["choice"]["attempts"]
    assert attempt["notes"] == ["memory ran out: batches of 2 instead, each step the mean of 4 of them"]
    assert attempt["steps"] == 3
    assert sizes == [8, 4, *[2] * 12]
    assert any("memory ran out: batches of 2 instead" in line for line in result.lines())


def test_where_memory_runs_out_later_training_goes_on_from_its_checkpoint(
    tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four of six steps have been made and three are in the checkpoint; the rest is made in halves."""
    sizes = run_out_above(monkeypatch, 2, after=4)
    result = train(pairs, dev, request_for(tiny))
    assert sizes == [4, 4, 4, 4, 4, *[2] * 6]
    assert [step for step, _ in result.entry.lineage["choice"]["attempts"][0]["history"]] == [0, 3, 6]


def test_what_does_not_fit_in_pairs_of_two_is_said(
    tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_out_above(monkeypatch, 1)
    with pytest.raises(ModelError, match="ran out of memory") as caught:
        train(pairs, dev, request_for(tiny))
    assert "recompute" in caught.value.hint


def test_another_error_is_no_lack_of_memory(
    tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_out_above(monkeypatch, 1, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(pairs, dev, request_for(tiny))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("expected scalar type Float"), False),
        (ValueError("x"), False),
    ],
)
def test_lack_of_memory_is_known_by_its_kind_or_its_words(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


# ── rounds of mining ──


def test_each_round_is_mined_by_the_best_model_so_far(tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request) -> None:
    mined: list[tuple[np.ndarray[Any, Any], int]] = []

    def remine(encoder: Encoder, *, seed: int) -> Sequence[TrainingPair]:
        mined.append((encoder.encode_queries(["error zx-1"]), seed))
        return [replace(pair, negatives=(pairs[place - 1].positive,)) for place, pair in enumerate(pairs)]

    settings = QUICK.model_copy(update={"mining_rounds": 2})
    request = request_for(tiny, settings, remine=remine)
    result = train(pairs, dev, request)
    assert told(result) == [("ranking", 1e-3, 1), ("ranking", 1e-3, 2)]
    assert [seed for _, seed in mined] == [2]
    alone = train(pairs, dev, request_for(tiny, QUICK, name="alone"))
    from vecmigrate.encoding import load_encoder

    assert np.array_equal(mined[0][0], load_encoder(alone.entry.path, ONE_THREAD).encode_queries(["error zx-1"]))


def test_a_query_side_is_mined_among_the_bases_chunks(tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request) -> None:
    """Where the chunks' vectors stay, what misleads the query side is found among those, not among vectors that nobody will search."""
    seen: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []

    def remine(encoder: Encoder, *, seed: int) -> Sequence[TrainingPair]:
        seen.append((encoder.encode_queries(["error zx-1"]), encoder.encode_documents(["error zx-1"])))
        return pairs

    request = request_for(tiny, QUICK.model_copy(update={"mining_rounds": 2, "rungs": ("query",)}), remine=remine)
    train(pairs, dev, request)
    from vecmigrate.encoding import load_encoder

    base = load_encoder(request.base.path, ONE_THREAD)
    assert np.array_equal(seen[0][1], base.encode_documents(["error zx-1"]))
    assert not np.array_equal(seen[0][0], base.encode_queries(["error zx-1"]))


def test_rounds_without_a_dataset_to_mine_in_are_refused_before_training(
    tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request
) -> None:
    request = request_for(tiny, QUICK.model_copy(update={"mining_rounds": 2}))
    with pytest.raises(UsageError, match="mining_rounds"):
        train(pairs, dev, request)
    assert not request.folder.exists()
