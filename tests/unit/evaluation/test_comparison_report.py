from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files

import pytest

from vecmigrate.config import GateSection
from vecmigrate.evaluation import Comparison, judge_gate
from vecmigrate.evaluation.charts import COLUMNS, WIDTH, axis_for, latencies, waterfall, whisker
from vecmigrate.evaluation.report import pieces, render_html
from vecmigrate.evaluation.result import MeasureResult, QueryValue, SliceResult, Timing

from .evaluation_worlds import example, figures, letters, side

GATE = GateSection()
VOID = {"meta", "br", "line", "rect", "circle"}
ATTACKS = [
    "<script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "<!--",
    "]]>",
    "&lt;script&gt;",
    "\x00\x1b\x9b\u202e",
    "lone \ud800",
]


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails on a tag that is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)

    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def page(comparison: Comparison, gate: GateSection = GATE) -> Page:
    return Page(render_html(comparison, judge_gate(comparison, gate)))


def everywhere(comparison: Comparison, text: str) -> Comparison:
    """The comparison with `text` in every place that data can reach."""
    shown = replace(example(), text=text, query_id=text)
    hit = replace(shown.control[0], chunk_id=text, text=text)
    shown = replace(shown, control=(hit,), candidate=(hit,), wanted=tuple(replace(w, chunk=hit) for w in shown.wanted))
    return replace(
        comparison,
        collection=text,
        control=replace(comparison.control, version=text, label=text, model=text, fingerprint=text),
        candidate=replace(comparison.candidate, version=text, label=text, model=text, fingerprint="another"),
        dataset_hash=text,
        training_verdict=text,
        slices=(SliceResult(text, "query", figures()),),
        wins=(shown,),
        losses=(replace(example(-0.2), text=None, query_id=text),),
        warnings=(text,),
    )


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_data_becomes_markup(comparison, attack):
    hostile, plain = page(everywhere(comparison, attack)), page(everywhere(comparison, "harmless"))
    assert [tag for tag, _ in hostile.tags if tag != "mark"] == [tag for tag, _ in plain.tags if tag != "mark"]
    assert not {name for _, attributes in hostile.tags for name in attributes if name.startswith("on")}
    assert "49" not in hostile.words().split()


def test_hostile_text_is_shown_as_it_is(comparison):
    assert "<script>alert(1)</script>" in "".join(page(everywhere(comparison, ATTACKS[0])).text)
    html = render_html(everywhere(comparison, ATTACKS[0]), judge_gate(comparison, GateSection()))
    assert "&lt;script&gt;" in html
    assert "<script" not in html


def test_control_codes_do_not_reach_the_page(comparison):
    html = render_html(everywhere(comparison, ATTACKS[8]), judge_gate(comparison, GateSection()))
    assert not set(html) & set("\x00\x1b\x9b\u202e")
    render_html(everywhere(comparison, ATTACKS[9]), judge_gate(comparison, GateSection())).encode("utf-8")


