from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from vecmigrate.config import GateSection
from vecmigrate.evaluation import Comparison, judge_gate
from vecmigrate.evaluation.cleaning import cleaned
from vecmigrate.evaluation.result import MeasureResult, SliceResult
from vecmigrate.evaluation.terminal import render_terminal

from .evaluation_worlds import example, figures, letters, side

GATE = GateSection()
HOSTILE = "[bold red]x[/] \x1b[31mred\x1b]0;title\x07\x9b2J \u202egnp.exe [link=http://x]y[/link]"


def shown(comparison: Comparison, width: int = 80, gate: GateSection = GATE, colour: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=colour, color_system="truecolor" if colour else None)
    console.print(render_terminal(comparison, judge_gate(comparison, gate)))
    return out.getvalue()


def line(text: str, beginning: str) -> str:
    return next(each for each in text.splitlines() if each.startswith(beginning))


def test_the_verdict_comes_first_in_plain_words(comparison):
    first = shown(comparison).splitlines()
    assert first[0].rstrip() == "PASS  docs@v1 may serve: it is better than docs@v0"
    assert "Both answered 100 queries from 12,000 chunks" in first[1]


def test_the_main_measure_is_one_line_with_its_interval_and_counts(comparison):
    assert line(shown(comparison), "nDCG@10  ").split() == [
        "nDCG@10",
        "0.500",
        "0.550",
        "+0.050",
        "[+0.020,",
        "+0.080]",
        "0.0200",
        "70–10–20",
    ]
    assert line(shown(comparison), "  judged only").split()[2:5] == ["0.500", "0.560", "+0.060"]


def test_everything_fits_80_columns(comparison):
    large = figures(n=20_000, losses=7_654)
    wide = replace(
        comparison,
        measures=(MeasureResult("nDCG@10", large, 0.00001), MeasureResult("Success@100", large, 0.5)),
        slices=(SliceResult("a very long name of a slice that goes on and on and on", "query", large),),
        control=side("a_collection_with_a_long_name_of_40_chars@v0"),
        warnings=("w" * 300,),
    )
    assert max(map(len, shown(wide).splitlines())) <= 80
    assert "<0.0001" in shown(wide)
    assert "12336–10–7654" in shown(wide)


def test_without_colour_nothing_is_lost(comparison):
    assert "\x1b" not in shown(comparison)
    assert "\x1b" in shown(comparison, colour=True)
    failing = shown(comparison, gate=GateSection(min_queries=500))
    assert line(failing, "FAIL  enough queries").split() == ["FAIL", "enough", "queries", "at", "least", "500", "100"]


def test_an_underpowered_comparison_says_so(comparison):
    open_ = replace(comparison, measures=(MeasureResult("nDCG@10", figures(0.02, -0.05, 0.09, n=37, losses=9, detectable=0.11), 0.6),))
    assert shown(open_).startswith("UNDERPOWERED  undecided: 37 queries cannot tell docs@v1 from docs@v0")


def test_a_comparison_on_queries_that_nobody_asked_says_so(comparison):
    made = replace(comparison, slices=(SliceResult("synthetic: title", "query", figures(n=100)),))
    assert shown(made).startswith("UNDECIDED  undecided: no user asked what docs@v1 and docs@v0 were compared on")
    assert line(shown(made), "FAIL  queries that users asked").split()[-6:] == ["at", "least", "1", "0", "of", "100"]


def test_non_inferiority_is_not_called_better(comparison):
    level = replace(comparison, measures=(MeasureResult("nDCG@10", figures(0.0, -0.01, 0.01), 1.0),))
    assert shown(level, gate=GateSection(min_difference=-0.02)).startswith("PASS  docs@v1 may serve: it is not worse than docs@v0")


def test_slices_that_hold_are_one_line_and_those_that_fail_are_named(comparison):
    assert "2 slices" in shown(replace(comparison, slices=tuple(replace(s, figures=figures()) for s in comparison.slices)))
    failing = replace(comparison, slices=(SliceResult("long", "query", figures(-0.2, -0.3, -0.1)),))
    assert line(shown(failing), "FAIL  slice long")


def test_data_is_neither_markup_nor_control_codes(comparison):
    hostile = replace(
        comparison,
        wins=(replace(example(), text=HOSTILE, query_id=HOSTILE),),
        slices=(SliceResult(HOSTILE, "query", figures()),),
        warnings=(HOSTILE,),
        training_verdict=HOSTILE,
        control=side("docs@v0", model=HOSTILE),
    )
    text = shown(hostile, width=200)
    assert "[bold red]x[/]" in text
    assert "[link=http://x]y[/link]" in text
    assert not set(text) & set("\x1b\x07\x9b\u202e")
    assert "\x1b[31mred" not in shown(hostile, width=200, colour=True)


def test_relevant_hits_are_marked_without_colour(comparison):
    text = shown(comparison)
    assert "candidate  1 ✓ Sort a list in place." in text
    assert "control    1   Open a file." in text


def test_a_long_text_stays_on_one_line_that_says_it_was_cut(comparison):
    long = replace(example(), text="why " * 60)
    cut = line(shown(replace(comparison, wins=(long,))), "+0.500")
    assert cut.rstrip().endswith("…")
    assert line(shown(replace(comparison, wins=(long,))).partition("+0.500")[2].partition("\n")[2], "  control")


def test_without_texts_the_ids_are_shown(comparison):
    text = shown(replace(comparison, wins=(example(text=None),), losses=()))
    assert "+0.500  q1" in text
    assert "candidate  1 ✓ c1" in text


def test_warnings_are_shown(comparison):
    assert "warning  mind the gap" in shown(replace(comparison, warnings=("mind the gap",)))


def test_no_slices_no_examples_and_no_exact_search_leave_no_empty_parts(comparison):
    bare = replace(comparison, slices=(), wins=(), losses=(), exact=None, candidate=side("docs@v1", ann_recall=None))
    text = shown(bare, gate=GateSection(min_ann_recall=0))
    assert "by slice" not in text
    assert "biggest" not in text
    assert "not measured" in text
    assert "\n\n\n" not in text.replace(" ", "")


def test_one_query_and_all_tied_can_be_shown():
    one = letters({"q1": ("ab", "ba", "b")}, measures=("nDCG@10",)).compare()
    assert "[no interval]" in shown(one)
    assert "answered 1 query from" in shown(one)
    tied = letters({f"q{i}": ("ab", "ab", "b") for i in range(60)}, measures=("nDCG@10",)).compare()
    assert "the same for every query" in " ".join(shown(tied).split())
    assert shown(tied).startswith("FAIL  docs@v0 stays")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a\tb\r\nc\u2028d", "a b c d"),
        ("  edges  ", "edges"),
        ("\x00nul", "\ufffdnul"),
        ("\x1b[2J", "\ufffd[2J"),
        ("\x85next\x9bline", "next\ufffdline"),
        ("\u202eabc\u2066", "\ufffdabc\ufffd"),
        ("lone \ud83d half", "lone \ufffd half"),
        ("Ünïcödé 日本 🙂", "Ünïcödé 日本 🙂"),
        ("", ""),
    ],
)
def test_cleaned_text_is_one_harmless_line(text, clean):
    assert cleaned(text) == clean


def test_cleaned_text_is_cut_with_a_sign():
    assert cleaned("abcdef", 4) == "abc…"
    assert cleaned("abcd", 4) == "abcd"
