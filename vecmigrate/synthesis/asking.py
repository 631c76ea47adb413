"""Asks the endpoint about many chunks: several requests at once, nothing twice, and no further than the budget goes.

One chunk to a request: an answer that breaks off, or is refused, costs one chunk, and an answer is known again by its chunk's text.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from vecmigrate.config import SynthesisSection
from vecmigrate.errors import UsageError, VecmigrateError
from vecmigrate.querylog.fields import clean
from vecmigrate.records import Chunk
from vecmigrate.synthesis.answers import queries_of
from vecmigrate.synthesis.cache import AnswerCache, key_of, open_cache
from vecmigrate.synthesis.candidates import Candidate, Generated, Generator
from vecmigrate.synthesis.drawing import Drawn
from vecmigrate.synthesis.endpoint import Endpoint, Reply, RequestRefused, api_key, chat_url, host_of
from vecmigrate.synthesis.prompting import prompt_for, template_of
from vecmigrate.synthesis.spending import Purse, Usage, most_for, usage_words

REFUSALS = 3
"""So many refused before anything was answered: it is not the chunks."""

Agree = Callable[[Sequence[str]], None]
"""Shows what is about to be sent and where, and raises unless that is agreed to."""
Progress = Callable[[int, int], None]
"""Called with how many chunks are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Question:
    """One chunk, what is asked about it, and the key of the answer."""

    chunk: Chunk
    prompt: str
    key: str


@dataclass(slots=True)
class _Run:
    """Asking under way. `most` is what each request under way may cost."""

    endpoint: Endpoint
    cache: AnswerCache
    purse: Purse
    settings: SynthesisSection
    waiting: deque[Question]
    running: dict[Future[Reply], tuple[Question, Usage]] = field(default_factory=dict)
    answered: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    out_of_budget: int = 0


def endpoint_queries(
    settings: SynthesisSection, folder: Path, agree: Agree, *, root: Path = Path(), progress: Progress | None = None
) -> Generator:
    """The generator that asks an OpenAI-compatible endpoint, and keeps its answers in `folder`. `root` is where a prompt's file is looked for.

    What is wrong in the settings raises `UsageError` here, before anything is read or sent. The generator raises what `agree` raises;
    `UsageError` when the endpoint refuses everything; `StoreUnavailable` when it does not answer; `DataError` when answers can't be kept.
    In each of these cases what was answered is kept, and the same call goes on from there.
    """
    url, key, template = chat_url(settings), api_key(settings, os.environ), template_of(settings, root)

    def generate(drawn: Drawn) -> Generated:
        questions = [_question(chunk, url, template, settings) for chunk in drawn.chunks]
        with open_cache(folder, [question.key for question in questions], settings.batch) as cache:
            before = len(cache.found)
            spent = sum((reply.usage for reply in cache.found.values()), Usage())
            waiting = deque(question for question in questions if question.key not in cache.found)
            purse = Purse(settings, spent)
            if waiting:
                agree(sending_plan(url, settings, list(waiting), before, spent))
            run = _Run(Endpoint(settings, key), cache, purse, settings, waiting)
            _ask_all(run, before, progress or _silent)
            return _generated(questions, run, before, host_of(url))

    return generate


def _question(chunk: Chunk, url: str, template: str, settings: SynthesisSection) -> Question:
    text = clean(chunk.text)
    return Question(chunk, prompt_for(template, text, settings.per_chunk), key_of(url, template, settings, text))


def sending_plan(url: str, settings: SynthesisSection, waiting: Sequence[Question], before: int, spent: Usage) -> list[str]:
    """What is about to leave this machine, and where to, for `Agree`."""
    most = sum((most_for(question.prompt, settings) for question in waiting), Usage())
    lines = [f"plan   send the texts of {len(waiting):,} chunks to {host_of(url)}, model {settings.model}"]
    lines.append(f"cost   at most about {usage_words(most, settings)}")
    limits = [f"{settings.budget_tokens:,} tokens"] if settings.budget_tokens is not None else []
    limits += [f"{settings.budget_money:g} at the prices given"] if settings.budget_money is not None else []
    lines.append(f"budget {' and '.join(limits) if limits else 'none'}")
    if before:
        lines.append(f"       {before:,} chunks were answered before and are not sent again; they cost {usage_words(spent, settings)}")
    if url.startswith("http:") and not host_of(url).startswith(("localhost", "127.", "[::1]")):
        lines.append("caution  http, not https: whoever is on the way can read the chunks and the key")
    return [*lines, "undo   none: what is sent cannot be called back"]


