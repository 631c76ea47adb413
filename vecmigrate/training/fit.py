"""The library's trainer, made quiet, offline, resumable, and stopped by the dev queries."""

from __future__ import annotations

import copy
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset  # type: ignore[import-untyped]
from datasets.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled  # type: ignore[import-untyped]
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
from sentence_transformers.sentence_transformer.training_args import BatchSamplers
from transformers import TrainerCallback

from vecmigrate.config import TrainingSection
from vecmigrate.encoding.loading import quiet_bars
from vecmigrate.encoding.sentence_transformer import SentenceTransformerEncoder, cpu_has_bfloat16
from vecmigrate.encoding.workers import shared_workers
from vecmigrate.store import Vectors
from vecmigrate.training.checkpoints import History, RunFolder
from vecmigrate.training.devsearch import DevSearch, Places, Scores
from vecmigrate.training.examples import Examples
from vecmigrate.training.grouping import Alone, Pass, simple_attention
from vecmigrate.training.losses import GroupedLoss, Guide, LossPlan
from vecmigrate.training.reach import merged
from vecmigrate.training.request import Progress
from vecmigrate.training.trials import Trial

WEIGHTS = "trained.safetensors"
CURVES = "TENSORBOARD_LOGGING_DIR"
LOGGED = 100
"""Points of a curve that is sent to `report_to`."""


@dataclass(frozen=True, slots=True)
class Fitting:
    """What one run works with. `encoder` wraps the very pipeline that is trained, so that measuring it measures the model as served."""

    encoder: SentenceTransformerEncoder
    examples: Examples
    search: DevSearch
    settings: TrainingSection
    trial: Trial
    max_tokens: int
    threads: int
    run: RunFolder
    progress: Progress | None = None
    base_scores: tuple[float, ...] | None = None
    frozen: FrozenDocuments | None = None
    logs: Path | None = None

    @property
    def pipeline(self) -> SentenceTransformer:
        """The model that is trained, in place."""
        return self.encoder.pipeline

    @property
    def batch_size(self) -> int:
        """Pairs of a step: as configured, or all there are."""
        return min(self.settings.batch_size, len(self.examples.rows))

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer's steps of one pass."""
        return math.ceil(len(self.examples.rows) / (self.batch_size * self.settings.accumulation * process_count()))

    @property
    def plan(self) -> LossPlan:
        """What is minimised."""
        s = self.settings
        return LossPlan(self.trial.loss, s.matryoshka_dims, s.matryoshka_weights, s.matryoshka_layers)


def fit(fitting: Fitting) -> tuple[History, int | None]:
    """Train until the epochs are over or the dev score has not risen for `patience` evaluations.

    Returns what the dev queries said, and the step that an earlier attempt had reached. The best model is in the run's folder.
    """
    found = fitting.run.latest()
    started = time.monotonic()
    with _simple_attention_here(fitting.pipeline):
        passing = make_pass(fitting, fitting.pipeline)
        measure = Measure(fitting, passing, fitting.encoder)
        history = found[1] if found else History(base=fitting.base_scores or measure())
        frozen = fitting.frozen.guide if fitting.frozen else None
        loss = GroupedLoss(fitting.pipeline, fitting.plan, passing, guide=_guide(fitting, passing), frozen=frozen)
        watch = DevWatch(fitting, history, loss, measure)
        watch.tell(history.last_step)
        resumed_at = found[1].last_step if found else None
        if watch.finished:  # and killed before it was registered
            return history, resumed_at
        with quiet_libraries(), _one_thread_here(), _curves_kept(fitting):
            trainer = _trainer(fitting, loss, watch)
            watch.log = trainer.log if fitting.settings.report_to else None
            trainer.train(resume_from_checkpoint=str(found[0]) if found else None)
            wait_for_everyone()
    return replace(watch.history, seconds=history.seconds + time.monotonic() - started), resumed_at


def _trainer(fitting: Fitting, loss: GroupedLoss, watch: DevWatch) -> _Trainer:
    trainer = _Trainer(
        model=fitting.pipeline,
        args=_arguments(fitting),
        train_dataset=Dataset.from_dict(fitting.examples.columns()),
        loss=loss,
        data_collator=_collator(fitting),
        callbacks=[watch],
    )
    _remove_printers(trainer)
    return trainer


