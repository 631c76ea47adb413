"""One training from request to catalogued model: check, fit, judge, register. Each part can be killed; the next call goes on."""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vecmigrate.config import RungName
from vecmigrate.dataset.cross_encoder import load_cross_encoder
from vecmigrate.dataset.pairs import DevSet, TrainingPair
from vecmigrate.encoding.catalog import ModelEntry, check_name
from vecmigrate.encoding.encoder import Encoder
from vecmigrate.encoding.fingerprint import Traits, fingerprint_directory, module_folders, weight_files
from vecmigrate.encoding.loading import find_model
from vecmigrate.encoding.sentence_transformer import SentenceTransformerEncoder, load_encoder
from vecmigrate.encoding.workers import available_cores
from vecmigrate.errors import ModelError, PreflightRefused, UsageError, VecmigrateError
from vecmigrate.training.attempts import Attempts
from vecmigrate.training.checkpoints import RunFolder
from vecmigrate.training.choice import check, loss_for, other_losses
from vecmigrate.training.devsearch import DevSearch, dev_search
from vecmigrate.training.examples import (
    Examples,
    examples_of,
    graded_examples,
    shortened,
    taught_examples,
    training_length,
    triplet_examples,
)
from vecmigrate.training.fit import Fitting, FrozenDocuments, is_main_process, make_pass, process_count
from vecmigrate.training.losses import Guide
from vecmigrate.training.probe import open_probe
from vecmigrate.training.reach import limit
from vecmigrate.training.registering import register, rung_name
from vecmigrate.training.replay import replayed
from vecmigrate.training.request import OnlyHelped, Progress, TrainingRequest, TrainingResult, Verdict
from vecmigrate.training.rungs import Climbed, Ground, QuerySide, climb, climb_adapter
from vecmigrate.training.trials import MOST_ATTEMPTS, Trial, first_trial
from vecmigrate.versions import fingerprint_of

RUNGS: tuple[RungName, ...] = ("adapter", "query", "full")
RULE = 2
"""Grows when the same request would train differently, so that no run resumes under another rule."""
LENGTH_CAPS: Mapping[str, int] = {"cpu": 128}
LENGTH_CAP = 256
_SPACE_FACTOR = 8
"""A checkpoint holds the weights and twice as much of the optimizer's; for a moment there are two, and two best models."""
_AGAIN = "the same command goes on from the last checkpoint"


def train(pairs: Sequence[TrainingPair], dev: DevSet, request: TrainingRequest, *, progress: Progress | None = None) -> TrainingResult:
    """Climb the rungs of `[training] rungs`, each chosen by the dev queries, and register its model with its verdict and lineage.

    Killed or interrupted, the same call resumes; finished, it returns what it has made. Raises `DataError` for pairs or dev queries that
    can't be used, `ModelError` for a base that can't, `PreflightRefused` for too little disk, `UsageError` for a name that is taken or
    settings that contradict each other. Of several processes that train together only the first returns; the others raise `OnlyHelped` when their work is done.
    """
    check(request)
    run_id = identify(pairs, dev, request)
    run = RunFolder(request.folder / run_id[:16])
    made = () if request.fresh else _made_before(request, run_id)
    if made:
        run.clear()
        return TrainingResult(made[_primary([_said(entry) for entry in made], request)], made_before=True, entries=made)
    name = _name(request, run_id)
    examples = examples_of((*pairs, *replayed(request, len(pairs))), seed=request.training.seed)
    search = dev_search(dev, seed=request.training.seed)
    probe = open_probe(request.training.probe, root=request.root, seed=request.training.seed)
    if request.fresh:
        run.clear()
    with _explained(run):
        ground = _ground(examples, search, probe, request, run, progress)
        climbed = [one for rung in RUNGS if rung in request.training.rungs and (one := _climb(rung, ground, request)) is not None]
        if not is_main_process():
            raise OnlyHelped
        primary = _primary([(one.finding.verdict, one.finding.gain) for one in climbed], request)
        order = [place for place in range(len(climbed)) if place != primary] + [primary]  # the one to go on with is the newest
        registered = {place: register(climbed[place], ground, request, run_id, name) for place in order}
        run.clear()
    resumed = [one.resumed_at for one in climbed if one.resumed_at is not None]
    entries = tuple(registered[place] for place in sorted(registered))
    return TrainingResult(registered[primary], resumed[-1] if resumed else None, entries=entries)


