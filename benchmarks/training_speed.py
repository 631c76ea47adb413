"""Pairs per second and dev quality: our training against the script that sentence-transformers' documentation shows, in one run.

    python benchmarks/training_speed.py ../shared/data/attack_techniques --pairs 512 --rounds 3

Both take the same pairs, each with one hard negative, batches of 32, one pass, the same learning rate, the same seed. Speed is measured
between the end of the second step and that of the last; rounds alternate. Quality is nDCG@10 of the dev queries among all chunks.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from datasets import Dataset  # type: ignore[import-untyped]
from gains_worlds import World, devset, hard_pairs, open_world, score
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.training_args import BatchSamplers
from transformers import TrainerCallback

from vecmigrate.config import EncodingSection, TrainingSection
from vecmigrate.dataset.pairs import TrainingPair
from vecmigrate.demo.story import stock_model
from vecmigrate.encoding import ModelCatalog, load_encoder
from vecmigrate.training import TrainingRequest, train

RATE = 5e-5
BATCH = 32
SKIPPED = 2


class Clock(TrainerCallback):
    """When each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, args: object, state: object, control: object, **kwargs: object) -> None:
        """Note the time."""
        self.ends.append(time.monotonic())


def rate(ends: list[float]) -> float:
    """Pairs per second after the first steps."""
    return BATCH * (len(ends) - SKIPPED) / (ends[-1] - ends[SKIPPED - 1])


def plain(pairs: list[TrainingPair], max_tokens: int, folder: Path) -> tuple[float, Path]:
    """The documented script: the library's trainer and loss in float32."""
    model = SentenceTransformer(str(stock_model()), device="cpu")
    model.max_seq_length = max_tokens
    columns = {
        "anchor": [p.query for p in pairs],
        "positive": [p.positive for p in pairs],
        "negative": [(p.negatives or (pairs[n - 1].positive,))[0] for n, p in enumerate(pairs)],
    }
    clock = Clock()
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        per_device_train_batch_size=BATCH,
        learning_rate=RATE,
        warmup_steps=max(1, len(pairs) // BATCH // 10),
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=Dataset.from_dict(columns), loss=MultipleNegativesRankingLoss(model), callbacks=[clock]
    ).train()
    model.save_pretrained(str(folder / "model"), create_model_card=False)
    return rate(clock.ends), folder / "model"


def ours(pairs: list[TrainingPair], world: World, precision: str, folder: Path) -> tuple[float, Path]:
    """The same through vecmigrate, without its search over settings."""
    settings = TrainingSection.model_validate(
        {
            "rungs": ["full"],
            "loss": "ranking",
            "epochs": 1,
            "learning_rate": RATE,
            "batch_size": BATCH,
            "evaluations_per_epoch": 1,
            "precision": precision,
            "interpolate": False,
            "probe": "none",
        }
    )
    catalog = ModelCatalog(folder / "models")
    base = catalog.add(str(stock_model()), settings=EncodingSection())
    ends: list[float] = []

    def note(step: int, total: int, loss: float | None, dev: float | None, attempt: str) -> None:
        if 0 < step < total:  # the last step's end comes after its evaluation
            ends.append(time.monotonic())

    result = train(pairs, devset(world), TrainingRequest(base, catalog, folder / "training", settings), progress=note)
    return rate(ends), Path(result.entry.path)


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    world = open_world(arguments.folder, "random", arguments.pairs, seed=0)
    stock = load_encoder(str(stock_model()), EncodingSection())
    pairs = hard_pairs(world, stock, negatives=1, seed=0)
    contestants: dict[str, Callable[[Path], tuple[float, Path]]] = {
        "plain script, float32, 256 tokens": lambda folder: plain(pairs, 256, folder),
        "plain script, float32, 128 tokens": lambda folder: plain(pairs, 128, folder),
        "vecmigrate, float32": lambda folder: ours(pairs, world, "float32", folder),
        "vecmigrate, bfloat16": lambda folder: ours(pairs, world, "bfloat16", folder),
    }
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    quality: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="vecmigrate-speed-") as place:
        for number in range(arguments.rounds):
            for contestant, run in contestants.items():
                speed, model = run(Path(place) / f"{number}-{contestant[-12:].strip().replace(' ', '-')}")
                rates[contestant].append(speed)
                if contestant not in quality:
                    quality[contestant] = float(np.mean(score(load_encoder(str(model), EncodingSection()), world, world.dev)))
                print(f"round {number + 1}: {contestant}: {speed:.2f} pairs/s", flush=True)
    slowest = median(rates["plain script, float32, 256 tokens"])
    print(f"\n{torch.get_num_threads()} threads, {len(pairs)} pairs; base dev nDCG@10 {np.mean(score(stock, world, world.dev)):.3f}\n")
    print("| training | pairs/s, median of rounds | ratio | dev nDCG@10 |\n|---|---|---|---|")
    for name, seen in rates.items():
        print(f"| {name} | {median(seen):.2f} | {median(seen) / slowest:.2f} | {quality[name]:.3f} |")


if __name__ == "__main__":
    main()
