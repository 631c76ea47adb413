"""Asking about many chunks: what is sent, what is kept, where it stops, and that a killed run goes on."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from vecmigrate.config import SynthesisSection
from vecmigrate.errors import Conflict, DataError, StoreUnavailable, UsageError, VecmigrateError
from vecmigrate.synthesis import endpoint, endpoint_queries
from vecmigrate.synthesis.cache import FILE, key_of, open_cache
from vecmigrate.synthesis.drawing import Drawn
from vecmigrate.synthesis.endpoint import Reply
from vecmigrate.synthesis.spending import Purse, Usage, estimated_tokens, most_for, price

from .synthesis_world import about, completion, corpus

CHUNKS = tuple(corpus(12))


def usual(asked):
    return (200, {}, completion(json.dumps(about(asked.prompt))))


@pytest.fixture
def generate(settings, tmp_path):
    """Ask about these chunks; what was generated, and the plan that was agreed to."""

    def run(chunks=CHUNKS, agree=None, **changes):
        plans = []
        generator = endpoint_queries(settings(**changes), tmp_path / "synthesis", agree or plans.append, root=tmp_path)
        return generator(Drawn(tuple(chunks), 40)), [line for plan in plans for line in plan]

    return run


def test_every_chunk_is_asked_about_once_and_candidates_come_in_the_order_of_the_chunks(server, generate):
    made, _ = generate()
    assert len(server.asked) == 12
    assert [c.chunk_ids[0] for c in made.candidates] == [chunk.id for chunk in CHUNKS for _ in range(2)]
    assert {c.kind for c in made.candidates} == {"endpoint"}
    assert [c.text for c in made.candidates[:2]] == about(f"Passage:\n{CHUNKS[0].text}\n")
    assert made.lines == (f"12 of 12 chunks answered by tiny-chat at {server.url[7:-3]}, 0 of them before; 1,200 tokens in, 240 out",)


def test_no_more_queries_are_taken_than_asked_for(server, generate):
    server.script = lambda *_: (200, {}, completion('["one query", "two query", "three query"]'))
    assert [c.text for c in generate(CHUNKS[:1])[0].candidates] == ["one query", "two query"]


def test_the_plan_says_how_much_goes_where_before_anything_is_sent(server, generate):
    seen = []

    def refuse(plan):
        seen.append((list(plan), len(server.asked)))
        raise VecmigrateError("not confirmed")

    with pytest.raises(VecmigrateError, match="not confirmed"):
        generate(agree=refuse, budget_tokens=5000)
    ((plan, asked),) = seen
    assert asked == len(server.asked) == 0
    assert plan[0] == f"plan   send the texts of 12 chunks to {server.url[7:-3]}, model tiny-chat"
    assert plan[1].startswith("cost   at most about ")
    assert plan[2:] == ["budget 5,000 tokens", "undo   none: what is sent cannot be called back"]


def test_the_plan_warns_of_plain_http_to_another_machine():
    from vecmigrate.synthesis.asking import sending_plan

    section = SynthesisSection(model="m")
    assert any("not https" in line for line in sending_plan("http://models.example/v1", section, [], 0, Usage()))
    assert not any("not https" in line for line in sending_plan("http://localhost:8000/v1", section, [], 0, Usage()))


def test_requests_run_at_once_up_to_the_limit(server, generate):
    lock, under_way, most = threading.Lock(), [0], [0]

    def count(_, asked):
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        time.sleep(0.05)
        with lock:
            under_way[0] -= 1
        return usual(asked)

    server.script = count
    generate(concurrency=3)
    assert most[0] == 3


def test_what_was_answered_is_not_sent_again(server, generate):
    first, _ = generate()
    second, plan = generate()
    assert len(server.asked) == 12
    assert plan == []
    assert second.candidates == first.candidates
    generate([*CHUNKS, *corpus(13)[12:]])
    assert len(server.asked) == 13


@pytest.mark.parametrize(
    "change", [{"model": "other"}, {"per_chunk": 3}, {"prompt": "About: {chunk}"}, {"temperature": 0.1}, {"body": {"x": 1}}]
)
def test_another_question_is_asked_anew(server, generate, change):
    generate()
    generate(**change)
    assert len(server.asked) == 24


def test_settings_that_do_not_change_the_question_do_not(server, generate):
    generate()
    generate(concurrency=1, batch=1, timeout=5.0, weight=1.0, round_trip=3)
    assert len(server.asked) == 12


def test_a_refused_chunk_and_an_empty_answer_are_counted_and_the_rest_goes_on(server, generate):
    def script(number, asked):
        if CHUNKS[3].text in asked.prompt:
            return 400, {}, {"error": {"message": "too long"}}
        if CHUNKS[4].text in asked.prompt:
            return 200, {}, completion("")
        if CHUNKS[5].text in asked.prompt:
            return 200, {}, completion('["one whole query", "half', finish="length")
        return usual(asked)

    server.script = script
    made, _ = generate(concurrency=1)
    assert made.unused == {"no query in the answer": 1, "refused by the endpoint": 1}
    assert len(made.candidates) == 2 * 9 + 1
    assert any("answered 400" in line and "too long" in line for line in made.lines)
    assert made.lines[-1] == "1 answers broke off at the limit of tokens: what was whole of them is used"
    generate(concurrency=1)
    assert len(server.asked) == 13, "only the refused one is asked about again"


def test_an_endpoint_that_refuses_everything_stops_the_run(server, generate):
    server.script = lambda *_: (400, {}, "unknown field max_tokens")
    with pytest.raises(UsageError, match=r"the first 3 requests were all refused: .* answered 400: unknown field max_tokens"):
        generate(concurrency=1)
    assert len(server.asked) == 3


def test_a_failure_keeps_what_was_answered_and_what_was_under_way(server, generate, monkeypatch):
    monkeypatch.setattr(endpoint, "ATTEMPTS", 1)

    def script(number, asked):
        if number == 5:
            return 503, {}, "down"
        time.sleep(0.1 if number > 5 else 0)
        return usual(asked)

    server.script = script
    with pytest.raises(StoreUnavailable, match="answered 503"):
        generate(concurrency=4)
    answered = len(server.asked) - 1
    server.script = lambda _, asked: usual(asked)
    made, plan = generate()
    assert len(made.candidates) == 24
    assert f"send the texts of {12 - answered} chunks" in plan[0]


def test_a_wrong_key_is_neither_printed_nor_kept(server, generate, tmp_path, monkeypatch):
    monkeypatch.setenv("CHAT_KEY", "sk-hush-hush")
    generate(CHUNKS[:2], api_key_env="CHAT_KEY")
    server.script = lambda *_: (401, {}, "bad key sk-hush-hush")
    with pytest.raises(UsageError) as caught:
        generate(api_key_env="CHAT_KEY")
    assert server.asked[0].headers["authorization"] == "Bearer sk-hush-hush"
    assert "hush" not in str(caught.value)
    assert "hush" not in (tmp_path / "synthesis" / FILE).read_text()


def test_settings_are_checked_before_anything_is_read(settings, tmp_path):
    with pytest.raises(UsageError, match="NOT_SET is not set"):
        endpoint_queries(settings(api_key_env="NOT_SET"), tmp_path, print)


def test_lone_surrogates_are_sent_as_replacement_characters(server, generate):
    from vecmigrate.records import Chunk

    generate([Chunk("odd", "half a pair \ud800 in a text that is long enough")])
    assert "half a pair � in" in server.prompts[0]


# The budget.


def test_the_budget_stops_cleanly_and_says_what_was_covered(server, generate):
    made, _ = generate(concurrency=1, budget_tokens=2000)
    # Each request sets aside its prompt's estimate and 400 tokens; each costs 120.
    assert 0 < len(server.asked) < 12
    spent = 120 * len(server.asked)
    most = most_for(server.prompts[0], SynthesisSection())
    assert spent <= 2000 < spent + most.tokens + 50
    assert f"stopped at the budget: {len(server.asked)} of 12 chunks covered; a higher budget goes on from there" in made.lines
    assert made.unused == {"not asked about: the budget is used up": 12 - len(server.asked)}


def test_what_earlier_runs_spent_counts_and_a_higher_budget_goes_on(server, generate):
    generate(concurrency=1, budget_tokens=2000)
    asked = len(server.asked)
    generate(concurrency=1, budget_tokens=2000)
    assert len(server.asked) == asked
    made, _ = generate(concurrency=1, budget_tokens=100_000)
    assert len(server.asked) == 12
    assert len(made.candidates) == 24


def test_money_is_a_budget_too(server, generate):
    made, plan = generate(concurrency=1, budget_money=0.02, price_per_million_in=10.0, price_per_million_out=30.0)
    assert "budget 0.02 at the prices given" in plan
    assert 0 < len(server.asked) < 12
    assert len(server.asked) * (100 * 10 + 20 * 30) / 1e6 <= 0.02
    assert "at the prices given" in made.lines[0]


def test_requests_under_way_are_within_the_budget_too(server, generate):
    server.script = lambda _, asked: (time.sleep(0.02), usual(asked))[1]
    generate(concurrency=12, budget_tokens=2000)
    assert 120 * len(server.asked) <= 2000


def test_a_budget_below_one_request_sends_nothing(server, generate):
    made, _ = generate(budget_tokens=10)
    assert server.asked == []
    assert made.candidates == ()


def test_the_purse_holds_what_is_under_way():
    purse = Purse(SynthesisSection(budget_tokens=100), Usage(10, 10))
    assert purse.reserve(Usage(30, 30))
    assert not purse.reserve(Usage(20, 1))
    purse.settle(Usage(30, 30), Usage(5, 5))
    assert purse.reserve(Usage(60, 10))
    assert purse.spent == Usage(15, 15)


def test_prices_and_estimates():
    section = SynthesisSection(price_per_million_in=1.0, price_per_million_out=4.0)
    assert price(Usage(1_000_000, 500_000), section) == 3.0
    assert price(Usage(1, 1), SynthesisSection()) is None
    assert estimated_tokens("x" * 30) == 18
    assert estimated_tokens("語" * 30) == 38
    assert estimated_tokens("\ud800") == 9
    assert most_for("x" * 30, SynthesisSection()) == Usage(18, 400)
    assert most_for("", SynthesisSection(max_tokens=0, body={"max_completion_tokens": 90})).received == 90
    assert most_for("", SynthesisSection(max_tokens=0)).received == 1000


# The file of answers.


def test_the_file_is_for_its_owner_alone_and_holds_no_text(server, generate, tmp_path):
    generate()
    path = tmp_path / "synthesis" / FILE
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
    assert all(chunk.text not in path.read_text() for chunk in CHUNKS)
    assert [sorted(json.loads(line)) for line in path.read_text().splitlines()] == [["answer", "cut", "in", "key", "out"]] * 12


def test_a_torn_last_line_is_dropped_and_asked_again(server, generate, tmp_path):
    first, _ = generate()
    path = tmp_path / "synthesis" / FILE
    path.write_bytes(path.read_bytes()[:-7])
    second, _ = generate()
    assert second.candidates == first.candidates
    assert len(server.asked) == 13
    assert len(path.read_text().splitlines()) == 12
    third, _ = generate()
    assert (third.candidates, len(server.asked)) == (first.candidates, 13)


def test_an_unreadable_line_costs_itself_alone(server, generate, tmp_path):
    generate()
    path = tmp_path / "synthesis" / FILE
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b"\xff junk\n", b'{"key": 1}\n', *lines[4:]]))
    made, _ = generate()
    assert len(server.asked) == 13
    assert made.lines[-1] == "2 lines of kept answers could not be read, and were asked for again"


def test_two_builds_do_not_ask_the_same_at_once(tmp_path):
    with open_cache(tmp_path, [], 1), pytest.raises(Conflict, match="another process is writing"), open_cache(tmp_path, [], 1):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(DataError, match=r"file/synthesis/answers\.jsonl cannot be kept: Not a directory"),
        open_cache(tmp_path / "file" / "synthesis", [], 1),
    ):
        pass


def test_answers_are_synced_in_batches_and_at_the_end(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    with open_cache(tmp_path, [], 2) as cache:
        for number in range(5):
            cache.add(f"k{number}", Reply("x", False, Usage()))
        assert len(synced) == 2
    assert len(synced) == 3


def test_only_wanted_answers_are_held_in_memory(tmp_path):
    with open_cache(tmp_path, [], 9) as cache:
        for number in range(5):
            cache.add(f"k{number}", Reply("x", number == 3, Usage(1, 2)))
    with open_cache(tmp_path, ["k3", "k9"], 9) as cache:
        assert cache.found == {"k3": Reply("x", True, Usage(1, 2))}


def test_the_key_tells_texts_and_addresses_apart():
    keys = {key_of(url, "t", SynthesisSection(), text) for url in ("a", "b") for text in ("x", "y", "\ud800")}
    assert len(keys) == 6


# Killed.

ASK = """
    import sys
    from pathlib import Path
    sys.path.insert(0, {here!r})
    from synthesis_world import corpus
    from vecmigrate.config import SynthesisSection
    from vecmigrate.synthesis import endpoint_queries
    from vecmigrate.synthesis.drawing import Drawn

    settings = SynthesisSection(kind="endpoint", url={url!r}, model="tiny-chat", per_chunk=2, concurrency=2)
    endpoint_queries(settings, Path({folder!r}), lambda plan: None)(Drawn(tuple(corpus(12)), 40))
"""


def start(server, folder):
    code = textwrap.dedent(ASK).format(here=str(Path(__file__).parent), url=server.url, folder=str(folder))
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_goes_on_without_asking_again(server, generate, tmp_path, how):
    hold = threading.Event()

    def script(number, asked):
        if number >= 6:
            hold.wait(5)
        return usual(asked)

    server.script = script
    with start(server, tmp_path / "synthesis") as process:
        path = tmp_path / "synthesis" / FILE
        deadline = time.monotonic() + 20
        while (not path.exists() or path.read_bytes().count(b"\n") < 6) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(how)
        time.sleep(0.5)  # let it be taken in before the held answers could finish the work
        hold.set()
        process.wait(20)
    assert process.returncode != 0
    there = path.read_bytes().count(b"\n")
    assert there >= 6
    before = len(server.asked)
    made, plan = generate()
    assert len(server.asked) - before == 12 - there
    assert f"send the texts of {12 - there} chunks" in plan[0]
    assert len(made.candidates) == 24
