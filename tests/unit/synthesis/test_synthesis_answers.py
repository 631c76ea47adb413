"""What is made of a model's answer, and what the model is asked."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecmigrate.config import SynthesisSection
from vecmigrate.errors import UsageError
from vecmigrate.synthesis.answers import queries_of
from vecmigrate.synthesis.prompting import DEFAULT, prompt_for, template_of

TWO = ["reset password", "how do I log in?"]


@pytest.mark.parametrize(
    "content",
    [
        '["reset password", "how do I log in?"]',
        '```json\n["reset password", "how do I log in?"]\n```',
        'Here are two queries:\n["reset password", "how do I log in?"]\nHope that helps!',
        '{"queries": ["reset password", "how do I log in?"]}',
        '[{"query": "reset password"}, {"question": "how do I log in?"}]',
        '{"n": 2, "results": [{"text": "reset password", "why": "x"}, {"text": "how do I log in?"}]}',
        "1. reset password\n2. how do I log in?",
        "1) reset password\n\n2) how do I log in?\n",
        "Sure! Here they are:\n- reset password\n- how do I log in?\nLet me know if you need more.",
        "* **reset password**\n* *how do I log in?*",
        '• "reset password"\n• “how do I log in?”',
        "Q1: reset password\nQ2: how do I log in?",
        "Query 1: reset password\nQuery 2: how do I log in?",
        "Queries:\nreset password\nhow do I log in?",
        '{"query": "reset password"}\n{"query": "how do I log in?"}',
        '<think>\n["not this"]\n1. nor this\n</think>\n["reset password", "how do I log in?"]',
        "  reset   password \r\n\r\n how do I log in? ",
    ],
)
def test_lists_numbered_lines_and_plain_lines_are_read(content):
    assert queries_of(content) == TWO


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('["reset password", "how do I log', ["reset password"]),
        ('["reset password", "how do I log in?"', TWO),
        ('[{"query": "reset password", "why": "no"}, {"query": "how', ["reset password"]),
        ('{"queries": ["reset password", "how do I log in?", "a th', TWO),
        ('See [1]: ["reset password", "how do I log in?", "a th', TWO),
        ('```json\n["reset \\"my\\" password", "how', ['reset "my" password']),
        ("1. reset password\n2. how do I lo", ["reset password"]),
        ("reset password\nhow do", ["reset password"]),
        ("<think>so the user wants", []),
        ("", []),
    ],
)
def test_of_an_answer_that_breaks_off_the_whole_queries_are_taken(content, found):
    assert queries_of(content, cut=True) == found


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", "null", "   \n ", "I'm sorry, but I can't help with that.", "I’m sorry, no.", "Here you go:", '[1, null, ""]'],
)
def test_an_answer_without_queries_gives_none(content):
    assert queries_of(content) == []


def test_deep_nesting_is_no_crash():
    assert isinstance(queries_of("[" * 100_000), list)


PLAIN = st.text(st.characters(categories=("Lu", "Ll", "Lo")), min_size=1, max_size=8)
QUERY = st.lists(PLAIN, min_size=2, max_size=6).map(" ".join)


@settings(max_examples=100, deadline=None)
@given(st.lists(QUERY, min_size=1, max_size=5), st.data())
def test_a_list_cut_anywhere_gives_a_beginning_of_it_and_no_half_query(queries, data):
    whole = json.dumps(queries, ensure_ascii=data.draw(st.booleans()), indent=data.draw(st.sampled_from([None, 2])))
    assert queries_of(whole) == queries
    broken = whole[: data.draw(st.integers(3, len(whole)))]
    found = queries_of(broken, cut=True)
    assert found == queries[: len(found)]


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300), st.booleans())
def test_no_answer_is_a_crash_and_a_query_is_one_line(content, cut):
    for query in queries_of(content, cut=cut):
        assert query.strip() == query != ""
        assert len(query.splitlines()) == 1


def test_the_chunk_is_filled_in_as_it_stands():
    assert prompt_for("{n} queries, {n}!\n{chunk}\nEnd", "braces {n} {chunk} {0}", 3) == "3 queries, 3!\nbraces {n} {chunk} {0}\nEnd"
    assert prompt_for(DEFAULT, "the text", 2).endswith("Passage:\nthe text\n")


def test_the_prompt_is_the_default_a_text_or_a_file(tmp_path):
    (tmp_path / "ask.txt").write_text("About {chunk}: ", encoding="utf-8")
    assert template_of(SynthesisSection(), tmp_path) == DEFAULT
    assert template_of(SynthesisSection(prompt="Say {chunk}"), tmp_path) == "Say {chunk}"
    assert template_of(SynthesisSection(prompt="ask.txt"), tmp_path) == "About {chunk}: "


def test_a_prompt_that_does_not_say_where_the_chunk_goes_is_refused(tmp_path):
    (tmp_path / "ask.txt").write_text("Write queries", encoding="utf-8")
    with pytest.raises(UsageError, match=r"ask\.txt does not say where the chunk goes"):
        template_of(SynthesisSection(prompt="ask.txt"), tmp_path)
    with pytest.raises(UsageError, match=r"neither a text with {chunk} nor a file that can be read: 'Write queries': No such file"):
        template_of(SynthesisSection(prompt="Write queries"), tmp_path)
