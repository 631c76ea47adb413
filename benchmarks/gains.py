"""What a training brings: `vecmigrate train` against the plain script, on held-out queries, over several seeds.

    python benchmarks/gains.py ../shared/data --cases attack-time-500 feedback-ratings --seeds 0 1 2 --budget 10

Both take the same queries. The plain script trains on all of them: one mined hard negative, batches of 32, texts cut at 128 tokens, a
learning rate of 5e-5, one pass (two on ratings), bfloat16. vecmigrate keeps a share of them as dev queries to choose by, and trains on the
rest. The test queries are those of no pair; differences come with a paired bootstrap over them. Harm is measured on chunk_eval, which no
training and no choice has seen.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from gains_worlds import World, devset, divided, hard_pairs, jsonl, open_world, read_set, score
from numpy.typing import NDArray

from vecmigrate.config import EncodingSection, TrainingSection
from vecmigrate.dataset.pairs import TrainingPair
from vecmigrate.demo.story import stock_model
from vecmigrate.encoding import ModelCatalog, load_encoder
from vecmigrate.evaluation.statistics import bootstrap_interval
from vecmigrate.training import TrainingRequest, train

FLOAT32 = EncodingSection()


@dataclass(frozen=True)
class Case:
    """A set, how it is divided, how many queries train, and the plain script's passes."""

    folder: str
    split: str
    pairs: int
    passes: int = 1


CASES = {
    "attack-time-250": Case("attack_techniques", "time", 250),
    "attack-time-500": Case("attack_techniques", "time", 500),
    "attack-time-1000": Case("attack_techniques", "time", 1000),
    "attack-time-2000": Case("attack_techniques", "time", 2000),
    "attack-source-4000": Case("attack_techniques", "source", 4000),
    "feedback-pairs-2000": Case("feedbackqa", "random", 2000),
    "feedback-pairs-4400": Case("feedbackqa", "random", 4400),
    "feedback-ratings": Case("feedbackqa", "ratings", 10_000, passes=2),
    "cranfield-180": Case("cranfield", "random", 180),
    "shuffled-500": Case("attack_techniques", "shuffled", 500),
    "noisy-50": Case("feedbackqa", "noisy", 50),
}


def open_case(case: Case, data: Path, seed: int) -> World:
    """The case's world; labels of `shuffled` and most of `noisy` are another query's."""
    folder = data / case.folder
    if case.split == "ratings":
        return rated(folder, seed)
    world = open_world(
        folder, "time" if case.split == "shuffled" else "random" if case.split == "noisy" else case.split, case.pairs, seed=seed
    )
    if case.split not in ("shuffled", "noisy"):
        return world
    spoilt = [*world.train, *world.dev]
    if case.split == "noisy":
        spoilt = spoilt[::2] + spoilt[1::4]
    chance = np.random.default_rng(seed)
    exchanged = dict(zip(spoilt, [spoilt[n] for n in chance.permutation(len(spoilt))], strict=True))
    return replace(world, grades={q: world.grades[exchanged.get(q, q)] for q in world.grades})


def rated(folder: Path, seed: int) -> World:
    """Queries of the ratings log with an answer that most raters call acceptable; the annotated queries are the test."""
    world = read_set(folder)
    grades: dict[str, dict[str, float]] = dict(world.grades)
    queries: dict[str, dict[str, Any]] = dict(world.queries)
    train = []
    for event in jsonl(folder / "feedback_log.jsonl"):
        mean = sum(event["grades"]) / len(event["grades"])
        if mean >= 2 and event["docid"] in world.chunks:
            queries[event["event_id"]] = {"id": event["event_id"], "text": event["query"]}
            grades[event["event_id"]] = {event["docid"]: 1.0}
            train.append(event["event_id"])
    said = {queries[q]["text"].casefold() for q in train}
    test = [q for q in sorted(world.grades) if world.queries[q]["text"].casefold() not in said]
    picks = np.random.default_rng(0).permutation(len(test))[:1100]
    order = np.random.default_rng(seed).permutation(len(train))
    return divided(
        World(world.chunks, queries, grades, tuple(train[n] for n in order), (), tuple(test[n] for n in sorted(picks))), by_time=False
    )


