"""Wordings of the same thing are one group; other things are not."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecmigrate.dataset import grouping
from vecmigrate.dataset.grouping import group_queries, usual_spellings
from vecmigrate.records import Query


def groups(*texts):
    """Texts by group, each group sorted, groups in the order of their first text."""
    found = {}
    for query in group_queries([Query(f"q{i}", text) for i, text in enumerate(texts)])[0]:
        found.setdefault(query.group, []).append(query.text)
    return list(found.values())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Reset password", "reset  PASSWORD?"),
        ("reset my password", "my password reset"),
        ("reset password", "reset password password"),
        ("how do i reset my password", "how do i reset my passwrod"),
        ("install certificate", "install certificates"),
        ("install certificate", "install certficate"),
        ("how can i reset my old password", "how can i reset my password"),
        ("what is the vpn address for berlin", "what is the vpn address for berlin please"),
        ("e-mail setup", "e mail setup"),
        ("ｖｐｎ setup", "vpn setup"),
        ("パスワード再設定。", "パスワード再設定"),
    ],
)
def test_wordings_of_one_thing_are_one_group(one, other):
    assert groups(one, "something else altogether", other) == [[one, other], ["something else altogether"]]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("reset password", "change password"),
        ("error 1001", "error 1002"),
        ("python2 install", "python3 install"),
        ("form", "from"),
        ("vpn for berlin", "vpn for paris"),
        ("how do i print", "how do i scan"),
        ("T1003.001", "T1003.002"),
        ("???", "!!!"),
    ],
)
def test_other_things_are_other_groups(one, other):
    assert len(groups(one, other)) == 2


def test_likeness_joins_up():
    chain = ["a b c d e", "b c d e", "b c d e f"]
    assert len(groups(*chain)) == 1
    assert len(groups(chain[0], chain[2])) == 2


def test_similarity_of_exactly_eight_tenths_is_enough():
    assert len(groups("a b c d", "a b c d e")) == 1
    assert len(groups("a b c", "a b c d")) == 2
    assert len(groups("a b c d e f g h i", "a b c d e f g h x")) == 1
    assert len(groups("a b c d e f g h", "a b c d e f g x")) == 2


def test_order_and_ids_do_not_name_a_group():
    texts = ["reset password", "Password reset?", "vpn", "mail setup"]
    by_text = {query.text: query.group for query in group_queries([Query(f"q{i}", text) for i, text in enumerate(texts)])[0]}
    again = {query.text: query.group for query in group_queries([Query(f"x{i}", text) for i, text in enumerate(reversed(texts))])[0]}
    assert by_text == again
    assert by_text["reset password"] == by_text["Password reset?"]


def test_everything_but_the_group_stays():
    query = Query("q1", "vpn", at=None, slices=("1-2 words",))
    (found,), _ = group_queries([query])
    assert (found.id, found.text, found.slices) == ("q1", "vpn", ("1-2 words",))
    assert found.group.startswith("g-")


def test_the_report_counts():
    _, report = group_queries([Query("a", "vpn"), Query("b", "VPN?"), Query("c", "mail")])
    assert report.lines() == ["grouped 3 queries into 2 groups of like wording (largest: 2 queries)"]
    assert group_queries([])[1].groups == 0


def test_a_dominant_group_is_warned_of():
    texts = [f"please show me the current status of order {i}" for i in range(60)]
    _, report = group_queries([Query(str(i), text) for i, text in enumerate(texts)])
    assert report.groups == 1
    assert "one group holds more than a fifth" in report.lines()[1]


def test_cut_comparisons_are_reported(monkeypatch):
    monkeypatch.setattr(grouping, "MOST_COMPARISONS", 3)
    texts = [f"a b c d e f g {x} {y}" for x in range(10, 15) for y in range(20, 25)]
    _, report = group_queries([Query(str(i), text) for i, text in enumerate(texts)])
    assert report.cut > 0
    assert any("share a word with very many others" in line for line in report.lines())


def test_misspellings_go_to_the_more_frequent_word_and_on_from_there():
    counts = {"password": 50, "pasword": 2, "passwords": 7, "passwrod": 1, "python": 9, "pythons": 9, "passwordss": 1}
    counts |= {"short": 3, "shor": 1, "abc123def": 1}
    assert usual_spellings(counts) == {
        "pasword": "password",
        "passwords": "password",
        "passwordss": "password",
        "passwrod": "password",
        "pythons": "python",
    }


def jaccard(a, b):
    return len(a & b) / len(a | b)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.frozensets(st.sampled_from("abcdefghijklmno"), min_size=1, max_size=15), max_size=12))
def test_the_index_finds_exactly_what_comparing_all_pairs_finds(bags):
    texts = [" ".join(sorted(bag)) for bag in bags]
    parent = list(range(len(bags)))

    def find(i):
        return i if parent[i] == i else find(parent[i])

    for i in range(len(bags)):
        for j in range(i):
            if jaccard(bags[i], bags[j]) >= 0.8 - 1e-9:
                parent[find(i)] = find(j)
    expected = {frozenset(k for k in range(len(bags)) if find(k) == find(i)) for i in range(len(bags))}
    found = {}
    for i, query in enumerate(group_queries([Query(str(i), text) for i, text in enumerate(texts)])[0]):
        found.setdefault(query.group, set()).add(i)
    assert {frozenset(group) for group in found.values()} == expected


def changed(bag, draw):
    """The bag with a word or two taken out and put in."""
    return frozenset(draw.sample(sorted(bag), max(1, len(bag) - draw.randint(0, 2)))) | frozenset(
        draw.sample("abcdefghijklmnopqrst", draw.randint(0, 2))
    )


def test_the_index_finds_all_near_pairs_of_long_queries_too():
    draw = random.Random(11)
    for _ in range(300):
        bag = frozenset(draw.sample("abcdefghijklmnopqrst", draw.randint(4, 16)))
        other = changed(bag, draw)
        expected = 1 if jaccard(bag, other) >= 0.8 - 1e-9 else 2
        assert len(groups(" ".join(bag), " ".join(other))) == expected


@pytest.mark.parametrize("words", [3, 9])
def test_templates_do_not_take_forever(words):
    queries = [Query(str(i), " ".join(["w"] + [f"t{k}" for k in range(words)] + [f"order{i}"])) for i in range(20_000)]
    start = time.process_time()
    _, report = group_queries(queries)
    assert time.process_time() - start < 20
    assert report.groups == (1 if words == 9 else 20_000)


def test_twenty_thousand_queries_take_seconds():
    draw = random.Random(3)
    vocabulary = [f"w{int(draw.paretovariate(0.7))}" for _ in range(5000)]
    queries = [Query(str(i), " ".join(draw.choices(vocabulary, k=draw.randint(2, 10)))) for i in range(20_000)]
    start = time.process_time()
    grouped, _ = group_queries(queries)
    assert len(grouped) == 20_000
    assert time.process_time() - start < 20