class Measure:
    """The dev scores of the model as it is now, encoded the way it is trained: in bfloat16 that is several times sooner, and the base
    and every step are measured alike. With frozen documents, their vectors are made once, by the base.
    """

    def __init__(self, fitting: Fitting, passing: Pass, encoder: SentenceTransformerEncoder) -> None:
        self._search = fitting.search
        self._frozen = fitting.frozen
        self._pass = passing
        self._encoder = encoder.through(passing.through) if passing.low_precision else encoder

    def __call__(self) -> tuple[float, ...]:
        """nDCG@10 of each dev query."""
        return tuple(self._search.score(self.rank()).tolist())

    def rank(self) -> Places:
        """The first ten of each dev query."""
        self.refresh()
        return self._rank(self._search)

    def of(self, search: DevSearch) -> Scores:
        """nDCG@10 of each query of another search."""
        return search.score(self._rank(search))

    def refresh(self) -> None:
        """Take over the model's weights as they are now."""
        self._pass.refresh()
        self._pass.model.eval()

    def _rank(self, search: DevSearch) -> Places:
        if self._frozen is None:
            return search.rank(self._encoder)
        return search.rank_vectors(self._encoder.encode_queries(search.queries), self._frozen.of(search.pool))


class FrozenDocuments:
    """The base's vectors of chunks, each made once: what a query side is tuned against."""

    def __init__(self, encoder: SentenceTransformerEncoder, guide: Guide) -> None:
        self._encoder = encoder
        self.guide = guide
        self._made: dict[tuple[str, ...], Vectors] = {}

    def of(self, texts: tuple[str, ...]) -> Vectors:
        """Shape (texts, dimension)."""
        if texts not in self._made:
            self._made[texts] = self._encoder.encode_documents(texts)
        return self._made[texts]


