"""A training from request to catalogued model: it teaches, it stops, it resumes, it says no, and it changes nothing else."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file
from training_shop import ONE_THREAD, QUICK

from vecmigrate.config import TrainingSection
from vecmigrate.dataset.pairs import DevSet, TrainingPair
from vecmigrate.encoding import ModelCatalog, load_encoder
from vecmigrate.errors import DataError, ModelError, PreflightRefused, UsageError
from vecmigrate.records import Judgment, Query
from vecmigrate.training import TrainingRequest, TrainingResult, run, train
from vecmigrate.training.request import Verdict

Request = Callable[..., TrainingRequest]
Pairs = list[TrainingPair]


def quick(**changes: Any) -> TrainingSection:
    return QUICK.model_copy(update=changes)


class Stopped(BaseException):
    """What a test interrupts a training with."""


def stop_at(step: int, error: type[BaseException] = Stopped) -> Callable[..., None]:
    def progress(at: int, total: int, loss: float | None, dev_score: float | None, attempt: str) -> None:
        if at == step:
            raise error

    return progress


def test_a_real_model_learns_what_it_could_not_know(minilm: Path, pairs: Pairs, dev: DevSet, request_for: Request) -> None:
    settings = quick(epochs=4, batch_size=8, learning_rate=2e-4, evaluations_per_epoch=1, max_tokens=32)
    told: list[tuple[int, int, float | None, float | None, str]] = []
    result = train(pairs, dev, request_for(minilm, settings), progress=lambda *step: told.append(step))
    scores = result.entry.lineage["scores"]
    assert scores["base"] < 0.65
    assert scores["tuned"] > scores["base"] + 0.2
    assert result.verdict is Verdict.TUNED
    assert result.entry.verdict == "tuned"
    assert told[0][:3] == (0, 12, None)
    assert told[0][3] == pytest.approx(scores["base"])
    assert [step for step, *_ in told] == list(range(len(told)))
    assert all(loss is not None and loss > 0 for _, _, loss, _, _ in told[1:])
    assert max(score or 0 for *_, score, _ in told) == pytest.approx(scores["tuned"])


def test_the_result_is_a_catalogued_model_with_its_history(tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request) -> None:
    request = request_for(tiny, name="shop")
    result = train(pairs, dev, request)
    entry = request.catalog.get("shop")
    assert entry == result.entry
    assert load_encoder(entry.path, request.encoding).model.fingerprint == entry.model.fingerprint
    assert entry.model.fingerprint != request.base.model.fingerprint
    lineage = entry.lineage
    assert lineage["dataset"] == "d" * 8
    assert lineage["base"]["fingerprint"] == request.base.model.fingerprint
    assert lineage["settings"]["batch_size"] == 4
    assert lineage["data"] == {"pairs": 24, "negatives": 0, "max_tokens": 32, "notes": []}
    assert lineage["scores"]["queries"] == 24
    assert [step for step, _ in lineage["choice"]["attempts"][0]["history"]] == [0, 3, 6]
    assert lineage["libraries"]["torch"]
    assert list(request.folder.iterdir()) == []


def test_a_trained_model_holds_no_pickle_and_no_text_of_the_users(tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request) -> None:
    home = Path(train(pairs, dev, request_for(tiny)).entry.path)
    files = [file for file in home.rglob("*") if file.is_file()]
    assert not [file for file in files if file.suffix in (".bin", ".pt", ".pth", ".pkl")]
    assert (home / "model.safetensors").is_file()
    assert (home / "README.md").is_file()
    texts = {text for pair in pairs for text in (pair.query, pair.positive)} | {query.text for query in dev.queries}
    assert not [(file.name, text) for file in files for text in texts if text.encode() in file.read_bytes()]


def test_the_result_can_be_printed_and_serialised(tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request) -> None:
    import json

    result = train(pairs, dev, request_for(tiny, name="shop"))
    lines = result.lines()
    assert lines[0].startswith("shop: ")
    assert lines[-1] == f"verdict: {result.verdict}"
    assert any("dev nDCG@10 (24 queries among 8 chunks)" in line for line in lines)
    assert json.loads(json.dumps(result.to_dict()))["verdict"] == str(result.verdict)


def test_the_model_keeps_its_own_maximum_length(tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request) -> None:
    entry = train(pairs, dev, request_for(tiny, quick(epochs=1, batch_size=8, max_tokens=16))).entry
    assert entry.lineage["data"]["max_tokens"] == 16
    assert entry.model.max_tokens == 48


def test_prompts_given_to_the_base_become_the_models_own(tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request) -> None:
    request = request_for(tiny)
    base = request.catalog.ensure(str(tiny), settings=request.encoding, query_prompt="ask: ", document_prompt="say: ")
    entry = train(pairs, dev, replace(request, base=base)).entry
    assert (entry.model.query_prompt, entry.model.document_prompt) == ("ask: ", "say: ")
    assert load_encoder(entry.path, request.encoding).model.fingerprint == entry.model.fingerprint


# ── the verdict ──


def test_a_training_that_teaches_nothing_is_registered_to_keep_the_base(
    tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request
) -> None:
    nothing = quick(epochs=1, batch_size=8, learning_rate=1e-12, max_tokens=32)
    request = request_for(tiny, nothing)
    result = train(pairs, dev, request)
    assert result.verdict is Verdict.KEEP_BASE
    assert request.catalog.get(result.entry.model.name).verdict == "keep base"
    assert result.lines()[-1] == "verdict: keep base"


def test_wrong_answers_do_not_pass(minilm: Path, pairs: Pairs, dev: DevSet, request_for: Request) -> None:
    codes = sorted({pair.chunk_id for pair in pairs})
    wrong = dict(zip(codes, codes[1:] + codes[:1], strict=True))
    text = {pair.chunk_id: pair.positive for pair in pairs}
    shuffled = [replace(pair, chunk_id=wrong[pair.chunk_id], positive=text[wrong[pair.chunk_id]]) for pair in pairs]
    settings = quick(epochs=1, batch_size=8, learning_rate=2e-4, evaluations_per_epoch=1, max_tokens=32)
    assert train(shuffled, dev, request_for(minilm, settings)).verdict is Verdict.KEEP_BASE


def test_training_stops_when_the_dev_score_no_longer_rises(tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request) -> None:
    settings = quick(epochs=50, batch_size=8, learning_rate=1e-12, evaluations_per_epoch=3, patience=2, max_tokens=32)
    steps: list[int] = []
    result = train(pairs, dev, request_for(tiny, settings), progress=lambda step, *_: steps.append(step))
    assert steps[-1] == 3
    assert result.entry.lineage["choice"]["attempts"][0]["steps"] == 3
    assert result.entry.lineage["choice"]["attempts"][0]["step"] == 1


# ── again, and after a kill ──


def test_the_same_data_and_seed_give_the_same_model(
    tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request, whole: TrainingResult
) -> None:
    again, other_seed = request_for(tiny), request_for(tiny, QUICK.model_copy(update={"seed": 7}))
    assert train(pairs, dev, again).entry.model.fingerprint == whole.entry.model.fingerprint
    assert train(pairs, dev, other_seed).entry.model.fingerprint != whole.entry.model.fingerprint


def test_two_cores_give_the_same_model_every_time(tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request, tmp_path: Path) -> None:
    made = []
    for place in ("a", "b"):
        request = request_for(tiny)
        two = request.encoding.model_copy(update={"threads": 2})
        request = replace(request, encoding=two, catalog=ModelCatalog(tmp_path / place / "models"), folder=tmp_path / place / "training")
        made.append(train(pairs, dev, request).entry.model.fingerprint)
    assert made[0] == made[1]


def test_a_finished_training_is_not_done_again(tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request) -> None:
    first = train(pairs, dev, request_for(tiny))
    steps: list[int] = []
    again = train(pairs, dev, request_for(tiny), progress=lambda step, *_: steps.append(step))
    assert again == TrainingResult(first.entry, made_before=True, entries=(first.entry,))
    assert steps == []
    assert "nothing to do" in again.lines()[0]


@pytest.fixture(scope="module")
def whole(tiny: Path, pairs: Pairs, dev: DevSet, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """The same training, from beginning to end without a stop."""
    root = tmp_path_factory.mktemp("whole")
    catalog = ModelCatalog(root / "models")
    base = catalog.ensure(str(tiny), settings=ONE_THREAD)
    return train(pairs, dev, TrainingRequest(base=base, catalog=catalog, folder=root / "training", training=QUICK, encoding=ONE_THREAD))


def test_an_interrupted_training_goes_on_and_ends_as_if_it_had_not_been(
    tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request, whole: TrainingResult
) -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        train(pairs, dev, request_for(tiny), progress=stop_at(5, KeyboardInterrupt))
    assert "goes on from the last checkpoint" in caught.value.__notes__[0]
    steps: list[int] = []
    resumed = train(pairs, dev, request_for(tiny), progress=lambda step, *_: steps.append(step))
    assert resumed.resumed_at == 3
    assert steps == [3, 4, 5, 6]
    assert resumed.entry.model.fingerprint == whole.entry.model.fingerprint
    assert resumed.entry.lineage["scores"] == whole.entry.lineage["scores"]
    assert "resumed at step 3" in resumed.lines()[0]


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
        training=QUICK, encoding=ONE_THREAD,
    )
    def progress(step, *_):
        if step == {step}:
            os.kill(os.getpid(), signal.SIGKILL)
    train(pairs_of(CODES), dev_set(), request, progress=progress)
"""