def test_the_page_loads_nothing_and_forbids_scripts(comparison):
    found = page(comparison)
    policy = next(a["content"] for tag, a in found.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert not {tag for tag, _ in found.tags} & {"script", "link", "img", "iframe", "object", "embed", "form", "a", "base"}
    assert not {name for _, attributes in found.tags for name in attributes} & {"src", "href", "srcset", "action"}
    html = render_html(comparison, judge_gate(comparison, GateSection()))
    assert not re.search(r"url\(|@import|https?:", html)


def test_every_tag_is_closed_and_every_id_is_single(comparison):
    ids = [a["id"] for _, a in page(comparison).tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_every_plot_and_table_can_be_read_aloud(comparison):
    found = page(comparison)
    for tag, attributes in found.tags:
        if tag == "svg" and attributes.get("role") == "img":
            assert attributes.get("aria-label")
        if tag == "th":
            assert attributes.get("scope") in ("row", "col")
        if "aria-labelledby" in attributes:
            assert any(a.get("id") == attributes["aria-labelledby"] for _, a in found.tags)
    assert sum(tag == "svg" and a.get("role") == "img" for tag, a in found.tags) >= 6
    assert ("html", {"lang": "en"}) in found.tags


def test_the_verdict_is_at_the_top_in_plain_words(comparison):
    words = page(comparison).words()
    assert words.index("docs@v1 may serve: it is better than docs@v0") < words.index("Measures")
    assert "Both answered 100 queries from 12,000 chunks through the store's own search." in words
    assert "(+0.050, 95% interval +0.020 to +0.080)" in words
    assert "All 7 checks of the gate are met." in words


def test_a_failed_check_is_named_at_the_top(comparison):
    words = page(comparison, GateSection(min_queries=500)).words()
    assert "fail" in words or "underpowered" in words
    assert words.index("enough queries : at least 500 was asked for, it is 100") < words.index("What could be wrong")


def test_what_could_be_wrong_is_always_said(comparison):
    words = page(comparison).words()
    for part in ("Labels come from what the old index showed.", "What this many queries can show.", "Seen and unseen."):
        assert part in words
    assert "a true difference of 0.040 is found with 80% probability" in words
    assert "Of 104 queries given, 4 were left out: 1 blank, 2 without a relevant chunk, 1 whose relevant chunks have gone" in words


def test_warnings_are_shown(comparison):
    assert "underpowered: n=37" in page(replace(comparison, warnings=("underpowered: n=37",))).words()


def test_both_answers_of_an_example_are_shown_with_their_judgments(comparison):
    words = page(comparison).words()
    assert "how to sort" in words
    assert "wanted c1 : rank 2 → rank 1" in words
    assert "not judged" in words


def test_the_querys_words_are_marked_in_the_texts():
    assert [(p.text, p.hit) for p in pieces("Sort a list: sorted, SORT!", "how to sort")] == [
        ("Sort", True),
        (" a list: sorted, ", False),
        ("SORT", True),
        ("!", False),
    ]
    assert [(p.text, p.hit) for p in pieces("go to it", "go to it")] == [("go to it", False)]
    assert [(p.text, p.hit) for p in pieces("plain", None)] == [("plain", False)]
    assert [(p.text, p.hit) for p in pieces("what the log is", "what is the log")] == [("what the ", False), ("log", True), (" is", False)]
    assert pieces("", "x") == ()


def test_without_texts_only_ids_are_on_the_page(comparison):
    words = page(replace(comparison, wins=(example(text=None),), losses=())).words()
    assert "query q1" in words
    assert "Sort a list" not in words
    assert "No query gets worse." in words


def test_where_the_answers_come_from_is_on_the_page(comparison):
    words = page(comparison).words()
    for part in (comparison.id, comparison.control.fingerprint, comparison.candidate.fingerprint, comparison.dataset_hash):
        assert part in words
    assert "better than the base: dev nDCG@10 0.71 against 0.64" in words


def test_a_store_without_exact_search_says_what_that_means(comparison):
    bare = replace(comparison, exact=None, candidate=side("docs@v1", ann_recall=None))
    assert "cannot be told from one of the model" in page(bare, GateSection(min_ann_recall=0)).words()


def test_a_difference_of_the_index_is_told_from_one_of_the_model(comparison):
    assert "the approximate indexes make no difference" in page(comparison).words()
    exact = replace(comparison.exact, served=figures(0.02), exact=figures(0.05))
    words = page(replace(comparison, exact=exact)).words()
    assert "differs by +0.020 as served and by +0.050 by exact search: the approximate indexes account for -0.030 of it" in words


def test_no_slices_leave_no_empty_section(comparison):
    found = page(replace(comparison, slices=()))
    assert not [a for _, a in found.tags if a.get("id") == "slices"]


@pytest.mark.parametrize(
    "queries",
    [{"q1": ("ab", "ba", "b")}, {f"q{i}": ("ab", "ab", "b") for i in range(60)}, {"q1": ("ab", "cd", "a"), "q2": ("ab", "cd", "c")}],
)
def test_tiny_and_tied_comparisons_have_a_report(queries):
    found = letters(queries, measures=("nDCG@10",)).compare()
    assert "nan" not in page(found).words().lower().split()


def test_the_template_ships_with_the_package():
    assert (files("vecmigrate.evaluation") / "templates" / "report.html.j2").is_file()


# Where the marks go.


def test_an_axis_holds_zero_every_interval_and_round_ticks():
    axis = axis_for([figures(0.05, 0.02, 0.08), figures(-0.01, -0.03, 0.01)])
    assert axis.low <= -0.03
    assert axis.high >= 0.08
    assert [tick.label for tick in axis.ticks] == ["-0.05", "0", "+0.05", "+0.10"]
    assert 0 < axis.zero < 100


@pytest.mark.parametrize(
    "rows", [[], [figures(0.0, 0.0, 0.0)], [figures(1.0, None)], [figures(1e-12, -1e-12, 1e-12)], [figures(-1.0, -1.0, 1.0)]]
)
def test_every_axis_has_room_and_few_ticks(rows):
    axis = axis_for(rows)
    assert axis.low < axis.high
    assert 2 <= len(axis.ticks) <= 7
    assert all(0 <= tick.at <= WIDTH for tick in axis.ticks)


def test_a_whisker_says_better_worse_or_open():
    axis = axis_for([figures(0.5, 0.1, 0.9), figures(-0.5, -0.9, -0.1)])
    tones = [
        whisker(f, axis).tone for f in (figures(0.5, 0.1, 0.9), figures(-0.5, -0.9, -0.1), figures(0.1, -0.1, 0.3), figures(0.5, None))
    ]
    assert tones == ["better", "worse", "open", "open"]
    placed = whisker(figures(0.5, 0.1, 0.9), axis)
    assert axis.at(0) < placed.low < placed.at < placed.high <= WIDTH
    alone = whisker(figures(0.5, None), axis)
    assert alone.low == alone.at == alone.high


def test_the_waterfall_goes_from_the_biggest_win_to_the_biggest_loss():
    bars = waterfall([QueryValue("a", 0.5, 0.25), QueryValue("b", 0.0, 1.0), QueryValue("c", 0.5, 0.5)])
    assert bars.reach == 1.0
    assert [(bar.tone, bar.top, bar.height) for bar in bars.bars] == [("better", 0, 500), ("open", 500, 0), ("worse", 500, 125)]
    assert [round(bar.x) for bar in bars.bars] == [0, 333, 667]


def test_the_waterfall_of_many_queries_is_no_larger_and_loses_none():
    values = [QueryValue(str(i), 0.0, (i - 500) / 10_000) for i in range(10_007)]
    bars = waterfall(values).bars
    assert len(bars) == COLUMNS
    mean = sum((500 - bar.top if bar.tone == "better" else -bar.height) for bar in bars) / len(bars)
    assert mean / 500 * 0.9506 == pytest.approx(sum(v.candidate for v in values) / len(values), abs=0.005)


def test_latencies_share_one_scale(comparison):
    slow = replace(comparison, candidate=side("docs@v1", search=Timing(10, 20, 200)))
    spans = latencies(slow)
    assert [(s.label, s.side) for s in spans] == [
        ("search", "control"),
        ("search", "candidate"),
        ("encoding", "control"),
        ("encoding", "candidate"),
    ]
    assert [(s.p50, s.p95) for s in spans[:2]] == [(100, 200), (500, 1000)]


def test_many_measures_and_long_names_do_not_break_the_page(comparison):
    many = tuple(MeasureResult(f"nDCG@{k}", figures(), 0.01) for k in (10, 1, 3, 5, 20, 50, 100))
    whole = page(replace(comparison, measures=many, slices=tuple(SliceResult("x" * 500, "query", figures()) for _ in range(40))))
    assert [f"nDCG@{k}" for k in (10, 1, 3, 5, 20, 50, 100) if f"nDCG@{k}" not in whole.text] == []
