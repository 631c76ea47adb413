"""Personal data goes, product data stays."""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest

from vecmigrate.config import LogSection
from vecmigrate.querylog import judge, read_events, redacted, resolve
from vecmigrate.testing.memory import MemoryStore, SourceRow


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to anna.berg+x@example.co.uk please", "write to <email> please"),
        ("it says 'o'neil@example.org'", "it says <email>'"),
        ("call +49 30 1234567 now", "call <phone> now"),
        ("call +1 (555) 234-5678", "call <phone>"),
        ("call 0049 30 1234567", "call <phone>"),
        ("(555) 234-5678", "<phone>"),
        ("555-234-5678 is mine", "<phone> is mine"),
        ("mobile 0171 2345678", "mobile <phone>"),
        ("mobile 01712345678", "mobile <phone>"),
        ("ring 020 7946 0958", "ring <phone>"),
        ("01 23 45 67 89", "<phone>"),
        ("pay DE89 3704 0044 0532 0130 00", "pay <iban>"),
        ("pay gb29nwbk60161331926819 today", "pay <iban> today"),
        ("card 4111 1111 1111 1111 declined", "card <card> declined"),
        ("card 378282246310005", "card <card>"),
        ("5555-5555-5555-4444", "<card>"),
        ("ping 192.168.10.24 fails", "ping <ip> fails"),
        ("host 2001:db8::8a2e:370:7334 down", "host <ip> down"),
        ("fe80::1ff:fe23:4567:890a", "<ip>"),
        ("clone https://bob:hunter2@git.example.com/x", "clone https://<credentials>@git.example.com/x"),
        ("postgresql://app:s3cret@db/prod refused", "postgresql://<credentials>@db/prod refused"),
        ("https://x.example/a?id=5&token=abcdef123", "https://x.example/a?id=5&token=<secret>"),
        ("Authorization: Bearer abc.def-ghi123", "Authorization: Bearer <secret>"),
        ("why does sk-abcdefABCDEF0123456789xyz fail", "why does <token> fail"),
        ("AKIAIOSFODNN7EXAMPLE leaked", "<token> leaked"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "<token>"),
        ("eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.SflKxwRJSM", "<token>"),
        ("session d41d8cd98f00b204e9800998ecf8427e", "session <token>"),
        ("id 123e4567-e89b-12d3-a456-426614174000", "id <token>"),
        ("key q7Zt4Lm0Xw9Rb2Kc8Vn1Yd6P", "key <token>"),
        ("imei 490154203237518", "imei <number>"),
    ],
)
def test_what_has_a_personal_form_is_replaced(text, expected):
    assert redacted(text) == expected
    assert redacted(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "CVE-2021-44228 log4shell",
        "refund of 1,299.00 EUR",
        "costs $1.299.000,50",
        "from 2024-05-06 to 2024-05-07 12:30:45",
        "06.05.2024 or 05/06/2024",
        "2024-05-06T12:00:00.123Z",
        "chrome 120.0.6099.71 crashes",
        "windows 10.0.19045.3570",
        "python 3.11.4",
        "version 10.12.0.1 of the driver",
        "openssl 1.1.1.1",
        "ISBN 978-0-13-110362-7",
        "isbn 0672329166",
        "ean 4006381333931",
        "gtin 00012345678905",
        "part 06A-906-461-L",
        "SKU WH-1000XM4 B08C7KG5LP",
        "KB5034441",
        "RFC 9110 section 15.5.5",
        "iphone 15 pro max 256gb",
        "error 0x80070005",
        "commit 5d16884",
        "paraphrase-multilingual-MiniLM-L12-v2",
        "std::vector<int>::push_back",
        "java.util.concurrent.ConcurrentHashMap",
        "git@github.com:org/repo.git",
        "icon@2x.png",
        "npm i lodash@4.17.21",
        "@angular/core",
        "C++ 11 and +1",
        "1990-2000 2001-2010",
        "opening hours 10:00-18:30",
        "11:22 33:44",
        "Straße 12, 10115 Berlin",
        "ISO 27001 2022",
        "order 12345678",
        "ratio 3.14159265358979323846",
        "wer ist Anna Berg",
        "SU700XLINET, SU1000XLINET battery technology",
        "SR1630GP motherboard chipset",
        "0x11 49 00 00 00 00 00 00 28 9E",
        "calls Wow64RevertWow64FsRedirection",
        "CLSID {42aedc87-2188-41fd-b9a3-0c966feabec1}",
        "connection refused 127.0.0.1:5432",
        "netmask 255.255.254.0 and 0.0.0.0",
    ],
)
def test_what_products_are_searched_by_survives(text):
    assert redacted(text) == text


def test_a_card_number_needs_its_check_digit_and_a_scheme():
    assert redacted("4111 1111 1111 1112") == "4111 1111 1111 1112"
    assert redacted("9111 1111 1111 1111") == "9111 1111 1111 1111"


def test_each_kind_is_counted():
    counts: Counter[str] = Counter()
    redacted("a@example.org and b@example.org from 192.168.10.24", counts)
    assert counts == {"email": 2, "ip": 1}


@pytest.mark.parametrize("unit", ["x", "a.", "1 ", "a@", "12-", "ab:", "1.2.", "+4 ", "a@b."])
def test_a_very_long_text_takes_time_in_proportion(unit):
    start = time.perf_counter()
    redacted(unit * 100_000)
    assert time.perf_counter() - start < 3


def read(folder, *rows, **settings):
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read_events(LogSection(path="log.jsonl", **settings), root=folder)


def test_searches_are_redacted_before_anything_else_sees_them(tmp_path):
    log = read(tmp_path, {"user_query": "reset for anna@example.org", "clicked_ids": ["d1"]})
    assert log.events[0].text == "reset for <email>"
    assert log.report.redacted == {"email": 1}
    assert log.report.lines()[-1] == "  personal data replaced in the texts of searches: 1 email"


def test_redaction_can_be_turned_off(tmp_path):
    log = read(tmp_path, {"user_query": "reset for anna@example.org", "clicked_ids": ["d1"]}, redact=False)
    assert (log.events[0].text, log.report.redacted) == ("reset for anna@example.org", {})


def test_lines_that_could_not_be_read_are_shown_without_personal_data(tmp_path):
    log = read(tmp_path, {"user_query": "x", "clicked_ids": ["d1"]}, {"user_query": "y", "clicked_ids": {"mail": "anna@example.org"}})
    (problem,) = log.report.problems
    assert "anna@example.org" not in problem.why
    assert "<email>" in problem.why


def test_a_search_for_an_address_alone_is_left_out(tmp_path):
    rows = [{"user_query": text, "clicked_ids": ["d1"]} for text in ("anna@example.org", "vpn of anna@example.org")]
    events = read(tmp_path, *rows)
    store = MemoryStore([SourceRow("d1", "the text", None)])
    judged = judge(resolve(events, store, LogSection(path="log")))
    assert [query.text for query in judged.queries] == ["vpn of <email>"]
    assert judged.report.dropped_events == {"no text but personal data": 1}


def test_references_that_are_texts_are_shown_without_personal_data():
    from vecmigrate.records import Feedback, FeedbackKind, QueryEvent

    acts = tuple(Feedback(ref, FeedbackKind.CLICK) for ref in ("d1", "mail anna@example.org for help"))
    store = MemoryStore([SourceRow("d1", "the text", None)])
    found = resolve([QueryEvent("q", "help", feedback=acts)], store, LogSection(path="log", resolve_by="id"))
    assert found.report.lines()[-1] == "  not found, for example: 'mail <email> for help'"