def test_a_killed_training_goes_on_from_its_last_checkpoint(
    tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request, tmp_path: Path, whole: TrainingResult
) -> None:
    code = textwrap.dedent(KILLED).format(tests=str(Path(__file__).parent), root=str(tmp_path), base=str(tiny), step=4)
    killed = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert killed.stdout == killed.stderr == ""
    resumed = train(pairs, dev, request_for(tiny))
    assert resumed.resumed_at == 3
    assert resumed.entry.model.fingerprint == whole.entry.model.fingerprint


def test_a_training_killed_before_it_was_registered_is_not_trained_again(
    tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr("vecmigrate.training.run.register", killed)
        with pytest.raises(Stopped):
            train(pairs, dev, request_for(tiny))
    steps: list[int] = []
    result = train(pairs, dev, request_for(tiny), progress=lambda step, *_: steps.append(step))
    assert (steps, result.resumed_at) == ([], 6)
    assert result.entry.lineage["choice"]["attempts"][0]["steps"] == 6


def test_fresh_begins_anew(tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request) -> None:
    with pytest.raises(Stopped):
        train(pairs, dev, request_for(tiny), progress=stop_at(5))
    steps: list[int] = []
    result = train(pairs, dev, request_for(tiny, fresh=True), progress=lambda step, *_: steps.append(step))
    assert result.resumed_at is None
    assert steps[0] == 0
    again = train(pairs, dev, request_for(tiny, fresh=True))
    assert again.entry.model.fingerprint == result.entry.model.fingerprint
    assert not again.made_before


def test_other_settings_or_data_are_another_run(tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request) -> None:
    request = request_for(tiny)
    known = run.identify(pairs, dev, request)
    assert run.identify(list(pairs), dev, replace(request, name="x", lineage={})) == known
    others = [
        run.identify(pairs[:-1], dev, request),
        run.identify(pairs, replace(dev, pool={**dev.pool, "z": "t"}), request),
        run.identify(pairs, dev, replace(request, training=quick(seed=9))),
        run.identify(pairs, dev, replace(request, encoding=request.encoding.model_copy(update={"precision": "bfloat16"}))),
    ]
    assert len({known, *others}) == 5


# ── nothing leaves, nothing is printed ──


def test_training_needs_no_network(tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert train(pairs, dev, request_for(tiny)).entry.model.dimension == 16


def test_training_prints_nothing(tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request, capfd: pytest.CaptureFixture[str]) -> None:
    train(pairs, dev, request_for(tiny))
    assert capfd.readouterr() == ("", "")


# ── bad input ──


def test_a_batch_larger_than_the_pairs_is_all_of_them(tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request) -> None:
    result = train(pairs[:3], dev, request_for(tiny, quick(epochs=2, batch_size=512, max_tokens=32)))
    assert result.entry.lineage["choice"]["attempts"][0]["steps"] == 2


def test_hard_negatives_are_trained_on(tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request) -> None:
    mined = [replace(pair, negatives=(pairs[place - 1].positive,)) for place, pair in enumerate(pairs)]
    with_them, without = train(mined, dev, request_for(tiny)), train(pairs, dev, request_for(tiny))
    assert with_them.entry.lineage["data"]["negatives"] == 1
    assert with_them.entry.model.fingerprint != without.entry.model.fingerprint


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_pairs_are_refused_before_anything_is_loaded(
    tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request, count: int
) -> None:
    request = request_for(tiny)
    with pytest.raises(DataError, match=f"there are {count}"):
        train(pairs[:count], dev, request)
    assert not request.folder.exists()


def test_an_empty_dev_set_is_refused(tiny: Path, pairs: Pairs, request_for: Request) -> None:
    with pytest.raises(DataError, match="no dev query"):
        train(pairs, DevSet((), (), {}), request_for(tiny))


def test_a_name_that_is_taken_is_refused_before_training(tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request) -> None:
    request = request_for(tiny)
    with pytest.raises(UsageError, match="taken by another model"):
        train(pairs, dev, replace(request, name=request.base.model.name))
    with pytest.raises(UsageError, match="not a model name"):
        train(pairs, dev, replace(request, name="../x"))
    assert not request.folder.exists()


def test_a_base_that_has_changed_is_refused(tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny, tmp_path / "copy"))
    request = request_for(copy)
    weights = load_file(copy / "model.safetensors")
    save_file({name: value * 2 for name, value in weights.items()}, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="no longer the model"):
        train(pairs, dev, request)


def test_too_little_disk_is_said_before_training(
    tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_for(tiny)
    monkeypatch.setattr(run, "_SPACE_FACTOR", 10**12)
    with pytest.raises(PreflightRefused, match="GB are free"):
        train(pairs, dev, request)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX only")
def test_a_disk_that_fills_up_meanwhile_is_said(
    tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vecmigrate.training.fit._save_best", full)
    with pytest.raises(PreflightRefused, match="is full") as caught:
        train(pairs, dev, request_for(tiny))
    assert "goes on from the last checkpoint" in caught.value.hint


def test_dev_queries_without_answers_in_the_pool_do_not_count(tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request) -> None:
    more = DevSet((*dev.queries, Query("lost", "lost")), (*dev.judgments, Judgment("lost", "gone", 1.0)), dev.pool)
    assert train(pairs, more, request_for(tiny)).entry.lineage["scores"]["queries"] == 24


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, vecmigrate.training; from vecmigrate.training import TrainingRequest; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