def _ask_all(run: _Run, before: int, progress: Progress) -> None:
    total = before + len(run.waiting)
    try:
        with ThreadPoolExecutor(run.settings.concurrency, thread_name_prefix="ask") as pool:
            try:
                while _submit(run, pool):
                    _collect(run, wait(run.running, return_when=FIRST_COMPLETED).done)
                    progress(total - len(run.waiting) - len(run.running), total)
            except BaseException:
                run.endpoint.stop()
                _keep_what_still_comes(run)
                raise
    finally:
        run.endpoint.close()


def _silent(done: int, total: int) -> None:
    """Nobody watches."""


def _submit(run: _Run, pool: ThreadPoolExecutor) -> bool:
    """Send as many as may be under way; False when none is."""
    while run.waiting and len(run.running) < run.settings.concurrency:
        most = most_for(run.waiting[0].prompt, run.settings)
        if not run.purse.reserve(most):
            if not run.running:  # what is under way may cost less than was set aside for it
                run.out_of_budget = len(run.waiting)
            break
        question = run.waiting.popleft()
        run.running[pool.submit(run.endpoint.ask, question.prompt)] = (question, most)
    return bool(run.running)


def _collect(run: _Run, done: set[Future[Reply]]) -> None:
    """Take in every answer first; then raise, where a request failed for a reason that stops the others too."""
    failed: list[VecmigrateError] = []
    for future in done:
        question, most = run.running.pop(future)
        try:
            reply = future.result()
        except RequestRefused as error:
            run.purse.settle(most, Usage())
            run.refused[error.message] += 1
            if not run.answered and run.refused.total() >= REFUSALS:
                failed.append(UsageError(f"the first {run.refused.total()} requests were all refused: {error.message}", hint=error.hint))
        except VecmigrateError as error:
            failed.append(error)
        else:
            run.answered += 1
            run.purse.settle(most, reply.usage)
            run.cache.add(question.key, reply)
    if failed:
        raise failed[0]


def _keep_what_still_comes(run: _Run) -> None:
    """Answers that are under way have been paid for."""
    for future in run.running:
        future.cancel()
    for future, (question, _) in run.running.items():
        if not future.cancelled() and future.exception() is None:
            run.cache.add(question.key, future.result())


def _generated(questions: Sequence[Question], run: _Run, before: int, host: str) -> Generated:
    candidates: list[Candidate] = []
    empty = cut = 0
    for question in questions:
        reply = run.cache.found.get(question.key)
        if reply is None:
            continue
        found = queries_of(reply.content, cut=reply.cut)[: run.settings.per_chunk]
        empty += not found
        cut += reply.cut
        candidates += [Candidate(text, (question.chunk.id,), "endpoint") for text in found]
    unused = {
        "no query in the answer": empty,
        "not asked about: the budget is used up": run.out_of_budget,
        "refused by the endpoint": run.refused.total(),
    }
    lines = _lines(run, len(questions), before, host)
    if cut:
        lines.append(f"{cut:,} answers broke off at the limit of tokens: what was whole of them is used")
    return Generated(tuple(candidates), tuple(lines), {reason: count for reason, count in unused.items() if count})


def _lines(run: _Run, asked: int, before: int, host: str) -> list[str]:
    there = len(run.cache.found)
    spent = usage_words(run.purse.spent, run.settings)
    lines = [f"{there:,} of {asked:,} chunks answered by {run.settings.model} at {host}, {before:,} of them before; {spent}"]
    if run.out_of_budget:
        lines.append(f"stopped at the budget: {there:,} of {asked:,} chunks covered; a higher budget goes on from there")
    if run.refused:
        lines.append(f"refused, for example: {run.refused.most_common(1)[0][0]}")
    if run.cache.unreadable:
        lines.append(f"{run.cache.unreadable:,} lines of kept answers could not be read, and were asked for again")
    return lines