def _primary(said: Sequence[tuple[Verdict, float]], request: TrainingRequest) -> int:
    """Which rung's model to go on with, by verdicts and gains: the cheapest that reaches the goal; without a goal the one that gains most
    among those that pass; else the last.
    """
    passing = [place for place, (verdict, _) in enumerate(said) if verdict is not Verdict.KEEP_BASE]
    goal = request.training.goal
    reaching = [place for place in passing if goal is not None and said[place][1] >= goal]
    if reaching:
        return reaching[0]
    return max(passing, key=lambda place: said[place][1]) if passing else len(said) - 1


def _said(entry: ModelEntry) -> tuple[Verdict, float]:
    return Verdict(entry.verdict or Verdict.KEEP_BASE), float(entry.lineage["scores"]["difference"])


def identify(pairs: Sequence[TrainingPair], dev: DevSet, request: TrainingRequest) -> str:
    """What makes two trainings the same: data, base, settings, and the precision that the result is to have."""
    return fingerprint_of(
        {
            "rule": RULE,
            "base": request.base.model.fingerprint,
            "pairs": [asdict(pair) for pair in pairs],
            "dev": [[[q.id, q.text] for q in dev.queries], [[j.query_id, j.chunk_id, j.grade] for j in dev.judgments], dict(dev.pool)],
            "settings": request.training.model_dump(mode="json", exclude={"base"}),
            "precision": request.encoding.precision,
        }
    )


def _made_before(request: TrainingRequest, run_id: str) -> tuple[ModelEntry, ...]:
    """The entries of this run, where every rung's is there."""
    made = {e.lineage["rung"]: e for e in request.catalog.entries() if e.lineage.get("run") == run_id and _is_called(e, request.name)}
    wanted = [rung for rung in RUNGS if rung in request.training.rungs]
    return tuple(made[rung] for rung in wanted) if all(rung in made for rung in wanted) else ()


def _is_called(entry: ModelEntry, name: str | None) -> bool:
    return name is None or entry.model.name in [rung_name(name, rung) for rung in RUNGS]


def _name(request: TrainingRequest, run_id: str) -> str:
    """The models' name. Raises `UsageError` now, not after the training, where it is taken."""
    if request.name is None:
        return f"{request.base.model.name[:42]}-tuned-{run_id[:6]}"
    check_name(request.name)
    names = {rung_name(request.name, rung) for rung in request.training.rungs}
    taken = [e.model.name for e in request.catalog.entries() if e.model.name in names and e.lineage.get("run") != run_id]
    if taken:
        raise UsageError(f"the name {taken[0]!r} is taken by another model", hint="choose another with --name")
    return request.name


# ── before ──


