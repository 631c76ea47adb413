"""The general probe that is shipped: its form, its size, and how well a general model answers it."""

from __future__ import annotations

import json
import re
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

LINES = files("vecmigrate.training").joinpath("general_probe.jsonl").read_text(encoding="utf-8").splitlines()
ROWS: list[dict[str, Any]] = [json.loads(line) for line in LINES]
QUESTIONS = [(question, number) for number, row in enumerate(ROWS) for question in row["queries"]]
COMMON_WORDS = """
    a about all and any are as at be but by can do does for from has have how i if in into is it its my no not of off on or our so
    than that the their them then they this to too up was we what when where which who why will with without you your
"""
COMMON = frozenset(COMMON_WORDS.split())


def _stems(text: str) -> set[str]:
    """The first five letters of each word that means something, so that `tomato` and `tomatoes` are one."""
    return {word[:5] for word in re.findall(r"[a-z0-9]+", text.lower()) if word not in COMMON}


def _shared(question: str, text: str) -> float:
    """The share of the question's words that stand in the passage too."""
    stems = _stems(question)
    return len(stems & _stems(text)) / max(1, len(stems))


def test_every_line_has_the_four_fields_and_nothing_else() -> None:
    assert [list(row) for row in ROWS] == [["id", "topic", "text", "queries"]] * 224
    assert all(isinstance(row[key], str) and row[key] == row[key].strip() != "" for row in ROWS for key in ("id", "topic", "text"))


def test_no_passage_and_no_id_comes_twice() -> None:
    assert len({row["id"] for row in ROWS}) == len({row["text"] for row in ROWS}) == 224


def test_each_of_the_56_topics_has_four_passages_that_can_be_confused() -> None:
    topics = Counter(row["topic"] for row in ROWS)
    assert (len(topics), set(topics.values())) == (56, {4})
    assert [row["id"] for row in ROWS] == [f"{topic}-{number}" for topic in topics for number in (1, 2, 3, 4)]


def test_passages_have_35_to_70_words() -> None:
    assert {row["id"]: n for row in ROWS if not 35 <= (n := len(row["text"].split())) <= 70} == {}


def test_each_passage_answers_one_or_two_questions_and_no_question_is_asked_twice() -> None:
    assert Counter(len(row["queries"]) for row in ROWS) == {1: 123, 2: 101}
    assert Counter(" ".join(question.lower().split()) for question, _ in QUESTIONS).most_common(1)[0][1] == 1


def test_questions_are_of_two_to_twenty_words() -> None:
    assert [question for question, _ in QUESTIONS if not 2 <= len(question.split()) <= 20] == []


def test_keyword_searches_stand_beside_whole_questions() -> None:
    lengths = [len(question.split()) for question, _ in QUESTIONS]
    assert sum(n <= 5 for n in lengths) >= 45
    assert sum(n >= 10 for n in lengths) >= 100


def test_most_questions_share_few_words_with_their_passage() -> None:
    shared = [_shared(question, ROWS[number]["text"]) for question, number in QUESTIONS]
    assert np.mean(np.array(shared) <= 1 / 3) > 0.6


def test_a_general_model_answers_most_but_not_all(minilm: Path) -> None:
    """all-MiniLM-L6-v2 over all passages: below the band there is too much noise, above it nothing left to forget."""
    from vecmigrate.config import EncodingSection
    from vecmigrate.encoding import load_encoder

    encoder = load_encoder(str(minilm), EncodingSection(threads=1, device="cpu"))
    passages = np.asarray(encoder.encode_documents([row["text"] for row in ROWS]), dtype=np.float64)
    questions = np.asarray(encoder.encode_queries([question for question, _ in QUESTIONS]), dtype=np.float64)
    scores = questions @ passages.T
    own = scores[np.arange(len(QUESTIONS)), [number for _, number in QUESTIONS]]
    ranks = (scores > own[:, None]).sum(axis=1)
    assert 0.80 < np.where(ranks < 10, 1 / np.log2(ranks + 2), 0).mean() < 0.93
    assert np.mean(ranks < 10) > 0.93