def _arguments(fitting: Fitting) -> SentenceTransformerTrainingArguments:
    device = fitting.pipeline.device.type
    settings = fitting.settings
    total = fitting.steps_per_epoch * fitting.trial.epochs
    return SentenceTransformerTrainingArguments(
        output_dir=str(fitting.run.path),
        num_train_epochs=fitting.trial.epochs,
        per_device_train_batch_size=fitting.batch_size,
        learning_rate=fitting.trial.learning_rate,
        gradient_accumulation_steps=settings.accumulation,
        warmup_steps=math.ceil(total * settings.warmup_fraction),
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        seed=settings.seed,
        data_seed=settings.seed,
        bf16=device == "cuda" and low_precision(fitting),
        tf32=True if device == "cuda" and torch.cuda.get_device_capability() >= (8, 0) else None,
        use_cpu=device == "cpu",
        eval_strategy="no",
        save_strategy="no",  # the dev watch asks for each checkpoint, and clears old ones away
        logging_strategy="steps" if settings.report_to else "no",
        logging_steps=max(1, total // LOGGED),
        report_to=list(settings.report_to) or "none",
        run_name=fitting.trial.name,
        disable_tqdm=True,
        dataloader_pin_memory=device == "cuda",
    )


def _guide(fitting: Fitting, passing: Pass) -> Guide | None:
    """The base, frozen, where the loss asks for a guide."""
    if fitting.plan.name != "guided":
        return None
    return Guide(Pass(copy.deepcopy(fitting.pipeline).eval(), passing.crew, passing.low_precision))


def make_pass(fitting: Fitting, pipeline: SentenceTransformer) -> Pass:
    """How groups go through: on a processor by worker threads, in bfloat16 where it has units for that; elsewhere as one."""
    on_cpu = pipeline.device.type == "cpu"
    crew = shared_workers(fitting.threads) if on_cpu else Alone()
    return Pass(pipeline, crew, on_cpu and low_precision(fitting), fitting.settings.recompute)


def low_precision(fitting: Fitting) -> bool:
    """Whether the matrix products are in bfloat16: as asked for, else where the device has units for it. Weights stay float32."""
    wanted = fitting.settings.precision
    if wanted != "auto":
        return wanted == "bfloat16"
    return torch.cuda.is_bf16_supported() if fitting.pipeline.device.type == "cuda" else cpu_has_bfloat16()


def _collator(fitting: Fitting) -> SentenceTransformerDataCollator:
    names = fitting.examples.texts
    model = fitting.encoder.model
    return SentenceTransformerDataCollator(
        preprocess_fn=fitting.pipeline.preprocess,
        prompts={name: model.query_prompt if name == "anchor" else model.document_prompt for name in names},
        router_mapping={name: "query" if name == "anchor" else "document" for name in names} if _has_routes(fitting.pipeline) else {},
        max_length=fitting.max_tokens,
    )


def _has_routes(pipeline: SentenceTransformer) -> bool:
    return any(type(module).__name__ == "Router" for module in pipeline.children())


class _Trainer(SentenceTransformerTrainer):
    """Without a model card, and with checkpoints of the trained weights alone."""

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """No card: it would gather examples of the users' texts."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: weight.detach().contiguous() for name, weight in _trained(self.model)}, folder / WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        there = load_file(Path(resume_from_checkpoint) / WEIGHTS)
        with torch.no_grad():
            for name, weight in _trained(self.model):
                weight.copy_(there[name])


def _trained(model: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]


def _remove_printers(trainer: SentenceTransformerTrainer) -> None:
    for callback in list(trainer.callback_handler.callbacks):
        if type(callback).__name__ in ("PrinterCallback", "ProgressCallback"):
            trainer.remove_callback(callback)


class DevWatch(TrainerCallback):
    """Measures the model on the dev queries every so many steps, keeps the best, asks for a checkpoint, and says when to stop."""

    def __init__(self, fitting: Fitting, history: History, loss: GroupedLoss, measure: Callable[[], tuple[float, ...]]) -> None:
        self.fitting = fitting
        self.log: Callable[[dict[str, float]], None] | None = None
        self._measure = measure
        self.history = history
        self._loss = loss
        self._started = time.monotonic()
        self._before = history.seconds
        self._total = fitting.steps_per_epoch * fitting.trial.epochs
        self._every = max(1, fitting.steps_per_epoch // fitting.settings.evaluations_per_epoch)

    @property
    def finished(self) -> bool:
        """Whether nothing more is to be expected: all steps done, or no rise for `patience` evaluations."""
        return self.history.waited >= self.fitting.settings.patience or self.history.last_step >= self._total

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After a step: evaluate where one is due."""
        self._total = state.max_steps
        if state.global_step % self._every == 0 or state.global_step >= state.max_steps:
            self._evaluate(state.global_step)
            control.should_save = True
            control.should_training_stop = control.should_training_stop or self.finished
        self.tell(state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After the trainer has written a checkpoint: declare it complete."""
        seconds = self._before + time.monotonic() - self._started
        if is_main_process():
            self.fitting.run.complete(state.global_step, replace(self.history, seconds=seconds))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The sampler may come out with fewer batches than were expected: evaluate the last step then."""
        if state.global_step > self.history.last_step:
            self._evaluate(state.global_step)

    def tell(self, step: int) -> None:
        """Report progress to whoever asked for it."""
        if self.fitting.progress is not None:
            self.fitting.progress(step, self._total, self._loss.latest, self.history.newest, self.fitting.trial.name)

    def _evaluate(self, step: int) -> None:
        self.history = self.history.after(step, self._measure())
        if self.log is not None:
            self.log({"dev_ndcg@10": self.history.newest})
        if self.history.best_step == step and is_main_process():
            _save_best(self.fitting.pipeline, self.fitting.run.best(step))


def process_count() -> int:
    """How many processes train together: what accelerate has started, else one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this process writes: the only one, or the first of several that train together."""
    return os.environ.get("RANK", "0") == "0"


def wait_for_everyone() -> None:
    """Until every process has come as far: what the first has written is there then."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def _save_best(pipeline: SentenceTransformer, folder: Path) -> None:
    draft = folder.with_name(f".{folder.name}.part")
    for leftover in (draft, folder):  # of an attempt that was killed here
        shutil.rmtree(leftover, ignore_errors=True)
    merged(pipeline).save_pretrained(str(draft), create_model_card=False)
    draft.replace(folder)


@contextmanager
def _one_thread_here() -> Iterator[None]:
    """The workers have the cores; a second team of kernel threads in this one would only wait, busily, in their way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _curves_kept(fitting: Fitting) -> Iterator[None]:
    """Let TensorBoard's files outlive the run's folder, unless the user says where they go. The callback reads nothing but this."""
    if not fitting.settings.report_to or fitting.logs is None or CURVES in os.environ:
        yield
        return
    os.environ[CURVES] = str(fitting.logs / fitting.trial.name)
    try:
        yield
    finally:
        del os.environ[CURVES]


@contextmanager
def _simple_attention_here(pipeline: SentenceTransformer) -> Iterator[None]:
    if pipeline.device.type != "cpu":
        yield
        return
    put_back = simple_attention(pipeline)
    try:
        yield
    finally:
        put_back()


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep the libraries' bars and warnings off the terminal while they train: what matters is said by us."""
    with quiet_bars(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shown = is_progress_bar_enabled()
        disable_progress_bar()
        try:
            yield
        finally:
            if shown:
                enable_progress_bar()