def _ground(
    examples: Examples, search: DevSearch, probe: DevSearch | None, request: TrainingRequest, run: RunFolder, progress: Progress | None
) -> Ground:
    """Everything that the rungs share, the base measured."""
    encoder = _load_base(request)
    _check_space(find_model(request.base.path), run.path, request)
    max_tokens = _max_tokens(encoder, examples, request)
    fitting = Fitting(
        encoder=encoder,
        examples=examples,
        search=replace(search, pool=shortened(search.pool, encoder.pipeline, max_tokens)),
        settings=request.training,
        trial=first_trial(request.training, loss_for(request)),
        max_tokens=max_tokens,
        threads=request.encoding.threads or max(1, available_cores() // process_count()),
        run=run,
        progress=progress,
        logs=request.folder / "logs" / run.path.name,
    )
    passing = make_pass(fitting, encoder.pipeline)
    measured = encoder.through(passing.through) if passing.low_precision else encoder
    base = np.array(fitting.search.measure(measured))
    at_probe = None if probe is None else float(np.mean(probe.measure(measured)))
    return Ground(replace(fitting, base_scores=tuple(base.tolist())), measured, probe, base, at_probe)


def _climb(rung: RungName, ground: Ground, request: TrainingRequest) -> Climbed | None:
    """The rung's model; None in a process that only helped to train it."""
    if rung == "adapter":
        return climb_adapter(ground, time.monotonic) if is_main_process() else None
    fitting = replace(ground.fitting, run=RunFolder(ground.fitting.run.path / f"{rung}-attempts"))
    if rung == "query":
        frozen = FrozenDocuments(ground.base, Guide(make_pass(fitting, ground.fitting.pipeline)))
        fitting = replace(fitting, frozen=frozen)
        ground = replace(ground, fitting=replace(ground.fitting, frozen=frozen))
    attempts = Attempts(fitting, lambda: _fresh(request), _Data(fitting, request), other_losses(request))
    made = attempts.make(fitting.trial.loss)
    return climb(ground, attempts, made, time.monotonic, rung) if is_main_process() else None


def _fresh(request: TrainingRequest) -> SentenceTransformerEncoder:
    """The base loaded anew, with what may be changed in it."""
    encoder = _load_base(request)
    limit(encoder.pipeline, request.training)
    return encoder


@dataclass(frozen=True, slots=True)
class _Data:
    """The examples of each trial: those of its loss, with the negatives of its round."""

    fitting: Fitting
    request: TrainingRequest

    def __call__(self, trial: Trial, best: Path | None) -> Examples:
        examples = self.fitting.examples
        if trial.round > 1 and best is not None and self.request.remine is not None:
            settings = self.request.encoding.model_copy(update={"precision": "float32"})
            seed = self.request.training.seed + trial.round
            found: Encoder = load_encoder(str(best), settings)
            if self.fitting.frozen is not None:
                found = QuerySide(found, self.fitting.encoder)
            examples = examples_of(self.request.remine(found, seed=seed), seed=seed)
        match trial.loss:
            case "cosent" | "cosine":
                return graded_examples(self.request.graded)
            case "triplet":
                return triplet_examples(examples)
            case "margin-mse" | "distillation":
                teacher = load_cross_encoder(str(self.request.training.teacher))
                return taught_examples(examples, teacher, margins=trial.loss == "margin-mse")
        return examples


def _load_base(request: TrainingRequest) -> SentenceTransformerEncoder:
    """The base in float32, whatever precision it serves in, with its entry's prompts made its own.

    Raises `ModelError` when its files are not what was registered.
    """
    m = request.base.model
    traits = Traits(m.dimension, m.max_tokens, m.precision, m.query_prompt, m.document_prompt)
    if fingerprint_directory(find_model(request.base.path), traits) != m.fingerprint:
        raise ModelError(f"{request.base.path} is no longer the model {m.name!r}", hint=f"vecmigrate models add {request.base.path}")
    settings = request.encoding.model_copy(update={"precision": "float32"})
    encoder = load_encoder(request.base.path, settings, query_prompt=m.query_prompt, document_prompt=m.document_prompt, name=m.name)
    encoder.pipeline.prompts = {"query": m.query_prompt, "document": m.document_prompt}
    return encoder


def _check_space(model: Path, run: Path, request: TrainingRequest) -> None:
    """Raises `PreflightRefused` where checkpoints, and the best models of several attempts, won't fit."""
    weights = sum(file.stat().st_size for path in module_folders(model) for file in weight_files(model / path))
    run.mkdir(parents=True, exist_ok=True, mode=0o700)
    free = shutil.disk_usage(run).free
    wanted = weights * (_SPACE_FACTOR + MOST_ATTEMPTS * len(request.training.rungs))
    if free < wanted:
        needed, there = (size / 1e9 for size in (wanted, free))
        raise PreflightRefused(
            f"training needs {needed:.1f} GB for its checkpoints in {run.parent}; {there:.1f} GB are free",
            hint="make room, or set [workspace] to a larger disk",
        )


def _max_tokens(encoder: SentenceTransformerEncoder, examples: Examples, request: TrainingRequest) -> int:
    tokenizer: Any = getattr(encoder.pipeline, "tokenizer", None)
    cap = LENGTH_CAPS.get(encoder.pipeline.device.type, LENGTH_CAP)
    if not callable(tokenizer):
        return request.training.max_tokens or cap
    counts = [len(ids) for row in examples.rows for ids in tokenizer(list(row[:2]), truncation=False, verbose=False)["input_ids"]]
    return training_length(counts, longest=encoder.model.max_tokens, wanted=request.training.max_tokens, cap=cap)


# ── when it goes wrong ──


@contextmanager
def _explained(run: RunFolder) -> Iterator[None]:
    """Say what is kept and how to go on."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        stopped.add_note(f"interrupted: {_AGAIN}")
        raise
    except VecmigrateError:
        raise
    except (OSError, RuntimeError) as error:
        if _is_full(error):
            raise PreflightRefused(f"the disk of {run.path.parent} is full", hint=f"make room; {_AGAIN}") from error
        raise


def _is_full(error: Exception) -> bool:
    return getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
