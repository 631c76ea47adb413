"""Personal data and secrets in the text of a search, replaced by placeholders that say what stood there.

What can be told by its form is replaced: addresses, numbers with a check digit, keys with a known beginning. Names of people have
no form and stay.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable

PLACEHOLDER = re.compile(r"<(?:email|phone|iban|card|ip|token|number|credentials|secret)>")
"""What `redacted` writes."""

LONGEST_PLAIN_NUMBER = 14
"""Digits; a GTIN has 14 and an ISBN 13, an IMEI 15."""

_Check = Callable[[re.Match[str]], bool]

_SUSPECT = re.compile(r"[\d@=]|\w{16}|bearer", re.IGNORECASE)
"""What every finding holds; most searches don't, and are done with."""
_VERSION_WORD = re.compile(r"(?:\bv|\bversions?|\breleases?|\bbuild|\bver\.?)[ .:=]*$", re.IGNORECASE)
_CARD_LENGTHS = (
    (re.compile(r"4"), (16, 19)),
    (re.compile(r"5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"3(?:0[0-5]|[68])"), (14,)),
    (re.compile(r"6(?:011|5|4[4-9])|35|62"), (16, 17, 18, 19)),
)
"""How the numbers of the large card schemes begin, and how long they are (ISO/IEC 7812). A GTIN with an accidental check digit is none."""


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def _is_card(match: re.Match[str]) -> bool:
    digits = _digits(match.group())
    known = any(start.match(digits) and len(digits) in lengths for start, lengths in _CARD_LENGTHS)
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return known and (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def _is_iban(match: re.Match[str]) -> bool:
    """Its remainder by 97 is 1 (ISO 13616). Words after a product number can have that by accident, but not ten digits."""
    compact = match.group().replace(" ", "").upper()
    if len(_digits(compact)) < 10:
        return False
    number = "".join(str(int(letter, 36)) for letter in compact[4:] + compact[:4])
    return 15 <= len(compact) <= 34 and int(number) % 97 == 1


def _is_ipv4(match: re.Match[str]) -> bool:
    """Four numbers up to 255, but a version has such too: after the word, or where all are single digits, it is one. Loopback addresses
    and netmasks are everybody's.
    """
    parts = match.group().split(".")
    if all(len(part) == 1 for part in parts) or _VERSION_WORD.search(match.string[: match.start()]):
        return False
    shared = parts[0] in ("0", "127") or parts[:2] == ["255", "255"]
    return not shared and all(int(part) <= 255 and (part == "0" or part[0] != "0") for part in parts)


def _is_ipv6(match: re.Match[str]) -> bool:
    text = match.group()
    if text.count(":") < 3 and not text.lower().startswith(("fe80:", "fd", "fc", "2")):
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return any(letter.isdigit() for letter in text)


def _is_phone(match: re.Match[str]) -> bool:
    return 8 <= len(_digits(match.group())) <= 15


def _is_email(match: re.Match[str]) -> bool:
    """`icon@2x.png` is a file and `git@host` an account that everybody shares."""
    local, _, domain = match.group().lower().rpartition("@")
    return local != "git" and not re.match(r"\dx\.", domain)


def _is_mixed(match: re.Match[str]) -> bool:
    """Letters and digits as chance mixes them, in both cases with digits in three places; `Wow64RevertWow64FsRedirection` is a name."""
    text = match.group()
    return len(re.findall(r"\d+", text)) >= 3 and text.upper() != text and text.lower() != text


def _is_hex(match: re.Match[str]) -> bool:
    text = match.group()
    return any(map(str.isdigit, text)) and any(map(str.isalpha, text))


def _always(match: re.Match[str]) -> bool:
    return True


_RULES: tuple[tuple[str, re.Pattern[str], _Check], ...] = (
    ("credentials", re.compile(r"(?<=://)[^\s/@:]+:[^\s/@]+(?=@)"), _always),
    ("secret", re.compile(r"(?i)(?<=[?&;](?:key|sig)=)[^\s&#;]+"), _always),
    (
        "secret",
        re.compile(r"(?i)(?:(?<=token=)|(?<=apikey=)|(?<=api_key=)|(?<=password=)|(?<=passwd=)|(?<=secret=))[^\s&#;\"']{3,}"),
        _always,
    ),
    ("secret", re.compile(r"(?i)(?<=\bbearer )[\w.~+/=-]{8,}"), _always),
    ("email", re.compile(r"(?<![\w.!#$%&'*+/=?^`{|}~-])[\w.!#$%&'*+/=?^`{|}~-]++@(?:[\w-]++\.)+[^\W\d_]{2,}"), _is_email),
    ("token", re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"), _always),
    ("token", re.compile(r"\b(?:sk|pk|rk)[-_][\w-]{16,}|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}"), _always),
    ("token", re.compile(r"\bxox[abprs]-[\w-]{10,}|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[\w-]{30,}|\bhf_\w{20,}"), _always),
    ("iban", re.compile(r"(?i)\b[a-z]{2}\d{2}(?: ?[a-z0-9]{4}){2,7}(?: ?[a-z0-9]{1,3})?\b"), _is_iban),
    ("card", re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])"), _is_card),
    ("token", re.compile(r"(?i)(?<![\w{-])[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}(?![\w-])"), _always),
    ("token", re.compile(r"(?i)\b[0-9a-f]{32,}\b"), _is_hex),
    ("token", re.compile(r"\b[A-Za-z0-9]{24,}\b"), _is_mixed),
    ("ip", re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)"), _is_ipv4),
    ("ip", re.compile(r"(?i)(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])"), _is_ipv6),
    ("phone", re.compile(r"(?<![\w+])\+[1-9]\d{0,3}(?:[ ./-]?\(?\d{1,5}\)?){2,6}(?![\w-])"), _is_phone),
    ("phone", re.compile(r"(?<![\w.-])00[1-9]\d{0,2}(?:[ ./-]\(?\d{2,7}\)?){2,5}(?![\w-])"), _is_phone),
    ("phone", re.compile(r"(?<![\w.-])\(0?\d{2,4}\) ?\d{3,4}[ -]?\d{3,5}(?![\w-])"), _is_phone),
    ("phone", re.compile(r"(?<![\w.-])[2-9]\d{2}([-.])[2-9]\d{2}\1\d{4}(?![\w-])"), _is_phone),
    ("phone", re.compile(r"(?<![\w.-])0[1-9]\d{1,3}[ /-]\d{3,4}[ -]?\d{3,5}(?![\w-])"), _is_phone),
    ("phone", re.compile(r"(?<![\w.-])0[1-9]([ .])\d{2}(?:\1\d{2}){3}(?![\w.-])"), _is_phone),
    ("phone", re.compile(r"(?<![\w.-])0(?:1[567]|7\d)\d{8}(?![\w-])"), _is_phone),
    ("number", re.compile(rf"(?<![\w.,-])\d{{{LONGEST_PLAIN_NUMBER + 1},}}(?![\w-]|[.,]\d)"), _always),
)


def redacted(text: str, counts: Counter[str] | None = None) -> str:
    """The text with a placeholder such as `<email>` for each finding; `counts` gets one for each, by kind.

    Doing it twice changes nothing more. Product numbers, CVE ids, dates, prices and versions stay as they are.
    """
    if not _SUSPECT.search(text):
        return text
    found = counts if counts is not None else Counter()
    for kind, pattern, check in _RULES:

        def replace(match: re.Match[str], kind: str = kind, check: _Check = check) -> str:
            if not check(match):
                return match.group()
            found[kind] += 1
            return f"<{kind}>"

        text = pattern.sub(replace, text)
    return text