def plain(pairs: Sequence[TrainingPair], passes: int, seed: int, folder: Path) -> Path:
    """The script of the library's documentation."""
    from datasets import Dataset  # type: ignore[import-untyped]
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.training_args import BatchSamplers

    model = SentenceTransformer(str(stock_model()), device="cpu")
    model.max_seq_length = 128
    columns = {
        "anchor": [p.query for p in pairs],
        "positive": [p.positive for p in pairs],
        "negative": [_negative(n, pairs) for n in range(len(pairs))],
    }
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=passes,
        per_device_train_batch_size=32,
        learning_rate=5e-5,
        warmup_steps=max(1, passes * len(pairs) // 32 // 10),
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        seed=seed,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        bf16=True,
        dataloader_pin_memory=False,
    )
    loss = MultipleNegativesRankingLoss(model)
    SentenceTransformerTrainer(model=model, args=arguments, train_dataset=Dataset.from_dict(columns), loss=loss).train()
    model.max_seq_length = 256
    model.save_pretrained(str(folder / "model"), create_model_card=False)
    return folder / "model"


def _negative(place: int, pairs: Sequence[TrainingPair]) -> str:
    """The pair's own, else the answer of the next pair that has another: one text for all would leave most pairs out of every batch."""
    pair = pairs[place]
    return pair.negatives[0] if pair.negatives else next(p.positive for p in (*pairs[place:], *pairs) if p.chunk_id != pair.chunk_id)


def gain(differences: NDArray[np.float64]) -> str:
    """The mean with its interval."""
    found = bootstrap_interval(differences)
    return f"{differences.mean():+.4f}" + (f" [{found.low:+.4f}, {found.high:+.4f}]" if found else "")


def one(name: str, data: Path, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Both trainings of a case under one seed."""
    case = CASES[name]
    world = open_case(case, data, seed)
    stock = load_encoder(str(stock_model()), FLOAT32)
    harm = read_set(data / "chunk_eval")
    probe = sorted(harm.grades)
    base, base_probe = score(stock, world, world.test), score(stock, harm, probe)
    everything = hard_pairs(world, stock, negatives=arguments.negatives, seed=seed, of=[*world.train, *world.dev])
    held = frozenset(world.dev)
    with tempfile.TemporaryDirectory(prefix="vecmigrate-gains-") as place:
        folder = Path(place)
        start = time.monotonic()
        script = plain(everything, case.passes, seed, folder / "plain")
        plain_seconds = time.monotonic() - start
        plain_test = score(load_encoder(str(script), FLOAT32), world, world.test)
        start = time.monotonic()
        catalog = ModelCatalog(folder / "models")
        settings = TrainingSection(seed=seed, budget_minutes=arguments.budget, rungs=tuple(arguments.rungs))
        request = TrainingRequest(catalog.add(str(stock_model()), settings=FLOAT32), catalog, folder / "training", settings)
        result = train([p for p in everything if p.query_id not in held], devset(world), request)
        seconds = time.monotonic() - start
        rungs = {}
        for entry in result.entries:
            encoder = load_encoder(entry.path, FLOAT32)
            tested, probed = score(encoder, world, world.test), score(encoder, harm, probe)
            rungs[entry.lineage["rung"]] = {
                "verdict": entry.verdict,
                "reasons": entry.lineage["reasons"],
                "test": float(tested.mean()),
                "gain": gain(tested - base),
                "over plain": gain(tested - plain_test),
                "ratio of gains": float((tested - base).mean() / (plain_test - base).mean()),
                "chunk_eval": float(probed.mean() - base_probe.mean()),
                "general probe": entry.lineage["probe"],
                "dev": entry.lineage["scores"],
                "seconds": entry.lineage["seconds"],
                "choice": {k: v for k, v in entry.lineage["choice"].items() if k != "attempts"},
                "attempts": [
                    f"{a['loss']} {a['learning_rate']:g} x{a['epochs']}: {a['dev']:.3f} ({a['seconds']:.0f} s)"
                    for a in entry.lineage["choice"].get("attempts", ())
                ],
            }
        return {
            "case": name,
            "seed": seed,
            "pairs": len(everything),
            "tests": len(world.test),
            "base": float(base.mean()),
            "plain": float(plain_test.mean()),
            "plain gain": gain(plain_test - base),
            "plain seconds": plain_seconds,
            "plain chunk_eval": float(score(load_encoder(str(script), FLOAT32), harm, probe).mean() - base_probe.mean()),
            "seconds": seconds,
            "rungs": rungs,
        }


def main() -> None:
    """Run the cases, a JSON line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", nargs="+", default=["attack-time-500", "feedback-ratings"], choices=sorted(CASES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--budget", type=float, default=10.0, help="minutes for each rung's attempts")
    parser.add_argument("--negatives", type=int, default=1)
    parser.add_argument("--rungs", nargs="+", default=["adapter", "full"])
    arguments = parser.parse_args()
    for name in arguments.cases:
        for seed in arguments.seeds:
            print(json.dumps(one(name, arguments.folder, seed, arguments)), flush=True)


if __name__ == "__main__":
    main()
